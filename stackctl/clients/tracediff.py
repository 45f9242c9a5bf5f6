"""Two traces span by span, matched by path: a span's name, and its order among those of that name below its parent."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from stackctl import semconv
from stackctl.clients.calls import span_report, trace_row
from stackctl.clients.traces import Span, Trace
from stackctl.reports import SpanPairReport, SpanReport, TraceDiffReport

# Fields of a span that are no difference: ids, and what only says where the span stands.
_PLACE = frozenset({"span_id", "parent_id", "depth", "offset_ms"})
Key = tuple[str, int]
Pair = tuple[Span | None, Span | None]


def trace_diff(a: Trace, b: Trace) -> TraceDiffReport:
    """Return two traces as `traces diff` reports them."""
    starts = [min(span.start_ns for span in trace.spans) for trace in (a, b)]
    pairs = []
    for (left, right), depth in _walk(a, b):
        reports = [
            None if span is None else span_report(span, depth, start)
            for span, start in zip((left, right), starts, strict=True)
        ]
        pairs.append(_pair(depth, *reports))
    return TraceDiffReport(trace_row(a), trace_row(b), tuple(pairs))


def _pair(depth: int, a: SpanReport | None, b: SpanReport | None) -> SpanPairReport:
    changed: tuple[str, ...] = ()
    if a is not None and b is not None:
        changed = tuple(n for n in vars(a) if n not in _PLACE and getattr(a, n) != getattr(b, n))
    named = a or b
    assert named is not None, "a pair has a span"
    return SpanPairReport(depth, named.name, a, b, changed)


def _walk(a: Trace, b: Trace) -> Iterator[tuple[Pair, int]]:
    """Yield every span of both once, with its depth: parents before children, in the order of `a`."""
    below = [_children(trace) for trace in (a, b)]
    seen: set[tuple[str, str]] = set()
    pending = [(pair, 0) for pair in reversed(_matched(below[0][None], below[1][None]))]
    while pending:
        pair, depth = pending.pop()
        fresh = [
            None if span is None or (side, span.span_id) in seen else span
            for side, span in zip("ab", pair, strict=True)
        ]
        if not any(fresh):
            continue  # a cycle of parent ids
        seen.update((side, span.span_id) for side, span in zip("ab", fresh, strict=True) if span is not None)
        yield (fresh[0], fresh[1]), depth
        children = [[] if span is None else tree[span.span_id] for tree, span in zip(below, fresh, strict=True)]
        pending += [(child, depth + 1) for child in reversed(_matched(*children))]


def _children(trace: Trace) -> dict[str | None, list[Span]]:
    """Return the spans directly below each span; below None those whose parent is not stored."""
    known = {span.span_id for span in trace.spans}
    found: dict[str | None, list[Span]] = defaultdict(list)
    for span in trace.spans:
        found[span.parent_id if span.parent_id in known else None].append(span)
    return found


def _matched(a: Sequence[Span], b: Sequence[Span]) -> list[Pair]:
    """Pair siblings in the order of `a`; what is only in `b` stands behind what it follows there."""
    left, right = _keyed(a), _keyed(b)
    keys, at = list(left), 0
    for key in right:
        if key in left:
            at = keys.index(key) + 1
        else:
            keys.insert(at, key)
            at += 1
    return [(left.get(key), right.get(key)) for key in keys]


def _keyed(siblings: Sequence[Span]) -> dict[Key, Span]:
    keyed: dict[Key, Span] = {}
    counts: dict[str, int] = defaultdict(int)
    for span in siblings:
        name = _name(span)
        keyed[name, counts[name]] = span
        counts[name] += 1
    return keyed


def _name(span: Span) -> str:
    """Return a span's name without the model in it: the same step with another model is what one compares."""
    model = span.attributes.get(semconv.REQUEST_MODEL)
    return span.name.removesuffix(f" {model}") if isinstance(model, str) else span.name
