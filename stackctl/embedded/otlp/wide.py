"""OTLP trace requests to one wide Arrow table, without a Python object per span (ptars decodes in Rust)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.otlp import jsontext, message
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints, parents
from stackctl.embedded.otlp.resources import resource_columns, scope_columns
from stackctl.embedded.otlp.shape import KINDS, LATEST_NS, STATUSES, Lists, Reads, Structs, Texts, all_are_read

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


def flatten(requests: Sequence[bytes], arrival_ms: int, reads: Reads = all_are_read) -> Flat:
    """Decode requests together; arguments as of `decode.gathered_spans`.

    Raises:
        ValueError: one of them is no ExportTraceServiceRequest (which one is not known); Panicked, a kind of it.
        DecodeError: the same, seen in a nested value.
    """
    # Lists as they were decoded have all that is in `values`, which is had in a tenth of the time of `flatten`.
    resources = message.trace_requests(requests).column("resource_spans")
    resource = resources.values
    scopes = resource.field("scope_spans")
    scope = scopes.values
    spans = scope.field("spans")
    span = spans.values
    scope_row = parents(spans)
    resource_row = parents(scopes)[scope_row]
    attributes: dict[str, Any] = {}
    of_scopes, scopes = scope_columns(scope.field("scope"), scope_row)
    columns = _core(span, arrival_ms) | of_scopes
    columns["events"], columns["links"] = _events(span.field("events")), _links(span.field("links"))
    columns["rest"] = pivot(span.field("attributes"), "s", attributes, reads=lambda key: reads(key, scopes))
    columns["rrest"] = resource_columns(resource.field("resource"), resource_row, attributes)
    table = pa.table(columns | attributes)
    trace, here = columns["tid_hi"].to_numpy() | columns["tid_lo"].to_numpy(), columns["span_id"].to_numpy()
    return Flat(table, parents(resources)[resource_row], np.logical_and(trace, here))


def _core(span: Structs, arrival_ms: int) -> dict[str, Any]:
    trace_id = big_endian(span.field("trace_id"), 16)
    start, end = _times(span.field("start_time_unix_nano")), _times(span.field("end_time_unix_nano"))
    status = span.field("status")
    return {
        "tid_hi": pa.array(trace_id[0]),
        "tid_lo": pa.array(trace_id[1]),
        "span_id": pa.array(big_endian(span.field("span_id"), 8)[0]),
        "parent_id": pa.array(big_endian(span.field("parent_span_id"), 8)[0]),
        "start_ns": pa.array(start),
        "dur_ns": pa.array(end - start),
        "arrival_ms": pa.array(np.full(len(span), arrival_ms, np.int64)),
        "name": span.field("name"),
        "kind": _known(span.field("kind"), KINDS),
        "status": _known(_filled(status.field("code"), _UNSET), STATUSES),
        "status_msg": _filled(status.field("message"), jsontext.EMPTY),
    }


def _times(column: Any) -> Ints:
    times: Ints = np.minimum(column.to_numpy().view(np.uint64), LATEST_NS).view(np.int64)
    return times


def _known(column: Any, count: int) -> Any:
    """Numbers of an enumeration."""
    numbers = column.to_numpy().view(np.uint32)  # in which one below zero is large
    return pa.array((numbers * (numbers < count)).astype(np.int8))


def _filled(column: Any, default: Any) -> Any:
    """A field of an optional message, with what protobuf reads where the message is absent."""
    return column.fill_null(default) if column.null_count else column


def big_endian(column: Texts, width: int) -> Ints:
    """Each value as big-endian integers of eight bytes, a column for each; zeros for a value of another length.

    Args:
        width: the length that a value must have, in bytes.
    """
    count, words = len(column), width // 8
    _, offsets, data = column.buffers()
    if not count or data is None:
        return np.zeros((words, count), np.int64)
    bounds = np.frombuffer(offsets, np.int32, count + 1, column.offset * 4)
    sizes = bounds[1:] - bounds[:-1]
    whole = sizes == width
    octets = np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]]
    if whole.all():
        return octets.view(">i8").reshape(-1, words).T.astype(np.int64, order="C")
    found = np.zeros((words, count), np.int64)
    found[:, whole] = octets[np.repeat(whole, sizes)].view(">i8").reshape(-1, words).T
    return found


def _events(serialised: Lists) -> Texts:
    if not len(serialised.values):
        return pa.nulls(len(serialised), pa.string())
    event = message.events(serialised.values.to_pylist())
    names, attributes = jsontext.quoted(event.column("name")), jsontext.objects(event.column("attributes"))
    times = event.column("time_unix_nano").cast(pa.string())
    texts = jsontext.spliced('{"name":', names, ',"time_ns":', times, ',"attributes":', attributes, "}")
    return jsontext.arrays_of(texts, np.diff(serialised.offsets.to_numpy()))


def _links(serialised: Lists) -> Texts:
    if not len(serialised.values):
        return pa.nulls(len(serialised), pa.string())
    link = message.links(serialised.values.to_pylist())
    ids = [pa.array([raw.hex() for raw in link.column(f).to_pylist()], pa.string()) for f in ("trace_id", "span_id")]
    attributes = jsontext.objects(link.column("attributes"))
    texts = jsontext.spliced('{"trace_id":"', ids[0], '","span_id":"', ids[1], '","attributes":', attributes, "}")
    return jsontext.arrays_of(texts, np.diff(serialised.offsets.to_numpy()))
