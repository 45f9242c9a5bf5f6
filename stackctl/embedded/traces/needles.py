"""Spans of a sealed segment that have one text in one column of ids, such as a response's.

The filters leave a row group or two, and no more than that column of them needs to be unpacked to know the rows.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa

from stackctl.embedded.traces.pruning import pinned
from stackctl.embedded.traces.schema import identifier, sql_type
from stackctl.embedded.traces.segments import ColumnFacts, Segment
from stackctl.traceql import ast

# A row group more costs a few milliseconds; a statement's planning is paid once, and it has two cores.
_MOST_GROUPS: Final = 6
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
        if found is None or segment.columns[found[0]].filters is None:
            return None
        return cls(segment, *found) if len(segment.groups_with(found[0], [found[1]])) <= _MOST_GROUPS else None

    @property
    def columns(self) -> Mapping[str, ColumnFacts]:
        """Those of its segment."""
        return self.segment.columns

    def table(self, columns: Iterable[str]) -> pa.Table:
        """Read them.

        Args:
            columns: some of the segment's.

        Raises:
            Unfamiliar: only DuckDB can.
        """
        names = sorted(columns)
        rows = self.segment.rows_with(self.column, self.text, names)
        return pa.table({name: pa.array([row[name] for row in rows], _ARROW[sql_type(name)]) for name in names})

    def condition(self) -> str:
        """Return SQL that is true for them alone, with its text as `$needle`."""
        return f"{identifier(self.column)} = $needle"
