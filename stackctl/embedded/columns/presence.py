"""Which records of a batch have a value: columns in which the same ones have one share what is worked out of that.

Whole groups of columns are there together: what a call says of its model, its usage and its cost. Alike bitmaps are
found by their bytes, and unpacked, counted and summed up once.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.arrays import Codes

from .arrow import Column
from .views import Mask

_TEXT: Final = pa.string()


class Presence:
    """Which records have a value.

    Args:
        octets: a bit for each record, the lowest of a byte first; none is set behind the last record.
        rows: how many records.

    Attributes:
        octets: as given.
        bits: the same as an integer.
    """

    __slots__ = ("_codes", "_ends", "_rows", "_valid", "bits", "octets")

    def __init__(self, octets: bytes, rows: int) -> None:
        self.octets = octets
        self.bits = int.from_bytes(octets, "little")
        self._rows = rows
        self._valid: Mask | None = None
        self._codes: npt.NDArray[np.int64] | None = None
        self._ends: npt.NDArray[np.int32] | None = None

    @property
    def valid(self) -> Mask:
        """The records that have one; nobody may change it."""
        if self._valid is None:
            held = np.frombuffer(self.octets, np.uint8)
            self._valid = np.unpackbits(held, count=self._rows, bitorder="little").view(np.bool_)
        return self._valid

    @property
    def codes(self) -> npt.NDArray[np.int64]:
        """0 for each record that has a value, 1 for the others: the same array each time, so that it is known again."""
        if self._codes is None:
            self._codes = (~self.valid).astype(np.int64)  # which numpy takes as indices as they are
        return self._codes

    def repeated(self, text: str) -> Column:
        """Return a column of one text for all that have a value."""
        if self._ends is None:
            self._ends = np.zeros(self._rows + 1, np.int32)
            np.cumsum(self.valid, out=self._ends[1:], dtype=np.int32)
        octets = text.encode()
        parts: tuple[Any, ...] = (self.octets, self._ends * np.int32(len(octets)), octets * self.bits.bit_count())
        buffers: list[Any] = [pa.py_buffer(part) for part in parts]
        return pa.Array.from_buffers(_TEXT, self._rows, buffers, self._rows - self.bits.bit_count())

    def holding(self, kind: pa.DataType, values: Any) -> Column:
        """Return a column of values that lie in memory as Arrow has them."""
        buffers: list[Any] = [pa.py_buffer(self.octets), pa.py_buffer(values)]
        return pa.Array.from_buffers(kind, self._rows, buffers, self._rows - self.bits.bit_count())


class Presences:
    """What is known of the records of one batch.

    Args:
        rows: how many.
    """

    def __init__(self, rows: int) -> None:
        self._rows = rows
        self._known: dict[bytes, Presence] = {}
        # By identity, each column kept alive by its entry.
        self._of: dict[int, tuple[Column, Presence]] = {}
        self._of_kinds: dict[tuple[int, tuple[bool, ...]], tuple[Codes, Presence]] = {}

    def of(self, column: Column) -> Presence:
        """Which records have a value in a column, of which some have none."""
        known = self._of.get(id(column))
        if known is None:
            skipped, first = divmod(column.offset, 8)
            bitmap: Any = column.buffers()[0]
            octets = bitmap.slice(skipped, (first + self._rows + 7) // 8).to_pybytes()
            if first or self._rows % 8:
                bits = int.from_bytes(octets, "little") >> first & (1 << self._rows) - 1
                octets = bits.to_bytes((self._rows + 7) // 8, "little")
            known = self._of[id(column)] = column, self.packed(octets)
        return known[1]

    def of_kinds(self, codes: Codes, there: tuple[bool, ...]) -> Presence:
        """The same of kinds of records, which are there or not; `codes` has the kind of each record."""
        known = self._of_kinds.get((id(codes), there))
        if known is None:
            known = self._of_kinds[id(codes), there] = codes, self.where(np.array(there)[codes])
        return known[1]

    def where(self, valid: Mask) -> Presence:
        """The same of a mask."""
        return self.packed(np.packbits(valid, bitorder="little").tobytes())

    def packed(self, octets: bytes) -> Presence:
        """The same of a bitmap, in which nothing is set behind the last record."""
        known = self._known.get(octets)
        if known is None:
            known = self._known[octets] = Presence(octets, self._rows)
        return known
