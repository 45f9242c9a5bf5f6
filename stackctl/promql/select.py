"""Samples for selectors: what is present at a step, and which samples lie in each step's window.

Rules of Prometheus 3: an instant selector sees the newest sample younger than the lookback of 5 minutes unless it is
a staleness marker; windows are open on the left and leave staleness markers out.

Windows are handled in blocks: positions are searched once for all series that share sample times.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import repeat
from typing import Literal, TypeVar

import numpy as np
import numpy.typing as npt

from stackctl.promql import tree
from stackctl.promql.repeats import Repeats
from stackctl.promql.values import (
    ExecutionFailed,
    Floats,
    Index,
    Labels,
    Mask,
    Series,
    Storage,
    Times,
    Vector,
    is_stale,
)

LOOKBACK_MS = 300_000
SUBQUERY_STEP_MS = 60_000
"""Prometheus' defaults: --query.lookback-delta and global.evaluation_interval."""

_MOST_VALUES = 12_000_000
"""A thousand series at as many steps as may be asked for. Prometheus' default is 50 million samples, which it holds
once; here an operator holds its operands too, and the whole of a query takes up to a gigabyte."""
_FEW = 8
"""So many series must share sample times for a block of their own."""

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Context:
    """At which times an expression is evaluated.

    Attributes:
        times: the steps, ascending, milliseconds.
        start_ms: the query's own first step, for `@ start()`; subqueries keep it.
        end_ms: the query's own last step.
        step_ms: the distance of the query's own steps; 0 for an instant query.
        repeats: what the query has more than once.
    """

    storage: Storage
    times: Times
    start_ms: int
    end_ms: int
    step_ms: int = 0
    lookback_ms: int = LOOKBACK_MS
    subquery_step_ms: int = SUBQUERY_STEP_MS
    repeats: Repeats = field(kw_only=True)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.times)

    @property
    def instant(self) -> bool:
        """Whether this is an instant query, where order of series matters."""
        return self.steps == 1 and self.start_ms == self.end_ms

    def at(self, times: Times) -> "Context":
        """Return a context of other steps inside the same query."""
        return replace(self, times=times)

    def ends(self, at: tree.At, offset_ms: int) -> Times:
        """Return for each step the moment that a selector with these modifiers looks at."""
        if at is None:
            return self.times - offset_ms
        moment = {"start": self.start_ms, "end": self.end_ms}[at] if isinstance(at, str) else at
        return np.full(self.steps, moment - offset_ms, np.int64)


@dataclass(frozen=True)
class Block:
    """Series and where each step's window begins and stops in them.

    Series that share sample times share a row of positions: arrays of positions have one row for all series then, and
    one for each series otherwise.

    Attributes:
        labels: one per series.
        times: sample times in milliseconds: one array that all share, or one per series.
        rows: values, one array per series.
        falls: as a series has them, one per series.
        first: index of the first sample in each step's window, shape (1 or series, steps).
        stop: index behind the last one; equal to `first` where the window is empty.
        ends: the right end of each step's window, milliseconds.
        range_ms: the windows' length.
        numbers: the series' places in the answer of the storage.
    """

    labels: Sequence[Labels]
    times: Sequence[Times]
    rows: Sequence[Floats]
    falls: Sequence[Index | None]
    first: Index
    stop: Index
    ends: Times
    range_ms: int
    numbers: Sequence[int]

    @property
    def filled(self) -> Mask:
        """Where the window holds at least one sample."""
        return self.stop > self.first

    @cached_property
    def counts(self) -> Index:
        """How many samples each window holds, shape as `first`."""
        return self.stop - self.first

    @property
    def longest(self) -> int:
        """How many samples the fullest window holds."""
        return int(self.counts.max())

    @property
    def shape(self) -> tuple[int, int]:
        """Series and steps."""
        return len(self.rows), len(self.ends)

    def take(self, *indexes: Index) -> list[Floats]:
        """Return values of all series at sample positions, one (series, steps) array per index array."""
        joined = np.concatenate(indexes, axis=1)
        picked = np.empty((len(self.rows), joined.shape[1]))
        for out, row, index in zip(picked, self.rows, self.each(joined), strict=True):
            row.take(index, out=out, mode="clip")
        return np.split(picked, len(indexes), axis=1)

    def times_at(self, *indexes: Index) -> list[Times]:
        """Return sample times at positions, one array of the shape of the positions per index array."""
        joined = np.concatenate(indexes, axis=1)
        picked = np.empty(joined.shape, np.int64)
        for out, t, index in zip(picked, self.times, joined, strict=True):
            t.take(index, out=out, mode="clip")
        return np.split(picked, len(indexes), axis=1)

    def search(self, moments: Times, side: Literal["left", "right"]) -> Index:
        """Return where moments, one per step, fall into the sample times."""
        return np.stack([t.searchsorted(moments, side) for t in self.times])

    def each(self, positions: npt.NDArray[T]) -> Iterator[npt.NDArray[T]]:
        """Yield for each series its row of positions."""
        return iter(positions) if len(positions) == len(self.rows) else repeat(positions[0], len(self.rows))


