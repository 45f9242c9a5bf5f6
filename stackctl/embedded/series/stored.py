"""Sealed blocks as the query process reads them: the samples of many series at once, kept small.

Most series of a block were sampled at the same moments: they share one array of times, and what is kept of a row group
is its values, as 32-bit floats where those are the same numbers.
"""

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import orjson

from .blocks import ROW_GROUP, SERIES_AT_ONCE
from .joined import Part, SharedTimes, Values
from .levels import Floats, Times

if TYPE_CHECKING:
    import pyarrow as pa

CACHE_BYTES: Final = 32 * 1024**2  # half a day of a thousand series; what is asked again is kept joined


@dataclass(frozen=True)
class StoredSeries:
    """One series of a block.

    Attributes:
        name: base name of its family.
    """

    labels: dict[str, str]
    name: str
    kind: str


@dataclass(frozen=True)
class StoredExemplars:
    """The exemplars of a block, one array each for the row of their series, time, value and trace id."""

    rows: npt.NDArray[np.int32]
    times: Times
    values: Floats
    trace_ids: "pa.ChunkedArray[Any]"

    def of(self, rows: npt.NDArray[np.intp], start_ms: int, end_ms: int) -> "StoredExemplars":
        """Return those of some series in [start_ms, end_ms]."""
        found = np.flatnonzero(np.isin(self.rows, rows) & (self.times >= start_ms) & (self.times <= end_ms))
        return StoredExemplars(self.rows[found], self.times[found], self.values[found], self.trace_ids.take(found))


@dataclass(frozen=True)
class _Group:
    """A row group.

    Attributes:
        row: the first series with samples in it.
        parts: for that series and the ones after it: the times, and where its values begin and end.
        values: of all of them.
    """

    row: int
    parts: Sequence[tuple[Times, int, int]]
    values: Values

    @property
    def nbytes(self) -> int:
        """Bytes that it holds, about."""
        return self.values.nbytes + 150 * len(self.parts)


class StoredBlock:
    """One block, its files opened when they are needed.

    Args:
        directory: of the block.
        cache: row groups of all blocks that were read lately.

    Attributes:
        name: of its directory.
    """

    def __init__(self, directory: Path, cache: "GroupCache") -> None:
        self._directory, self._cache = directory, cache
        self.name = directory.name
        columns = self._read("series.parquet", ["first", "rows"])
        self._first = columns["first"].to_numpy()
        self._stop = self._first + columns["rows"].to_numpy()

    def series(self) -> Iterator[StoredSeries]:
        """Read its series, in the order of their samples; nothing is kept of them here."""
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._directory / "series.parquet") as file:
            for batch in file.iter_batches(SERIES_AT_ONCE, columns=["labels", "name", "kind"], use_threads=False):
                for row in batch.to_pylist():
                    yield StoredSeries(orjson.loads(row["labels"]), row["name"], row["kind"])

    def groups(self, row: int) -> range:
        """Return the numbers of the row groups with samples of a series."""
        return range(int(self._first[row]) // ROW_GROUP, (int(self._stop[row]) - 1) // ROW_GROUP + 1)

    @cached_property
    def exemplars(self) -> StoredExemplars:
        """Its exemplars."""
        table = self._read("exemplars.parquet")
        rows, times, values = (table[name].to_numpy() for name in ("series", "time", "value"))
        return StoredExemplars(rows, times, values, table["trace_id"])

    def reading(self) -> "Reading":
        """Begin to read some series."""
        return Reading(self)

    def group(self, number: int) -> _Group:
        """Return a row group, which is read unless it is kept."""
        key = (self.name, number)
        found = self._cache.get(key)
        if found is None:
            found = self._load(number)
            self._cache.put(key, found)
        return found

    def _load(self, number: int) -> _Group:
        import pyarrow.parquet as pq

        with pq.ParquetFile(self._directory / "samples.parquet") as file:
            table = file.read_row_group(number, use_threads=False)
        times, values = table["time"].to_numpy(), table["value"].to_numpy()
        begin, end = number * ROW_GROUP, number * ROW_GROUP + len(values)
        first = int(self._stop.searchsorted(begin, "right"))
        last = int(self._first.searchsorted(end, "left"))
        starts = (np.maximum(self._first[first:last], begin) - begin).tolist()
        stops = (np.minimum(self._stop[first:last], end) - begin).tolist()
        shared = SharedTimes()
        parts = [(shared.one(times[a:b]), a, b) for a, b in zip(starts, stops, strict=True)]
        return _Group(first, parts, _narrow(values))

    def _read(self, name: str, columns: list[str] | None = None) -> "pa.Table":
        import pyarrow.parquet as pq

        return pq.read_table(self._directory / name, columns=columns, partitioning=None, use_threads=False)


class Reading:
    """Reads series of one block one after the other; the row groups of one are mostly those of the next."""

    def __init__(self, block: StoredBlock) -> None:
        self._block = block
        self._group = _Group(0, (), np.zeros(0))
        self._number = -1

    def add(self, row: int, parts: list[Part]) -> None:
        """Add the samples of a series to what older blocks have of it."""
        for number in self._block.groups(row):
            if number != self._number:
                self._group, self._number = self._block.group(number), number
            group = self._group
            times, start, stop = group.parts[row - group.row]
            parts.append((times, group.values[start:stop]))


class GroupCache:
    """Row groups that were read lately, over all blocks.

    Args:
        most_bytes: that they may hold together.
    """

    def __init__(self, most_bytes: int = CACHE_BYTES) -> None:
        self._most = most_bytes
        self._groups: OrderedDict[tuple[str, int], _Group] = OrderedDict()
        self._bytes = 0

    def get(self, key: tuple[str, int]) -> _Group | None:
        """Return a row group that is kept."""
        found = self._groups.get(key)
        if found is not None:
            self._groups.move_to_end(key)
        return found

    def put(self, key: tuple[str, int], group: _Group) -> None:
        """Keep a row group; those that were not asked for longest go."""
        self._groups[key] = group
        self._bytes += group.nbytes
        while self._bytes > self._most and len(self._groups) > 1:
            _, gone = self._groups.popitem(last=False)
            self._bytes -= gone.nbytes


def _narrow(values: Floats) -> Values:
    """Return values in half of the bytes if they are the same numbers; NaN as it is, whose bits tell what it means."""
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
    return narrow if np.array_equal(narrow, values) else values.copy()
