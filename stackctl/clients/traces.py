"""What a trace is to its readers, and how it is read from the Tempo API's JSON."""

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from stackctl import semconv

Value = str | int | float | bool | bytes | list[Any] | dict[str, Any] | None

_KINDS = (
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
)  # opentelemetry.proto.trace.v1.Span.SpanKind
_STATUSES = ("unset", "ok", "error")  # opentelemetry.proto.trace.v1.Status.StatusCode


@dataclass(frozen=True)
class Event:
    """Something that happened during a span, at a time in nanoseconds since the epoch."""

    name: str
    time_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True)
class Span:
    """One operation of a trace.

    Attributes:
        trace_id: 32 hex digits.
        span_id: 16 hex digits.
        parent_id: 16 hex digits, None for a root.
        kind: `internal`, `server`, `client`, `producer`, `consumer` or `unspecified`.
        service: `service.name` of its resource, empty where there is none.
        start_ns: nanoseconds since the epoch, as `end_ns`.
        status: `unset`, `ok` or `error`.
    """

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    start_ns: int
    end_ns: int
    status: str
    status_message: str
    attributes: Mapping[str, Value]
    resource: Mapping[str, Value]
    events: tuple[Event, ...] = ()
    scope: str = ""

    @property
    def duration_ns(self) -> int:
        """How long it took, in nanoseconds."""
        return self.end_ns - self.start_ns


@dataclass(frozen=True)
class Trace:
    """All stored spans of one trace id, in order of their start."""

    trace_id: str
    spans: tuple[Span, ...]

    @property
    def root(self) -> Span | None:
        """The span without a parent; where there is none, the first whose parent is not stored; None without spans."""
        known = {span.span_id for span in self.spans}
        true_root = next((span for span in self.spans if span.parent_id is None), None)
        return true_root or next((span for span in self.spans if span.parent_id not in known), None)

    def children(self, parent_id: str | None) -> tuple[Span, ...]:
        """Return the spans directly below one; below None those whose parent is not stored."""
        return tuple(self._below.get(parent_id, ()))

    @cached_property
    def _below(self) -> Mapping[str | None, Sequence[Span]]:
        known = {span.span_id for span in self.spans}
        below: dict[str | None, list[Span]] = defaultdict(list)
        for span in self.spans:
            below[span.parent_id if span.parent_id in known else None].append(span)
        return below


@dataclass(frozen=True)
class SpanMatch:
    """A span that matched a search, with the attributes that the query mentions."""

    span_id: str
    name: str
    start_ns: int
    duration_ns: int
    attributes: Mapping[str, Value]


@dataclass(frozen=True)
class TraceSummary:
    """One hit of a search.

    Attributes:
        start_ns: nanoseconds since the epoch.
        matched: how many of its spans matched; `spans` may hold fewer.
        span_count: all its spans, None where the server does not say.
        error_count: those with an error status, None where the server does not say.
    """

    trace_id: str
    root_service: str
    root_name: str
    start_ns: int
    duration_ms: int
    matched: int
    spans: tuple[SpanMatch, ...]
    span_count: int | None
    error_count: int | None


def trace(answer: Mapping[str, Any]) -> Trace | None:
    """Read a trace from the JSON of `/api/traces/{id}` or `/api/v2/traces/{id}`; None where it has no span.

    Tempo writes ids as base64 (protobuf's JSON), OTLP/JSON as hex: both are read.
    """
    body = answer.get("trace", answer)
    batches = body.get("batches") or body.get("resourceSpans") or ()
    spans = sorted(
        (span for batch in batches for span in _batch(batch)), key=lambda span: (span.start_ns, span.span_id)
    )
    return Trace(spans[0].trace_id, tuple(spans)) if spans else None