def instant(context: Context, selector: tree.Selector, times_instead: bool = False) -> Vector:
    """Evaluate an instant selector.

    Args:
        times_instead: return the samples' own times in seconds instead of their values.
    """
    ends = context.ends(selector.at, selector.offset_ms)
    oldest = ends - context.lookback_ms
    if times_instead and selector.at is not None:
        # Prometheus 3.15 fetches samples for the moment with its offset, and looks among them at the one without.
        unmoved = context.ends(selector.at, 0)
        ends, oldest = np.minimum(ends, unmoved), np.maximum(ends, unmoved) - context.lookback_ms
    if selector.extended == "smoothed":
        return _interpolated(context, selector, ends)
    found = context.storage.select(selector.matchers, min(int(oldest.min()) + 1, int(ends.max())), int(ends.max()))
    series = [one for one in found if len(one.t_ms)]
    check_size(len(series), context.steps)
    v, ok = np.empty((len(series), context.steps)), np.empty((len(series), context.steps), np.bool_)
    stamps = []
    for times, members in _by_times([one.t_ms for one in series]):
        newest = times.searchsorted(ends, "right") - 1
        # Where there is none yet, the first one stands in: it lies behind the moment and does not count.
        t = times.take(newest, mode="clip")
        for i in members:
            series[i].v.take(newest, out=v[i], mode="clip")
        ok[members] = (t <= ends) & (t > oldest)
        stamps.append((members, t))
    ok[is_stale(v)] = False
    if times_instead:
        for members, t in stamps:
            v[members] = t / 1000.0
    return Vector([one.labels for one in series], v, ok).present()


def _interpolated(context: Context, selector: tree.Selector, ends: Times) -> Vector:
    """Evaluate a `smoothed` instant selector: on the line between the samples before and behind each moment."""
    reach = context.lookback_ms
    found = context.storage.select(selector.matchers, int(ends.min()) - reach + 1, int(ends.max()) + reach)
    v, ok = np.zeros((len(found), context.steps)), np.zeros((len(found), context.steps), np.bool_)
    for block in blocks(found, ends, 0, reach, reach):
        behind = np.minimum(block.search(ends, "left"), block.stop - 1)
        before = np.maximum(np.where(block.times_at(behind)[0] > ends, behind - 1, behind), block.first)
        y1, y2 = block.take(before, behind)
        t1, t2 = block.times_at(before, behind)
        v[block.numbers] = np.where(t2 > t1, y1 + (y2 - y1) * (ends - t1) / np.maximum(t2 - t1, 1), y1)
        ok[block.numbers] = block.filled & (t1 <= ends)
    return Vector([one.labels for one in found], v, ok).present()


def windows(context: Context, selector: tree.Selector) -> tuple[Sequence[Series], Iterator[Block]]:
    """Return a range selector's series and the blocks of their windows, further ones for `anchored` and `smoothed`.

    An anchored window begins up to the lookback before its left end, a smoothed one also stops up to the lookback
    behind its right end.
    """
    ends = context.ends(selector.at, selector.offset_ms)
    before = context.lookback_ms if selector.extended else 0
    after = context.lookback_ms if selector.extended == "smoothed" else 0
    reach = selector.range_ms + before
    series = context.storage.select(selector.matchers, int(ends.min()) - reach + 1, int(ends.max()) + after)
    return series, blocks(series, ends, selector.range_ms, before, after)


def blocks(
    series: Sequence[Series],
    ends: Times,
    range_ms: int,
    before_ms: int = 0,
    after_ms: int = 0,
) -> Iterator[Block]:
    """Yield blocks of series, staleness markers left out.

    Series with sample times of their own, or that only a few share, go into one block together.
    """
    check_size(len(series), len(ends))
    live = [_without_stale(one) for one in series]
    filled = [i for i, one in enumerate(live) if len(one.t_ms)]
    odd: list[int] = []
    groups: list[list[int]] = []
    for _, members in _by_times([live[i].t_ms for i in filled]):
        numbers = [filled[member] for member in members]
        if len(numbers) < _FEW:
            odd += numbers
        else:
            groups.append(numbers)
    for numbers in (*groups, odd):
        if not numbers:
            continue
        some = [live[i] for i in numbers]
        times = [one.t_ms for one in (some if numbers is odd else some[:1])]
        first = np.stack([t.searchsorted(ends - range_ms - before_ms, "right") for t in times])
        stop = np.stack([t.searchsorted(ends + after_ms, "right") for t in times])
        if (stop > first).any():
            labels, rows, falls = zip(*[(one.labels, one.v, one.falls) for one in some], strict=True)
            yield Block(labels, times, rows, falls, first, stop, ends, range_ms, numbers)


def check_size(series: int, steps: int) -> None:
    """Refuse what would need more memory than a query may have.

    Raises:
        ExecutionFailed: there would be too many values.
    """
    if series * steps > _MOST_VALUES:
        raise too_much()


def too_much() -> ExecutionFailed:
    """Return the refusal of what would need more memory than a query may have, in Prometheus' words."""
    return ExecutionFailed(
        "query processing would load too many samples into memory in query execution",
        next_step="Ask for a shorter range, a longer step or fewer series.",
    )


def _without_stale(series: Series) -> Series:
    # A sum is NaN when any value is: cheaper than a test of every value, for the usual series without NaN.
    if series.falls is not None or not np.isnan(np.add.reduce(series.v)):
        return series
    stale = is_stale(series.v)
    return Series(series.labels, series.t_ms[~stale], series.v[~stale]) if stale.any() else series


def _by_times(arrays: Sequence[Times]) -> Iterator[tuple[Times, list[int]]]:
    """Group indexes of equal arrays; equal ones are usually the same object."""
    same: dict[int, int] = {}
    looks_alike: dict[tuple[int, int, int], list[int]] = {}
    groups: list[tuple[Times, list[int]]] = []
    for i, t in enumerate(arrays):
        group = same.get(id(t))
        if group is None:
            alike = looks_alike.setdefault((len(t), int(t[0]), int(t[-1])), [])
            group = next((g for g in alike if np.array_equal(groups[g][0], t)), None)
            if group is None:
                group = len(groups)
                groups.append((t, []))
                alike.append(group)
            same[id(t)] = group
        groups[group][1].append(i)
    yield from groups
