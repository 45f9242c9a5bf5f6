"""Trace requests made as fast as they can be sent: serialised once, then overwritten with fresh ids, times and texts.

Every request is its seed and its number: who knows both knows its span ids, so a checker needs no list of them.
"""

import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

from stackctl import semconv

SPANS_PER_TRACE: Final = 8
TRACES_PER_REQUEST: Final = 64
SPANS_PER_REQUEST: Final = SPANS_PER_TRACE * TRACES_PER_REQUEST
_CALLS_PER_TRACE: Final = 5  # spans of a trace that are inference calls, see _OPERATIONS
CALLS_PER_REQUEST: Final = _CALLS_PER_TRACE * TRACES_PER_REQUEST

Bytes = npt.NDArray[np.uint8]
Words = npt.NDArray[np.int64]
_Row: TypeAlias = "np.dtype[np.void]"
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


# What is random in a trace beside its texts, as words of 8 bytes: two of the trace's id and one of each span's, then
# nanoseconds that each span began and ended before now, seconds until the first chunks, token counts as varints of two
# bytes.
_IDS: Final = 0
_TIMES: Final = _IDS + 2 + SPANS_PER_TRACE
_SECONDS: Final = _TIMES + 2 * SPANS_PER_TRACE
_TOKENS: Final = _SECONDS + _CALLS_PER_TRACE
_WORDS: Final = _TOKENS + -(-2 * _CALLS_PER_TRACE // 4)
_BATCH: Final = 16  # requests whose random parts are made at once


@dataclass
class _Copies:
    """Bytes that are copied from one row into another, all in one call: a call for each place would cost more.

    Attributes:
        sizes: of each piece.
        sources: its place in the row that it comes from.
        places: its place in the row that it goes into.
    """

    sizes: list[int] = field(default_factory=list)
    sources: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)

    def add(self, size: int, source: int, place: int) -> None:
        """Copy a piece too."""
        self.sizes.append(size)
        self.sources.append(source)
        self.places.append(place)

    def between(self, source_size: int, row_size: int) -> tuple[_Row, _Row]:
        """Types of both rows, an element of each piece: one array of them assigned to another copies all pieces."""
        kinds = [f"V{size}" for size in self.sizes]
        return _row(kinds, self.sources, source_size), _row(kinds, self.places, row_size)


def _row(kinds: list[str], offsets: list[int], size: int) -> _Row:
    names = [str(number) for number in range(len(kinds))]
    return np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": size})


class Template:
    """One serialised request whose variable bytes have known places.

    Args:
        model: model of its calls.
        service: name of the application that it pretends to come from.

    Attributes:
        text_size: characters of its texts.
    """

    def __init__(self, model: str, service: str) -> None:
        spans = b"".join(self._span(number, model) for number in range(SPANS_PER_TRACE))
        envelope = _envelope(service, len(spans) * TRACES_PER_REQUEST)
        self._request = np.frombuffer(envelope + spans * TRACES_PER_REQUEST, np.uint8)
        self._spans_at = len(envelope)
        texts = _text_places(spans)
        text_size = sum(texts.sizes)
        self._from_texts, self._into_texts = texts.between(text_size, len(spans))
        self._from_fresh, self._into_fresh = _fresh_places(spans).between(8 * _WORDS, len(spans))
        self.text_size = TRACES_PER_REQUEST * text_size

    def copy(self) -> Bytes:
        """Memory for a request. What does not vary stands in it."""
        return self._request.copy()

    def fill(self, body: Bytes, fresh: Words, text: Bytes) -> None:
        """Write everything anew that varies.

        Args:
            body: a `copy`, or what was filled before.
            fresh: a row per trace, its times those of the clock.
            text: `text_size` characters for the texts.
        """
        block = body[self._spans_at :]
        block.view(self._into_fresh)[:] = fresh.view(self._from_fresh)[:, 0]
        block.view(self._into_texts)[:] = text.view(self._from_texts)

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


def _text_places(spans: bytes) -> _Copies:
    """Where the texts of a trace's spans are."""
    found = _Copies()
    for number in range(SPANS_PER_TRACE):
        for key, size in _ID_TEXTS.items():
            found.add(size, sum(found.sizes), spans.index(_text_marker(key, number, size).encode()))
    return found


