"""Increments: what one batch of spans or evaluations adds to the catalogue's series.

They are additive and travel in the span log, in the frame of the spans they were counted from, so that after a crash
counters are brought back to equal the stored spans. Encoded (little-endian):

    arrival ms i64 | size of the outline, count of places, count of exemplars u32 x 3 | outline |
    places u32 and values f64 of the values that are not zero | exemplars (`EXEMPLAR`)
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from .family import LabelSet
from .outline import EMPTY, Heading, Outline

Floats = npt.NDArray[np.float64]

# An exemplar: place among the values of the bucket that it fell in, observed value, trace id in halves, arrival in
# milliseconds since 1970.
EXEMPLAR: Final = np.dtype(
    [("place", "<u4"), ("value", "<f8"), ("tid_hi", "<i8"), ("tid_lo", "<i8"), ("time_ms", "<i8")]
)
NO_EXEMPLARS: Final[npt.NDArray[Any]] = np.zeros(0, EXEMPLAR)

_HEAD: Final = struct.Struct("<qIII")
_FILLED_BYTES: Final = 4 + 8  # place and value
_NO_VALUES: Final[Floats] = np.zeros(0)


@dataclass(frozen=True, slots=True)
class Block(Heading):
    """What the label sets of one metric gained.

    Attributes:
        values: one row a label set, in `width` columns; a histogram's buckets are not cumulative, `+Inf` last.
        exemplars: array of `EXEMPLAR`; places count within the block, row by row.
    """

    values: Floats
    exemplars: npt.NDArray[Any] = field(default_factory=lambda: NO_EXEMPLARS)


@dataclass(frozen=True, slots=True)
class Increments:
    """What a batch adds.

    Attributes:
        arrival_ms: when the first record of the batch arrived, in milliseconds since 1970.
        outline: what the values are of.
        values: of the outline's rows, one behind the other.
        exemplars: array of `EXEMPLAR`.
    """

    arrival_ms: int
    outline: Outline = EMPTY
    values: Floats = field(default_factory=lambda: _NO_VALUES)
    exemplars: npt.NDArray[Any] = field(default_factory=lambda: NO_EXEMPLARS)
    _encoded: bytes = field(default=b"", repr=False)  # as they were read: a worker's go into the log as they are

    @classmethod
    def of(cls, arrival_ms: int, blocks: Sequence[Block]) -> Self:
        """Put blocks together."""
        if not blocks:
            return cls(arrival_ms)
        exemplars = np.concatenate([block.exemplars for block in blocks])
        starts = accumulate((block.values.size for block in blocks), initial=0)
        exemplars["place"] += np.repeat(
            np.array(list(starts)[:-1], np.uint32), [len(block.exemplars) for block in blocks]
        )
        headings = [Heading(block.name, block.kind, block.bounds, block.labels) for block in blocks]
        return cls(
            arrival_ms, Outline(tuple(headings)), np.concatenate([block.values.ravel() for block in blocks]), exemplars
        )

    def __bool__(self) -> bool:
        return bool(self.outline.headings)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The increments by metric."""
        blocks, at = [], 0
        for one in self.outline.headings:
            end = at + len(one.labels) * one.width
            within = (self.exemplars["place"] >= at) & (self.exemplars["place"] < end)
            exemplars = self.exemplars[within]
            exemplars["place"] -= at
            values = self.values[at:end].reshape(len(one.labels), one.width)
            blocks.append(Block(one.name, one.kind, one.bounds, one.labels, values, exemplars))
            at = end
        return tuple(blocks)

    def to_bytes(self) -> bytes:
        """Return the increments encoded; empty for none."""
        if not self or self._encoded:
            return self._encoded
        outline = self.outline.encoded
        filled = np.flatnonzero(self.values)
        head = _HEAD.pack(self.arrival_ms, len(outline), len(filled), len(self.exemplars))
        values = self.values[filled].astype("<f8", copy=False)
        return b"".join([head, outline, filled.astype("<u4").tobytes(), values.tobytes(), self.exemplars.tobytes()])

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the bytes are cut short or are none of ours.
        """
        if not len(data):
            return cls(0)
        if len(data) < _HEAD.size:
            raise ValueError("increments are cut short")
        arrival_ms, described, filled, traced = _HEAD.unpack_from(data)
        at = _HEAD.size + described
        if len(data) != at + filled * _FILLED_BYTES + traced * EXEMPLAR.itemsize:
            raise ValueError("increments are cut short, or none")
        outline = Outline.read(bytes(data[_HEAD.size : at]))
        places = np.frombuffer(data, "<u4", filled, at)
        exemplars = np.frombuffer(data, EXEMPLAR, traced, at + filled * _FILLED_BYTES)
        if max(places.max(initial=0), exemplars["place"].max(initial=0)) >= outline.size:
            raise ValueError("increments of something else than their outline")
        values = np.zeros(outline.size)
        values[places] = np.frombuffer(data, "<f8", filled, at + places.nbytes)
        return cls(arrival_ms, outline, values, exemplars, bytes(data))

    @classmethod
    def merge(cls, parts: Sequence["Increments"]) -> "Increments":
        """Return the sum of several batches, with the earliest arrival."""
        full = [part for part in parts if part]
        if len(full) <= 1:
            return full[0] if full else cls(0)
        groups: dict[tuple[str, tuple[float, ...]], list[Block]] = {}
        for block in (block for part in full for block in part.blocks):
            groups.setdefault((block.name, block.bounds), []).append(block)
        return cls.of(min(part.arrival_ms for part in full), [_sum(blocks) for blocks in groups.values()])


def _sum(blocks: Sequence[Block]) -> Block:
    """Add blocks of one metric and equal bounds."""
    rows: dict[LabelSet, int] = {}
    places = [
        np.fromiter((rows.setdefault(labels, len(rows)) for labels in block.labels), np.int64, len(block.labels))
        for block in blocks
    ]
    first = blocks[0]
    values = np.zeros((len(rows), first.width))
    exemplars = []
    for block, place in zip(blocks, places, strict=True):
        values[place] += block.values
        moved = block.exemplars.copy()
        row, bucket = np.divmod(moved["place"], first.width)
        moved["place"] = place[row] * first.width + bucket
        exemplars.append(moved)
    return Block(first.name, first.kind, first.bounds, tuple(rows), values, np.concatenate(exemplars))
