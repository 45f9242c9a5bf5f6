"""Marks of texts: eight bytes each, by which a text is looked for among many without keeping them."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Marks = npt.NDArray[np.int64]
Numbers = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

_WORD: Final = 8
_BITS: Final = np.uint64(8)
_MIXED: Final = tuple(map(np.uint64, (0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9)))


def marks(column: "pa.ChunkedArray[Any]") -> Marks:
    """Return a mark for each text of a column; 0 for rows without a value, never for others.

    Made of its size and of its first and last eight bytes: ids differ there, and where two do not, who looks for one
    finds the other as well, and sees that it is not the one.
    """
    return np.concatenate([np.zeros(0, np.int64), *map(_marks, column.chunks)])


def mark(text: str) -> int:
    """Return the mark of a text."""
    return int(_marks(pa.array([text], pa.string()))[0])


def _marks(texts: "pa.Array[Any]") -> Marks:
    if not len(texts):
        return np.zeros(0, np.int64)
    _, offsets, data = (memoryview(buffer or b"") for buffer in texts.buffers())
    ends = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    starts, sizes = ends[:-1], np.diff(ends)
    first, last = _long(data, starts, sizes) if sizes.min() >= _WORD else _short(data, starts, sizes)
    mixed = first * _MIXED[0] ^ last * _MIXED[1] ^ sizes.astype(np.uint64) * _MIXED[2]
    found: Marks = mixed.view(np.int64) | 1  # never 0
    if texts.null_count:
        found[~texts.is_valid().to_numpy(zero_copy_only=False)] = 0
    return found


def _long(data: memoryview, starts: Numbers, sizes: Numbers) -> tuple[Words, Words]:
    """Return the first and the last word of texts of at least one."""
    words = np.ndarray((len(data) - _WORD + 1,), "<u8", data, strides=(1,))  # wherever one begins
    return words[starts], words[starts + sizes - _WORD]


def _short(data: memoryview, starts: Numbers, sizes: Numbers) -> tuple[Words, Words]:
    """Return the same where some are shorter: of these, what stands behind the text does not count."""
    padded = np.zeros(int(starts[-1] + sizes[-1]) + _WORD, np.uint8)
    padded[:-_WORD] = np.frombuffer(data, np.uint8, len(padded) - _WORD)
    words = np.ndarray((len(padded) - _WORD + 1,), "<u8", padded, strides=(1,))
    missing = (_WORD - np.minimum(sizes, _WORD)).astype(np.uint64) * _BITS
    kept: Words = np.where(missing < 64, ~np.uint64(0) >> np.minimum(missing, np.uint64(63)), np.uint64(0))
    return words[starts] & kept, words[np.maximum(starts, starts + sizes - _WORD)] & kept
