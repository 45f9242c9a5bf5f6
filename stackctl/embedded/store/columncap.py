"""Bounds the attribute columns of one log file, and so of a segment and of what readers hold in memory.

A sender that puts values into attribute names would otherwise make a column of each.
"""

from typing import Final

import numpy as np
import orjson
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.store.frame import Packed

# Attribute columns of one segment; measured to serve well (facts: wide columns). The rest stays readable in `rest`.
MAX_ATTRIBUTE_COLUMNS: Final = 256
_PREFIXES: Final = ("s:", "r:")
_REMEMBERED: Final = 16  # sets of columns that tables came with
# Names that the product itself reads always get a column, however late they come.
_OURS: Final = frozenset(value for value in vars(semconv).values() if isinstance(value, str))


class ColumnCap:
    """Admits the first `limit` attribute columns that a log file sees; later ones go to `rest` and `rrest` as JSON.

    Args:
        limit: most attribute columns of one log file.
    """

    def __init__(self, limit: int = MAX_ATTRIBUTE_COLUMNS) -> None:
        self._limit = limit
        self._known: set[str] = set()
        # Columns of tables that were admitted whole: nearly every table has those of another.
        self._fit: set[tuple[str, ...]] = set()

    def learn(self, table: pa.Table | None) -> None:
        """Count the columns of a table that the log file holds already."""
        if table is not None:
            self._known.update(name for name in table.column_names if name.startswith(_PREFIXES))

    def admit(self, table: pa.Table | Packed) -> pa.Table | Packed:
        """Return the table with at most the admitted attribute columns; no value is lost.

        A packed one is only unpacked where it has columns beyond them.
        """
        if not isinstance(table, Packed):
            return self._admit(table)
        if table.column_names in self._fit:
            return table
        fresh = {name for name in table.column_names if name.startswith(_PREFIXES)} - self._known
        if len(self._known) + len(fresh) > self._limit:
            return self._admit(table.table())
        self._known |= fresh
        if len(self._fit) >= _REMEMBERED:
            self._fit.clear()
        self._fit.add(table.column_names)
        return table

    def _admit(self, table: pa.Table) -> pa.Table:
        fresh = [name for name in table.column_names if name.startswith(_PREFIXES) and name not in self._known]
        ours = [name for name in fresh if name[2:-2] in _OURS]
        others = [name for name in fresh if name[2:-2] not in _OURS]
        # The fullest columns first: they are what queries ask for.
        others.sort(key=lambda name: table.column(name).null_count)
        room = max(0, self._limit - len(self._known) - len(ours))
        self._known.update(ours, others[:room])
        beyond = others[room:]
        if not beyond:
            return table
        for prefix, column in (("s:", "rest"), ("r:", "rrest")):
            table = _fold(table, [name for name in beyond if name.startswith(prefix)], column)
        return table


def _fold(table: pa.Table, names: list[str], into: str) -> pa.Table:
    """Move columns into a JSON object column; an attribute's key is what stands between prefix and type."""
    if not names:
        return table
    objects: list[str | None] = table.column(into).to_pylist()
    for name in names:
        column = table.column(name)
        filled = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        for row, value in zip(filled.tolist(), column.take(filled).to_pylist(), strict=True):
            objects[row] = _with(objects[row], name[2:-2], value)
    table = table.drop_columns(names)
    return table.set_column(table.column_names.index(into), into, pa.array(objects, pa.string()))


def _with(text: str | None, key: str, value: object) -> str:
    found = orjson.loads(text) if text else {}
    return orjson.dumps({**found, key: value}).decode()
