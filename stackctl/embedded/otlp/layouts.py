"""Where rows of attributes have which of them: rows of the same keys have them in the same places.

Services send spans of the same few sequences of keys for ever, so which columns come of them is worked out once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.keyvalues import LETTERS, OTHER, TEXT, Octets
from stackctl.embedded.otlp.shape import Reads, all_are_read, column_name
from stackctl.remembering import Memory

# Bytes of layouts that are remembered; of a cell of one, and of what is made beside them.
_ROOM: Final = 4 * 1024**2
_CELL, _BESIDE = 32, 1024
# Below zero after any place is added.
_ABSENT: Final = -(2**62)


@dataclass(frozen=True, slots=True)
class Reading:
    """Which texts are of any use in spans of some scopes."""

    reads: Reads
    scopes: frozenset[str]

    def of(self, key: str) -> bool:
        """Whether the texts of a key are."""
        return self.reads(key, self.scopes)


ALL: Final = Reading(all_are_read, frozenset())


@dataclass(frozen=True, slots=True)
class Layout:
    """Columns of rows that have one of some sequences of keys, a line each; then a line for each key of no column.

    Attributes:
        names: of the columns.
        types: of the columns, ascending, and within a type first those whose texts are of no use.
        unread: how many have such texts.
        kinds: types of all lines, `OTHER` for those of no column.
        cells: a line each with the place in each sequence, `_ABSENT` where it has none.
        there: 1 where it has one, 0 where it has none; of the columns.
        ranked: numbers of the columns, in the order in which equally frequent ones come.
    """

    names: list[str]
    types: list[int]
    unread: int
    kinds: Octets
    cells: Ints
    there: Ints
    ranked: list[int]

    def places(self, orders: Ints, begins: Ints) -> Ints:
        """Which attribute each row has for each line, -1 where it has none.

        Args:
            orders: which sequence each row has.
            begins: the first attribute of each row.
        """
        places = self.cells.take(orders, axis=1)
        places += begins
        return np.maximum(places, -1, out=places)

    def frequent(self, orders: Ints) -> list[int]:
        """Numbers of the columns, the most frequent first."""
        fewer = (self.there @ -np.bincount(orders, minlength=self.there.shape[1])).tolist()
        return sorted(self.ranked, key=fewer.__getitem__)


def layout(
    prefix: str, heads: Sequence[bytes], keys: Sequence[list[bytes]], kinds: Sequence[bytes], reading: Reading
) -> Layout | None:
    """Work out a layout, or remember it; None where a sequence has a key twice.

    Args:
        prefix: `s` or `r`.
        heads: what tells sequences apart.
        keys: the keys of each.
        kinds: the types of its values.
        reading: which texts are of any use.

    Raises:
        UnicodeDecodeError: a key is no UTF-8.
    """
    told = (prefix, reading, *heads, *kinds)
    found = _known.get(told)
    if found is None and all(len(set(sequence)) == len(sequence) for sequence in keys):
        found = _layout(prefix, keys, kinds, reading)
        sizes = sum(map(len, (*heads, *kinds, *reading.scopes)))
        _known.put(told, found, sizes + found.cells.size * _CELL + _BESIDE)
    return found


def _layout(prefix: str, keys: Sequence[list[bytes]], kinds: Sequence[bytes], reading: Reading) -> Layout:
    numbers: dict[bytes, int] = {}
    cells: dict[tuple[int, int], list[int]] = {}
    for order, (sequence, types) in enumerate(zip(keys, kinds, strict=True)):
        for place, (key, kind) in enumerate(zip(sequence, types, strict=True)):
            line = kind, numbers.setdefault(key, len(numbers))
            cells.setdefault(line, [_ABSENT] * len(keys))[order] = place
    texts = [key.decode() for key in numbers]
    unread = {(kind, number) for kind, number in cells if kind == TEXT and not reading.of(texts[number])}
    lines = sorted(cells, key=lambda line: (line[0], line not in unread, line[1]))
    columns = [line for line in lines if line[0] != OTHER]
    every = np.array([cells[line] for line in lines], np.int64).reshape(len(lines), len(keys))
    return Layout(
        [column_name(prefix, texts[number], LETTERS[kind]) for kind, number in columns],
        [kind for kind, _ in columns],
        len(unread),
        np.array([kind for kind, _ in lines], np.uint8)[:, None],
        every,
        (every[: len(columns)] >= 0).astype(np.int64),
        sorted(range(len(columns)), key=lambda line: columns[line][::-1]),
    )


_known: Final[Memory[tuple[object, ...], Layout]] = Memory(_ROOM)
