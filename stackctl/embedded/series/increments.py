"""Increments: what one batch of spans or evaluations adds to the catalogue's series.

They are additive and travel in the span log, in the frame of the spans they were counted from, so that after a crash
counters are brought back to equal the stored spans. Encoded as a JSON header, the non-zero values and the exemplars.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt
import orjson

from .family import LabelSet

Floats = npt.NDArray[np.float64]

# An exemplar: row of the block, bucket, observed value, trace id in halves, arrival in milliseconds since 1970.
EXEMPLAR: Final = np.dtype(
    [("row", "<i4"), ("bucket", "<i4"), ("value", "<f8"), ("tid_hi", "<i8"), ("tid_lo", "<i8"), ("time_ms", "<i8")]
)
NO_EXEMPLARS: Final[npt.NDArray[Any]] = np.zeros(0, EXEMPLAR)

_LENGTH: Final = struct.Struct("<I")


@dataclass(frozen=True, slots=True)
class Block:
    """What the label sets of one metric gained.

    Attributes:
        name: the metric as in Prometheus, without `_bucket`.
        bounds: upper bounds of buckets without infinity; empty for a counter.
        labels: one label set a row, no two alike.
        values: one row a label set. A counter's has one column; a histogram's has the observations of each bucket (not
            cumulative, `+Inf` last), then their sum.
        exemplars: array of `EXEMPLAR`.
    """

    name: str
    kind: Literal["counter", "histogram"]
    bounds: tuple[float, ...]
    labels: tuple[LabelSet, ...]
    values: Floats
    exemplars: npt.NDArray[Any] = field(default_factory=lambda: NO_EXEMPLARS)


@dataclass(frozen=True, slots=True)
class Increments:
    """What a batch adds.

    Attributes:
        arrival_ms: when the first record of the batch arrived, in milliseconds since 1970.
        blocks: one a metric, or several of one name with different constant labels.
    """

    arrival_ms: int
    blocks: tuple[Block, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.blocks)

    def to_bytes(self) -> bytes:
        """Return the increments encoded; empty for none."""
        if not self.blocks:
            return b""
        sets: dict[LabelSet, int] = {}
        heads, bodies = [], []
        for block in self.blocks:
            rows = [sets.setdefault(labels, len(sets)) for labels in block.labels]
            filled = np.flatnonzero(block.values).astype("<u4")
            bodies += [
                filled.tobytes(),
                block.values.ravel()[filled].astype("<f8").tobytes(),
                block.exemplars.tobytes(),
            ]
            heads.append([block.name, block.kind, block.bounds, rows, len(filled), len(block.exemplars)])
        header = orjson.dumps({"arrival_ms": self.arrival_ms, "sets": list(sets), "blocks": heads})
        return b"".join([_LENGTH.pack(len(header)), header, *bodies])

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            ValueError: the bytes are cut short or are none of ours.
        """
        view = memoryview(data)
        if not len(view):
            return cls(0)
        if len(view) < _LENGTH.size:
            raise ValueError("increments are cut short")
        end = _LENGTH.size + _LENGTH.unpack_from(view)[0]
        header = orjson.loads(view[_LENGTH.size : end])
        sets = [tuple((name, value) for name, value in labels) for labels in header["sets"]]
        blocks = []
        for head in header["blocks"]:
            block, end = _read_block(head, sets, view, end)
            blocks.append(block)
        return cls(header["arrival_ms"], tuple(blocks))

    @classmethod
    def merge(cls, parts: Sequence["Increments"]) -> "Increments":
        """Return the sum of several batches, with the earliest arrival."""
        full = [part for part in parts if part]
        if len(full) <= 1:
            return full[0] if full else cls(0)
        groups: dict[tuple[str, tuple[float, ...]], list[Block]] = {}
        for block in (block for part in full for block in part.blocks):
            groups.setdefault((block.name, block.bounds), []).append(block)
        return cls(min(part.arrival_ms for part in full), tuple(_sum(blocks) for blocks in groups.values()))


def _read_block(head: list[Any], sets: Sequence[LabelSet], view: memoryview, at: int) -> tuple[Block, int]:
    """Decode one block whose arrays begin at a byte offset; return it and where the next begins."""
    name, kind, bounds, rows, filled, exemplars = head
    width = len(bounds) + 2 if kind == "histogram" else 1
    places = np.frombuffer(view, "<u4", filled, at)
    at += places.nbytes
    values = np.zeros(len(rows) * width)
    values[places] = np.frombuffer(view, "<f8", filled, at)
    at += filled * 8
    found = np.frombuffer(view, EXEMPLAR, exemplars, at)
    labels = tuple(sets[row] for row in rows)
    return Block(name, kind, tuple(bounds), labels, values.reshape(len(rows), width), found), at + found.nbytes


def _sum(blocks: Sequence[Block]) -> Block:
    """Add blocks of one metric and equal bounds."""
    rows: dict[LabelSet, int] = {}
    places = [
        np.fromiter((rows.setdefault(labels, len(rows)) for labels in block.labels), np.int64, len(block.labels))
        for block in blocks
    ]
    first = blocks[0]
    values = np.zeros((len(rows), first.values.shape[1]))
    exemplars = []
    for block, place in zip(blocks, places, strict=True):
        values[place] += block.values
        moved = block.exemplars.copy()
        moved["row"] = place[moved["row"]]
        exemplars.append(moved)
    return Block(first.name, first.kind, first.bounds, tuple(rows), values, np.concatenate(exemplars))