def summary(row: Mapping[str, Any]) -> TraceSummary:
    """Read one element of `traces` in the JSON of `/api/search`."""
    sets = row.get("spanSets") or ([row["spanSet"]] if row.get("spanSet") else [])
    matches = {match.span_id: match for spanset in sets for match in map(_match, spanset.get("spans", ()))}
    services = row.get("serviceStats")
    return TraceSummary(
        trace_id=row["traceID"].zfill(32),  # Tempo trims leading zeros
        root_service=row.get("rootServiceName", ""),
        root_name=row.get("rootTraceName", ""),
        start_ns=int(row.get("startTimeUnixNano", 0)),
        duration_ms=int(row.get("durationMs", 0)),
        matched=sum(int(spanset.get("matched", 0)) for spanset in sets),
        spans=tuple(matches.values()),
        span_count=None if services is None else _total(services, "spanCount"),
        error_count=None if services is None else _total(services, "errorCount"),
    )


def attributes(rows: Iterable[Mapping[str, Any]]) -> dict[str, Value]:
    """Read an OTLP/JSON list of key and AnyValue."""
    return {row["key"]: _value(row.get("value", {})) for row in rows}


def _batch(batch: Mapping[str, Any]) -> Iterable[Span]:
    resource = attributes(batch.get("resource", {}).get("attributes", ()))
    for scope in batch.get("scopeSpans", ()):
        for row in scope.get("spans", ()):
            yield _span(row, resource, scope.get("scope", {}).get("name", ""))


def _span(row: Mapping[str, Any], resource: Mapping[str, Value], scope: str) -> Span:
    parent = _hex_id(row.get("parentSpanId", ""), 8)
    status = row.get("status", {})
    return Span(
        trace_id=_hex_id(row["traceId"], 16),
        span_id=_hex_id(row["spanId"], 8),
        parent_id=parent if parent.strip("0") else None,
        name=row.get("name", ""),
        kind=_enum(row.get("kind", 0), _KINDS, "SPAN_KIND_"),
        service=str(resource.get(semconv.SERVICE_NAME, "")),
        start_ns=int(row.get("startTimeUnixNano", 0)),
        end_ns=int(row.get("endTimeUnixNano", 0)),
        status=_enum(status.get("code", 0), _STATUSES, "STATUS_CODE_"),
        status_message=status.get("message", ""),
        attributes=attributes(row.get("attributes", ())),
        resource=resource,
        events=tuple(
            Event(event.get("name", ""), int(event.get("timeUnixNano", 0)), attributes(event.get("attributes", ())))
            for event in row.get("events", ())
        ),
        scope=scope,
    )


def _match(row: Mapping[str, Any]) -> SpanMatch:
    return SpanMatch(
        span_id=row["spanID"].zfill(16),
        name=row.get("name", ""),
        start_ns=int(row.get("startTimeUnixNano", 0)),
        duration_ns=int(row.get("durationNanos", 0)),
        attributes=attributes(row.get("attributes", ())),
    )


def _total(services: Mapping[str, Mapping[str, Any]], key: str) -> int:
    return sum(int(stats.get(key, 0)) for stats in services.values())


def _hex_id(text: str, size: int) -> str:
    """Return an id of `size` bytes as hex, from hex or from base64 (told apart by their length)."""
    if len(text) == 2 * size or not text:
        return text.lower()
    try:
        return base64.b64decode(text).hex().zfill(2 * size)
    except binascii.Error:
        return text.lower().zfill(2 * size)


def _enum(code: int | str, names: tuple[str, ...], prefix: str) -> str:
    if isinstance(code, str):
        return code.removeprefix(prefix).lower()
    return names[code] if 0 <= code < len(names) else names[0]


def _value(any_value: Mapping[str, Any]) -> Value:
    for kind, raw in any_value.items():
        match kind:
            case "intValue":
                return int(raw)
            case "doubleValue":
                return float(raw)  # also "NaN" and "Infinity", which JSON has no numbers for
            case "arrayValue":
                return [_value(item) for item in raw.get("values", ())]
            case "kvlistValue":
                return dict(attributes(raw.get("values", ())))
            case "bytesValue":
                return base64.b64decode(raw)
            case "stringValue":
                return str(raw)
            case "boolValue":
                return bool(raw)
    return None