def _fresh_places(spans: bytes) -> _Copies:
    """Where a row of what is random in a trace goes in its spans."""
    found = _Copies()
    for number in range(SPANS_PER_TRACE):
        found.add(16, 8 * _IDS, spans.index(_marker("trace", number, 16)))
        found.add(8, 8 * (_IDS + 2 + number), spans.index(_marker("span", number, 8)))
        found.add(8, 8 * (_TIMES + number), spans.index(_marker("start", number, 8)))
        found.add(8, 8 * (_TIMES + SPANS_PER_TRACE + number), spans.index(_marker("end", number, 8)))
        if number:
            found.add(8, 8 * (_IDS + 2), spans.index(_marker("parent", number, 8)))
    # Behind a key: AnyValue's field, its length, the value's field.
    for number, at in enumerate(_ends_of(spans, semconv.TIME_TO_FIRST_CHUNK.encode())):
        found.add(8, 8 * (_SECONDS + number), at + 3)
    counts = [at for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS) for at in _ends_of(spans, key.encode())]
    for number, at in enumerate(counts):
        found.add(2, 8 * _TOKENS + 2 * number, at + 3)
    return found


class RequestSource:
    """Requests by number, the same for the same seed.

    Args:
        seed: makes the ids of two sources differ.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._free: list[list[Bytes]] = [[] for _ in _MODELS]
        self._batch: tuple[int, Words] = (-1, np.zeros((0, TRACES_PER_REQUEST, _WORDS), np.int64))

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
        lent = self.lend(number, clock_ns)
        made = lent.tobytes()
        self.give_back(number, lent)
        return made

    def lend(self, number: int, clock_ns: Callable[[], int] = time.time_ns) -> Bytes:
        """Serialise request `number` in memory that may be given back when nobody reads it any more."""
        template, free = self._templates[number % len(_MODELS)], self._free[number % len(_MODELS)]
        body = free.pop() if free else template.copy()
        fresh = self._fresh(number).copy()
        times = fresh[:, _TIMES:_SECONDS]
        np.subtract(clock_ns(), times, out=times)
        template.fill(body, fresh, self._text(number, template.text_size))
        return body

    def give_back(self, number: int, body: Bytes) -> None:
        """Let another request be made where request `number` was."""
        self._free[number % len(_MODELS)].append(body)

    def _text(self, number: int, size: int) -> Bytes:
        """The pool's next characters; each time around begins elsewhere, so that no text comes twice."""
        rounds, turn = divmod(number, len(self._pool) // size - 1)
        start = turn * size + rounds * _ROUND_SHIFT % size
        return self._pool[start : start + size]

    def _fresh(self, number: int) -> Words:
        """What is random in request `number`: a row per trace. It is made for many at once: each call has its cost."""
        batch, place = divmod(number, _BATCH)
        if self._batch[0] != batch:
            self._batch = batch, _random_words(np.random.default_rng([self._seed, batch]))
        found: Words = self._batch[1][place]
        return found

    def span_keys(self, number: int) -> npt.NDArray[np.int64]:
        """(trace id high half, span id) of every span of request `number`, as the store writes them."""
        ids = self._fresh(number)[:, _IDS:_TIMES].byteswap()  # they are written with the highest byte first
        high = np.repeat(ids[:, 0], SPANS_PER_TRACE)
        return np.stack([high, ids[:, 2:].ravel()], axis=1)


def _random_words(rng: np.random.Generator) -> Words:
    """What is random in `_BATCH` requests."""
    rows = (_BATCH, TRACES_PER_REQUEST)
    made = np.zeros((*rows, _WORDS), np.int64)
    made[:, :, _IDS:_TIMES] = rng.integers(-(2**63), 2**63, (*rows, _TIMES - _IDS))
    starts, ends = np.split(made[:, :, _TIMES:_SECONDS], 2, axis=2)
    ends[:] = rng.integers(0, 10**7, ends.shape, np.uint32)
    starts[:] = ends + (rng.lognormal(0.0, 0.8, ends.shape) * 5e8).astype(np.int64)
    made.view(np.float64)[:, :, _SECONDS:_TOKENS] = rng.lognormal(-1.0, 0.5, (*rows, _CALLS_PER_TRACE))
    counts = rng.integers(128, 8192, (*rows, 4 * (_WORDS - _TOKENS)), np.uint16)
    made.view(np.uint16)[:, :, 4 * _TOKENS :] = counts & 0x7F | 0x80 | counts << 1 & 0x7F00
    return made


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
