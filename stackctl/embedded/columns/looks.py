"""Text columns looked through together: what their offsets tell of each, by a few operations over all of them."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .arrow import Column
from .views import Mask

Octets = npt.NDArray[np.uint8]


class Look(NamedTuple):
    """What is seen of a text column without reading its texts.

    Attributes:
        data: buffer of its UTF-8 bytes in one piece.
        longest: length in bytes of its longest text.
        empty: whether the empty string is among its texts.
        missing: which records have no text, where all texts have the same length, above 0; None where lengths differ.
    """

    data: Any
    longest: int
    empty: bool
    missing: Mask | None


_NOTHING: Final = Look(pa.py_buffer(b""), 0, False, None)


def look(columns: Sequence[Column]) -> list[Look]:
    """Look through text columns of the same number of records."""
    rows = len(columns[0]) if columns else 0
    if not rows:
        return [_NOTHING] * len(columns)
    buffers = [column.buffers() for column in columns]
    pieces = [
        np.frombuffer(ends, np.int32, rows + 1, column.offset * 4)
        for (_, ends, _), column in zip(buffers, columns, strict=True)
    ]
    offsets = np.concatenate(pieces).reshape(len(columns), rows + 1)
    lengths = offsets[:, 1:] - offsets[:, :-1]
    bare = lengths == 0
    packed = np.packbits(bare, axis=1, bitorder="little")
    facts = (
        columns,
        buffers,
        offsets[:, 0].tolist(),
        offsets[:, -1].tolist(),
        lengths.max(axis=1).tolist(),
        bare,
        packed,
        bare.sum(axis=1).tolist(),
    )
    return [_seen(*fact) for fact in zip(*facts, strict=True)]


def _seen(
    column: Column, buffers: Any, start: int, end: int, longest: int, bare: Mask, packed: Octets, bares: int
) -> Look:
    rows, nulls = len(column), column.null_count
    empty = bares > 0
    if empty and nulls:
        # As Python's integers, since two bitmaps are compared at a tenth of the cost of two arrays.
        skipped, first = divmod(column.offset, 8)
        valid = int.from_bytes(buffers[0].slice(skipped, (first + rows + 7) // 8), "little") >> first
        empty = valid & int.from_bytes(packed.tobytes(), "little") != 0
    if not longest:
        return _NOTHING._replace(empty=empty)
    # Of those that have a text none is longer than the longest, so all are as long if together they are.
    even = not empty and bares == nulls and end - start == longest * (rows - nulls)
    return Look(buffers[2].slice(start, end - start), longest, empty, bare if even else None)
