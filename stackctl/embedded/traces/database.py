"""DuckDB over the stored spans: the sealed segments that a question needs, the hot table, and the evaluations.

The connection is in memory and reads nothing but the store's directory: DuckDB's own settings say so, and are locked.
"""

import re
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import numpy as np
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.store.reader import Snapshot
from stackctl.embedded.traces.pruning import may_match
from stackctl.embedded.traces.schema import CORE, JUDGED, REST_COLUMN, SCOPE_PREFIX, Schema, identifier, sql_type
from stackctl.embedded.traces.segments import Catalogue, Segment, Window
from stackctl.errors import UpstreamFailed
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import ast

MEMORY_LIMIT: Final = "512MB"  # the largest questions over ten million spans need half of it
THREADS: Final = 2
TIMEOUT_SECONDS: Final = 30.0
EVERYTHING: Final = Window()

_SERVICE: Final = f"{SCOPE_PREFIX['resource']}:{semconv.SERVICE_NAME}:s"
_NOT_PROBE: Final = f"{identifier(_SERVICE)} IS DISTINCT FROM '{PROBE_SERVICE}'"
# What the hot table is called in SQL.
_HOT: Final = "hot"
_PARAMETER: Final = re.compile(r"\$(p\d+)\b")
# More traces than these stand in nearly every segment anyway.
_PROBED_TRACES: Final = 50
TraceKey = tuple[int, int]


class SpanSource(Protocol):
    """Where spans are stored; `stackctl.embedded.store.reader.SpanReader` is one."""

    def snapshot(self) -> Snapshot:
        """Return what is stored now."""
        ...


@dataclass(frozen=True)
class _Hot:
    """The spans that no segment holds yet; None where there are none."""

    table: pa.Table | None = None
    schema: Schema = field(default_factory=lambda: Schema(frozenset()))


