"""The function info(): adds labels of info metrics, by default `target_info`, to the series of the same target.

Rules of Prometheus 3's promql/info.go: series belong together by `instance` and `job`; of several info series of one
name the one with the newest sample counts; labels that a series has already stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import re2

from stackctl.promql import select, tree
from stackctl.promql.regex import matches
from stackctl.promql.select import Context
from stackctl.promql.values import (
    NAME,
    ExecutionFailed,
    Index,
    Labels,
    Mask,
    Matcher,
    Vector,
    merged,
    stacked,
)

TARGET_INFO = "target_info"
IDENTIFYING = ("instance", "job")
_NEXT = "Select fewer info metrics by a label selector as second argument."


def evaluate(context: Context, vector: Vector, wanted: Sequence[Matcher] | None) -> Vector:
    """Evaluate info().

    Args:
        wanted: the matchers of the second argument: which info metrics, and which of their labels; None without one.

    Raises:
        ExecutionFailed: two info series of one target contradict each other.
    """
    names = [matcher for matcher in wanted or () if matcher.name == NAME]
    if wanted is None:
        names = [Matcher(NAME, "=", TARGET_INFO)]
    plain = np.array([bool(names) and _fulfils(labels.get(NAME, ""), names) for labels in vector.labels], np.bool_)
    data = [matcher for matcher in wanted or () if matcher.name != NAME]
    found = _info_series(context, vector.rows(~plain), names, data)
    parts = [vector.rows(plain)] if plain.any() else []
    known = _by_target(found)
    for row in np.flatnonzero(~plain).tolist():
        parts += _enriched(vector.rows([row]), known, found, data)
    return merged(stacked(parts, context.steps).present())


def _fulfils(value: str, matchers: Sequence[Matcher]) -> bool:
    return all(_matches(value, matcher) for matcher in matchers)


def _matches(value: str, matcher: Matcher) -> bool:
    found = matches(matcher.value, value) if "~" in matcher.op else matcher.value == value
    return not found if matcher.op.startswith("!") else found


@dataclass(frozen=True)
class _InfoSeries:
    """The info series of a query: their labels, and where each one's sample is the newest of its name and target."""

    labels: Sequence[Labels]
    counts: Mask


def _info_series(context: Context, base: Vector, names: Sequence[Matcher], data: Sequence[Matcher]) -> _InfoSeries:
    values = {name: sorted({labels[name] for labels in base.labels if labels.get(name)}) for name in IDENTIFYING}
    of_targets = [
        Matcher(name, "=~", "|".join(map(re2.escape, found))) for name, found in sorted(values.items()) if found
    ]
    if not of_targets:
        return _InfoSeries((), np.zeros((0, context.steps), np.bool_))
    named = names or [Matcher(NAME, "=", TARGET_INFO)]
    selector = tree.Selector((*named, *of_targets, *data))
    sampled = select.instant(context, selector, times_instead=True)
    return _InfoSeries(sampled.labels, _newest(sampled, base.anywhere))


def _newest(sampled: Vector, needed: Mask) -> Mask:
    """Say where a series' sample is the newest of its metric name and target; raise where two are equally new."""
    counts = sampled.ok.copy()
    groups: dict[tuple[str, ...], list[int]] = {}
    for i, labels in enumerate(sampled.labels):
        groups.setdefault((labels[NAME], *_target(labels)), []).append(i)
    for rows in groups.values():
        times = np.where(sampled.ok[rows], sampled.v[rows], -np.inf)
        newest = (times == times.max(axis=0)) & sampled.ok[rows]
        if (newest.sum(axis=0) > 1)[needed].any():
            name = sampled.labels[rows[0]][NAME]
            raise ExecutionFailed(f"found duplicate series for info metric {name}", next_step=_NEXT)
        counts[rows] = newest
    return counts


def _target(labels: Labels) -> tuple[str, ...]:
    return tuple(labels.get(name, "") for name in IDENTIFYING)


def _by_target(found: _InfoSeries) -> dict[tuple[str, ...], list[int]]:
    known: dict[tuple[str, ...], list[int]] = {}
    for i, labels in enumerate(found.labels):
        known.setdefault(_target(labels), []).append(i)
    return known


def _enriched(
    base: Vector, known: dict[tuple[str, ...], list[int]], found: _InfoSeries, data: Sequence[Matcher]
) -> list[Vector]:
    """Return one series with the labels of its target's info series; several where these change over the steps."""
    labels, rows = base.labels[0], known.get(_target(base.labels[0]), [])
    parts = []
    for chosen, at in _patterns(found.counts[rows]):
        infos = [found.labels[rows[i]] for i in np.flatnonzero(chosen)]
        if infos or _fulfils("", data):
            added = _added(labels, infos, {matcher.name for matcher in data}) if (base.ok[0] & at).any() else {}
            parts.append(Vector(({**labels, **added},), base.v, base.ok & at))
    return parts


def _patterns(counts: Mask) -> list[tuple[Mask, Mask]]:
    """Return the sets of info series that are there together, each with the steps at which they are."""
    if not len(counts):
        return [(np.zeros(0, np.bool_), np.ones(counts.shape[1], np.bool_))]
    patterns, which = np.unique(counts, axis=1, return_inverse=True)
    numbers: Index = np.asarray(which).ravel()
    return [(patterns[:, i], np.asarray(numbers == i, np.bool_)) for i in range(patterns.shape[1])]


def _added(labels: Labels, infos: Sequence[Labels], wanted: set[str]) -> dict[str, str]:
    added: dict[str, str] = {}
    for info in infos:
        for name, value in info.items():
            if name == NAME or (wanted and name not in wanted):
                continue
            if added.get(name, value) != value:
                raise ExecutionFailed(f"conflicting label: {name}", next_step=_NEXT)
            if name not in labels:
                added[name] = value
    return added
