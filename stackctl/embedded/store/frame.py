"""One frame: everything that one group commit made durable.

magic 4 | payload length u32 | crc32 u32 of (sequence, payload) | sequence u64        all little-endian
payload: arrival_ms i64 | span rows u32 | evaluation rows u32 | four section lengths u32 x 4 | sections
sections: request digests (16 bytes each) | spans (Arrow IPC stream) | evaluations (Arrow IPC stream) | increments
"""

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import pyarrow as pa

from stackctl.embedded.store.layout import EVALUATIONS, SPANS

MAGIC: Final = b"SCF1"
HEAD: Final = struct.Struct("<4sIIQ")
_BODY: Final = struct.Struct("<qII4I")
DIGEST_BYTES: Final = 16
_SECTIONS: Final = {SPANS: 1, EVALUATIONS: 2}
# The disk is slower than zstd: ids in hex alone shrink by half. A few rows would only pay for it.
_COMPRESSED: Final = pa.ipc.IpcWriteOptions(compression=pa.Codec("zstd", compression_level=1))
_COMPRESSED_ROWS: Final = 64
# Refuses a length that only damage can have produced, before reading that much.
MAX_PAYLOAD: Final = 1 << 30


@dataclass(frozen=True)
class Frame:
    """The content of one group commit.

    Attributes:
        arrival_ms: when its requests arrived, unix milliseconds.
        digests: one per request; a request whose digest is known was stored before.
        spans: redacted span table, None where the group had none.
        evaluations: redacted evaluation table, None where the group had none.
        increments: what the frame adds to the span-derived series (`series.Increments.to_bytes`).
    """

    arrival_ms: int
    digests: tuple[bytes, ...] = ()
    spans: pa.Table | None = None
    evaluations: pa.Table | None = None
    increments: bytes = b""


@dataclass(frozen=True)
class StoredFrame:
    """A frame as it lies in a log file; tables are decoded when asked for.

    Attributes:
        seq: sequence number.
        end: offset of the byte after it in its file.
        arrival_ms: when its requests arrived, unix milliseconds.
        span_rows: number of spans.
        evaluation_rows: number of evaluations.
        sections: digests, spans, evaluations, increments as bytes-like views.
    """

    seq: int
    end: int
    arrival_ms: int
    span_rows: int
    evaluation_rows: int
    sections: tuple[memoryview, ...] = field(repr=False)

    @property
    def digests(self) -> tuple[bytes, ...]:
        """Digests of the requests it came from."""
        raw = bytes(self.sections[0])
        return tuple(raw[at : at + DIGEST_BYTES] for at in range(0, len(raw), DIGEST_BYTES))

    @property
    def increments(self) -> bytes:
        """What it adds to the span-derived series."""
        return bytes(self.sections[3])

    def spans(self) -> pa.Table | None:
        """Its spans, None where it has none."""
        return self.table(SPANS) if self.span_rows else None

    def evaluations(self) -> pa.Table | None:
        """Its evaluations, None where it has none."""
        return self.table(EVALUATIONS) if self.evaluation_rows else None

    def schema(self, kind: str) -> pa.Schema | None:
        """Columns of its spans or evaluations, without decoding them; None where it has none."""
        section = self.sections[_SECTIONS[kind]]
        return pa.ipc.open_stream(pa.py_buffer(section)).schema if section else None

    def table(self, kind: str) -> pa.Table:
        """Its spans or evaluations, which it must have."""
        return pa.ipc.open_stream(pa.py_buffer(self.sections[_SECTIONS[kind]])).read_all()


@dataclass(frozen=True)
class Gap:
    """Bytes in a log file that are no whole frame: a torn tail, or damage between frames.

    Attributes:
        start: offset of its first byte.
        end: offset of the byte after it.
    """

    start: int
    end: int


def encode(frame: Frame, seq: int) -> list[bytes | memoryview]:
    """Return a frame as buffers for one gathered write."""
    sections = (b"".join(frame.digests), _write_table(frame.spans), _write_table(frame.evaluations), frame.increments)
    rows = [0 if table is None else table.num_rows for table in (frame.spans, frame.evaluations)]
    body = _BODY.pack(frame.arrival_ms, *rows, *(len(section) for section in sections))
    crc = zlib.crc32(body, zlib.crc32(seq.to_bytes(8, "little")))
    for section in sections:
        crc = zlib.crc32(section, crc)
    length = len(body) + sum(len(section) for section in sections)
    return [HEAD.pack(MAGIC, length, crc, seq) + body, *sections]


def scan(data: memoryview, start: int = 0) -> Iterator[StoredFrame | Gap]:
    """Walk the frames of a log file's bytes; what is no whole frame comes as a `Gap`.

    After damage the walk goes on at the next place where a whole frame stands, so one bad sector costs its frame only.
    """
    at = start
    while at < len(data):
        frame = _frame_at(data, at)
        if frame is None:
            resume = _next_frame(data, at + 1)
            yield Gap(at, resume)
            at = resume
        else:
            yield frame
            at = frame.end


def _frame_at(data: memoryview, at: int) -> StoredFrame | None:
    """The whole, undamaged frame at an offset, or None."""
    if len(data) - at < HEAD.size:
        return None
    magic, length, crc, seq = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    if magic != MAGIC or not _BODY.size <= length <= MAX_PAYLOAD or end > len(data):
        return None
    payload = data[at + HEAD.size : end]
    if zlib.crc32(payload, zlib.crc32(seq.to_bytes(8, "little"))) != crc:
        return None
    arrival_ms, span_rows, evaluation_rows, *lengths = _BODY.unpack_from(payload)
    if _BODY.size + sum(lengths) != length:
        return None
    sections, offset = [], _BODY.size
    for size in lengths:
        sections.append(payload[offset : offset + size])
        offset += size
    return StoredFrame(seq, end, arrival_ms, span_rows, evaluation_rows, tuple(sections))


def _next_frame(data: memoryview, start: int) -> int:
    """Offset of the next whole frame, or the end of the data."""
    raw = bytes(data[start:])
    found = raw.find(MAGIC)
    while found >= 0:
        if _frame_at(data, start + found) is not None:
            return start + found
        found = raw.find(MAGIC, found + 1)
    return len(data)


def _write_table(table: pa.Table | None) -> bytes | memoryview:
    if table is None or not table.num_rows:
        return b""
    sink = pa.BufferOutputStream()
    options = _COMPRESSED if table.num_rows >= _COMPRESSED_ROWS else None
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table.combine_chunks())
    return memoryview(sink.getvalue())
