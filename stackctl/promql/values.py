"""What the evaluator takes and gives: matchers, series, the storage it reads, and results.

Times are integer milliseconds since the epoch. Inside, every value is computed for all steps of the query at once:
an instant vector is a matrix of series by steps with a mask that says where a series has a value.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from stackctl.errors import QueryInvalid

NAME = "__name__"
STALE_BITS = np.uint64(0x7FF0000000000002)
"""The NaN that Prometheus writes when a series ends (model/value in its source)."""

Labels: TypeAlias = Mapping[str, str]
Floats: TypeAlias = npt.NDArray[np.float64]
Times: TypeAlias = npt.NDArray[np.int64]
Mask: TypeAlias = npt.NDArray[np.bool_]
Index: TypeAlias = npt.NDArray[np.intp]

SAME_LABELSET = "vector cannot contain metrics with the same labelset"


class ExecutionFailed(QueryInvalid):
    """The text is valid, but these series cannot be evaluated so; Prometheus' error type `execution`, HTTP 422."""


@dataclass(frozen=True)
class Matcher:
    """One condition on a label; a label that is absent has the empty value. Regular expressions are RE2, anchored."""

    name: str
    op: Literal["=", "!=", "=~", "!~"]
    value: str


class Series(NamedTuple):
    """Samples of one series in ascending time.

    Attributes:
        labels: all labels, the metric name under `__name__`.
        t_ms: sample times in milliseconds since the epoch.
        v: values; a staleness marker is a NaN with the bits `STALE_BITS`.
        falls: places after which the next value is smaller, where these are known, and that none is NaN: what is asked
            again and again need not be looked through each time.
    """

    labels: Labels
    t_ms: Times
    v: Floats
    falls: Index | None = None


class Storage(Protocol):
    """Where samples come from."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        """Return the series that fulfil all matchers, with at least their samples in [start_ms, end_ms].

        More samples than asked for are allowed. Series of equal scrape times are evaluated fastest when they
        share one `t_ms` array.
        """


@dataclass(frozen=True)
class Result:
    """The answer to a query.

    Attributes:
        kind: Prometheus' result type.
        series: for `vector` one sample per series in the order a sort gave; for `scalar` one series without labels;
            for `matrix` sorted by labels; empty for `string`.
        text: the value of a `string` result.
    """

    kind: Literal["vector", "matrix", "scalar", "string"]
    series: Sequence[Series] = ()
    text: str | None = None


@dataclass(frozen=True)
class ScalarValue:
    """A scalar per step, shape (steps,)."""

    v: Floats


@dataclass(frozen=True)
class TextValue:
    """A string literal's value."""

    text: str


@dataclass(frozen=True)
class Vector:
    """An instant vector at every step.

    Attributes:
        labels: one mapping per series.
        v: values, shape (series, steps); meaningless where `ok` is false.
        ok: where a series has a value, same shape.
        ordered: the rows stand in an order a sort function made, which an instant query keeps.
    """

    labels: Sequence[Labels]
    v: Floats
    ok: Mask
    ordered: bool = field(default=False, compare=False)

    @classmethod
    def empty(cls, steps: int) -> "Vector":
        """Return a vector without series."""
        return cls((), np.zeros((0, steps)), np.zeros((0, steps), np.bool_))

    @property
    def anywhere(self) -> Mask:
        """At which steps any series has a value, shape (steps,)."""
        return np.asarray(self.ok.any(axis=0), np.bool_)

    @classmethod
    def single(cls, values: Floats, labels: Labels | None = None, ok: Mask | None = None) -> "Vector":
        """Return a vector of one series, by default present at every step and without labels."""
        present = np.ones(len(values), np.bool_) if ok is None else ok
        return cls((labels or {},), values[None, :], present[None, :])

    def rows(self, index: Sequence[int] | Index | Mask) -> "Vector":
        """Return the vector that holds only some series, in the order given."""
        picked = np.flatnonzero(index) if np.asarray(index).dtype == np.bool_ else np.asarray(index, np.intp)
        if len(picked) == len(self.labels) and (picked == np.arange(len(picked))).all():
            return self
        return Vector([self.labels[i] for i in picked], self.v[picked], self.ok[picked], self.ordered)

    def present(self) -> "Vector":
        """Return the vector without series that have no value at any step."""
        keep: Mask = np.asarray(self.ok.any(axis=1))
        return self if keep.all() else self.rows(keep)

    def with_values(self, v: Floats, ok: Mask | None = None) -> "Vector":
        """Return the same series with other values."""
        return Vector(self.labels, v, self.ok if ok is None else ok, self.ordered)

    def without_name(self) -> "Vector":
        """Return the vector with the metric names dropped.

        Raises:
            ExecutionFailed: two series have the same labels then, at the same step.
        """
        if not any(NAME in labels for labels in self.labels):
            return self
        one_name = len({labels.get(NAME) for labels in self.labels}) == 1
        bare = Vector([drop(labels, (NAME,)) for labels in self.labels], self.v, self.ok, self.ordered)
        return bare if one_name else merged(bare)


