"""Aggregations over series: sum, avg, min, max, count, group, stddev, stdvar, quantile, count_values, topk, ...

Rules of Prometheus 3's promql/engine.go.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np

from stackctl.promql import hashing, sums, tree
from stackctl.promql.over_time import quantile_of
from stackctl.promql.select import check_size
from stackctl.promql.values import (
    NAME,
    ExecutionFailed,
    Floats,
    Labels,
    Mask,
    ScalarValue,
    TextValue,
    Value,
    Vector,
    drop,
    key,
)

OF_GROUPS: dict[str, Callable[[Floats, Mask, sums.Rows], Floats]] = {
    "sum": sums.of_groups,
    "avg": sums.means_of_groups,
}
"""Folds of all groups at once."""
FOLDS: dict[str, Callable[[Floats, Mask], Floats]] = {
    "min": lambda v, ok: np.fmin.reduce(np.where(ok, v, math.nan), axis=0),
    "max": lambda v, ok: np.fmax.reduce(np.where(ok, v, math.nan), axis=0),
    "count": lambda _, ok: ok.sum(axis=0).astype(float),
    "group": lambda _, ok: np.ones(ok.shape[1]),
    "stdvar": lambda v, ok: _variance(v, ok),
    "stddev": lambda v, ok: np.sqrt(_variance(v, ok)),
}
SELECTIONS = frozenset(("topk", "bottomk", "limitk"))
NAMES = frozenset((*OF_GROUPS, *FOLDS, *SELECTIONS, "quantile", "count_values", "limit_ratio"))
_LARGEST_COUNT = 2.0**63


def evaluate(node: tree.Aggregation, vector: Vector, param: Value | None, instant: bool) -> Vector:
    """Evaluate an aggregation.

    Args:
        param: the evaluated first argument, where the aggregation has one.
        instant: whether order of the result matters.

    Raises:
        ExecutionFailed: the parameter cannot be used.
    """
    if node.op == "count_values":
        assert isinstance(param, TextValue)
        return _count_values(node, vector, param.text)
    if node.op == "limit_ratio":
        assert isinstance(param, ScalarValue)
        return _share(vector, param.v)
    groups = _groups(node, vector.labels)
    if node.op in SELECTIONS:
        assert isinstance(param, ScalarValue)
        return _selected(node.op, vector, groups, _counts(param.v), instant)
    if node.op in OF_GROUPS:
        return _added(vector, groups, OF_GROUPS[node.op])
    fold = FOLDS.get(node.op)
    if fold is None:
        assert isinstance(param, ScalarValue)
        fold = _quantile_fold(param.v)
    return _folded(vector, groups, fold)


Groups = dict[tuple[tuple[str, str], ...], list[int]]


def _groups(node: tree.Aggregation, labels: Sequence[Labels]) -> Groups:
    groups: Groups = {}
    if not node.without:
        wanted = sorted(set(node.labels))
        for i, one in enumerate(labels):
            groups.setdefault(tuple((n, one[n]) for n in wanted if one.get(n)), []).append(i)
        return groups
    dropped = (*node.labels, NAME)
    for i, one in enumerate(labels):
        groups.setdefault(key(drop(one, dropped)), []).append(i)
    return groups


def _added(vector: Vector, groups: Groups, fold: Callable[[Floats, Mask, sums.Rows], Floats]) -> Vector:
    if not groups:
        return Vector.empty(vector.v.shape[1])
    rows = list(groups.values())
    begins = np.cumsum([0, *map(len, rows[:-1])])
    ok = np.logical_or.reduceat(vector.ok[list(chain.from_iterable(rows))], begins)
    return Vector([dict(group) for group in groups], fold(vector.v, vector.ok, rows), ok).present()


def _folded(vector: Vector, groups: Groups, fold: Callable[[Floats, Mask], Floats]) -> Vector:
    steps = vector.v.shape[1]
    v, ok = np.empty((len(groups), steps)), np.empty((len(groups), steps), np.bool_)
    for out, rows in enumerate(groups.values()):
        whole = len(rows) == len(vector.labels)
        members, present = (vector.v, vector.ok) if whole else (vector.v[rows], vector.ok[rows])
        ok[out] = present.any(axis=0)
        v[out] = fold(members, present)
    return Vector([dict(group) for group in groups], v, ok).present()


def _variance(v: Floats, ok: Mask) -> Floats:
    """Population variance by Welford's recurrence in the order of series, as Prometheus computes it."""
    count, mean, squares = (np.zeros(v.shape[1]) for _ in range(3))
    for row, present in zip(v, ok, strict=True):
        count = count + present
        delta = row - mean
        step = mean + delta / np.maximum(count, 1)
        squares = np.where(present, squares + delta * (row - step), squares)
        mean = np.where(present, step, mean)
    return squares / np.maximum(count, 1)


