"""Trace requests made as fast as they can be sent: serialised once, then overwritten with fresh ids, times and texts.

Every request is its seed and its number: who knows both knows its span ids, so a checker needs no list of them.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stackctl import semconv

SPANS_PER_TRACE: Final = 8
TRACES_PER_REQUEST: Final = 64
SPANS_PER_REQUEST: Final = SPANS_PER_TRACE * TRACES_PER_REQUEST
CALLS_PER_REQUEST: Final = 5 * TRACES_PER_REQUEST  # spans of a trace that are inference calls, see _OPERATIONS

Bytes = npt.NDArray[np.uint8]
_OPERATIONS: Final = ("request", "retrieval", "embeddings", "chat", "execute_tool", "chat", "chat", "chat")
_MODELS: Final = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1-nano", "o3-mini", "gpt-4.1")
_SERVICES: Final = ("chat-api", "rag-worker", "support-bot")
# Random text of each span that redaction keeps: key to characters. With the numeric columns more than 500 bytes a span.
_ID_TEXTS: Final = {
    semconv.RESPONSE_ID: 176,
    semconv.CONVERSATION_ID: 176,
    semconv.SESSION_ID: 64,
    semconv.USER_ID: 64,
}
_CONTENT: Final = "What the application says to the model, and what redaction drops. " * 4
# Dozens of frames of the log and row groups of a segment.
_POOL_CHARACTERS: Final = 32 * 1024**2
_ROUND_SHIFT: Final = 1009  # characters; a prime, and no text's length divides it
# Hexadecimal digits: two for every byte, so that random bytes become text by one look-up.
_HEX: Final = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint16)


@dataclass
class _Layout:
    """Offsets within the bytes of one trace's spans."""

    trace_ids: list[int] = field(default_factory=list)
    span_ids: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    texts: list[tuple[int, int]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    seconds: list[int] = field(default_factory=list)


class Template:
    """One serialised request whose variable bytes have known places.

    Args:
        model: model of its calls.
        service: name of the application that it pretends to come from.
    """

    def __init__(self, model: str, service: str) -> None:
        self._layout = _Layout()
        spans = b"".join(self._span(number, model) for number in range(SPANS_PER_TRACE))
        self._locate(spans)
        envelope = _envelope(service, len(spans) * TRACES_PER_REQUEST)
        self._request = np.frombuffer(envelope + spans * TRACES_PER_REQUEST, np.uint8).copy()
        # A row per trace. Every variable byte is written anew for each request, the others stand.
        self._block = self._request[len(envelope) :].reshape(TRACES_PER_REQUEST, len(spans))
        self.text_size = TRACES_PER_REQUEST * sum(size for _, size in self._layout.texts)

    def fill(self, rng: np.random.Generator, ids: Bytes, text: Bytes, now_ns: int) -> bytes:
        """Return a request with fresh bytes everywhere.

        Args:
            rng: source of durations and token counts.
            ids: per trace 16 bytes of trace id and 8 per span (`RequestSource.ids`).
            text: `text_size` characters for the texts.
            now_ns: unix nanoseconds about which its spans end.
        """
        layout, rows, block = self._layout, TRACES_PER_REQUEST, self._block
        for number in range(SPANS_PER_TRACE):
            _put(block, layout.trace_ids[number], ids[:, :16])
            _put(block, layout.span_ids[number], ids[:, 16 + 8 * number : 24 + 8 * number])
        for at in layout.parents:
            _put(block, at, ids[:, 16:24])
        durations = (rng.lognormal(0.0, 0.8, (rows, SPANS_PER_TRACE)) * 5e8).astype(np.int64)
        starts = now_ns - durations - rng.integers(0, 10**7, (rows, SPANS_PER_TRACE))
        for at, column in zip(layout.starts, starts.T, strict=True):
            _put(block, at, octets(column))
        for at, column in zip(layout.ends, (starts + durations).T, strict=True):
            _put(block, at, octets(column))
        for at in layout.seconds:
            _put(block, at, octets(rng.lognormal(-1.0, 0.5, rows)))
        self._fill_tokens(block, rng)
        self._fill_texts(block, text)
        return self._request.tobytes()

    def _fill_tokens(self, block: Bytes, rng: np.random.Generator) -> None:
        places = self._layout.tokens
        counts = rng.integers(128, 8192, (len(places), len(block)))  # two bytes as a protobuf varint
        varints = np.stack([counts & 0x7F | 0x80, counts >> 7], axis=2).astype(np.uint8)
        for at, column in zip(places, varints, strict=True):
            _put(block, at, column)

    def _fill_texts(self, block: Bytes, text: Bytes) -> None:
        rows = text.reshape(len(block), -1)
        cursor = 0
        for at, size in self._layout.texts:
            block[:, at : at + size] = rows[:, cursor : cursor + size]
            cursor += size

    @staticmethod
    def _span(number: int, model: str) -> bytes:
        """One span, framed as an element of ScopeSpans.spans, with markers where bytes change."""
        from opentelemetry.proto.trace.v1.trace_pb2 import ScopeSpans, Span

        operation = _OPERATIONS[number]
        span = Span(
            trace_id=_marker("trace", number, 16),
            span_id=_marker("span", number, 8),
            parent_span_id=_marker("parent", number, 8) if number else b"",
            name=f"{operation} {model}" if operation in semconv.INFERENCE_OPERATIONS else operation,
            kind=Span.SPAN_KIND_CLIENT if number else Span.SPAN_KIND_SERVER,
            start_time_unix_nano=int.from_bytes(_marker("start", number, 8), "little"),
            end_time_unix_nano=int.from_bytes(_marker("end", number, 8), "little"),
        )
        for key, value in _attributes(number, operation, model).items():
            add_attribute(span.attributes, key, value)
        return bytes(ScopeSpans(spans=[span]).SerializeToString())

    def _locate(self, spans: bytes) -> None:
        """Find the markers."""
        layout = self._layout
        for number in range(SPANS_PER_TRACE):
            layout.trace_ids.append(spans.index(_marker("trace", number, 16)))
            layout.span_ids.append(spans.index(_marker("span", number, 8)))
            layout.starts.append(spans.index(_marker("start", number, 8)))
            layout.ends.append(spans.index(_marker("end", number, 8)))
            if number:
                layout.parents.append(spans.index(_marker("parent", number, 8)))
            for key, size in _ID_TEXTS.items():
                layout.texts.append((spans.index(_text_marker(key, number, size).encode()), size))
        for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS):
            layout.tokens += [at + 3 for at in _ends_of(spans, key.encode())]  # AnyValue field, its length, int_value
        layout.seconds += [at + 3 for at in _ends_of(spans, semconv.TIME_TO_FIRST_CHUNK.encode())]


