"""What is known of the spans that no segment holds yet, piece by piece: the same questions as a `Segment` answers.

Pieces never change, so each is looked at once; only those that may have an answer come before DuckDB at all.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from stackctl import semconv
from stackctl.embedded.traces.schema import REST_COLUMN, SCOPE_PREFIX
from stackctl.embedded.traces.segments import ColumnFacts
from stackctl.stack import PROBE_SERVICE

SERVICE: Final = f"{SCOPE_PREFIX['resource']}:{semconv.SERVICE_NAME}:s"
_UNKNOWN: Final = ColumnFacts(None, None, None)
_NO_KEYS: Final[Mapping[str, frozenset[str]]] = {scope: frozenset() for scope in REST_COLUMN}


@dataclass(frozen=True, eq=False)
class HotPiece:
    """Some hot spans.

    Attributes:
        table: them.
        rest_keys: for `span` and `resource`, the keys inside the JSON of `rest` and `rrest`.
    """

    table: pa.Table
    rest_keys: Mapping[str, frozenset[str]] = field(default_factory=lambda: _NO_KEYS)

    @cached_property
    def columns(self) -> Mapping[str, ColumnFacts]:
        """Each column that has a value in some row."""
        rows = self.table.num_rows
        pairs = zip(self.table.column_names, self.table.columns, strict=True)
        return {name: _UNKNOWN for name, column in pairs if column.null_count < rows}

    @cached_property
    def tags(self) -> frozenset[str]:
        """Columns with a value on some span that is not the probe's."""
        if not self.may_hold(SERVICE, [PROBE_SERVICE]):
            return frozenset(self.columns)
        services = self.table[SERVICE].to_numpy(zero_copy_only=False)
        kept = self.table.select(list(self.columns)).filter(services != PROBE_SERVICE)
        return frozenset(HotPiece(kept).columns)

    @property
    def first_ns(self) -> int:
        """Start of its earliest span, unix nanoseconds."""
        return self._times[0]

    @property
    def last_ns(self) -> int:
        """Start of its latest span."""
        return self._times[1]

    @property
    def longest_ns(self) -> int:
        """Duration of its longest span."""
        return self._times[2]

    def may_hold(self, column: str, values: Sequence[int | str | float | bool]) -> bool:
        """False where a column has none of some values."""
        if column not in self.columns:
            return False
        if column == "tid_hi":
            return bool(np.isin(self._high, values).any())
        stored = self.table[column]
        if not pa.types.is_string(stored.type):
            return True  # numbers compare across types, which is for the statement to do
        texts = [value for value in values if isinstance(value, str)]
        return any(pc.any(pc.equal(stored, pa.scalar(text))).as_py() for text in texts)

    def rows_of(self, highs: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
        """Return the rows whose trace id has one of some upper halves; in a fraction of the time DuckDB takes to begin.

        Args:
            columns: what they have; all if None.
        """
        found = self._high == highs[0] if len(highs) == 1 else np.isin(self._high, highs)
        places = np.flatnonzero(found)
        if not len(places):
            return []
        names = self.columns if columns is None else [name for name in columns if name in self.columns]
        table = self.table.select(list(names))
        # Spans of a trace mostly stand side by side, and slices cost nothing.
        runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1)
        rows: list[dict[str, Any]] = []
        for run in runs:
            rows += table.slice(int(run[0]), len(run)).to_pylist()
        return rows

    @cached_property
    def _high(self) -> npt.NDArray[np.int64]:
        high: npt.NDArray[np.int64] = self.table["tid_hi"].to_numpy()
        return high

    @cached_property
    def _times(self) -> tuple[int, int, int]:
        starts, durations = (self.table[name].to_numpy() for name in ("start_ns", "dur_ns"))
        return int(starts.min()), int(starts.max()), int(durations.max())


class HotCatalogue:
    """The pieces that were looked at.

    Args:
        rest_keys: tells the keys in the JSON columns of a table.
    """

    def __init__(self, rest_keys: Callable[[pa.Table], Mapping[str, frozenset[str]]]) -> None:
        self._rest_keys = rest_keys
        self._known: dict[int, HotPiece] = {}

    def of(self, tables: Iterable[pa.Table]) -> list[HotPiece]:
        """Return the pieces of these tables; others are forgotten."""
        found = [self._known.get(id(table)) or self._look(table) for table in tables]
        self._known = {id(piece.table): piece for piece in found}
        return found

    def _look(self, table: pa.Table) -> HotPiece:
        rests = [name for name in REST_COLUMN.values() if name in table.column_names]
        if all(table[name].null_count == table.num_rows for name in rests):
            return HotPiece(table)
        return HotPiece(table, self._rest_keys(table))
