"""Reading every span of a window that a query matches, through a search that answers only so many traces at a time."""

import math
from collections.abc import Callable, Iterator
from typing import Final

from stackctl.clients.tempo import TempoClient
from stackctl.clients.traces import SpanMatch
from stackctl.errors import QueryUnsupported

# The most traces that one search returns (Tempo's API takes no more from us), and how many a slice should hold.
PAGE_TRACES: Final = 10_000
_SLICE_TRACES: Final = 4_000


def every_span(
    tempo: TempoClient,
    query: str,
    start: float,
    end: float,
    expected: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    page: int = PAGE_TRACES,
) -> Iterator[SpanMatch]:
    """Yield each span that a query matches and that started within a window, once.

    The window is read in slices; one that holds more traces than a page is halved. A span belongs to the slice in
    which it started, however many slices its trace touches.

    Args:
        query: TraceQL; what it selects stands in the spans' attributes.
        start: seconds since the epoch, inclusive, as `end` is exclusive.
        expected: about how many traces there are, 0 where nobody knows.
        progress: told the share of the window that was read.
        page: most traces of one search.

    Raises:
        QueryUnsupported: there are more than can be read: a second with more traces than a page, a trace with more
            matching spans than the server returns.
    """
    slices = max(1, math.ceil(expected / _SLICE_TRACES))
    width = max(1, math.ceil((end - start) / slices))
    first, last = math.floor(start), math.ceil(end)
    pending = [(low, min(low + width, last)) for low in range(first, last, width)][::-1]
    while pending:
        low, high = pending.pop()
        found = tempo.search(query, low, high, page, spans_per_spanset=0)
        if len(found) >= page:
            if high - low == 1:
                raise _too_many(f"there are {page} traces or more in the one second at {low}")
            middle = (low + high) // 2
            pending += [(middle, high), (low, middle)]
            continue
        for trace in found:
            if trace.matched > len(trace.spans):
                raise _too_many(f"the server returned {len(trace.spans)} of {trace.matched} spans of {trace.trace_id}")
            for span in trace.spans:
                if max(low, start) * 10**9 <= span.start_ns < min(high, end) * 10**9:
                    yield span
        progress((high - first) / (last - first))


def _too_many(message: str) -> QueryUnsupported:
    return QueryUnsupported(
        f"stored spans cannot all be read: {message}", next_step="ask for a shorter --window, or for what metrics know"
    )
