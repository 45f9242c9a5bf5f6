"""Text columns looked through together: what their offsets tell of each, by a few operations over all of them."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from .arrow import Column
from .views import Mask, valid


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


_NOTHING = pa.py_buffer(b"")


def look(columns: Sequence[Column]) -> list[Look]:
    """Look through text columns of the same number of records."""
    if not columns:
        return []
    rows = len(columns[0])
    offsets = np.zeros((len(columns), rows + 1), np.int32)
    held: list[Any] = []
    for line, column in zip(offsets, columns, strict=True):
        _, ends, texts = column.buffers()
        held.append(texts or _NOTHING)
        if rows:
            line[:] = np.frombuffer(ends, np.int32, rows + 1, column.offset * 4)
    lengths = offsets[:, 1:] - offsets[:, :-1]
    bare = lengths == 0
    facts = zip(
        columns,
        held,
        offsets[:, 0].tolist(),
        offsets[:, -1].tolist(),
        lengths.max(axis=1, initial=0).tolist(),
        bare,
        bare.sum(axis=1).tolist(),
        strict=True,
    )
    return [_seen(*fact) for fact in facts]


def _seen(column: Column, held: Any, start: int, end: int, longest: int, bare: Mask, bares: int) -> Look:
    nulls: int = column.null_count
    empty = bares > 0
    if empty and nulls:
        empty = bool(np.count_nonzero(bare & valid(column)))
    # Of those that have a text none is longer than the longest, so all are as long if together they are.
    even = longest > 0 and not empty and bares == nulls and end - start == longest * (len(bare) - nulls)
    return Look(held.slice(start, end - start), longest, empty, bare if even else None)
