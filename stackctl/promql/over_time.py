"""Functions that fold the samples of each step's window: the `*_over_time` family, regression and smoothing.

Rules of Prometheus 3's promql/functions.go. Folds that numpy's reduceat can do run over all windows at once; the
others look at frames: the samples of a few series' windows as an array (series, steps, place in the window).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stackctl.promql import sums
from stackctl.promql.rates import Answer
from stackctl.promql.select import Block
from stackctl.promql.values import ExecutionFailed, Floats, Index, Mask, Times

# Values held by one frame: bounds the memory of a query over long windows (32 MB per array).
_FRAME_VALUES = 4_000_000


@dataclass(frozen=True)
class Frame:
    """The samples of some steps' windows of some series.

    Attributes:
        series: which of the block's series, a slice.
        steps: which of the steps, a slice.
        v: values, shape (series, steps, longest window); unused places repeat a sample.
        used: which places belong to the window; first axis 1 where all series share their times, as in `at`.
        at: sample indexes in the block, same shape as `used`.
        times: sample times of the block's series, one array per row of `at`.
    """

    series: slice
    steps: slice
    v: Floats
    used: Mask
    at: Index
    times: Sequence[Times]

    @property
    def t(self) -> Times:
        """The samples' times in milliseconds, same shape as `used`."""
        return np.stack([t.take(at, mode="clip") for t, at in zip(self.times, self.at, strict=True)])

    @property
    def count(self) -> Index:
        """How many samples each window holds, shape (1 or series, steps)."""
        return np.asarray(self.used.sum(axis=2), np.intp)

    @property
    def every(self) -> Mask:
        """The places that belong to the window, for each series on its own."""
        return np.broadcast_to(self.used, self.v.shape)


