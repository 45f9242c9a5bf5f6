"""Binary operators: arithmetic, comparison and sets, between scalars and instant vectors.

Matching rules and error texts are those of Prometheus 3's promql/engine.go (VectorBinop and its neighbours).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from stackctl.promql import tree
from stackctl.promql.powers import power
from stackctl.promql.select import check_size
from stackctl.promql.values import (
    NAME,
    ExecutionFailed,
    Floats,
    Labels,
    Mask,
    ScalarValue,
    Value,
    Vector,
    drop,
    key,
    merged,
)

Signature: TypeAlias = tuple[tuple[str, str], ...]

COMPARISONS: dict[str, Callable[[Any, Any], Mask]] = {
    "==": np.equal,
    "!=": np.not_equal,
    ">": np.greater,
    "<": np.less,
    ">=": np.greater_equal,
    "<=": np.less_equal,
}
ARITHMETIC: dict[str, Callable[[Any, Any], Floats]] = {
    "+": np.add,
    "-": np.subtract,
    "*": np.multiply,
    "/": np.divide,
    "%": np.fmod,
    "^": power,
    "atan2": np.arctan2,
}
_MATCH_NEXT = "Match on more labels with on(...), or aggregate the side that has several series."


def evaluate(node: tree.Binary, left: Value, right: Value) -> Value:
    """Evaluate an operator on evaluated operands.

    Raises:
        ExecutionFailed: the vectors cannot be matched as the operator says.
    """
    if isinstance(left, ScalarValue) and isinstance(right, ScalarValue):
        return ScalarValue(_compute(node.op, left.v, right.v))
    if isinstance(left, Vector) and isinstance(right, Vector):
        if node.op in ("and", "or", "unless"):
            return _SETS[node.op](left, right, node.matching)
        return _matched(node, left, right)
    return _with_scalar(node, left, right)


def _compute(op: str, left: Floats, right: Floats) -> Floats:
    if op in COMPARISONS:
        return COMPARISONS[op](left, right).astype(float)
    return ARITHMETIC[op](left, right)


def _with_scalar(node: tree.Binary, left: Value, right: Value) -> Vector:
    vector = left if isinstance(left, Vector) else right
    assert isinstance(vector, Vector)
    x = left.v if isinstance(left, ScalarValue | Vector) else vector.v
    y = right.v if isinstance(right, ScalarValue | Vector) else vector.v
    if node.op in COMPARISONS and not node.returns_bool:
        return vector.with_values(vector.v, vector.ok & COMPARISONS[node.op](x, y)).present()
    return vector.with_values(_compute(node.op, x, y)).without_name()


def _signatures(vector: Vector, matching: tree.Matching) -> list[Signature]:
    if matching.on:
        wanted = sorted(set(matching.labels))
        return [tuple((name, labels.get(name, "")) for name in wanted) for labels in vector.labels]
    ignored = (*matching.labels, NAME)
    return [key(drop(labels, ignored)) for labels in vector.labels]


def _presence(vector: Vector, signatures: list[Signature]) -> dict[Signature, Mask]:
    """Return for each signature at which steps any of its series has a value."""
    present: dict[Signature, Mask] = {}
    for signature, ok in zip(signatures, vector.ok, strict=True):
        present[signature] = present[signature] | ok if signature in present else ok
    return present


def _overlap(vector: Vector, signatures: list[Signature], other: dict[Signature, Mask]) -> Mask:
    """Return where the other side has a value of the same signature, shape of the vector."""
    none = np.zeros(vector.v.shape[1], np.bool_)
    found = [other.get(signature, none) for signature in signatures]
    return np.array(found, np.bool_).reshape(vector.ok.shape)


def _intersection(left: Vector, right: Vector, matching: tree.Matching) -> Vector:
    other = _presence(right, _signatures(right, matching))
    return left.with_values(left.v, left.ok & _overlap(left, _signatures(left, matching), other)).present()


def _difference(left: Vector, right: Vector, matching: tree.Matching) -> Vector:
    other = _presence(right, _signatures(right, matching))
    return left.with_values(left.v, left.ok & ~_overlap(left, _signatures(left, matching), other)).present()


def _union(left: Vector, right: Vector, matching: tree.Matching) -> Vector:
    rest = _difference(right, left, matching)
    joined = Vector([*left.labels, *rest.labels], np.concatenate((left.v, rest.v)), np.concatenate((left.ok, rest.ok)))
    return merged(joined)


_SETS: dict[str, Callable[[Vector, Vector, tree.Matching], Vector]] = {
    "and": _intersection,
    "or": _union,
    "unless": _difference,
}


class _Pairing:
    """The series of the many side paired with those of the one side."""

    def __init__(self, node: tree.Binary, many: Vector, one: Vector) -> None:
        self.node, self.many, self.one = node, many, one
        self.signatures = _signatures(many, node.matching)
        self.one_signatures = _signatures(one, node.matching)
        groups: dict[Signature, list[int]] = {}
        for i, signature in enumerate(self.one_signatures):
            groups.setdefault(signature, []).append(i)
        self.groups = groups

    def refuse_duplicates(self) -> None:
        """Raise where the one side has two series of one match group at a step, unless the many side is empty."""
        some = self.many.anywhere
        for signature, members in self.groups.items():
            if len(members) < 2:
                continue
            twice = (self.one.ok[members].sum(axis=0) > 1) & some
            if twice.any():
                present = [i for i in members if self.one.ok[i, int(np.argmax(twice))]]
                raise self._duplicates(signature, present)

    def _duplicates(self, signature: Signature, rows: list[int]) -> ExecutionFailed:
        side = "left" if self.node.matching.many == "right" else "right"
        found = ", ".join(_written(self.one.labels[i]) for i in reversed(rows[:2]))
        return ExecutionFailed(
            f"found duplicate series for the match group {_written({k: v for k, v in signature if v})} on the {side} "
            f"hand-side of the operation: [{found}];many-to-many matching not allowed: "
            "matching labels must be unique on one side",
            next_step=_MATCH_NEXT,
        )

    def pairs(self) -> tuple[list[int], list[int]]:
        """Return indexes of paired series of the many and of the one side.

        Raises:
            ExecutionFailed: there are too many: each series may meet all those that were there one after the other.
        """
        check_size(sum(len(self.groups.get(signature, ())) for signature in self.signatures), self.many.v.shape[1])
        left, right = [], []
        for i, signature in enumerate(self.signatures):
            for j in self.groups.get(signature, ()):
                left.append(i)
                right.append(j)
        return left, right

    def labels(self, many: Labels, one: Labels) -> Labels:
        """Return the labels of a pair's result."""
        matching, drops_name = self.node.matching, self.node.op not in COMPARISONS or self.node.returns_bool
        kept = drop(many, (NAME,)) if drops_name else dict(many)
        if matching.many is None:
            if matching.on:
                return {name: kept[name] for name in matching.labels if name in kept}
            return drop(kept, matching.labels)
        for name in matching.include:
            kept.pop(name, None)
            if one.get(name):
                kept[name] = one[name]
        return kept


