"""The same table as `wide`, through the protobuf package alone.

Slower (a Python object per attribute), but without ptars, which is young: `STACKCTL_DECODER=protobuf` switches to it,
and tests hold the two together.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stackctl.embedded.arrays import Arrays
from stackctl.embedded.otlp.jsontext import any_value, json_text
from stackctl.embedded.otlp.keyvalues import SCALAR_FIELDS
from stackctl.embedded.otlp.shape import (
    CORE,
    KINDS,
    LATEST_NS,
    SCALARS,
    STATUSES,
    Reads,
    all_are_read,
    column_name,
    most_columns,
)
from stackctl.embedded.otlp.signals import Serialised
from stackctl.embedded.otlp.wide import Flat

_KINDS = dict(SCALAR_FIELDS)
Cells = dict[str, Any]


def flatten(requests: Sequence[Serialised], arrival_ms: int, reads: Reads = all_are_read) -> Flat:
    """Decode requests; arguments and result as of `wide.flatten`.

    Raises:
        DecodeError: one of them is no ExportTraceServiceRequest.
    """
    rows: list[Cells] = []
    origin: list[int] = []
    for number, raw in enumerate(requests):
        message = ExportTraceServiceRequest.FromString(bytes(raw))
        for resource in message.resource_spans:
            shared, left = _attributes("r", resource.resource.attributes)
            for scope in resource.scope_spans:
                shared |= {"scope": scope.scope.name, "scope_version": scope.scope.version, "arrival_ms": arrival_ms}
                rows += [_span(span) | shared | {"rrest": left} for span in scope.spans]
                origin += [number] * len(scope.spans)
    ids = [(row["tid_hi"] or row["tid_lo"]) and row["span_id"] for row in rows]
    valid = np.array([bool(found) for found in ids], bool)
    return Flat(Arrays.of(_table(rows, reads)), np.array(origin, np.int64).take, valid)


def _span(span: Span) -> Cells:
    cells, rest = _attributes("s", span.attributes)
    start, end = min(span.start_time_unix_nano, LATEST_NS), min(span.end_time_unix_nano, LATEST_NS)
    return cells | {
        "tid_hi": _half(span.trace_id, 16, 0),
        "tid_lo": _half(span.trace_id, 16, 8),
        "span_id": _half(span.span_id, 8, 0),
        "parent_id": _half(span.parent_span_id, 8, 0),
        "start_ns": start,
        "dur_ns": end - start,
        "name": span.name,
        "kind": span.kind if 0 <= span.kind < KINDS else 0,
        "status": span.status.code if 0 <= span.status.code < STATUSES else 0,
        "status_msg": span.status.message,
        "events": _events(span),
        "links": _links(span),
        "rest": rest,
    }


def _attributes(prefix: str, pairs: Iterable[KeyValue]) -> tuple[Cells, str | None]:
    """Scalar attributes by column name, and the others as a JSON object (None for none)."""
    cells: Cells = {}
    others: dict[str, Any] = {}
    for pair in pairs:
        field = pair.value.WhichOneof("value")
        if field in _KINDS:
            cells[column_name(prefix, pair.key, _KINDS[field])] = getattr(pair.value, field)
        elif field is not None:
            others[pair.key] = any_value(pair.value)
    return cells, json_text(others) if others else None


def _events(span: Span) -> str | None:
    found = [{"name": e.name, "time_ns": e.time_unix_nano, "attributes": _object(e.attributes)} for e in span.events]
    return json_text(found) if found else None


def _links(span: Span) -> str | None:
    found = [
        {"trace_id": link.trace_id.hex(), "span_id": link.span_id.hex(), "attributes": _object(link.attributes)}
        for link in span.links
    ]
    return json_text(found) if found else None


def _object(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: any_value(pair.value) for pair in pairs}


def _table(rows: list[Cells], reads: Reads) -> pa.Table:
    """Rows as columns; the most frequent attributes get one, the others go to `rest` or `rrest`."""
    counts: dict[str, int] = {}
    for row in rows:
        for name in row:
            counts[name] = counts.get(name, 0) + 1
    extra = sorted((name for name in counts if name not in CORE.names), key=lambda name: -counts[name])
    for prefix, rest in (("s", "rest"), ("r", "rrest")):
        for name in [name for name in extra if name[0] == prefix][most_columns(len(rows)) :]:
            extra.remove(name)
            _move(rows, name, rest)
    scopes = frozenset(row["scope"] for row in rows)
    for name in [name for name in extra if name[0] == "s" and name[-1] == "s" and not reads(name[2:-2], scopes)]:
        for row in rows:
            if name in row:
                row[name] = ""
    columns = {field.name: pa.array([row[field.name] for row in rows], field.type) for field in CORE}
    return pa.table(columns | {name: pa.array([row.get(name) for row in rows], SCALARS[name[-1]]) for name in extra})


def _move(rows: list[Cells], name: str, rest: str) -> None:
    import orjson

    for row in rows:
        if name in row:
            row[rest] = json_text({**orjson.loads(row[rest] or "{}"), name[2:-2]: row[name]})


def _half(raw: bytes, width: int, offset: int) -> int:
    return int.from_bytes(raw[offset : offset + 8], "big", signed=True) if len(raw) == width else 0
