"""Parquet's encodings, decoded at a few places of a page instead of all of it.

The encodings: https://parquet.apache.org/docs/file-format/data-pages/encodings/. What is damaged raises IndexError,
ValueError or struct.error.
"""

import struct
from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stackctl.embedded.traces.thrift import varint, zigzag

_NUMBERS: Final = {"INT32": struct.Struct("<i"), "INT64": struct.Struct("<q"), "DOUBLE": struct.Struct("<d")}
_LENGTH: Final = struct.Struct("<I")
# What can be cut out of 8 bytes wherever in the first of them it begins.
_WIDEST: Final = 57
_FEW_TEXTS: Final = 8  # are passed over one by one as fast as all at once

Numbers = npt.NDArray[np.int64]


def hybrid(data: bytes, at: int, width: int, places: Sequence[int]) -> list[int]:
    """Return the numbers at some places of a run-length and bit-packed hybrid.

    Args:
        at: where it begins.
        width: bits of a number.
        places: ascending.
    """
    if not width:  # of a dictionary with one value
        return [0] * len(places)
    found: list[int] = []
    mask, runs = (1 << width) - 1, _runs(data, at, width)
    first = count = body = 0
    packed = False
    for place in places:
        while place >= first + count:
            first += count
            packed, count, body = next(runs)
        bit = (place - first) * width if packed else 0
        begin = body + (bit >> 3)
        found.append(int.from_bytes(data[begin : begin + 8], "little") >> (bit & 7) & mask)
    return found


def ranks(data: bytes, at: int, places: Sequence[int]) -> list[int | None]:
    """Return how many rows with a value stand before some rows; None for a row that has none.

    Args:
        at: where the definition levels of 0 and 1 begin.
        places: of the rows, ascending.
    """
    found: list[int | None] = []
    runs = _runs(data, at, 1)
    first = count = before = bits = 0
    for place in places:
        while place >= first + count:
            before += bits.bit_count()
            first += count
            packed, count, body = next(runs)
            count = min(count, places[-1] + 1 - first)  # what comes after is of no interest
            bits = _bits(data, body, count) if packed else ((1 << count) - 1) * (data[body] & 1)
        offset = place - first
        here = bits >> offset & 1
        found.append(before + (bits & ((1 << offset) - 1)).bit_count() if here else None)
    return found


def present(data: bytes, at: int, rows: int) -> npt.NDArray[np.intp]:
    """Return the rows that have a value.

    Args:
        at: where the definition levels of 0 and 1 begin.
        rows: how many there are.
    """
    found = np.zeros(rows, np.bool_)
    first, runs = 0, _runs(data, at, 1)
    while first < rows:
        packed, count, body = next(runs)
        count = min(count, rows - first)
        if packed:
            levels = np.frombuffer(data, np.uint8, count + 7 >> 3, body)
            found[first : first + count] = np.unpackbits(levels, count=count, bitorder="little")
        else:
            found[first : first + count] = data[body] & 1
        first += count
    return np.flatnonzero(found)


def places_of(data: bytes, at: int, text: bytes) -> list[int]:
    """Return the places at which plain texts are a given one.

    Args:
        at: where they begin.
    """
    found: list[int] = []
    place, wanted, length = 0, _LENGTH.pack(len(text)) + text, _LENGTH.unpack_from
    candidate = data.find(wanted, at)
    while candidate >= 0:
        while at < candidate:  # texts may have such bytes inside them
            at += 4 + length(data, at)[0]
            place += 1
        if at == candidate:
            found.append(place)
        candidate = data.find(wanted, candidate + 1)
    return found


def plain(kind: str, data: bytes, at: int, places: Sequence[int]) -> list[Any]:
    """Return the values at some places of plain values.

    Args:
        kind: their physical type.
        at: where they begin.
        places: ascending.

    Raises:
        KeyError: another type.
    """
    if kind == "BYTE_ARRAY":
        return list(_texts(data, at, places))
    if kind == "BOOLEAN":
        return [bool(data[at + (place >> 3)] >> (place & 7) & 1) for place in places]
    number = _NUMBERS[kind]
    return [number.unpack_from(data, at + place * number.size)[0] for place in places]


