"""Samples for selectors: what is present at a step, and which samples lie in each step's window.

Rules of Prometheus 3: an instant selector sees the newest sample younger than the lookback of 5 minutes unless it is
a staleness marker; windows are open on the left and leave staleness markers out.

Series that share sample times are handled as one block, so that positions are searched once for all of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from stackctl.promql import tree
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

_MOST_VALUES = 50_000_000


@dataclass(frozen=True)
class Context:
    """At which times an expression is evaluated.

    Attributes:
        times: the steps, ascending, milliseconds.
        start_ms: the query's own first step, for `@ start()`; subqueries keep it.
        end_ms: the query's own last step.
    """

    storage: Storage
    times: Times
    start_ms: int
    end_ms: int
    lookback_ms: int = LOOKBACK_MS
    subquery_step_ms: int = SUBQUERY_STEP_MS

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
        return Context(self.storage, times, self.start_ms, self.end_ms, self.lookback_ms, self.subquery_step_ms)

    def ends(self, at: tree.At, offset_ms: int) -> Times:
        """Return for each step the moment that a selector with these modifiers looks at."""
        if at is None:
            return self.times - offset_ms
        moment = {"start": self.start_ms, "end": self.end_ms}[at] if isinstance(at, str) else at
        return np.full(self.steps, moment - offset_ms, np.int64)


@dataclass(frozen=True)
class Block:
    """Series that share sample times, and where each step's window begins and stops in them.

    Attributes:
        labels: one per series.
        t: shared sample times, milliseconds.
        rows: values, one array per series.
        first: index of the first sample in each step's window.
        stop: index behind the last one; equal to `first` where the window is empty.
        ends: the right end of each step's window, milliseconds.
        range_ms: the windows' length.
    """

    labels: Sequence[Labels]
    t: Times
    rows: Sequence[Floats]
    first: Index
    stop: Index
    ends: Times
    range_ms: int

    @property
    def filled(self) -> Mask:
        """Where the window holds at least one sample."""
        return self.stop > self.first

    @cached_property
    def matrix(self) -> Floats:
        """All values, shape (series, samples)."""
        return np.stack(self.rows)

    def take(self, *indexes: Index) -> list[Floats]:
        """Return values of all series at sample positions, one (series, steps) array per index array."""
        joined = np.concatenate(indexes)
        picked = np.empty((len(self.rows), len(joined)))
        for out, row in zip(picked, self.rows, strict=True):
            row.take(joined, out=out, mode="clip")
        return np.split(picked, len(indexes), axis=1)


def instant(context: Context, selector: tree.Selector, times_instead: bool = False) -> Vector:
    """Evaluate an instant selector.

    Args:
        times_instead: return the samples' own times in seconds instead of their values.
    """
    ends = context.ends(selector.at, selector.offset_ms)
    oldest = int(ends.min()) - context.lookback_ms
    if selector.extended == "smoothed":
        return _interpolated(context, selector, ends)
    found = context.storage.select(selector.matchers, oldest + 1, int(ends.max()))
    series = [one for one in found if len(one.t_ms)]
    check_size(len(series), context.steps)
    v = np.empty((len(series), context.steps))
    ok = np.empty((len(series), context.steps), np.bool_)
    for t, members in _by_times([one.t_ms for one in series]):
        newest = t.searchsorted(ends, "right") - 1
        within = (newest >= 0) & (t.take(newest, mode="clip") > ends - context.lookback_ms)
        for i in members:
            series[i].v.take(newest, out=v[i], mode="clip")
            ok[i] = within
        if times_instead:
            ok[members] &= ~is_stale(v[members])
            v[members] = t.take(newest, mode="clip") / 1000.0
    if not times_instead:
        ok &= ~is_stale(v)
    return Vector([one.labels for one in series], v, ok).present()


def _interpolated(context: Context, selector: tree.Selector, ends: Times) -> Vector:
    """Evaluate a `smoothed` instant selector: on the line between the samples before and behind each moment."""
    reach = context.lookback_ms
    found = context.storage.select(selector.matchers, int(ends.min()) - reach + 1, int(ends.max()) + reach)
    labels: list[Labels] = []
    v, ok = [np.zeros((0, context.steps))], [np.zeros((0, context.steps), np.bool_)]
    for block in blocks(found, ends, 0, reach, reach):
        behind = np.minimum(block.t.searchsorted(ends, "left"), block.stop - 1)
        before = np.maximum(np.where(block.t.take(behind, mode="clip") > ends, behind - 1, behind), block.first)
        y1, y2 = block.take(before, behind)
        t1, t2 = block.t.take(before, mode="clip"), block.t.take(behind, mode="clip")
        labels.extend(block.labels)
        v.append(np.where(t2 > t1, y1 + (y2 - y1) * (ends - t1) / np.maximum(t2 - t1, 1), y1))
        ok.append(np.broadcast_to(block.filled & (t1 <= ends), v[-1].shape))
    return Vector(labels, np.concatenate(v), np.concatenate(ok)).present()


def windows(context: Context, selector: tree.Selector) -> Iterator[Block]:
    """Yield the blocks of a range selector's windows; for `anchored` and `smoothed` they reach further.

    An anchored window begins up to the lookback before its left end, a smoothed one also stops up to the lookback
    behind its right end.
    """
    assert selector.range_ms is not None
    ends = context.ends(selector.at, selector.offset_ms)
    before = context.lookback_ms if selector.extended else 0
    after = context.lookback_ms if selector.extended == "smoothed" else 0
    reach = selector.range_ms + before
    series = context.storage.select(selector.matchers, int(ends.min()) - reach + 1, int(ends.max()) + after)
    yield from blocks(series, ends, selector.range_ms, before, after)


def blocks(
    series: Sequence[Series],
    ends: Times,
    range_ms: int,
    before_ms: int = 0,
    after_ms: int = 0,
) -> Iterator[Block]:
    """Yield blocks of series with equal sample times, staleness markers left out."""
    check_size(len(series), len(ends))
    live = [one for one in map(_without_stale, series) if len(one.t_ms)]
    for t, members in _by_times([one.t_ms for one in live]):
        first = t.searchsorted(ends - range_ms - before_ms, "right")
        stop = t.searchsorted(ends + after_ms, "right")
        if (stop > first).any():
            labels = [live[i].labels for i in members]
            yield Block(labels, t, [live[i].v for i in members], first, stop, ends, range_ms)


def check_size(series: int, steps: int) -> None:
    """Refuse what would need more memory than a query may have.

    Raises:
        ExecutionFailed: there would be more values than Prometheus' --query.max-samples allows by default.
    """
    if series * steps > _MOST_VALUES:
        raise ExecutionFailed(
            "query processing would load too many samples into memory in query execution",
            next_step="Ask for a shorter range, a longer step or fewer series.",
        )


def _without_stale(series: Series) -> Series:
    # A sum is NaN when any value is: cheaper than a test of every value, for the usual series without NaN.
    if not np.isnan(np.add.reduce(series.v)):
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