class SpanDatabase:
    """Runs SQL over the spans of a source. Safe from several threads.

    Args:
        source: gives the spans at the time of each session.
        directory: the only directory that DuckDB may read.
        timeout: seconds after which a statement is interrupted.
    """

    def __init__(self, source: SpanSource, directory: Path, timeout: float = TIMEOUT_SECONDS) -> None:
        self._source = source
        self._timeout = timeout
        self._lock = threading.Lock()
        self._segments = Catalogue(self._read_through)
        self._judged = Catalogue()
        self._hot = _Hot()
        self._schema: tuple[tuple[Path, ...], Schema] = ((), Schema(frozenset()))
        self._connection = duckdb.connect(":memory:")
        for setting in (
            f"memory_limit = '{MEMORY_LIMIT}'",
            f"threads = {THREADS}",
            "temp_directory = ''",
            "parquet_metadata_cache = true",
            "python_enable_replacements = false",
            f"allowed_directories = [{_text(str(directory.resolve()) + '/')}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            self._connection.execute(f"SET {setting}")

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """Open a view of what is stored now. Every statement in it sees the same spans."""
        cursor = self._connection.cursor()
        try:
            with self._lock:
                session = self._open(cursor)
            yield session
        finally:
            cursor.close()

    def _open(self, cursor: duckdb.DuckDBPyConnection) -> "Session":
        while True:
            snapshot = self._source.snapshot()
            try:
                segments = self._segments.of(snapshot.segments)
                judged = self._judged.of(snapshot.evaluation_segments)
            except FileNotFoundError:
                # A segment of the snapshot is gone: retention or compaction. There is a newer snapshot then.
                if self._source.snapshot().segments == snapshot.segments:
                    raise
                continue
            if self._schema[0] != snapshot.segments:
                self._schema = (snapshot.segments, _schema_of(segments))
            if snapshot.hot is not None:
                cursor.register(_HOT, snapshot.hot)
            if self._hot.table is not snapshot.hot:
                self._hot = _hot(cursor, snapshot.hot)
            hot = [snapshot.evaluations_hot] if snapshot.evaluations_hot is not None else []
            schema = _joined([self._schema[1], self._hot.schema])
            keys = self._hot.schema.rest_keys
            return Session(
                cursor, schema, tuple(segments), snapshot.hot, keys, tuple(judged), tuple(hot), self._timeout
            )

    def _read_through(self, segment: Segment) -> Segment:
        """Add what only reading a segment tells: the keys in its JSON columns, and what the probe left in it."""
        cursor = self._connection.cursor()
        try:
            relation = f"read_parquet({_text(str(segment.path))})"
            keys = _rest_keys(cursor, relation, segment.columns)
            names = sorted(segment.columns)
            if not segment.may_hold(_SERVICE, [PROBE_SERVICE]) or not _probed(cursor, relation):
                return replace(segment, rest_keys=keys, tags=frozenset(names))
            return replace(segment, rest_keys=keys, has_probe=True, tags=_filled(cursor, relation, names))
        finally:
            cursor.close()


@dataclass(frozen=True)
class Session:
    """Statements over one snapshot.

    Attributes:
        schema: the columns that some stored span has a value in.
        segments: the sealed spans.
        hot: the other spans, None where there are none.
        hot_keys: the keys inside their JSON columns, as in `Segment.rest_keys`.
        judged: sealed evaluations.
        judged_hot: the other evaluations.
        timeout: seconds after which a statement is interrupted.
    """

    cursor: duckdb.DuckDBPyConnection
    schema: Schema
    segments: tuple[Segment, ...]
    hot: pa.Table | None
    hot_keys: Mapping[str, frozenset[str]]
    judged: tuple[Segment, ...]
    judged_hot: tuple[pa.Table, ...]
    timeout: float

    def spans(
        self, columns: Iterable[str], window: Window = EVERYTHING, condition: ast.Expression | None = None
    ) -> str:
        """Return SQL of a relation of spans; the probe's are never among them.

        Args:
            columns: what it has; NULL where nothing is stored under a name.
            window: spans outside of it are left out.
            condition: of spans that do not meet it, any may be left out.
        """
        names = sorted(set(columns))
        found = [part for part in self.segments if window.touches(part) and may_match(part, condition)]
        whole = [part for part in found if window.holds(part) and not part.has_probe]
        cut = [part for part in found if part not in whole]
        longest = max((part.longest_ns for part in cut), default=0)
        parts = [
            _from_files(whole, names),
            _from_files(cut, names, window.condition(longest), _NOT_PROBE if _has(cut, _SERVICE) else ""),
        ]
        if self.hot is not None:
            service = _NOT_PROBE if _SERVICE in self.hot.column_names else ""
            parts.append(_from_table(_HOT, self.hot, names, window.condition(None), service))
        return _union(parts, names)

    def spans_of(
        self, traces: Sequence[TraceKey], columns: Iterable[str] | None = None, window: Window = EVERYTHING
    ) -> list[dict[str, Any]]:
        """Return every span of some traces, the probe's too, in order of their start.

        Args:
            columns: what the rows have; every core column, and all that have a value in one of them, if None.
            window: where they are looked for.
        """
        highs, lows = ([key[part] for key in traces] for part in (0, 1))
        found = [part for part in self.segments if window.touches(part)]
        if len(traces) <= _PROBED_TRACES:
            found = [part for part in found if part.may_hold("tid_hi", highs)]
        condition = f"tid_hi {_one_of(highs)} AND tid_lo {_one_of(lows)}"
        hot = [] if self.hot is None else _rows_of(self.hot, highs, None if columns is None else list(columns))
        if columns is None:
            sealed = [row for parts in _alike(found) for row in self.rows(_whole(parts, condition))]
            core = dict.fromkeys(CORE)
            rows = [core | row for row in (*sealed, *hot)]
        else:
            names = sorted({*columns})
            rows = self.rows(_from_files(found, names, condition)) if found else []
            rows += [dict.fromkeys(names) | row for row in hot]
        keys = set(traces)
        rows = [row for row in rows if (row["tid_hi"], row["tid_lo"]) in keys]
        return sorted(rows, key=lambda row: (row["start_ns"], row["span_id"]))

    def tags(self) -> Schema:
        """Return the columns and keys with a value on a span that is not the probe's."""
        sealed = [Schema(part.tags, part.rest_keys) for part in self.segments]
        if self.hot is None:
            return _joined(sealed)
        names = _filled(self.cursor, _HOT, self.hot.column_names, _SERVICE in self.hot.column_names)
        return _joined([*sealed, Schema(names, self.hot_keys)])

    def evaluations_of(self, trace: TraceKey) -> list[dict[str, Any]]:
        """Return the evaluations of a trace's spans in order of time: the columns of JUDGED."""
        found = [part for part in self.judged if part.may_hold("tid_hi", [trace[0]])]
        condition = f"tid_hi = {int(trace[0])} AND tid_lo = {int(trace[1])}"
        parts = [_from_files(found, list(JUDGED), condition)]
        for number, table in enumerate(self.judged_hot):
            self.cursor.register(f"judged{number}", table)
            parts.append(_from_table(f"judged{number}", table, list(JUDGED), condition))
        if not any(parts):
            return []
        return self.rows(f"SELECT * FROM {_union(parts, list(JUDGED))} ORDER BY time_ns")

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement and return its rows.

        Args:
            parameters: values by name; those that the statement does not use are left out.

        Raises:
            UpstreamFailed: it took too long, or more memory than the engine may use.
        """
        used = {name: parameters[name] for name in set(_PARAMETER.findall(sql))} if parameters else {}
        alarm = threading.Timer(self.timeout, self.cursor.interrupt)
        alarm.start()
        try:
            result = self.cursor.execute(sql, used)
            names = [column[0] for column in result.description or ()]
            return [dict(zip(names, row, strict=True)) for row in result.fetchall()]
        except duckdb.InterruptException as error:
            raise UpstreamFailed(
                f"the query took longer than {self.timeout:g} s", next_step="ask for a shorter time range"
            ) from error
        except duckdb.OutOfMemoryException as error:
            raise UpstreamFailed(
                f"the query needs more memory than {MEMORY_LIMIT}", next_step="ask for a shorter time range"
            ) from error
        finally:
            alarm.cancel()


def _from_files(segments: Sequence[Segment], names: Sequence[str], *conditions: str) -> str:
    """Return a SELECT of columns over segments; empty text for no segments."""
    if not segments:
        return ""
    there = {name for part in segments for name in part.names}
    everywhere = all(name in part.names for part in segments for name in names if name in there)
    paths = ", ".join(_text(str(part.path)) for part in segments)
    files = f"read_parquet([{paths}]{'' if everywhere else ', union_by_name = true'})"
    return _select(files, there, names, conditions)


def _from_table(name: str, table: pa.Table, names: Sequence[str], *conditions: str) -> str:
    return _select(name, set(table.column_names), names, conditions)


def _select(source: str, there: set[str], names: Sequence[str], conditions: Iterable[str]) -> str:
    columns = (identifier(n) if n in there else f"NULL::{sql_type(n)} AS {identifier(n)}" for n in names)
    where = " AND ".join(condition for condition in conditions if condition)
    return f"SELECT {', '.join(columns)} FROM {source}" + (f" WHERE {where}" if where else "")


def _union(parts: Iterable[str], names: Sequence[str]) -> str:
    found = [part for part in parts if part]
    if not found:
        found = ["SELECT " + ", ".join(f"NULL::{sql_type(n)} AS {identifier(n)}" for n in names) + " WHERE FALSE"]
    return f"({' UNION ALL '.join(found)})"


def _has(segments: Iterable[Segment], column: str) -> bool:
    return any(column in part.names for part in segments)


def _alike(segments: Iterable[Segment]) -> Iterable[list[Segment]]:
    """Return segments by what columns they have, and have values in: one statement reads those that are alike."""
    groups: dict[tuple[frozenset[str], frozenset[str]], list[Segment]] = defaultdict(list)
    for part in segments:
        groups[part.names, frozenset(part.columns)].append(part)
    return groups.values()


def _whole(segments: Sequence[Segment], condition: str) -> str:
    """Return a SELECT of every column that has a value, over segments that are alike."""
    empty = ", ".join(identifier(name) for name in sorted(segments[0].names.difference(segments[0].columns)))
    columns = f"* EXCLUDE ({empty})" if empty else "*"
    paths = ", ".join(_text(str(part.path)) for part in segments)
    return f"SELECT {columns} FROM read_parquet([{paths}]) WHERE {condition}"


def _rows_of(table: pa.Table, highs: Sequence[int], columns: Sequence[str] | None) -> list[dict[str, Any]]:
    """Return the rows of some traces; in a fraction of the time that DuckDB takes to begin."""
    if columns is not None:
        table = table.select([name for name in table.column_names if name in columns])
    high = table["tid_hi"].to_numpy()
    places = np.flatnonzero(high == highs[0] if len(highs) == 1 else np.isin(high, highs))
    # Spans of a trace mostly stand side by side, and slices cost nothing.
    runs = np.split(places, np.flatnonzero(np.diff(places) != 1) + 1) if len(places) else []
    return [row for run in runs for row in table.slice(run[0], len(run)).to_pylist()]


def _hot(cursor: duckdb.DuckDBPyConnection, table: pa.Table | None) -> _Hot:
    if table is None:
        return _Hot()
    filled = [name for name in table.column_names if table[name].null_count < table.num_rows]
    keys = _rest_keys(cursor, _HOT, filled)
    return _Hot(table, Schema(frozenset(table.column_names), keys))


def _schema_of(segments: Sequence[Segment]) -> Schema:
    return _joined([Schema(frozenset(part.columns), part.rest_keys) for part in segments])


def _joined(schemas: Sequence[Schema]) -> Schema:
    return Schema(
        frozenset(CORE).union(*(schema.columns for schema in schemas)),
        {s: frozenset().union(*(schema.rest_keys.get(s, frozenset()) for schema in schemas)) for s in REST_COLUMN},
    )


def _rest_keys(cursor: duckdb.DuckDBPyConnection, relation: str, filled: Iterable[str]) -> dict[str, frozenset[str]]:
    keys: dict[str, frozenset[str]] = {}
    for scope, column in REST_COLUMN.items():
        sql = f"SELECT DISTINCT unnest(json_keys({column})) FROM {relation} WHERE {column} IS NOT NULL"
        keys[scope] = frozenset(row[0] for row in cursor.execute(sql).fetchall()) if column in filled else frozenset()
    return keys


def _probed(cursor: duckdb.DuckDBPyConnection, relation: str) -> bool:
    return bool(cursor.execute(f"SELECT 1 FROM {relation} WHERE NOT ({_NOT_PROBE}) LIMIT 1").fetchall())


def _filled(
    cursor: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str], services: bool = True
) -> frozenset[str]:
    """Return the columns with a value on a span that is not the probe's."""
    counts = ", ".join(f"count({identifier(name)})" for name in names)
    row = cursor.execute(f"SELECT {counts} FROM {relation}{f' WHERE {_NOT_PROBE}' if services else ''}").fetchall()[0]
    return frozenset(name for name, count in zip(names, row, strict=True) if count)


def _one_of(values: Sequence[int]) -> str:
    """Return SQL that compares with some numbers; with one as such, for which DuckDB asks bloom filters."""
    return f"= {int(values[0])}" if len(values) == 1 else f"IN ({', '.join(str(int(value)) for value in values)})"


def _text(value: str) -> str:
    """Quote a string of our own (a path) where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"
