"""Quantiles and fractions of classic histograms: series with an `le` label.

Rules of Prometheus 3's promql/quantile.go: buckets of one bound are added, tiny falls are rounding and ignored, other
falls are lifted (monotonic), and positions inside a bucket are interpolated linearly.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from stackctl.promql.select import check_size
from stackctl.promql.values import NAME, Floats, Index, Mask, Vector, drop, key, merged, stacked

LE = "le"
_SMALL = 1e-12
"""Relative difference of neighbouring buckets below which they count as equal (smallDeltaTolerance)."""
_TINIEST, _LARGEST = float(np.finfo(float).tiny), float(np.finfo(float).max)
_AT_ONCE = 262_144
"""Values of buckets that are evaluated together, whatever histograms they are of."""


def quantile(q: Floats, vector: Vector) -> Vector:
    """Return `histogram_quantile(q, vector)`; `q` has one value per step."""
    return _by_histogram(vector, lambda le, counts, steps: _quantile(q[steps], le, counts))


def quantiles(vector: Vector, label: str, wanted: Sequence[Floats]) -> Vector:
    """Return `histogram_quantiles(vector, label, ...)`: each quantile as a series of its own.

    Args:
        label: the label that says which quantile it is.
        wanted: quantiles, one value per step each.

    Raises:
        ExecutionFailed: two of them are equal at a step, or all of them are too many.
    """
    found = []
    for q in wanted:
        values = quantile(q, vector)
        for one in np.unique(q):
            at = np.isnan(q) if math.isnan(one) else q == one
            labels = [{**labels, label: open_metrics_number(float(one))} for labels in values.labels]
            found.append(Vector(labels, values.v, values.ok & at).present())
            check_size(sum(len(one.labels) for one in found), vector.v.shape[1])
    return merged(stacked(found, vector.v.shape[1]))


def open_metrics_number(value: float) -> str:
    """Write a number as OpenMetrics does in labels: Go's shortest `%g`, always with a point or an exponent."""
    if not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("+Inf" if value > 0 else "-Inf")
    mantissa, _, exponent = np.format_float_scientific(value, trim="-").partition("e")
    if -5 < int(exponent) < 6 or value == 0:
        text = np.format_float_positional(value, trim="-")
        return text if "." in text else f"{text}.0"
    return f"{mantissa}e{int(exponent):+03d}"


def fraction(lower: Floats, upper: Floats, vector: Vector) -> Vector:
    """Return `histogram_fraction(lower, upper, vector)`; the bounds have one value per step."""
    return _by_histogram(vector, lambda le, counts, steps: _fraction(lower[steps], upper[steps], le, counts))


