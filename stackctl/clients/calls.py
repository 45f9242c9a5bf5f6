"""What a trace says about calls to models: spend, models, first token, judgements, its spans as a tree."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal

from stackctl import semconv
from stackctl.clients.traces import Event, Span, Trace, Value
from stackctl.reports import EvaluationReport, SpanReport, SpendReport, TraceReport, TraceRowReport


def trace_report(trace: Trace) -> TraceReport:
    """Return a trace as `traces show` reports it."""
    row = trace_row(trace)
    start = min(span.start_ns for span in trace.spans)
    return TraceReport(
        trace_id=row.trace_id,
        start=row.start,
        service=row.service,
        name=row.name,
        duration_ms=row.duration_ms,
        errors=row.errors,
        models=row.models,
        spend=row.spend,
        spans=tuple(span_report(span, depth, start) for span, depth in walk(trace)),
    )


def trace_row(trace: Trace) -> TraceRowReport:
    """Return a trace as `traces list` reports it."""
    root = trace.root or trace.spans[0]
    start = min(span.start_ns for span in trace.spans)
    calls = [span for span in trace.spans if is_call(span)]
    return TraceRowReport(
        trace_id=trace.trace_id,
        start=datetime.fromtimestamp(start / 1e9, UTC).isoformat(timespec="milliseconds"),
        service=root.service,
        name=root.name,
        duration_ms=(max(max(span.start_ns, span.end_ns) for span in trace.spans) - start) / 1e6,
        spans=len(trace.spans),
        errors=sum(span.status == "error" for span in trace.spans),
        models=tuple(dict.fromkeys(model for span in sorted(calls, key=_embeds) if (model := model_of(span)))),
        spend=spend(calls),
    )


def walk(trace: Trace) -> Iterator[tuple[Span, int]]:
    """Yield every span once with its depth, parents before children, siblings in order of their start."""
    seen: set[str] = set()
    # Spans that no root leads to (a cycle of parent ids) come last, as roots of their own.
    for start in (*trace.children(None), *trace.spans):
        pending = [(start, 0)]
        while pending:
            span, depth = pending.pop()
            if span.span_id in seen:
                continue
            seen.add(span.span_id)
            yield span, depth
            pending += [(child, depth + 1) for child in reversed(trace.children(span.span_id))]


def is_call(span: Span) -> bool:
    """True for a span that is one accounted inference call."""
    return span.attributes.get(semconv.ACCOUNTED) is True


def model_of(span: Span) -> str | None:
    """Return the model that answered, else the one asked for."""
    model = span.attributes.get(semconv.RESPONSE_MODEL) or span.attributes.get(semconv.REQUEST_MODEL)
    return None if model is None else str(model)


def _embeds(span: Span) -> bool:
    """True for a call for embeddings: of a trace's models the ones that answer are named first."""
    return span.attributes.get(semconv.OPERATION) == "embeddings"


def spend(calls: Iterable[Span]) -> SpendReport:
    """Add up calls. Sums are exact: a cost is the decimal number that its double prints as."""
    found = list(calls)
    statuses = [span.attributes.get(semconv.COST_STATUS) for span in found]
    costs = [cost for span in found if (cost := cost_of(span)) is not None]
    return SpendReport(
        calls=len(found),
        priced=statuses.count(semconv.STATUS_PRICED),
        unpriced=statuses.count(semconv.STATUS_UNPRICED),
        no_usage=statuses.count(semconv.STATUS_NO_USAGE),
        input_tokens=sum(_whole(span.attributes.get(semconv.INPUT_TOKENS)) or 0 for span in found),
        output_tokens=sum(_whole(span.attributes.get(semconv.OUTPUT_TOKENS)) or 0 for span in found),
        cost_usd=sum(costs, Decimal(0)) if costs else None,
    )


def cost_of(span: Span) -> Decimal | None:
    """Return what a call cost in USD, None where it has no price."""
    cost = _number(span.attributes.get(semconv.COST_USD))
    return None if cost is None else Decimal(repr(cost))


def span_report(span: Span, depth: int, trace_start: int) -> SpanReport:
    """Return a span as `traces show` reports it.

    Args:
        depth: how many spans of its trace stand above it.
        trace_start: start of the trace, unix nanoseconds.
    """
    attributes = span.attributes
    first = _number(attributes.get(semconv.TIME_TO_FIRST_CHUNK))
    operation = attributes.get(semconv.OPERATION)
    status = attributes.get(semconv.COST_STATUS)
    return SpanReport(
        span_id=span.span_id,
        parent_id=span.parent_id,
        depth=depth,
        name=span.name,
        service=span.service,
        kind=span.kind,
        offset_ms=(span.start_ns - trace_start) / 1e6,
        duration_ms=span.duration_ns / 1e6,
        status=span.status,
        status_message=span.status_message or str(attributes.get(semconv.ERROR_TYPE) or ""),
        operation=None if operation is None else str(operation),
        model=model_of(span),
        call=is_call(span),
        incomplete=attributes.get(semconv.STREAM_INCOMPLETE) is True,
        input_tokens=_whole(attributes.get(semconv.INPUT_TOKENS)),
        output_tokens=_whole(attributes.get(semconv.OUTPUT_TOKENS)),
        cache_read_tokens=_whole(attributes.get(semconv.CACHE_READ_TOKENS)),
        cost_usd=cost_of(span),
        cost_status=None if status is None else str(status),
        first_token_ms=None if first is None else first * 1000,
        retrieved_documents=_whole(attributes.get(semconv.RETRIEVED_DOCUMENTS)),
        evaluations=tuple(_evaluations(span)),
    )


def _evaluations(span: Span) -> Iterator[EvaluationReport]:
    """Yield the judgements on a span: its events, and the attributes of an evaluator's own span."""
    own = Event(semconv.EVALUATION_EVENT, span.start_ns, span.attributes)
    for event in (own, *span.events):
        name = event.attributes.get(semconv.EVALUATION_NAME)
        if event.name == semconv.EVALUATION_EVENT and name is not None:
            label, error = event.attributes.get(semconv.EVALUATION_LABEL), event.attributes.get(semconv.ERROR_TYPE)
            yield EvaluationReport(
                name=str(name),
                score=_number(event.attributes.get(semconv.EVALUATION_SCORE)),
                label=None if label is None else str(label),
                error=None if error is None else str(error),
            )


def _number(value: Value) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _whole(value: Value) -> int | None:
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
