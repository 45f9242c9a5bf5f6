"""Parquet's split block bloom filters, asked without opening the file's columns.

The layout: https://parquet.apache.org/docs/file-format/bloomfilter/, with XXH64 (seed 0) of a value's plain encoding.
"""

import mmap
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

import numpy as np
import numpy.typing as npt

_BLOCK_BYTES: Final = 32
_SALTS: Final = (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31)
_P1, _P2, _P3, _P4, _P5 = (
    0x9E3779B185EBCA87,
    0xC2B2AE3D27D4EB4F,
    0x165667B19E3779F9,
    0x85EBCA77C2B2AE63,
    0x27D4EB2F165667C5,
)
_64: Final = 2**64 - 1
_BLOCK: Final = np.dtype(f"V{_BLOCK_BYTES}")


@dataclass(frozen=True, eq=False)
class Probe:
    """A value as filters see it.

    Attributes:
        high: upper half of its hash, which chooses the block.
        mask: the bit that it sets in each of the block's words.
    """

    high: int
    mask: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, value: int | str) -> Self:
        """Hash a 64-bit integer or a text."""
        found = xxh64(value.encode() if isinstance(value, str) else struct.pack("<q", value))
        low = found & 0xFFFFFFFF
        bits = [1 << ((low * salt & 0xFFFFFFFF) >> 27) for salt in _SALTS]
        return cls(found >> 32, np.array(bits, np.uint32))

    def fits(self, blocks: npt.NDArray[np.void]) -> npt.NDArray[np.bool_]:
        """Tell of each block whether it may have been set by the value: all of its bits are set there."""
        words = blocks.view("<u4").reshape(-1, _BLOCK_BYTES // 4)
        found: npt.NDArray[np.bool_] = ((words & self.mask) == self.mask).all(axis=1)
        return found


class FilterFile:
    """The bytes of a file with filters. Mapped, so that only what is asked again and again is in memory at all.

    Args:
        path: the file; it may be removed while it is asked.
    """

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDONLY)
        try:
            self._bytes = mmap.mmap(file, 0, access=mmap.ACCESS_READ)
        finally:
            os.close(file)
        # Wherever a block begins, numpy takes it as one value.
        self._blocks = np.ndarray((max(0, len(self._bytes) - _BLOCK_BYTES + 1),), _BLOCK, self._bytes, strides=(1,))

    def bitset(self, offset: int, length: int) -> tuple[int, int]:
        """Find a bitset behind its filter's header.

        Args:
            offset: where the header begins.
            length: bytes of header and bitset.

        Returns:
            where the bitset begins, and how many blocks of 256 bits it has.
        """
        # The header's first field is `numBytes`: a zigzag varint after its one-byte tag (thrift, compact protocol).
        size = shift = 0
        for byte in self._bytes[offset + 1 : offset + 6]:
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        return offset + length - (size >> 1), (size >> 1) // _BLOCK_BYTES

    def blocks(self, starts: npt.NDArray[np.int64]) -> npt.NDArray[np.void]:
        """Return the blocks that begin at some places."""
        return self._blocks[starts]


@dataclass(frozen=True, eq=False)
class BloomFilters:
    """One column's filters, one for each row group that has a value in it.

    Attributes:
        starts: where their bitsets begin in the file.
        blocks: how many blocks they have.
    """

    file: FilterFile
    starts: npt.NDArray[np.int64]
    blocks: npt.NDArray[np.uint64]

    @classmethod
    def at(cls, file: FilterFile, places: Sequence[tuple[int, int]]) -> Self:
        """Find filters by the offsets and lengths that the footer gives."""
        starts, blocks = zip(*(file.bitset(*place) for place in places), strict=True)
        return cls(file, np.array(starts, np.int64), np.array(blocks, np.uint64))

    def which(self, probes: Sequence[Probe]) -> npt.NDArray[np.bool_]:
        """Tell for each filter whether it may hold one of some values; False where it certainly holds none."""
        found = np.zeros(len(self.starts), np.bool_)
        for probe in probes:
            chosen = (np.uint64(probe.high) * self.blocks >> np.uint64(32)).astype(np.int64)
            found |= probe.fits(self.file.blocks(self.starts + chosen * _BLOCK_BYTES))
        return found


class FilterIndex:
    """One column's filters of several files, asked at once: file by file, that took longer than to read what is found.

    Args:
        filters: of the files.
    """

    def __init__(self, filters: Sequence[BloomFilters]) -> None:
        self._files = [one.file for one in filters]
        self._starts = np.concatenate([one.starts for one in filters])
        self._blocks = np.concatenate([one.blocks for one in filters])
        self._edges = np.cumsum([0, *(len(one.starts) for one in filters)]).tolist()

    def which(self, probe: Probe) -> list[list[int]]:
        """Return for each file the numbers of its filters that may hold a value."""
        chosen = (np.uint64(probe.high) * self._blocks >> np.uint64(32)).astype(np.int64)
        places = self._starts + chosen * _BLOCK_BYTES
        bounds = list(pairwise(self._edges))
        blocks = [file.blocks(places[low:high]) for file, (low, high) in zip(self._files, bounds, strict=True)]
        found = np.flatnonzero(probe.fits(np.concatenate(blocks))).tolist()
        return [[number - low for number in found if low <= number < high] for low, high in bounds]


def xxh64(data: bytes) -> int:
    """XXH64 with seed 0: https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md."""
    at, size = 0, len(data)
    if size >= 32:
        lanes = [(_P1 + _P2) & _64, _P2, 0, -_P1 & _64]
        while at + 32 <= size:
            words = struct.unpack_from("<4Q", data, at)
            lanes = [_round(lane, word) for lane, word in zip(lanes, words, strict=True)]
            at += 32
        found = sum(_rotated(lane, by) for lane, by in zip(lanes, (1, 7, 12, 18), strict=True)) & _64
        for lane in lanes:
            found = ((found ^ _round(0, lane)) * _P1 + _P4) & _64
    else:
        found = _P5
    return _avalanched(_tail((found + size) & _64, data[at:]))


def _tail(found: int, rest: bytes) -> int:
    """Take in the bytes after the last whole stripe."""
    at = 0
    while at + 8 <= len(rest):
        found = (_rotated(found ^ _round(0, struct.unpack_from("<Q", rest, at)[0]), 27) * _P1 + _P4) & _64
        at += 8
    if at + 4 <= len(rest):
        found = (_rotated(found ^ (struct.unpack_from("<I", rest, at)[0] * _P1 & _64), 23) * _P2 + _P3) & _64
        at += 4
    for byte in rest[at:]:
        found = _rotated(found ^ (byte * _P5 & _64), 11) * _P1 & _64
    return found


def _avalanched(found: int) -> int:
    found = (found ^ found >> 33) * _P2 & _64
    found = (found ^ found >> 29) * _P3 & _64
    return found ^ found >> 32


def _round(lane: int, word: int) -> int:
    return _rotated((lane + word * _P2) & _64, 31) * _P1 & _64


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> 64 - by) & _64
