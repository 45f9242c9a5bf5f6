"""OTLP trace requests to one wide Arrow table, without a Python object per span (ptars decodes in Rust)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.otlp import jsontext
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints, parents
from stackctl.embedded.otlp.message import trace_requests
from stackctl.embedded.otlp.resources import resource_columns
from stackctl.embedded.otlp.shape import CORE, KINDS, LATEST_NS, STATUSES, Lists, Structs, Texts

_UNSET = pa.scalar(0, pa.int32())


@dataclass(frozen=True)
class Flat:
    """Decoded spans and where they came from.

    Attributes:
        table: columns of `shape.CORE` and one per attribute.
        request: for each span, which of the requests it came with.
        valid: for each span, whether its ids have the lengths that OTLP demands and are not zero.
    """

    table: pa.Table
    request: Ints
    valid: npt.NDArray[np.bool_]


def flatten(requests: Sequence[bytes], arrival_ms: int) -> Flat:
    """Decode requests together.

    Raises:
        ValueError: one of them is no ExportTraceServiceRequest (which one is not known); Panicked, a kind of it.
        DecodeError: the same, seen in a nested value.
    """
    resources = trace_requests(requests).column("resource_spans")
    resource = resources.flatten()
    scopes = resource.field("scope_spans")
    scope = scopes.flatten()
    spans = scope.field("spans")
    span = spans.flatten()
    scope_row = parents(spans)
    resource_row = parents(scopes)[scope_row]
    columns = _core(span, arrival_ms) | _scope(scope.field("scope"), scope_row)
    columns["events"], columns["links"] = _events(span.field("events")), _links(span.field("links"))
    columns["rest"] = pivot(span.field("attributes"), "s", columns)
    columns["rrest"] = resource_columns(resource.field("resource").field("attributes"), resource_row, columns)
    names = [*CORE.names, *(name for name in columns if name not in CORE.names)]
    table = pa.table({name: columns[name] for name in names})
    trace, here = columns["tid_hi"].to_numpy() | columns["tid_lo"].to_numpy(), columns["span_id"].to_numpy()
    return Flat(table, parents(resources)[resource_row], np.logical_and(trace, here))


def _core(span: Structs, arrival_ms: int) -> dict[str, Any]:
    trace_id = span.field("trace_id")
    start, end = _times(span.field("start_time_unix_nano")), _times(span.field("end_time_unix_nano"))
    status = span.field("status")
    return {
        "tid_hi": pa.array(big_endian(trace_id, 16, 0)),
        "tid_lo": pa.array(big_endian(trace_id, 16, 8)),
        "span_id": pa.array(big_endian(span.field("span_id"), 8, 0)),
        "parent_id": pa.array(big_endian(span.field("parent_span_id"), 8, 0)),
        "start_ns": pa.array(start),
        "dur_ns": pa.array(end - start),
        "arrival_ms": pa.array(np.full(len(span), arrival_ms, np.int64)),
        "name": span.field("name"),
        "kind": _known(span.field("kind"), KINDS),
        "status": _known(status.field("code").fill_null(_UNSET), STATUSES),
        "status_msg": _text(status, "message"),
    }


def _times(column: Any) -> Ints:
    times: Ints = np.minimum(column.to_numpy().view(np.uint64), LATEST_NS).astype(np.int64)
    return times


def _known(column: Any, count: int) -> Any:
    """Numbers of an enumeration."""
    numbers = column.to_numpy()
    return pa.array(np.where((numbers >= 0) & (numbers < count), numbers, 0).astype(np.int8))


def _scope(scope: Structs, rows: Ints) -> dict[str, Any]:
    taken = pa.array(rows)
    return {"scope": _text(scope, "name").take(taken), "scope_version": _text(scope, "version").take(taken)}


def _text(message: Structs, field: str) -> Texts:
    """A text field of an optional message; empty where the message is absent, as protobuf reads it."""
    return message.field(field).fill_null(jsontext.EMPTY)


def big_endian(column: Texts, width: int, offset: int) -> Ints:
    """Eight bytes of each value as a big-endian integer; 0 for a value that is not `width` bytes long.

    Args:
        width: the length that a value must have, in bytes.
        offset: where in the value the eight bytes start.
    """
    _, offsets, data = column.buffers()
    if not len(column) or data is None:
        return np.zeros(len(column), np.int64)
    starts = np.frombuffer(offsets, np.int32, len(column) + 1, column.offset * 4)
    sizes = np.diff(starts)
    whole = sizes == width
    octets = np.frombuffer(data, np.uint8)[starts[0] : starts[-1]]
    if not (whole | (sizes == 0)).all():
        octets = octets[np.repeat(whole, sizes)]
    found = np.zeros(len(column), np.int64)
    halves = np.ascontiguousarray(octets.reshape(-1, width)[:, offset : offset + 8])
    found[whole] = halves.view(">u8").ravel().astype(np.uint64).view(np.int64)
    return found


def _events(lists: Lists) -> Texts:
    event = lists.flatten()
    if not len(event):
        return pa.nulls(len(lists), pa.string())
    names, attributes = jsontext.quoted(event.field("name")), jsontext.objects(event.field("attributes"))
    times = event.field("time_unix_nano").cast(pa.string())
    texts = jsontext.spliced('{"name":', names, ',"time_ns":', times, ',"attributes":', attributes, "}")
    return jsontext.arrays_of(texts, np.diff(lists.offsets.to_numpy()))


def _links(lists: Lists) -> Texts:
    link = lists.flatten()
    if not len(link):
        return pa.nulls(len(lists), pa.string())
    ids = [pa.array([raw.hex() for raw in link.field(f).to_pylist()], pa.string()) for f in ("trace_id", "span_id")]
    attributes = jsontext.objects(link.field("attributes"))
    texts = jsontext.spliced('{"trace_id":"', ids[0], '","span_id":"', ids[1], '","attributes":', attributes, "}")
    return jsontext.arrays_of(texts, np.diff(lists.offsets.to_numpy()))
