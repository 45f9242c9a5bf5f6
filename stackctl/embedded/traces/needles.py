"""Spans of a sealed segment that have one text in one column of ids, such as a response's, or in one that few have.

The filters leave a row group or two, and no more than that column of them needs to be unpacked to know the rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa

from stackctl.embedded.traces.pruning import pinned
from stackctl.embedded.traces.schema import identifier, sql_type
from stackctl.embedded.traces.segments import ColumnFacts, Segment
from stackctl.traceql import ast

# A row group more costs a few milliseconds; a statement's planning is paid once, and it has two cores.
_MOST_GROUPS: Final = 6
_FEW_VALUES: Final = 1000  # of a column without filters: so few are looked through
_ARROW: Final[Mapping[str, pa.DataType]] = {
    "BIGINT": pa.int64(),
    "TINYINT": pa.int8(),
    "DOUBLE": pa.float64(),
    "BOOLEAN": pa.bool_(),
    "VARCHAR": pa.string(),
}


@dataclass(frozen=True)
class Needle:
    """Such spans.

    Attributes:
        segment: where they are.
        column: that must be the text.
    """

    segment: Segment
    column: str
    text: str

    @classmethod
    def within(cls, segment: Segment, condition: ast.Expression | None) -> Self | None:
        """Return what a condition looks for in a segment; None where it looks for something else, or in too much."""
        found = pinned(segment, condition)
        if found is None:
            return None
        facts = segment.columns[found[0]]
        if facts.filters is None and facts.values > _FEW_VALUES:
            return None
        return cls(segment, *found) if len(segment.groups_with(found[0], [found[1]])) <= _MOST_GROUPS else None

    @property
    def columns(self) -> Mapping[str, ColumnFacts]:
        """Those of its segment."""
        return self.segment.columns

    def rows(self, columns: Iterable[str]) -> list[dict[str, Any]]:
        """Read them.

        Args:
            columns: what the rows have, where a value is stored.

        Raises:
            Unfamiliar: only DuckDB can.
        """
        return self.segment.rows_with(self.column, self.text, columns)

    def table(self, columns: Iterable[str]) -> pa.Table:
        """Read them.

        Args:
            columns: some of the segment's.

        Raises:
            Unfamiliar: only DuckDB can.
        """
        names = sorted(columns)
        rows = self.rows(names)
        return pa.table({name: pa.array([row[name] for row in rows], _ARROW[sql_type(name)]) for name in names})

    def condition(self) -> str:
        """Return SQL that is true for them alone, with its text as `$needle`."""
        return f"{identifier(self.column)} = $needle"
