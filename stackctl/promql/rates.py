"""Changes over a window: rate, increase, delta, irate, idelta, resets, changes, and their extended forms.

The rules are those of Prometheus 3's promql/functions.go: extrapolation up to 1.1 average sample distances, never
below zero for counters; `anchored` and `smoothed` (feature promql-extended-range-selectors) instead take the value at
the window's ends, the last one before, or an interpolated one.
"""

from collections.abc import Callable, Iterator
from itertools import repeat
from typing import TypeAlias

import numpy as np

from stackctl.promql.select import Block
from stackctl.promql.values import Floats, Index, Mask, Series, Times, falls

Answer: TypeAlias = tuple[Floats, Mask]
"""Values and where they exist, each of shape (series, steps); the mask may have one row for all."""


_MANY = 64
"""Resets in a window from which on their sum's last bit does not matter."""


def segment_sums(v: Floats, first: Index, stop: Index) -> Floats:
    """Return sums of v[first:stop] for arrays of bounds; 0 where the segment is empty."""
    if not len(v):
        return np.zeros(len(first))
    bounds = np.stack((first, stop), axis=-1).ravel()
    # reduceat gives v[first] for an empty segment, and needs a value behind the last bound.
    sums: Floats = np.add.reduceat(np.append(v, 0.0), np.minimum(bounds, len(v)))[::2]
    return np.where(stop > first, sums, 0.0)


def _add_lost(result: Floats, block: Block, first: Index, last: Index) -> None:
    """Add what resets between the samples first and last took away."""
    bounds = zip(block.each(first), block.each(last), strict=False)
    for out, row, known, (begin, end) in zip(result, block.rows, block.falls, bounds, strict=False):
        places = falls(row) if known is None else known
        if len(places):
            _add_in_turn(out, row[places], places.searchsorted(begin), places.searchsorted(end))


def _add_in_turn(out: Floats, v: Floats, first: Index, stop: Index) -> None:
    """Add v[first:stop] to each result, one value after the other as Prometheus does while there are not too many."""
    most = int((stop - first).max())
    if most > _MANY:
        out += segment_sums(v, first, stop)
        return
    for place in range(most):
        more = first + place < stop
        out[more] += v[first[more] + place]


def extrapolated(block: Block, counter: bool, per_second: bool) -> Answer:
    """Evaluate rate, increase or delta of plain windows."""
    ok = block.counts >= 2
    first = np.where(ok, block.first, 0)
    last = np.where(ok, block.stop - 1, 1)
    begin, result = block.take(first, last)
    result -= begin
    if counter:
        _add_lost(result, block, first, last)
    begin_t, end_t = block.times_at(first, last)
    sampled = (end_t - begin_t) / 1000.0
    average = sampled / np.maximum(last - first, 1)
    to_start = (begin_t - (block.ends - block.range_ms)) / 1000.0
    to_end = (block.ends - end_t) / 1000.0
    to_start = np.where(to_start >= average * 1.1, average / 2, to_start)
    to_end = np.where(to_end >= average * 1.1, average / 2, to_end)
    sampled = np.where(ok, sampled, 1.0)
    factor = _to_start_of_counter(begin, result, sampled, to_start) if counter else to_start
    factor = (sampled + factor + to_end) / sampled
    if per_second:
        factor /= block.range_ms / 1000.0
    return result * factor, ok


def _to_start_of_counter(begin: Floats, result: Floats, sampled: Floats, to_start: Floats) -> Floats:
    """Shorten the extrapolated time where the counter would have been below zero."""
    to_zero = sampled * (begin / result)
    use = (result > 0) & (begin >= 0) & (to_zero < to_start)
    return np.where(use, to_zero, to_start)


def last_two(block: Block, counter: bool) -> Answer:
    """Evaluate irate (counter) or idelta from a window's last two samples."""
    ok = block.counts >= 2
    last = np.where(ok, block.stop - 1, 1)
    before, newest = block.take(last - 1, last)
    change = newest - before
    if counter:
        before_t, newest_t = block.times_at(last - 1, last)
        change = np.where(newest < before, newest, change) / ((newest_t - before_t) / 1000.0)
    return change, ok


def count_between(block: Block, differs: Callable[[Floats, Floats], Mask], anchored: bool) -> Answer:
    """Count neighbouring samples in each window for which `differs(before, after)` holds."""
    ok, first = block.filled, block.first
    if anchored:
        starts = block.ends - block.range_ms
        ok = ok & (block.times_at(block.stop - 1)[0] > starts)
        first = _anchor(block, starts)
    first, last = np.where(ok, first, 0), np.where(ok, block.stop - 1, 0)
    counts = np.empty(block.shape)
    for out, row, begin, end in zip(counts, block.rows, block.each(first), block.each(last), strict=True):
        seen = np.concatenate(([0], np.cumsum(differs(row[:-1], row[1:]))))
        out[:] = seen[end] - seen[begin]
    return counts, ok