def _quantile_fold(q: Floats) -> Callable[[Floats, Mask], Floats]:
    return lambda v, ok: quantile_of(q, np.ascontiguousarray(v.T), np.ascontiguousarray(ok.T))


def _counts(k: Floats) -> Floats:
    if np.isnan(k).any():
        raise ExecutionFailed("Parameter value is NaN", next_step="Give a number.")
    if (np.abs(k) >= _LARGEST_COUNT).any():
        raise ExecutionFailed(f"Scalar value {k[0]:g} overflows int64", next_step="Give a smaller number.")
    return np.trunc(k)


def _selected(op: str, vector: Vector, groups: Groups, k: Floats, instant: bool) -> Vector:
    """Keep at each step the k first series of each group by value (limitk: by position)."""
    keep = np.zeros_like(vector.ok)
    order: list[int] = []
    for rows in groups.values():
        members = np.array(rows)
        ranked = _ranking(op, vector.v[members], vector.ok[members])
        place = np.argsort(ranked, axis=0)
        keep[members] = (place < k) & vector.ok[members]
        if instant:
            order.extend(members[i] for i in ranked[:, 0] if keep[members[i], 0])
    chosen = Vector(vector.labels, vector.v, keep, ordered=instant)
    return chosen.rows(order) if instant else chosen.present()


def _share(vector: Vector, ratio: Floats) -> Vector:
    """Keep a share of the series, chosen by their hash: -0.3 keeps what 0.7 does not. Groups do not matter."""
    if np.isnan(ratio).any():
        raise ExecutionFailed("Ratio value is NaN", next_step="Give a number between -1 and 1.")
    ratio = np.clip(ratio, -1.0, 1.0)
    place = np.array([hashing.share(labels) for labels in vector.labels])[:, None]
    chosen = np.where(ratio >= 0, place < ratio, place >= 1.0 + ratio)
    return vector.with_values(vector.v, vector.ok & chosen).present()


def _ranking(op: str, v: Floats, ok: Mask) -> np.ndarray[tuple[int, ...], np.dtype[np.intp]]:
    """Return for each step the group's series best first: NaN behind numbers, absent ones last."""
    worth = {"topk": -v, "bottomk": v}.get(op, np.zeros_like(v))
    standing = np.where(ok, np.where(np.isnan(worth), 1, 0), 2)
    return np.lexsort((worth, standing), axis=0)


def _count_values(node: tree.Aggregation, vector: Vector, label: str) -> Vector:
    if not label:
        raise ExecutionFailed(f'invalid label name "{label}"', next_step="Give the new label a name.")
    steps, many = vector.v.shape[1], 0
    found: dict[tuple[tuple[str, str], ...], Floats] = {}
    firsts: dict[tuple[tuple[str, str], ...], int] = {}
    kept = not node.without or label not in (*node.labels, NAME)
    for group, rows in _groups(_of_others(node, label), vector.labels).items():
        row, step = np.nonzero(vector.ok[rows])
        bits = vector.v[rows].view(np.int64)[row, step]  # as values 0 and -0 would be one
        values, first, which = np.unique(bits, return_index=True, return_inverse=True)
        many += len(values)
        check_size(many, steps)
        counts = np.bincount(which * steps + step, minlength=len(values) * steps).reshape(len(values), steps)
        others = dict(group)
        for value, count, at in zip(values.view(np.float64).tolist(), counts, first.tolist(), strict=True):
            one = key({**others, label: shortest(value)} if kept else others)
            place = rows[row[at]] * steps + int(step[at])
            found[one] = found[one] + count if one in found else count.astype(np.float64)
            firsts[one] = min(firsts.get(one, place), place)
    order = sorted(found, key=firsts.__getitem__)
    v = np.array([found[one] for one in order], np.float64).reshape(len(order), steps)
    return Vector([dict(one) for one in order], v, v > 0)


def _of_others(node: tree.Aggregation, label: str) -> tree.Aggregation:
    """Return the aggregation that groups by the labels that stand whatever the new one says."""
    if node.without:
        return replace(node, labels=(*node.labels, label))
    return replace(node, labels=tuple(name for name in node.labels if name != label))


def shortest(value: float) -> str:
    """Write a number as Go's FormatFloat(v, 'f', -1, 64) does: shortest digits, never an exponent."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return np.format_float_positional(value, trim="-")