@dataclass(frozen=True)
class _Paired:
    """Results before their labels are merged: operands of each, where both are there, and which series made it.

    Attributes:
        many, one: values of the two sides, shape (results, steps).
        ok: where the result is.
        signatures: of the match group, one per result.
        labels: one per result.
    """

    many: Floats
    one: Floats
    ok: Mask
    signatures: list[Signature]
    labels: list[Labels]


def _matched(node: tree.Binary, left: Vector, right: Vector) -> Vector:
    swapped = node.matching.many == "right"
    pairing = _Pairing(node, right, left) if swapped else _Pairing(node, left, right)
    pairing.refuse_duplicates()
    # With group_right too: there Prometheus 3.15 takes fill_left for the many side, though that is the right one.
    fill_many, fill_one = node.matching.fill_left, node.matching.fill_right
    parts = [_both(pairing)]
    if fill_one is not None:
        parts.append(_without_one(pairing, fill_one))
    if fill_many is not None:
        parts.append(_without_many(pairing, fill_many))
    parts = [part for part in parts if part.labels]
    if not parts:
        return Vector.empty(left.v.shape[1])
    many, one, ok = (
        getattr(parts[0], name) if len(parts) == 1 else np.concatenate([getattr(part, name) for part in parts])
        for name in ("many", "one", "ok")
    )
    x, y = (one, many) if swapped else (many, one)
    v, both = _compute(node.op, x, y), ok
    if node.op in COMPARISONS and not node.returns_bool:
        v, ok = x, both & (v == 1)
    labels = [labels for part in parts for labels in part.labels]
    _refuse_repeats(node, [signature for part in parts for signature in part.signatures], labels, both)
    return merged(Vector(labels, v, ok).present())


def _both(pairing: _Pairing) -> _Paired:
    """Pair series that are there on both sides."""
    many_rows, one_rows = pairing.pairs()
    many, one = pairing.many.rows(many_rows), pairing.one.rows(one_rows)
    labels = [pairing.labels(x, y) for x, y in zip(many.labels, one.labels, strict=True)]
    return _Paired(many.v, one.v, many.ok & one.ok, [pairing.signatures[i] for i in many_rows], labels)


def _without_one(pairing: _Pairing, value: float) -> _Paired:
    """Pair series of the many side with a value where the one side has none."""
    many, signatures = pairing.many, pairing.signatures
    missing = ~_overlap(many, signatures, _presence(pairing.one, pairing.one_signatures))
    labels = [
        pairing.labels(labels, _group_labels(signature))
        for labels, signature in zip(many.labels, signatures, strict=True)
    ]
    return _Paired(many.v, np.full_like(many.v, value), many.ok & missing, signatures, labels)


def _without_many(pairing: _Pairing, value: float) -> _Paired:
    """Pair series of the one side with a value where the many side has none; its labels are the match group's."""
    one, signatures = pairing.one, pairing.one_signatures
    missing = ~_overlap(one, signatures, _presence(pairing.many, pairing.signatures))
    labels = [
        pairing.labels(_group_labels(signature), labels)
        for labels, signature in zip(one.labels, signatures, strict=True)
    ]
    return _Paired(np.full_like(one.v, value), one.v, one.ok & missing, signatures, labels)


def _group_labels(signature: Signature) -> Labels:
    return {name: value for name, value in signature if value}


def _refuse_repeats(node: tree.Binary, signatures: list[Signature], labels: list[Labels], ok: Mask) -> None:
    """Raise where two results of one match group meet at a step."""
    one_to_one = node.matching.many is None
    groups: dict[object, list[int]] = {}
    for i, signature in enumerate(signatures):
        groups.setdefault(signature if one_to_one else (signature, key(labels[i])), []).append(i)
    if len(groups) == len(signatures):
        return
    for members in groups.values():
        if len(members) > 1 and (ok[members].sum(axis=0) > 1).any():
            reason = (
                "many-to-one matching must be explicit (group_left/group_right)"
                if one_to_one
                else "grouping labels must ensure unique matches"
            )
            raise ExecutionFailed(f"multiple matches for labels: {reason}", next_step=_MATCH_NEXT)


def _written(labels: Labels) -> str:
    """Write labels as Prometheus' messages do."""
    return "{" + ", ".join(f'{name}="{value}"' for name, value in sorted(labels.items())) + "}"