def is_reset(before: Floats, after: Floats) -> Mask:
    """Say where a counter fell."""
    return after < before


def is_change(before: Floats, after: Floats) -> Mask:
    """Say where the value changed; NaN to NaN is no change."""
    return np.asarray((after != before) & ~(np.isnan(after) & np.isnan(before)), np.bool_)


def _anchor(block: Block, starts: Times) -> Index:
    """Return the last sample at or before each window's left end, else the first one in reach."""
    return np.maximum(block.search(starts, "right") - 1, block.first)


def anchored(block: Block, counter: bool, per_second: bool) -> Answer:
    """Evaluate rate, increase or delta of anchored windows: from the last sample before them to their last one."""
    starts = block.ends - block.range_ms
    ok = block.filled
    first, last = np.where(ok, _anchor(block, starts), 0), np.where(ok, block.stop - 1, 0)
    left, result = block.take(first, last)
    result -= left
    if counter:
        _add_lost(result, block, first, last)
    if per_second:
        result /= block.range_ms / 1000.0
    return result, ok & (block.times_at(last)[0] > starts)


def smoothed(block: Block, counter: bool, per_second: bool) -> Answer:
    """Evaluate rate, increase or delta of smoothed windows: between values interpolated at their two ends."""
    starts = block.ends - block.range_ms
    ok = block.filled
    first = np.where(ok, _anchor(block, starts), 0)
    last = np.where(ok, np.minimum(block.search(block.ends, "left"), block.stop - 1), 0)
    first_t, last_t = block.times_at(first, last)
    before, behind = first_t < starts, (last_t > block.ends) & (last > block.first)
    left, right = block.take(first, last)
    left = np.where(before, _at_bound(block, first, first + 1, starts, counter, before), left)
    right = np.where(behind, _at_bound(block, last - 1, last, block.ends, counter, behind), right)
    result = right - left
    if counter:
        inner_first = np.where(first_t <= starts, first + 1, first)
        inner_last = np.where(last_t >= block.ends, last - 1, last)
        result += _lost_inside(block, left, right, inner_first, inner_last)
    if per_second:
        result /= block.range_ms / 1000.0
    return result, ok & (last_t > starts) & (first_t <= block.ends)


def extended_samples(block: Block, interpolate: bool) -> Iterator[Series]:
    """Yield what a bare anchored or smoothed range selector holds at an instant query's moment.

    The values at the window's two ends are put there as samples; those strictly between stay.
    """
    end, start = int(block.ends[0]), int(block.ends[0]) - block.range_ms
    anchors, behind = _anchor(block, np.array([start])), block.search(block.ends, "left")
    lasts = np.minimum(behind, block.stop - 1) if interpolate else block.stop - 1
    bounds = zip(block.each(anchors), block.each(lasts), block.each(block.first), strict=True)
    times = block.times if len(block.times) == len(block.rows) else repeat(block.times[0])
    for labels, t, row, (first, last, reach) in zip(block.labels, times, block.rows, bounds, strict=False):
        if last[0] >= reach[0] and t[last[0]] > start:
            yield Series(
                labels, *_bounded(t, row, (start, end), (int(first[0]), int(last[0]), int(reach[0])), interpolate)
            )


def _bounded(
    t: Times, row: Floats, window: tuple[int, int], bounds: tuple[int, int, int], interpolate: bool
) -> tuple[Times, Floats]:
    """Return one series' samples in a window, with the values at its ends as samples.

    Args:
        bounds: positions of the first and the last sample that count, and of the first one in reach.
    """
    (start, end), (first, last, reach) = window, bounds
    inner = slice(first + int(t[first] <= start), last + int(t[last] < end))
    left, right = row[first], row[last]
    if interpolate:
        left = np.interp(start, t, row) if t[first] < start else left
        right = np.interp(end, t, row) if t[last] > end and last > reach else right
    return np.concatenate(([start], t[inner], [end])), np.concatenate(([left], row[inner], [right]))


def _at_bound(block: Block, before: Index, after: Index, t: Times, counter: bool, wanted: Mask) -> Floats:
    """Interpolate between two samples at a moment; a counter that fell between them started from zero."""
    before, after = np.where(wanted, before, 0), np.where(wanted, after, 0)
    y1, y2 = block.take(before, after)
    if counter:
        y1 = np.where(y2 < y1, 0.0, y1)
    t1, t2 = block.times_at(before, after)
    return y1 + (y2 - y1) * (t - t1) / np.where(t2 > t1, t2 - t1, 1)


def _lost_inside(block: Block, left: Floats, right: Floats, first: Index, last: Index) -> Floats:
    """Return what resets took away along left, the samples first to last, right."""
    some = last >= first
    first, last = np.where(some, first, 0), np.where(some, last, 0)
    head, tail = block.take(first, last)
    lost = np.where(some & (head < left), left, 0.0)
    lost += np.where(right < np.where(some, tail, left), np.where(some, tail, left), 0.0)
    _add_lost(lost, block, first, last)
    return lost