Value: TypeAlias = ScalarValue | TextValue | Vector


def drop(labels: Labels, names: Iterable[str]) -> dict[str, str]:
    """Return labels without some names."""
    kept = dict(labels)
    for name in names:
        kept.pop(name, None)
    return kept


def key(labels: Labels) -> tuple[tuple[str, str], ...]:
    """Return what identifies a label set."""
    return tuple(sorted(labels.items()))


def spelled(labels: Labels) -> str:
    """Return label sets as texts that sort as they do, but for values with a NUL; they take a quarter of their keys."""
    return "\0".join([text for pair in sorted(labels.items()) for text in pair])


def merged(vector: Vector) -> Vector:
    """Join series with equal labels into one where they never have a value at the same step.

    Raises:
        ExecutionFailed: they do have.
    """
    groups = [rows for rows in _alike(vector.labels) if len(rows) > 1]
    if not groups:
        return vector
    v, ok, keep = vector.v.copy(), vector.ok.copy(), np.ones(len(vector.labels), np.bool_)
    for first, *others in groups:
        for row in others:
            if (ok[first] & ok[row]).any():
                raise ExecutionFailed(
                    SAME_LABELSET, next_step="Aggregate, or select one metric, so that labels differ."
                )
            v[first] = np.where(ok[row], v[row], v[first])
            ok[first] |= ok[row]
        keep[others] = False
    return Vector(vector.labels, v, ok, vector.ordered).rows(keep)


def _alike(labels: Sequence[Labels]) -> Iterable[list[int]]:
    """Return the rows of label sets that are there more than once, by set, and perhaps some that are there once.

    The keys of hundreds of thousands of sets are not held: only of those whose hashes meet.
    """
    hashes = np.fromiter((hash(key(one)) for one in labels), np.int64, len(labels))
    _, which, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    groups: dict[tuple[tuple[str, str], ...], list[int]] = {}
    for row in np.flatnonzero(counts[which] > 1).tolist():
        groups.setdefault(key(labels[row]), []).append(row)
    return groups.values()


def stacked(vectors: Sequence[Vector], steps: int) -> Vector:
    """Return the series of several vectors as one."""
    if not vectors:
        return Vector.empty(steps)
    labels = [labels for vector in vectors for labels in vector.labels]
    return Vector(labels, np.concatenate([one.v for one in vectors]), np.concatenate([one.ok for one in vectors]))


def falls(v: Floats) -> Index:
    """Return places after which the next value is smaller: a counter starts anew."""
    return (v[1:] < v[:-1]).nonzero()[0]


def is_stale(v: Floats) -> Mask:
    """Say which values are staleness markers."""
    marks: Mask = np.ascontiguousarray(v).view(np.uint64) == STALE_BITS
    return marks
