"""Binary operators: arithmetic, comparison and sets, between scalars and instant vectors.

Matching rules and error texts are those of Prometheus 3's promql/engine.go (VectorBinop and its neighbours).
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from stackctl.promql import tree
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
    "^": np.power,
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
        """Return indexes of paired series of the many and of the one side."""
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


def _matched(node: tree.Binary, left: Vector, right: Vector) -> Vector:
    swapped = node.matching.many == "right"
    pairing = _Pairing(node, right, left) if swapped else _Pairing(node, left, right)
    pairing.refuse_duplicates()
    many_rows, one_rows = pairing.pairs()
    if not many_rows:
        return Vector.empty(left.v.shape[1])
    many_v, one_v = pairing.many.v[many_rows], pairing.one.v[one_rows]
    both = pairing.many.ok[many_rows] & pairing.one.ok[one_rows]
    x, y = (one_v, many_v) if swapped else (many_v, one_v)
    v, ok = _compute(node.op, x, y), both
    if node.op in COMPARISONS and not node.returns_bool:
        v, ok = x, both & (v == 1)
    labels = [
        pairing.labels(pairing.many.labels[i], pairing.one.labels[j]) for i, j in zip(many_rows, one_rows, strict=True)
    ]
    _refuse_repeats(node, [pairing.signatures[i] for i in many_rows], labels, both)
    return merged(Vector(labels, v, ok).present())


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
