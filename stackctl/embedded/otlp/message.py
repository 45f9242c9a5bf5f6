"""Trace requests as ptars decodes them: OTLP's messages without what is not stored, attributes left serialised.

Most of a request is attributes. As messages each would become a row of seven columns, of which six are null; as bytes
they cost a fifth, and `attributes` reads them column by column. Resources and scopes come again and again with the same
bytes: they are kept as such too, and decoded apart (`resources`). So are events and links, which most batches have none
of: for each of their fields ptars would make a column, and Arrow pass it on.
"""

from collections.abc import Sequence
from functools import cache
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from stackctl.embedded.otlp.signals import Serialised

_PACKAGE: Final = "stackctl.otlp"
# What is decoded of each message. A field whose message is not among them (KeyValue) is kept as its bytes.
_FIELDS: Final[dict[type[Message], tuple[str, ...]]] = {
    ExportTraceServiceRequest: ("resource_spans",),
    ResourceSpans: ("resource", "scope_spans"),
    Resource: ("attributes",),
    ScopeSpans: ("scope", "spans"),
    InstrumentationScope: ("name", "version"),
    Span: (
        *("trace_id", "span_id", "parent_span_id", "name", "kind", "start_time_unix_nano", "end_time_unix_nano"),
        *("attributes", "events", "links", "status"),
    ),
    Span.Event: ("time_unix_nano", "name", "attributes"),
    Span.Link: ("trace_id", "span_id", "attributes"),
    Status: ("message", "code"),
}
# Kept as their bytes: as a list, since protobuf takes a message that comes in pieces, and joined they are the whole.
_APART: Final = (Resource, InstrumentationScope, Span.Event, Span.Link)


class Panicked(ValueError):
    """The decoder met bytes that it has no answer for: whether they are a message must be asked elsewhere."""


def trace_requests(requests: Sequence[Serialised]) -> Any:
    """Decode trace requests into one record batch.

    Raises:
        ValueError: one of them is none (which one is not known); Panicked, a kind of it.
    """
    return _decoded(ExportTraceServiceRequest, requests)


def resources(serialised: Sequence[Serialised]) -> Any:
    """Decode resources into one record batch; raises as `trace_requests`."""
    return _decoded(Resource, serialised)


def scopes(serialised: Sequence[Serialised]) -> Any:
    """Decode instrumentation scopes into one record batch; raises as `trace_requests`."""
    return _decoded(InstrumentationScope, serialised)


def events(serialised: Sequence[Serialised]) -> Any:
    """Decode events of spans into one record batch; raises as `trace_requests`."""
    return _decoded(Span.Event, serialised)


def links(serialised: Sequence[Serialised]) -> Any:
    """Decode links of spans into one record batch; raises as `trace_requests`."""
    return _decoded(Span.Link, serialised)


def _decoded(message: type[Message], serialised: Sequence[Serialised]) -> Any:
    try:
        return _handler(message.DESCRIPTOR.name).array_to_record_batch(_array(serialised))
    except BaseException as error:
        # A panic of Rust is no Exception and has no class that could be imported. Its handler may be half done.
        if type(error).__name__ != "PanicException":
            raise
        _handler.cache_clear()
    raise Panicked("the decoder panicked")


def _array(serialised: Sequence[Serialised]) -> Any:
    """Messages as one Arrow array; those that lie behind one another in memory, as a worker's do, are not copied."""
    sizes = list(map(len, serialised))
    ends = np.fromiter(accumulate(sizes, initial=0), np.int32, len(sizes) + 1)
    pieces = map(pa.py_buffer, serialised)
    if serialised and all(one.address + one.size == following.address for one, following in pairwise(pieces)):
        data = pa.foreign_buffer(pa.py_buffer(serialised[0]).address, int(ends[-1]), serialised)
    else:
        data = pa.py_buffer(b"".join(serialised))
    return pa.Array.from_buffers(pa.binary(), len(sizes), [None, pa.py_buffer(ends.data), data])


@cache
def _handler(name: str) -> Any:
    """The decoder of the message of a name; building one takes milliseconds, so it is kept."""
    from ptars import HandlerPool

    file = _trimmed()
    return HandlerPool([file]).get_for_message(file.message_types_by_name[name])


def _trimmed() -> FileDescriptor:
    """OTLP's own descriptors with fewer fields."""
    file = FileDescriptorProto(name="stackctl/otlp.proto", package=_PACKAGE, syntax="proto3")
    for message, names in _FIELDS.items():
        whole = DescriptorProto()
        message.DESCRIPTOR.CopyToProto(whole)
        kept = [
            _field(field, message.DESCRIPTOR.fields_by_name[field.name].message_type)
            for field in whole.field
            if field.name in names
        ]
        file.message_type.add(name=whole.name).field.extend(kept)
    pool = DescriptorPool()
    pool.Add(file)
    return pool.FindFileByName(file.name)


def _field(field: FieldDescriptorProto, message: Any) -> FieldDescriptorProto:
    """A field that refers to nothing outside of the trimmed file."""
    kept = FieldDescriptorProto(name=field.name, number=field.number, label=field.label, type=field.type)
    if field.type == FieldDescriptorProto.TYPE_ENUM:
        kept.type = FieldDescriptorProto.TYPE_INT32
    elif message in [apart.DESCRIPTOR for apart in _APART]:
        kept.type, kept.label = FieldDescriptorProto.TYPE_BYTES, FieldDescriptorProto.LABEL_REPEATED
    elif message in [known.DESCRIPTOR for known in _FIELDS]:
        kept.type_name = f".{_PACKAGE}.{message.name}"
    elif message is not None:
        kept.type = FieldDescriptorProto.TYPE_BYTES
    return kept
