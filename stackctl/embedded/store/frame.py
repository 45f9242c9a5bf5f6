"""One frame: everything that one group commit made durable.

magic 4 | payload length u32 | check u32 of (sequence, payload) | sequence u64        all little-endian
check: XXH3 of 64 bits, its lower half; behind the magic of format 1, which is read but not written any more, crc32
payload: arrival_ms i64 | span rows u32 | evaluation rows u32 | four section lengths u32 x 4 | sections
sections: request digests (16 bytes each) | spans | evaluations | increments
tables: schema size u32 | its compressed size u32 | rows' size u64 | zstd of the schema | zstd of one record batch
"""

import mmap
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pickle import PickleBuffer
from typing import Final, Self

import pyarrow as pa
import xxhash

from stackctl.embedded.store.layout import EVALUATIONS, SPANS

MAGIC: Final = b"SCF2"
_MAGICS: Final = b"SCF"  # what both begin with
HEAD: Final = struct.Struct("<4sIIQ")
_CHECKED: Final = 12  # of a frame's bytes, those from the sequence number on
_HALF: Final = 2**32 - 1
_BODY: Final = struct.Struct("<qII4I")
DIGEST_BYTES: Final = 16
_SECTIONS: Final = {SPANS: 1, EVALUATIONS: 2}
# Tables are compressed as a whole: the disk is slower than zstd, and buffer by buffer, as Arrow does it, is slower too.
_TABLE: Final = struct.Struct("<IIQ")
# Refuses a length that only damage can have produced, before reading that much.
MAX_PAYLOAD: Final = 1 << 30
# Remembered: a frame has the columns of one lately before it, and to unpack them takes as long as its numbers do.
_SCHEMAS: Final = 16


@dataclass(frozen=True)
class Packed:
    """A table as it stands in a frame, made before the frame is.

    Attributes:
        num_rows: its rows.
        column_names: its columns, in order.
        section: its bytes.
    """

    num_rows: int
    column_names: tuple[str, ...]
    section: bytes = field(repr=False)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Pack a table."""
        return cls.received(table.num_rows, _write_table(table))

    @classmethod
    def received(cls, num_rows: int, section: bytes) -> Self:
        """Take a section as it came. Its names do not travel beside it: they are in it, and those of one lately."""
        return cls(num_rows, _names(*_schema_of(section)) if section else (), section)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        """Let a pickle leave the bytes out, for whoever sends them beside it."""
        return type(self).received, (self.num_rows, PickleBuffer(self.section))

    def table(self) -> pa.Table:
        """Unpack it; it must have rows."""
        return _read_table(memoryview(self.section))


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
    spans: pa.Table | Packed | None = None
    evaluations: pa.Table | Packed | None = None
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

    def schema(self, kind: str) -> pa.Schema:
        """Columns of its spans or evaluations, which it must have, without decoding them."""
        return _read_schema(self.sections[_SECTIONS[kind]])

    def table(self, kind: str) -> pa.Table:
        """Its spans or evaluations, which it must have."""
        return _read_table(self.sections[_SECTIONS[kind]])

    def let_go(self) -> None:
        """Give back the memory that a mapped file's pages take: read again, they come from the system's cache."""
        mapped = self.sections[0].obj
        if isinstance(mapped, mmap.mmap):
            start = self.end - HEAD.size - _BODY.size - sum(map(len, self.sections))
            start -= start % mmap.PAGESIZE
            mapped.madvise(mmap.MADV_DONTNEED, start, self.end - start)


@dataclass(frozen=True)
class Gap:
    """Bytes in a log file that are no whole frame: a torn tail, or damage between frames.

    Attributes:
        start: offset of its first byte.
        end: offset of the byte after it.
    """

    start: int
    end: int


def encode(frame: Frame, seq: int) -> list[bytes]:
    """Return a frame as buffers for one gathered write."""
    sections = (b"".join(frame.digests), _write_table(frame.spans), _write_table(frame.evaluations), frame.increments)
    rows = [0 if table is None else table.num_rows for table in (frame.spans, frame.evaluations)]
    body = _BODY.pack(frame.arrival_ms, *rows, *(len(section) for section in sections))
    check = xxhash.xxh3_64(seq.to_bytes(8, "little") + body)
    for section in sections:
        check.update(section)
    length = len(body) + sum(len(section) for section in sections)
    return [HEAD.pack(MAGIC, length, check.intdigest() & _HALF, seq) + body, *sections]


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


def _xxh3(data: memoryview) -> int:
    return xxhash.xxh3_64_intdigest(data) & _HALF


# What a frame is checked with, by its magic: XXH3 takes a tenth of the time.
_CHECKS: Final[Mapping[bytes, Callable[[memoryview], int]]] = {MAGIC: _xxh3, b"SCF1": zlib.crc32}


def _frame_at(data: memoryview, at: int) -> StoredFrame | None:
    """The whole, undamaged frame at an offset, or None."""
    if len(data) - at < HEAD.size:
        return None
    magic, length, check, seq = HEAD.unpack_from(data, at)
    end = at + HEAD.size + length
    checked = _CHECKS.get(magic)
    if checked is None or not _BODY.size <= length <= MAX_PAYLOAD or end > len(data):
        return None
    if checked(data[at + _CHECKED : end]) != check:
        return None
    payload = data[at + HEAD.size : end]
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
    found = raw.find(_MAGICS)
    while found >= 0:
        if _frame_at(data, start + found) is not None:
            return start + found
        found = raw.find(_MAGICS, found + 1)
    return len(data)


def _write_table(table: pa.Table | Packed | None) -> bytes:
    if isinstance(table, Packed):
        return table.section
    if table is None or not table.num_rows:
        return b""
    batches = table.to_batches()
    batch = batches[0] if len(batches) == 1 else table.combine_chunks().to_batches()[0]
    schema = table.schema.serialize().to_pybytes()
    packed, rows = _pack_schema(schema), batch.serialize()
    head = _TABLE.pack(len(schema), len(packed), rows.size)
    return b"".join([head, packed, _zstd().compress(rows, asbytes=True)])


@lru_cache(maxsize=_SCHEMAS)
def _pack_schema(schema: bytes) -> bytes:
    packed: bytes = _zstd().compress(schema, asbytes=True)
    return packed


def _read_schema(section: bytes | memoryview) -> pa.Schema:
    return _unpack_schema(*_schema_of(section))


def _schema_of(section: bytes | memoryview) -> tuple[bytes, int]:
    """A section's schema as it is packed, and its size unpacked."""
    size, packed, _ = _TABLE.unpack_from(section)
    return bytes(section[_TABLE.size : _TABLE.size + packed]), size


@lru_cache(maxsize=_SCHEMAS)
def _unpack_schema(packed: bytes, size: int) -> pa.Schema:
    return pa.ipc.read_schema(_zstd().decompress(packed, size))


@lru_cache(maxsize=_SCHEMAS)
def _names(packed: bytes, size: int) -> tuple[str, ...]:
    return tuple(_unpack_schema(packed, size).names)


def _read_table(section: memoryview) -> pa.Table:
    _, packed, size = _TABLE.unpack_from(section)
    rows = _zstd().decompress(section[_TABLE.size + packed :], size)
    return pa.Table.from_batches([pa.ipc.read_record_batch(rows, _read_schema(section))])


def _zstd() -> pa.Codec:
    """A codec of the caller's own: they are not made for several threads."""
    return pa.Codec("zstd", compression_level=1)
