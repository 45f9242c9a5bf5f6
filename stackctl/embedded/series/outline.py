"""Outlines: what increments are of, without the numbers. Most batches of a service have the one that the last had.

So an outline is encoded apart from the numbers, and whoever has seen its bytes knows what it comes to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, Self

import orjson

from stackctl.remembering import Memory

from .family import LabelSet

# Bytes of outlines that are remembered; read, they take some ten times as much.
_REMEMBERED_BYTES: Final = 1024**2


@dataclass(frozen=True, slots=True)
class Heading:
    """One metric and its label sets.

    Attributes:
        name: the metric as in Prometheus, without `_bucket`.
        bounds: upper bounds of buckets without infinity; empty for a counter.
        labels: one label set a row, no two alike.
    """

    name: str
    kind: Literal["counter", "histogram"]
    bounds: tuple[float, ...]
    labels: tuple[LabelSet, ...]

    @property
    def width(self) -> int:
        """Values of a row: a counter's one; of a histogram the observations of each bucket, then their sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


@dataclass(frozen=True, eq=False)
class Outline:
    """What increments are of. Two are equal when they are the same object: that is what others remember them by.

    Attributes:
        headings: one a metric, or several of one name with different constant labels.
    """

    headings: tuple[Heading, ...] = ()

    @cached_property
    def size(self) -> int:
        """Values of all rows of all headings, which stand one behind the other."""
        return sum(len(heading.labels) * heading.width for heading in self.headings)

    @cached_property
    def encoded(self) -> bytes:
        """The outline as JSON, each label set in it once."""
        sets: dict[LabelSet, int] = {}
        blocks = [
            [one.name, one.kind, one.bounds, [sets.setdefault(labels, len(sets)) for labels in one.labels]]
            for one in self.headings
        ]
        return orjson.dumps({"sets": list(sets), "blocks": blocks})

    @classmethod
    def read(cls, encoded: bytes) -> "Outline":
        """Read an encoded outline; the same object for the same bytes, while they are remembered.

        Raises:
            ValueError: the bytes are none of ours.
        """
        known = _known.get(encoded)
        if known is None:
            known = cls._parse(encoded)
            _known.put(encoded, known, len(encoded))
        return known

    @classmethod
    def _parse(cls, encoded: bytes) -> Self:
        found = orjson.loads(encoded)
        try:
            sets = [tuple([(name, value) for name, value in labels]) for labels in found["sets"]]
            return cls(tuple([_heading(sets, *block) for block in found["blocks"]]))
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError("no outline of increments") from error


def _heading(
    sets: Sequence[LabelSet], name: str, kind: Literal["counter", "histogram"], bounds: list[float], rows: list[Any]
) -> Heading:
    return Heading(name, kind, tuple(bounds), tuple([sets[row] for row in rows]))


_known: Final[Memory[bytes, Outline]] = Memory(_REMEMBERED_BYTES)
EMPTY: Final = Outline()