class RequestSource:
    """Requests by number, the same for the same seed.

    Args:
        seed: makes the ids of two sources differ.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed

    @cached_property
    def _templates(self) -> list[Template]:
        return [Template(model, _SERVICES[n % len(_SERVICES)]) for n, model in enumerate(_MODELS)]

    @cached_property
    def _pool(self) -> Bytes:
        """Random hexadecimal digits, so many that what repeats is further apart than any compressor looks back."""
        random = np.frombuffer(np.random.default_rng([self._seed]).bytes(_POOL_CHARACTERS // 2), np.uint8)
        return _HEX[random].view(np.uint8)

    def make(self, number: int, clock_ns: Callable[[], int] = time.time_ns) -> bytes:
        """Serialise request `number`."""
        rng = np.random.default_rng([self._seed, number, 1])
        template = self._templates[number % len(_MODELS)]
        return template.fill(rng, self.ids(number), self._text(number, template.text_size), clock_ns())

    def _text(self, number: int, size: int) -> Bytes:
        """The pool's next characters; each time around begins elsewhere, so that no text comes twice."""
        rounds, turn = divmod(number, len(self._pool) // size - 1)
        start = turn * size + rounds * _ROUND_SHIFT % size
        return self._pool[start : start + size]

    def ids(self, number: int) -> Bytes:
        """Random ids of request `number`: a row per trace, 16 bytes of its id, then 8 for each of its spans."""
        size = 16 + 8 * SPANS_PER_TRACE
        random = np.random.default_rng([self._seed, number]).bytes(TRACES_PER_REQUEST * size)
        return np.frombuffer(random, np.uint8).reshape(TRACES_PER_REQUEST, size)

    def span_keys(self, number: int) -> npt.NDArray[np.int64]:
        """(trace id high half, span id) of every span of request `number`, as the store writes them."""
        ids = self.ids(number)
        halves = np.ascontiguousarray(ids).view(">u8").astype(np.uint64).view(np.int64)
        high = np.repeat(halves[:, 0], SPANS_PER_TRACE)
        return np.stack([high, halves[:, 2:].ravel()], axis=1)


def _attributes(number: int, operation: str, model: str) -> dict[str, Any]:
    """Attributes of a span: what its operation has, then ids that redaction keeps and content that it drops."""
    texts = {key: _text_marker(key, number, size) for key, size in _ID_TEXTS.items()}
    common = {semconv.OPERATION: operation, **texts}
    if operation not in semconv.INFERENCE_OPERATIONS:
        return {**common, semconv.RETRIEVAL_QUERY: _CONTENT, semconv.RETRIEVED_DOCUMENTS: 4}
    return {
        **common,
        semconv.PROVIDER: "openai",
        semconv.REQUEST_MODEL: model,
        semconv.RESPONSE_MODEL: model,
        semconv.SERVER_ADDRESS: "api.openai.com",
        semconv.SERVER_PORT: 443,
        semconv.STREAM: True,
        semconv.FINISH_REASONS: ("stop",),
        semconv.INPUT_TOKENS: 128,
        semconv.OUTPUT_TOKENS: 128,
        semconv.TIME_TO_FIRST_CHUNK: 0.5,
        semconv.INPUT_MESSAGES: _CONTENT,
    }


def _envelope(service: str, spans_size: int) -> bytes:
    """Everything before the spans: a resource and a scope, with lengths that count the spans in."""
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

    resource = Resource()
    for key, value in {
        semconv.SERVICE_NAME: service,
        semconv.DEPLOYMENT_ENVIRONMENT: "bench",
        "telemetry.sdk.language": "python",
        "host.name": "bench",
    }.items():
        add_attribute(resource.attributes, key, value)
    scope = ScopeSpans(scope=InstrumentationScope(name="stackctl.bench", version="1")).SerializeToString()
    head = ResourceSpans(resource=resource).SerializeToString()
    inner = b"\x12" + _varint(len(scope) + spans_size) + scope  # ResourceSpans.scope_spans
    return b"\x0a" + _varint(len(head) + len(inner) + spans_size) + head + inner  # request.resource_spans


def add_attribute(attributes: Any, key: str, value: Any) -> None:
    """Add one to the attributes of an OTLP message.

    Args:
        value: of a scalar type, or a sequence of texts.
    """
    pair = attributes.add()
    pair.key = key
    match value:
        case bool():
            pair.value.bool_value = value
        case int():
            pair.value.int_value = value
        case float():
            pair.value.double_value = value
        case str():
            pair.value.string_value = value
        case _:
            for item in value:
                pair.value.array_value.values.add().string_value = item


def _marker(kind: str, number: int, size: int) -> bytes:
    """Bytes that stand nowhere else in a template."""
    return f"@{kind[0]}{kind[-1]}{number}".encode().ljust(size, b"\x7f")


def _text_marker(key: str, number: int, size: int) -> str:
    return f"<{number}:{key}>".ljust(size, "~")


def _ends_of(data: bytes, key: bytes) -> list[int]:
    """Offsets right after each occurrence of a key that is followed by its value."""
    found, at = [], data.find(key + b"\x12")
    while at >= 0:
        found.append(at + len(key))
        at = data.find(key + b"\x12", at + 1)
    return found


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def octets(column: npt.NDArray[Any]) -> Bytes:
    """A column of 8-byte numbers as rows of their bytes, little-endian."""
    return np.ascontiguousarray(column).view(np.uint8).reshape(len(column), struct.calcsize("<q"))


def _put(block: Bytes, at: int, octets: Bytes) -> None:
    block[:, at : at + octets.shape[1]] = octets
