"""Many small tables of different columns made one, without an object for each column of each of them.

Applications that send every span by itself make thousands of frames in a log file, whose columns are those that their
spans happen to have: two and a half thousand of four spans each, two hundred columns together, took 450 MB to join at
once, and take 60 in bunches.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeVar

import pyarrow as pa

_BUNCH_ROWS: Final = 512
_BUNCH_PARTS: Final = 128


class Rows(Protocol):
    """Whatever says how many rows it has."""

    @property
    def rows(self) -> int:
        """Their number."""


P = TypeVar("P", bound=Rows)


def joined(parts: Sequence[P], read: Callable[[P], pa.Table], empty: pa.Table | None = None) -> pa.Table:
    """Read some parts and return their rows, one behind the other.

    Args:
        parts: at least one.
        read: returns the rows of one; called once for each.
        empty: a table whose columns come first.
    """
    tables = [_united([read(part) for part in bunch]) for bunch in _bunches(parts)]
    return pa.concat_tables(tables if empty is None else [empty, *tables], promote_options="default")


def _bunches(parts: Sequence[P]) -> Iterator[list[P]]:
    """Neighbours of few rows each; one of many by itself."""
    bunch: list[P] = []
    rows = 0
    for part in parts:
        if bunch and (rows + part.rows > _BUNCH_ROWS or len(bunch) == _BUNCH_PARTS):
            yield bunch
            bunch, rows = [], 0
        bunch.append(part)
        rows += part.rows
    yield bunch


def _united(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of few; what is large already is not copied."""
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables, promote_options="default").combine_chunks()
