"""Log requests to evaluations: the one log record that is stored, `gen_ai.evaluation.result` of the GenAI conventions.

https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-events/#event-gen_aievaluationresult. Evaluations are rare
beside spans, so this goes through protobuf objects.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

from stackctl import semconv
from stackctl.embedded.otlp.jsontext import any_value
from stackctl.embedded.otlp.shape import EVALUATION, LATEST_NS, SCALARS, column_name
from stackctl.embedded.otlp.signals import Serialised

Row = dict[str, Any]
_LETTERS = {str: "s", bool: "b", int: "i", float: "d"}


def records(requests: Sequence[Serialised]) -> tuple[list[Row], int]:
    """Evaluations of log requests as rows, and how many other records there were.

    Raises:
        DecodeError: a request is no ExportLogsServiceRequest.
    """
    rows: list[Row] = []
    others = 0
    for resource, record in _walk(requests):
        name = record.event_name or _attribute(record.attributes, "event.name")
        if name == semconv.EVALUATION_EVENT:
            rows.append(_row(record) | resource)
        else:
            others += 1
    return rows, others


def table(rows: list[Row], arrival_ms: int) -> pa.Table:
    """Rows as the evaluation table.

    Args:
        arrival_ms: when they arrived, unix milliseconds.
    """
    extra = sorted({name for row in rows for name in row if name not in EVALUATION.names})
    full = [row | {"arrival_ms": arrival_ms} for row in rows]
    columns = {field.name: pa.array([row[field.name] for row in full], field.type) for field in EVALUATION}
    return pa.table(columns | {name: pa.array([row.get(name) for row in full], SCALARS[name[-1]]) for name in extra})


def _walk(requests: Sequence[Serialised]) -> Iterator[tuple[Row, LogRecord]]:
    """Every log record with its resource's scalar attributes as columns."""
    for raw in requests:
        for resource in ExportLogsServiceRequest.FromString(bytes(raw)).resource_logs:
            shared = {
                column_name("r", pair.key, _LETTERS[type(value)]): value
                for pair in resource.resource.attributes
                if type(value := any_value(pair.value)) in _LETTERS
            }
            for scope in resource.scope_logs:
                for record in scope.log_records:
                    yield shared, record


def _row(record: LogRecord) -> Row:
    found = {pair.key: any_value(pair.value) for pair in record.attributes}
    score = found.get(semconv.EVALUATION_SCORE)
    trace_id = record.trace_id if len(record.trace_id) == 16 else bytes(16)
    span_id = record.span_id if len(record.span_id) == 8 else bytes(8)
    return {
        "tid_hi": int.from_bytes(trace_id[:8], "big", signed=True),
        "tid_lo": int.from_bytes(trace_id[8:], "big", signed=True),
        "span_id": int.from_bytes(span_id, "big", signed=True),
        "time_ns": min(record.time_unix_nano or record.observed_time_unix_nano, LATEST_NS),
        "name": _text(found.get(semconv.EVALUATION_NAME)) or "",
        "score": float(score) if isinstance(score, (int, float)) and not isinstance(score, bool) else None,
        "label": _text(found.get(semconv.EVALUATION_LABEL)),
        "error_type": _text(found.get(semconv.ERROR_TYPE)),
        "response_id": _text(found.get(semconv.RESPONSE_ID)),
    }


def _attribute(pairs: Iterable[KeyValue], key: str) -> Any:
    return next((any_value(pair.value) for pair in pairs if pair.key == key), None)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
