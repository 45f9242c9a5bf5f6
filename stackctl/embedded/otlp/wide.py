"""OTLP trace requests to one wide Arrow table, without a Python object per span (ptars decodes in Rust)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.arrays import Arrays, Coded
from stackctl.embedded.otlp import jsontext, message
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints, parents
from stackctl.embedded.otlp.layouts import Reading
from stackctl.embedded.otlp.resources import resource_columns, scope_columns
from stackctl.embedded.otlp.shape import KINDS, LATEST_NS, STATUSES, Lists, Reads, Structs, Texts, all_are_read
from stackctl.embedded.otlp.signals import Serialised

_UNSET = pa.scalar(0, pa.int32())
# Numbers of enumerations, the first for any that is beyond or below.
_KINDS: Final = np.array([*range(KINDS), 0], np.int8)
_STATUSES: Final = np.array([*range(STATUSES), 0], np.int8)
# Columns of eight bytes, which are made as one.
_NUMBERS: Final = ("tid_hi", "tid_lo", "span_id", "parent_id", "start_ns", "dur_ns", "arrival_ms")


@dataclass(frozen=True)
class Flat:
    """Decoded spans and where they came from.

    Attributes:
        arrays: columns of `shape.CORE` and one per attribute.
        request: tells of some spans which of the requests each came with; seldom asked.
        valid: for each span, whether its ids have the lengths that OTLP demands and are not zero.
    """

    arrays: Arrays
    request: Callable[[Ints], Ints]
    valid: npt.NDArray[np.bool_]


def flatten(requests: Sequence[Serialised], arrival_ms: int, reads: Reads = all_are_read) -> Flat:
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
    known: dict[str, Coded] = {}
    of_scopes, names = scope_columns(scope.field("scope"), scope_row, known)
    columns = _core(span, arrival_ms) | of_scopes
    columns["events"], columns["links"] = _events(span.field("events")), _links(span.field("links"))
    columns["rest"] = pivot(span.field("attributes"), "s", attributes, reading=Reading(reads, names))
    columns["rrest"] = resource_columns(resource.field("resource"), resource_row, attributes, known)
    trace, here = columns["tid_hi"].to_numpy() | columns["tid_lo"].to_numpy(), columns["span_id"].to_numpy()
    arrays = Arrays(columns | attributes, len(span), known)
    return Flat(arrays, lambda spans: parents(resources)[resource_row[spans]], np.logical_and(trace, here))


def _core(span: Structs, arrival_ms: int) -> dict[str, Any]:
    rows = len(span)
    numbers = np.empty((len(_NUMBERS), rows), np.int64)
    _big_endian(span.field("trace_id"), numbers[:2])
    _big_endian(span.field("span_id"), numbers[2:3])
    _big_endian(span.field("parent_span_id"), numbers[3:4])
    for row, field in ((4, "start_time_unix_nano"), (5, "end_time_unix_nano")):
        np.minimum(span.field(field).to_numpy().view(np.uint64), LATEST_NS, out=numbers[row].view(np.uint64))
    numbers[5] -= numbers[4]
    numbers[6] = arrival_ms
    every = pa.array(numbers.ravel())
    status = span.field("status")
    return {name: every.slice(row * rows, rows) for row, name in enumerate(_NUMBERS)} | {
        "name": span.field("name"),
        "kind": _known(span.field("kind"), _KINDS),
        "status": _known(_filled(status.field("code"), _UNSET), _STATUSES),
        "status_msg": _filled(status.field("message"), jsontext.EMPTY),
    }


def _known(column: Any, meanings: npt.NDArray[np.int8]) -> Any:
    """Numbers of an enumeration."""
    return pa.array(meanings.take(column.to_numpy(), mode="clip"))


def _filled(column: Any, default: Any) -> Any:
    """A field of an optional message, with what protobuf reads where the message is absent."""
    return column.fill_null(default) if column.null_count else column


def _big_endian(column: Texts, found: Ints) -> None:
    """Read ids as big-endian integers of eight bytes, one for each row of `found`; zeros for one of another length.

    Args:
        column: ids.
        found: gets the integers, a column for each value.
    """
    words, count = found.shape
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32, count + 1, column.offset * 4)
    octets = np.frombuffer(data or b"", np.uint8)[bounds[0] : bounds[-1]]
    sizes = bounds[1:] - bounds[:-1]
    whole = sizes == 8 * words
    known = np.count_nonzero(whole)
    if 8 * words * known != len(octets):  # not where others are empty, as the parent of a root is
        octets = octets[whole.repeat(sizes)]
    integers = octets.view(">i8").reshape(-1, words).T
    if known == count:
        found[:] = integers
    else:
        found[:], found[:, whole] = 0, integers


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
