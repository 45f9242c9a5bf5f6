"""One frame of the sample log: everything that one tick or one group of metrics requests made durable.

magic 4 | payload length u32 | crc32 of the payload u32                                             all little-endian
payload: header length u32 | JSON header | zlib of the arrays: slots i32, times i64, values f64 (state frames also
changed i64, started i64)

A file's first frame is a state frame: each family and its last values. Its values are no samples.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from .family import Family, LabelSet

Ints = npt.NDArray[np.int64]
Slots = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]

MAGIC: Final = b"SCM1"
_HEAD: Final = struct.Struct("<4sII")
_LENGTH: Final = struct.Struct("<I")
_NO_TIMES: Final[Ints] = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Exemplar:
    """One observation that points to its trace.

    Attributes:
        slot: the series that it belongs to.
        value: what was observed.
        time_ms: when it arrived.
    """

    slot: int
    value: float
    trace_id: str
    time_ms: int


@dataclass(frozen=True, slots=True)
class SampleFrame:
    """The content of one frame.

    Attributes:
        slots, times, values: the samples; times in milliseconds since 1970.
        families: first slot and family of what these samples are the first of.
        applied_seq: newest frame of the span log whose increments are in the values.
        digests: requests that these samples came from, with their arrival in milliseconds since 1970.
        exemplars: of these samples' series.
        changed, started: only in a state frame: when each slot's value last changed, and the start time that its sender
            gave (nanoseconds since 1970, 0 for none).
        state: whether this is a state frame.
    """

    slots: Slots
    times: Ints
    values: Floats
    families: Sequence[tuple[int, Family]] = ()
    applied_seq: int = 0
    digests: Sequence[tuple[bytes, int]] = ()
    exemplars: Sequence[Exemplar] = ()
    changed: Ints = field(default_factory=lambda: _NO_TIMES)
    started: Ints = field(default_factory=lambda: _NO_TIMES)
    state: bool = False


def encode(frame: SampleFrame) -> bytes:
    """Return a frame as the bytes to append."""
    header = orjson.dumps(
        {
            "samples": len(frame.slots),
            "families": [[slot, f.name, f.kind, f.labels, f.bounds] for slot, f in frame.families],
            "applied_seq": frame.applied_seq,
            "digests": [[digest.hex(), arrival] for digest, arrival in frame.digests],
            "exemplars": [[e.slot, e.value, e.trace_id, e.time_ms] for e in frame.exemplars],
            "state": frame.state,
        }
    )
    arrays = [
        frame.slots.astype("<i4").tobytes(),
        frame.times.astype("<i8").tobytes(),
        frame.values.astype("<f8").tobytes(),
    ]
    if frame.state:
        arrays += [frame.changed.astype("<i8").tobytes(), frame.started.astype("<i8").tobytes()]
    payload = b"".join([_LENGTH.pack(len(header)), header, zlib.compress(b"".join(arrays), 1)])
    return _HEAD.pack(MAGIC, len(payload), zlib.crc32(payload)) + payload


def scan(data: bytes | memoryview, start: int = 0) -> Iterator[tuple[SampleFrame, int]]:
    """Yield whole frames from an offset on, each with the offset behind it; what is no whole frame is passed over.

    Where a frame is damaged, series that it defined are unknown to the frames behind it.
    """
    view = memoryview(data)
    for begin, end in _walk(view, start):
        yield _decode(view[begin + _HEAD.size : end]), end


def damage(data: bytes | memoryview) -> int:
    """Return how many bytes are in no whole frame: a torn tail, or damage."""
    return len(data) - sum(end - begin for begin, end in _walk(memoryview(data), 0))


def _walk(view: memoryview, at: int) -> Iterator[tuple[int, int]]:
    """Yield where whole frames begin and end."""
    while at >= 0:
        end = _end(view, at)
        if end:
            yield at, end
            at = end
        else:
            at = _next_magic(view, at + 1)


def _end(view: memoryview, at: int) -> int:
    """The offset behind the whole frame at an offset; 0 where there is none."""
    if len(view) - at < _HEAD.size:
        return 0
    magic, length, crc = _HEAD.unpack_from(view, at)
    end = at + _HEAD.size + length
    whole = magic == MAGIC and end <= len(view) and zlib.crc32(view[at + _HEAD.size : end]) == crc
    return end if whole else 0


def _next_magic(view: memoryview, start: int) -> int:
    """Where the next frame may begin; -1 for nowhere."""
    found = bytes(view[start:]).find(MAGIC) if start < len(view) else -1
    return found if found < 0 else start + found


def _decode(payload: memoryview) -> SampleFrame:
    end = _LENGTH.size + _LENGTH.unpack_from(payload)[0]
    header: dict[str, Any] = orjson.loads(payload[_LENGTH.size : end])
    count, state = header["samples"], header["state"]
    raw = zlib.decompress(payload[end:])
    slots = np.frombuffer(raw, "<i4", count)
    times = np.frombuffer(raw, "<i8", count, count * 4)
    values = np.frombuffer(raw, "<f8", count, count * 12)
    return SampleFrame(
        slots,
        times,
        values,
        [
            (slot, Family(name, kind, _labels(pairs), tuple(bounds)))
            for slot, name, kind, pairs, bounds in header["families"]
        ],
        header["applied_seq"],
        [(bytes.fromhex(digest), arrival) for digest, arrival in header["digests"]],
        [Exemplar(*one) for one in header["exemplars"]],
        np.frombuffer(raw, "<i8", count, count * 20) if state else _NO_TIMES,
        np.frombuffer(raw, "<i8", count, count * 28) if state else _NO_TIMES,
        state,
    )


def _labels(pairs: list[list[str]]) -> LabelSet:
    return tuple((name, value) for name, value in pairs)
