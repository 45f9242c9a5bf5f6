"""Functions that change labels or the order of series: label_replace, label_join, sort, sort_by_label.

Regular expressions run on RE2, as in Prometheus: no backtracking, so no query can hang the process.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from stackctl.promql.regex import compiled
from stackctl.promql.select import too_much
from stackctl.promql.values import NAME, ExecutionFailed, Labels, Vector, drop, key, merged

_MOST_CHARACTERS = 100_000_000
_REFERENCE = re.compile(r"\$(?:\{(\w+)\}|(\w+)|(\$))")


def replace(vector: Vector, target: str, template: str, source: str, pattern: str) -> Vector:
    """Evaluate label_replace: where `pattern` matches all of `source`, set `target` to the expanded template.

    Raises:
        ExecutionFailed: the pattern or the target's name is not valid, or two series become the same.
    """
    try:
        expression = compiled(pattern)
    except ValueError as error:
        raise ExecutionFailed(
            f"invalid regular expression in label_replace(): {pattern}", next_step="Correct it (RE2 syntax)."
        ) from error
    _check_name(target, "destination", "label_replace")

    texts = _Texts()

    def replaced(labels: Labels) -> Labels:
        found = expression.match(labels.get(source, ""))
        return labels if found is None else _with(labels, target, texts.taken(_expanded(template, found)))

    return merged(Vector([replaced(labels) for labels in vector.labels], vector.v, vector.ok, vector.ordered))


def join(vector: Vector, target: str, separator: str, sources: Sequence[str]) -> Vector:
    """Evaluate label_join: set `target` to the values of `sources` with a separator between.

    Raises:
        ExecutionFailed: a name is not valid, or two series become the same.
    """
    for name in sources:
        _check_name(name, "source", "label_join")
    _check_name(target, "destination", "label_join")
    texts = _Texts()
    joined = (texts.taken(separator.join(one.get(name, "") for name in sources)) for one in vector.labels)
    labels = [_with(one, target, text) for one, text in zip(vector.labels, joined, strict=True)]
    return merged(Vector(labels, vector.v, vector.ok, vector.ordered))


class _Texts:
    """The texts that one call makes, in bounds: a template of 200 KB for each of 100,000 series is 20 GB of labels."""

    def __init__(self) -> None:
        self._left = _MOST_CHARACTERS

    def taken(self, text: str) -> str:
        """Return a text, which is counted.

        Raises:
            ExecutionFailed: they are too long together.
        """
        self._left -= len(text)
        if self._left < 0:
            raise too_much()
        return text


def _check_name(name: str, role: str, function: str) -> None:
    if not name:
        raise ExecutionFailed(f"invalid {role} label name in {function}(): {name}", next_step="Give a label name.")


def _with(labels: Labels, name: str, value: str) -> Labels:
    return {**labels, name: value} if value else drop(labels, (name,))


def _expanded(template: str, found: Any) -> str:
    """Expand $1, ${1}, $name and $$ as Go's regexp.Expand does; what the pattern lacks is empty."""

    def value(reference: re.Match[str]) -> str:
        if reference.group(3):
            return "$"
        name = reference.group(1) or reference.group(2)
        try:
            return found.group(int(name) if name.isdecimal() else name) or ""
        except (IndexError, KeyError):
            return ""

    return _REFERENCE.sub(value, template)


def sort(vector: Vector, descending: bool) -> Vector:
    """Order series by their value at the first step; NaN last."""
    v = vector.v[:, 0] if vector.v.size else np.zeros(0)
    return _ordered(vector, np.lexsort((-v if descending else v, np.isnan(v))).tolist())


def sort_by_label(vector: Vector, names: Sequence[str], descending: bool) -> Vector:
    """Order series by the natural order of labels' values, then by all labels."""
    rows = sorted(range(len(vector.labels)), key=lambda row: key(vector.labels[row]))
    # The least important label first, since sorting is stable; one that no series has orders nothing.
    there = {name for labels in vector.labels for name in labels}
    for name in reversed([name for name in dict.fromkeys(names) if name in there]):
        texts = [labels.get(name, "") for labels in vector.labels]
        places = {text: place for place, text in enumerate(sorted(set(texts), key=_natural))}
        rows.sort(key=[places[text] for text in texts].__getitem__)
    return _ordered(vector, rows[::-1] if descending else rows)


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Cut a text so that digits compare as numbers."""
    return [(0, int(part), part) if part.isdecimal() else (1, 0, part) for part in re.findall(r"\d+|\D+", text)]


def _ordered(vector: Vector, rows: Sequence[int]) -> Vector:
    picked = vector.rows(rows)
    return Vector(picked.labels, picked.v, picked.ok, ordered=True)


def absent_labels(matchers: Sequence[Any]) -> dict[str, str]:
    """Return the labels that absent() gives its answer: those a selector fixes by one equality."""
    fixed: dict[str, str] = {}
    unclear: set[str] = set()
    for matcher in matchers:
        if matcher.name == NAME:
            continue
        if matcher.op == "=" and matcher.name not in fixed and matcher.name not in unclear:
            fixed[matcher.name] = matcher.value
        else:
            fixed.pop(matcher.name, None)
            unclear.add(matcher.name)
    return {name: value for name, value in fixed.items() if value}