def frames(block: Block) -> Iterator[Frame]:
    """Yield frames that together cover all series and steps."""
    longest = max(1, block.longest)
    series, steps = block.shape
    steps_at_once = max(1, min(steps, _FRAME_VALUES // longest))
    series_at_once = max(1, _FRAME_VALUES // (longest * steps_at_once))
    for step in range(0, steps, steps_at_once):
        for row in range(0, series, series_at_once):
            yield _frame(block, slice(row, row + series_at_once), slice(step, step + steps_at_once), longest)


def _frame(block: Block, series: slice, steps: slice, longest: int) -> Frame:
    own = slice(None) if len(block.first) == 1 else series
    first, stop = block.first[own, steps, None], block.stop[own, steps, None]
    at = first + np.arange(longest)
    used = at < stop
    at = np.where(used, at, first)
    rows = block.rows[series]
    v = np.empty((len(rows), *at.shape[1:]))
    for i, row in enumerate(rows):
        row.take(at[min(i, len(at) - 1)], out=v[i], mode="clip")
    return Frame(series, steps, v, used, at, block.times if len(block.times) == 1 else block.times[series])


def _folded(block: Block, fold: Callable[[Frame], Floats], least: int = 1) -> Answer:
    """Apply a fold that gives (series, steps) to all frames; windows of fewer than `least` samples have no value."""
    result = np.empty(block.shape)
    for frame in frames(block):
        result[frame.series, frame.steps] = fold(frame)
    return result, block.counts >= least


def _reduced(ufunc: np.ufunc, block: Block, rows: Iterable[Floats]) -> Floats:
    """Reduce each window of rows like the block's."""
    bounds = np.zeros((len(block.first), 2 * len(block.ends)), np.intp)
    bounds[:, 0::2] = np.where(block.filled, block.first, 0)
    bounds[:, 1::2] = np.where(block.filled, block.stop, 0)
    reduced = np.empty(block.shape)
    for out, row, wanted in zip(reduced, rows, block.each(bounds), strict=True):
        # One more value, because a window may stop behind the last sample.
        out[:] = ufunc.reduceat(np.append(row, row[-1:]), wanted)[0::2]
    return reduced


def _windows(block: Block, wanted: Mask) -> Iterator[tuple[int, int, Floats]]:
    """Yield (series, step, samples) for single windows that need a closer look."""
    for row, step in zip(*np.nonzero(wanted & block.filled), strict=True):
        own = min(row, len(block.first) - 1)
        yield int(row), int(step), block.rows[row][block.first[own, step] : block.stop[own, step]]


def _sum(block: Block) -> tuple[Floats, Floats]:
    """Return sums of windows, and sums of absolute values to judge them by."""
    total = _reduced(np.add, block, block.rows)
    if all(np.minimum.reduce(row) >= 0 for row in block.rows):
        return total, total
    return total, _reduced(np.add, block, map(np.abs, block.rows))


def _compensated(block: Block) -> tuple[Floats, Floats]:
    """Return sums of windows and what rounding took from them, bit by bit as Prometheus adds them."""
    result = sums.Compensated(block.shape)
    for frame in frames(block):
        for place in range(frame.v.shape[2]):
            result.add(frame.v[:, :, place], frame.used[:, :, place])
    return result.total, result.lost


def _is_small(block: Block) -> bool:
    """Say whether one frame holds all windows, so that exactness to the last bit costs little."""
    series, steps = block.shape
    return block.longest * series * steps <= _FRAME_VALUES


def sum_over_time(block: Block) -> Answer:
    """Sum of the samples."""
    if _is_small(block):
        total, lost = _compensated(block)
        return np.where(np.isinf(total), total, total + lost), block.filled
    total, magnitude = _sum(block)
    for row, step, samples in _windows(block, sums.uncertain(total, magnitude, block.longest)):
        total[row, step] = sums.exact(samples)
    return total, block.filled


def avg_over_time(block: Block) -> Answer:
    """Mean of the samples; divides first where the sum would overflow."""
    count, ok = np.maximum(block.counts, 1), block.filled
    if _is_small(block):
        total, lost = _compensated(block)
        mean = total / count + lost / count
    else:
        total, _ = sum_over_time(block)
        mean = total / count
    for row, step, samples in _windows(block, np.isinf(total)):
        if np.isfinite(samples).all():
            mean[row, step] = sums.exact(samples / len(samples))
    return mean, ok


def min_over_time(block: Block) -> Answer:
    """Smallest sample; NaN only if all are."""
    return _reduced(np.fmin, block, block.rows), block.filled


def max_over_time(block: Block) -> Answer:
    """Largest sample; NaN only if all are."""
    return _reduced(np.fmax, block, block.rows), block.filled


def count_over_time(block: Block) -> Answer:
    """Number of samples."""
    return np.broadcast_to(block.counts.astype(float), block.shape), block.filled


def present_over_time(block: Block) -> Answer:
    """1 where there is a sample."""
    return np.ones(block.shape), block.filled


def last_over_time(block: Block) -> Answer:
    """Newest sample."""
    return block.take(np.where(block.filled, block.stop - 1, 0))[0], block.filled


def first_over_time(block: Block) -> Answer:
    """Oldest sample."""
    return block.take(np.where(block.filled, block.first, 0))[0], block.filled


def _sample_time(block: Block, at: Index) -> Answer:
    seconds = block.times_at(np.where(block.filled, at, 0))[0] / 1000.0
    return np.broadcast_to(seconds, block.shape), block.filled


def ts_of_last_over_time(block: Block) -> Answer:
    """Time of the newest sample, seconds since the epoch."""
    return _sample_time(block, block.stop - 1)


def ts_of_first_over_time(block: Block) -> Answer:
    """Time of the oldest sample, seconds since the epoch."""
    return _sample_time(block, block.first)


def ts_of_max_over_time(block: Block) -> Answer:
    """Time of the newest largest sample, seconds since the epoch."""
    return _folded(block, lambda frame: _time_of_largest(frame, frame.v))


def ts_of_min_over_time(block: Block) -> Answer:
    """Time of the newest smallest sample, seconds since the epoch."""
    return _folded(block, lambda frame: _time_of_largest(frame, -frame.v))


def _time_of_largest(frame: Frame, v: Floats) -> Floats:
    # A window of NaN alone reports its last sample, as comparing with NaN replaces it every time.
    v = np.where(frame.used, np.where(np.isnan(v), -np.inf, v), -np.inf)
    largest = v.max(axis=2, keepdims=True)
    place = v.shape[2] - 1 - ((v == largest) & frame.used)[:, :, ::-1].argmax(axis=2)
    times = np.broadcast_to(frame.t, v.shape)
    return np.take_along_axis(times, place[:, :, None], axis=2)[:, :, 0] / 1000.0


def variance_over_time(block: Block) -> Answer:
    """Population variance, by Welford's recurrence with compensated sums."""
    return _folded(block, _variance)


def deviation_over_time(block: Block) -> Answer:
    """Population standard deviation."""
    return _folded(block, lambda frame: np.sqrt(_variance(frame)))


def _variance(frame: Frame) -> Floats:
    shape = frame.v.shape[:2]
    mean, squares = sums.Compensated(shape), sums.Compensated(shape)
    for place in range(frame.v.shape[2]):
        v, used = frame.v[:, :, place], frame.every[:, :, place]
        delta = v - mean.value()
        mean.add(delta / (place + 1), used)
        squares.add(delta * (v - mean.value()), used)
    return squares.value() / np.maximum(frame.count, 1)


def quantile_of(q: Floats, v: Floats, used: Mask) -> Floats:
    """Return the q-quantile along the last axis, interpolated; NaN samples count as the smallest.

    Args:
        q: the wanted quantile, of the shape of the result (or broadcastable to it).
        v: values; `used` (same shape) says which count.
    """
    # NaN first, as Prometheus sorts; unused places last. Both as keys beside the values.
    rank_of = np.where(used, np.where(np.isnan(v), 0, 1), 2)
    order = np.lexsort((v, rank_of), axis=-1)
    ordered = np.take_along_axis(v, order, axis=-1)
    count = used.sum(axis=-1)
    rank = np.clip(np.nan_to_num(q), 0.0, 1.0) * np.maximum(count - 1, 0)
    low = np.floor(rank).astype(np.intp)
    high = np.minimum(np.maximum(count - 1, 0), low + 1)
    weight = rank - low
    at_low = np.take_along_axis(ordered, low[..., None], axis=-1)[..., 0]
    at_high = np.take_along_axis(ordered, high[..., None], axis=-1)[..., 0]
    value = at_low * (1 - weight) + at_high * weight
    value = np.where(q < 0, -np.inf, np.where(q > 1, np.inf, value))
    return np.where(np.isnan(q) | (count == 0), math.nan, value)


def quantile_over_time(block: Block, q: Floats) -> Answer:
    """Quantile of the samples; `q` has one value per step."""

    def fold(frame: Frame) -> Floats:
        return quantile_of(q[frame.steps], frame.v, frame.every)

    return _folded(block, fold)


def mad_over_time(block: Block) -> Answer:
    """Median of the distances from the median."""

    def fold(frame: Frame) -> Floats:
        used, half = frame.every, np.asarray(0.5)
        median = quantile_of(half, frame.v, used)
        return quantile_of(half, np.abs(frame.v - median[:, :, None]), used)

    return _folded(block, fold)


def deriv(block: Block) -> Answer:
    """Slope per second of the least-squares line through the samples."""

    def fold(frame: Frame) -> Floats:
        times = frame.t
        return _regression(frame, times - times[:, :, :1])[0]

    return _folded(block, fold, least=2)


def predict_linear(block: Block, ahead: Floats, times: Floats) -> Answer:
    """Value of the least-squares line some seconds ahead.

    Args:
        ahead: seconds ahead of the step, per step.
        times: the steps' own times, milliseconds: an offset does not move them.
    """

    def fold(frame: Frame) -> Floats:
        slope, now = _regression(frame, frame.t - times[frame.steps, None])
        return slope * ahead[frame.steps] + now

    return _folded(block, fold, least=2)


def _regression(frame: Frame, x_ms: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Return slope and intercept of each window's line; `x_ms` are sample times relative to the intercept."""
    shape = frame.v.shape[:2]
    x_all = x_ms / 1e3
    sx, sy, sxy, sxx = (sums.Compensated(shape) for _ in range(4))
    for place in range(frame.v.shape[2]):
        x, y = x_all[:, :, place], frame.v[:, :, place]
        used = frame.every[:, :, place]
        sx.add(np.broadcast_to(x, shape), used)
        sy.add(y, used)
        sxy.add(x * y, used)
        sxx.add(np.broadcast_to(x * x, shape), used)
    n = np.maximum(frame.count, 1)
    covariance = sxy.value() - sx.value() * sy.value() / n
    slope = covariance / (sxx.value() - sx.value() * sx.value() / n)
    intercept = sy.value() / n - slope * sx.value() / n
    first = frame.v[:, :, 0]
    constant = ((frame.v == first[:, :, None]) | ~frame.used).all(axis=2)
    level = np.where(np.isinf(first), math.nan, first)
    return np.where(constant, np.where(np.isinf(first), math.nan, 0.0), slope), np.where(constant, level, intercept)


def double_exponential_smoothing(block: Block, smoothing: Floats, trend: Floats) -> Answer:
    """Holt's linear smoothing; both factors have one value per step.

    Raises:
        ExecutionFailed: a factor is not between 0 and 1.
    """
    for name, sign, factor in (("smoothing", "sf", smoothing), ("trend", "tf", trend)):
        if not ((factor > 0) & (factor < 1)).all():
            raise ExecutionFailed(
                f"invalid {name} factor. Expected: 0 < {sign} < 1, got: {factor[0]:f}",
                next_step="Give a factor between 0 and 1.",
            )

    def fold(frame: Frame) -> Floats:
        return _smoothed(frame, smoothing[frame.steps], trend[frame.steps])

    return _folded(block, fold, least=2)


def _smoothed(frame: Frame, smoothing: Floats, trend: Floats) -> Floats:
    if frame.v.shape[2] < 2:
        return frame.v[:, :, 0]
    before, level = np.zeros(frame.v.shape[:2]), frame.v[:, :, 0]
    slope = frame.v[:, :, 1] - level
    for place in range(1, frame.v.shape[2]):
        used = frame.used[:, :, place]
        if place > 1:
            slope = np.where(used, trend * (level - before) + (1 - trend) * slope, slope)
        new = smoothing * frame.v[:, :, place] + (1 - smoothing) * (level + slope)
        before, level = np.where(used, level, before), np.where(used, new, level)
    return level