def deltas(data: bytes, at: int, places: Sequence[int]) -> list[int]:
    """Return the numbers at some places of delta binary packed 64-bit integers.

    Raises:
        ValueError: two neighbours differ by more than fits here.
    """
    block, at = varint(data, at)
    minis, at = varint(data, at)
    _, at = varint(data, at)
    first, at = zigzag(data, at)
    if not minis or not block // minis:
        raise ValueError("blocks without differences")
    per = block // minis
    begins: list[int] = []
    widths: list[int] = []
    smallest: list[int] = []
    while len(widths) * per < places[-1]:
        least, at = zigzag(data, at)
        sizes = data[at : at + minis]
        at += minis
        begins.append(at)
        widths += sizes
        smallest.append(least)
        at += sum(sizes) * per >> 3
    if not begins:
        return [first] * len(places)
    differences = _unpacked(data, per, np.array(begins), np.array(widths).reshape(-1, minis), np.array(smallest))
    sums: Numbers = np.concatenate([np.zeros(1, np.int64), differences.cumsum()]) + np.int64(first)
    return [int(sums[place]) for place in places]  # of 64 bits, as the writer's


def _unpacked(data: bytes, per: int, begins: Numbers, widths: Numbers, smallest: Numbers) -> Numbers:
    """Return the differences in some blocks, one after the other.

    Args:
        per: differences in a miniblock.
        begins: where each block's first miniblock begins.
        widths: bits of a difference, by block and miniblock.
        smallest: of each block; added to each difference in it.
    """
    if widths.max() > _WIDEST:
        raise ValueError(f"differences of {widths.max()} bits")
    sizes = widths * per >> 3
    starts = begins[:, None] + sizes.cumsum(axis=1) - sizes
    bits = np.arange(per) * widths[..., None]
    padded = data + bytes(8)
    words = np.ndarray((len(padded) - 7,), "<u8", padded, strides=(1,))[starts[..., None] + (bits >> 3)]
    masks = (np.uint64(1) << widths.astype(np.uint64)) - np.uint64(1)
    packed = words >> (bits & 7).astype(np.uint64) & masks[..., None]
    found: Numbers = packed.view(np.int64) + smallest[:, None, None]
    return found


def _runs(data: bytes, at: int, width: int) -> Iterator[tuple[bool, int, int]]:
    """Yield the runs of a hybrid: whether it is bit-packed, of how many numbers, and where these begin."""
    while True:
        head, at = varint(data, at)
        if head & 1:
            yield True, (head >> 1) * 8, at
            at += (head >> 1) * width
        else:
            yield False, head >> 1, at
            at += (width + 7) >> 3


def _bits(data: bytes, at: int, count: int) -> int:
    return int.from_bytes(data[at : at + (count + 7 >> 3)], "little") & ((1 << count) - 1)


def _texts(data: bytes, at: int, places: Sequence[int]) -> Iterator[str]:
    """Yield the texts at some places, of which each has its length before it."""
    length, met = _LENGTH.unpack_from, 0
    for place in places:
        at, met = _behind(data, at, place - met), place
        size = length(data, at)[0]
        if at + 4 + size > len(data):
            raise IndexError("a text ends beyond the page")
        yield data[at + 4 : at + 4 + size].decode()


def _behind(data: bytes, at: int, count: int) -> int:
    """Return the place behind some texts; at once where all are of one length, as ids are."""
    length = _LENGTH.unpack_from
    if count > _FEW_TEXTS:
        size: int = length(data, at)[0]
        end = at + count * (4 + size)
        if end <= len(data) and (np.ndarray((count,), "<u4", data, at, (4 + size,)) == size).all():
            return end
    for _ in range(count):
        at += 4 + length(data, at)[0]
    return at