def _by_histogram(vector: Vector, evaluate: Callable[[Floats, Floats, Index], Floats]) -> Vector:
    """Group bucket series into histograms and evaluate each, for all steps at which the same buckets are present."""
    groups: dict[tuple[tuple[str, str], ...], list[tuple[float, int]]] = {}
    for i, labels in enumerate(vector.labels):
        bound = _bound(labels.get(LE, ""))
        if bound is not None:
            groups.setdefault(key(drop(labels, (LE, NAME))), []).append((bound, i))
    steps = vector.v.shape[1]
    v, ok = np.full((len(groups), steps), math.nan), np.zeros((len(groups), steps), np.bool_)
    for le, outs, rows in _of_one_form(groups.values(), steps):
        # Side by side as if the steps of the next were behind those of the one before.
        there, counts = vector.ok[rows.T].reshape(len(le), -1), vector.v[rows.T].reshape(len(le), -1)
        for present, at in _patterns(there):
            out, step = outs[at // steps], at % steps
            ok[out, step] = True
            bounds, some = _joined(le[present], counts[present][:, at])
            v[out, step] = evaluate(bounds, some, step)
    return Vector([dict(group) for group in groups], v, ok).present()


def _of_one_form(histograms: Iterable[list[tuple[float, int]]], steps: int) -> Iterator[tuple[Floats, Index, Index]]:
    """Yield histograms with the same bounds together, not too many: these, their places, and the rows of each.

    Args:
        histograms: bounds and rows of their buckets.
    """
    alike: dict[tuple[float, ...], list[tuple[int, list[int]]]] = {}
    for place, members in enumerate(histograms):
        members.sort(key=lambda member: member[0])
        alike.setdefault(tuple(bound for bound, _ in members), []).append((place, [row for _, row in members]))
    for bounds, found in alike.items():
        most = max(1, _AT_ONCE // (len(bounds) * max(steps, 1)))
        for begin in range(0, len(found), most):
            places, rows = zip(*found[begin : begin + most], strict=True)
            yield np.array(bounds), np.array(places), np.array(rows)


def _bound(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _patterns(ok: Mask) -> Iterator[tuple[Mask, Index]]:
    """Yield sets of buckets that are present together, with the steps at which they are."""
    whole = ok.all(axis=0)
    if whole.any():
        yield np.ones(len(ok), np.bool_), np.flatnonzero(whole)
    partly = np.flatnonzero(ok.any(axis=0) & ~whole)
    if not len(partly):
        return
    patterns, which = np.unique(ok[:, partly], axis=1, return_inverse=True)
    for i in range(patterns.shape[1]):
        yield patterns[:, i], partly[which.ravel() == i]


def _joined(le: Floats, counts: Floats) -> tuple[Floats, Floats]:
    """Add up buckets of equal bounds."""
    bounds, first = np.unique(le, return_index=True)
    if len(bounds) == len(le):
        return le, counts
    return bounds, np.add.reduceat(counts, first, axis=0)


def _monotonic(counts: Floats) -> Floats:
    """Lift every bucket to the one before it where it is lower, or as good as equal."""
    fixed = counts.copy()
    before = fixed[0].copy()
    for row in fixed[1:]:
        keep = (row < before) | _almost_equal(before, row)
        row[keep] = before[keep]
        before = np.where(keep, before, row)
    return fixed


def _almost_equal(a: Floats, b: Floats) -> Mask:
    both, apart = np.abs(a) + np.abs(b), np.abs(a - b)
    near_zero = (a == 0) | (b == 0) | (both < _TINIEST)
    relative = apart / np.minimum(both, _LARGEST)
    return np.asarray((a == b) | np.where(near_zero, apart < _SMALL * _TINIEST, relative < _SMALL), np.bool_)


def _quantile(q: Floats, le: Floats, counts: Floats) -> Floats:
    outside = np.where(q < 0, -math.inf, np.where(q > 1, math.inf, math.nan))
    if le[-1] != math.inf or len(le) < 2:
        return outside
    counts = _monotonic(counts)
    steps, last = np.arange(counts.shape[1]), len(le) - 1
    rank = q * counts[-1]
    reached = counts[:-1] >= rank
    bucket = np.where(reached.any(axis=0), reached.argmax(axis=0), last)
    inner = np.minimum(bucket, last - 1)
    lower = np.where(inner > 0, le[inner - 1], 0.0)
    below = np.where(inner > 0, counts[inner - 1, steps], 0.0)
    value = lower + (le[inner] - lower) * ((rank - below) / (counts[inner, steps] - below))
    if le[0] <= 0:
        value = np.where(bucket == 0, le[0], value)
    value = np.where(bucket == last, le[-2], value)
    return np.where((q >= 0) & (q <= 1) & (counts[-1] != 0), value, outside)


def _fraction(lower: Floats, upper: Floats, le: Floats, counts: Floats) -> Floats:
    if le[-1] != math.inf:
        return np.full(counts.shape[1], math.nan)
    total = counts[-1]
    share = (_below(upper, le, counts) - _below(lower, le, counts)) / total
    share = np.where(lower >= upper, 0.0, share)
    return np.where((total == 0) | np.isnan(lower) | np.isnan(upper), math.nan, share)


def _below(x: Floats, le: Floats, counts: Floats) -> Floats:
    """Return how many observations lie below x, per step."""
    steps = np.arange(counts.shape[1])
    bucket = np.minimum(le.searchsorted(x, "left"), len(le) - 1)
    lowest = 0.0 if le[0] > 0 else -math.inf
    lower = np.where(bucket > 0, le[bucket - 1], lowest)
    below = np.where(bucket > 0, counts[bucket - 1, steps], 0.0)
    within = counts[bucket, steps] - below
    inner = below + within * (x - lower) / (le[bucket] - lower)
    # A bucket without a finite width cannot be divided: up to its upper bound nothing of it is counted.
    inner = np.where(np.isinf(le[bucket]) | np.isinf(lower), below, inner)
    inner = np.where(x <= lower, below, inner)
    return np.where(x >= le[bucket], counts[bucket, steps], inner)
