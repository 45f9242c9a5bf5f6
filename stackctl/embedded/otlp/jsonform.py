"""OTLP/JSON to protobuf, by the messages' own descriptors.

It differs from protobuf's own JSON mapping (https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding): ids are
hex, enums are integers, unknown keys are ignored. protobuf's `json_format` is five times slower and knows none of that.
What senders write by mistake and every other receiver takes is taken here too: enum names, and integers beside strings.
"""

import base64
import binascii
from functools import cache
from typing import Any

import orjson
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import EncodeError

from stackctl.embedded.otlp.signals import INVALID, TOO_LARGE, Refused, Signal

# Ten thousand spans of fifty attributes; each takes 200 bytes until it is in its message, whatever it took to write.
MOST_OBJECTS = 1_000_000
_HEX_FIELDS = frozenset({"trace_id", "span_id", "parent_span_id"})
_FLOATS = frozenset({FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT})
# What a value of the wrong type raises on its way into a message.
_WRONG = (ValueError, TypeError, AttributeError, KeyError, binascii.Error, EncodeError, RecursionError)


def to_protobuf(signal: Signal, body: bytes) -> bytes:
    """Return an OTLP/JSON request as a serialised protobuf request.

    Raises:
        Refused: no JSON, JSON that is no request of this signal, or of more objects and lists than one may have.
    """
    if len(body) > MOST_OBJECTS and body.count(b"{") + body.count(b"[") > MOST_OBJECTS:
        raise Refused(TOO_LARGE, f"the request has more than {MOST_OBJECTS} objects and lists; send smaller batches")
    try:
        raw = orjson.loads(body)
        if not isinstance(raw, dict):
            raise ValueError("not an object")
        message = signal.message("Request")()
        _fill(message, raw)
        return bytes(message.SerializeToString())
    except _WRONG as error:
        # The reason is not passed on: Python quotes the offending value, and that may be content.
        raise Refused(INVALID, f"not valid OTLP/JSON for {signal.path}") from error


def _fill(message: Any, raw: dict[str, Any]) -> None:
    fields = _fields(message.DESCRIPTOR)
    for key, value in raw.items():
        field = fields.get(key)
        if field is None or value is None:
            continue
        if field.is_repeated:
            _extend(getattr(message, field.name), field, value)
        elif field.message_type is not None:
            child = getattr(message, field.name)
            child.SetInParent()
            _fill(child, value)
        else:
            setattr(message, field.name, _scalar(field, value))


def _extend(items: Any, field: FieldDescriptor, values: list[Any]) -> None:
    if field.message_type is None:
        items.extend(_scalar(field, value) for value in values)
        return
    for value in values:
        _fill(items.add(), value)


def _scalar(field: FieldDescriptor, value: Any) -> Any:
    match field.cpp_type:
        case FieldDescriptor.CPPTYPE_STRING if field.type == FieldDescriptor.TYPE_BYTES:
            return bytes.fromhex(value) if field.name in _HEX_FIELDS else base64.b64decode(value, validate=True)
        case FieldDescriptor.CPPTYPE_STRING | FieldDescriptor.CPPTYPE_BOOL:
            return value
        case FieldDescriptor.CPPTYPE_ENUM:
            return _enum(field.enum_type, value)
        case cpp_type if cpp_type in _FLOATS:
            return float(value)
        case _:
            return _integer(value)


def _enum(kind: EnumDescriptor | None, value: Any) -> int:
    assert kind is not None, "an enum field has an enum type"
    return int(kind.values_by_name[value].number) if isinstance(value, str) else _integer(value)


def _integer(value: Any) -> int:
    number = int(value)
    if isinstance(value, (bool, list, dict)) or (number != float(value) and isinstance(value, float)):
        raise ValueError("not an integer")
    return number


@cache
def _fields(descriptor: Descriptor) -> dict[str, FieldDescriptor]:
    """Fields by their JSON name; by their protobuf name too, which some senders write."""
    return {name: field for field in descriptor.fields for name in (field.name, field.json_name)}
