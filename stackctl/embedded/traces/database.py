"""DuckDB over the stored spans: sealed segments and the hot table as one relation `stored`, evaluations as `judged`.

The connection is in memory and reads nothing but the store's directory: DuckDB's own settings say so, and are locked.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from stackctl.embedded.store.reader import Snapshot
from stackctl.embedded.traces.schema import CORE, REST_COLUMN, Schema
from stackctl.errors import UpstreamFailed

MEMORY_LIMIT: Final = "512MB"  # the largest questions over ten million spans need half of it
THREADS: Final = 2
TIMEOUT_SECONDS: Final = 30.0

_ARROW: Final = {"BIGINT": pa.int64(), "TINYINT": pa.int8(), "VARCHAR": pa.string()}
_NO_SPANS: Final = pa.table({name: pa.array([], _ARROW[kind]) for name, kind in CORE.items()})
_NO_EVALUATIONS: Final = pa.table(
    {
        **{name: pa.array([], pa.int64()) for name in ("tid_hi", "tid_lo", "span_id", "time_ns", "arrival_ms")},
        **{name: pa.array([], pa.string()) for name in ("name", "label", "error_type", "response_id")},
        "score": pa.array([], pa.float64()),
    }
)


class SpanSource(Protocol):
    """Where spans are stored; `stackctl.embedded.store.reader.SpanReader` is one."""

    def snapshot(self) -> Snapshot:
        """Return what is stored now."""
        ...


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
        self._segments: dict[Path, Schema] = {}
        self._hot: tuple[pa.Table | None, Schema] = (None, Schema(frozenset(), {}))
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
            yield Session(cursor, self._open(cursor), self._timeout)
        finally:
            cursor.close()

    def _open(self, cursor: duckdb.DuckDBPyConnection) -> Schema:
        """Define the relations `stored` and `judged`, and return the schema of the first."""
        while True:
            snapshot = self._source.snapshot()
            try:
                schemas = [self._segment(cursor, path) for path in snapshot.segments]
                _define(cursor, "judged", snapshot.evaluation_segments, (_NO_EVALUATIONS, snapshot.evaluations_hot))
                _define(cursor, "stored", snapshot.segments, (_NO_SPANS, snapshot.hot))
            except (FileNotFoundError, duckdb.IOException):
                # A segment of the snapshot is gone: retention or compaction. There is a newer snapshot then.
                if self._source.snapshot().segments == snapshot.segments:
                    raise
                continue
            schemas.append(self._hot_schema(cursor, snapshot.hot))
            return Schema(
                frozenset(CORE).union(*(schema.columns for schema in schemas)),
                {scope: frozenset().union(*(schema.rest_keys[scope] for schema in schemas)) for scope in REST_COLUMN},
            )

    def _segment(self, cursor: duckdb.DuckDBPyConnection, path: Path) -> Schema:
        """Return a segment's columns and the keys in its JSON columns; read once, since segments never change."""
        known = self._segments.get(path)
        if known is None:
            known = _schema(cursor, f"read_parquet({_text(str(path))})", pq.read_schema(path).names)
            self._segments[path] = known
        return known

    def _hot_schema(self, cursor: duckdb.DuckDBPyConnection, hot: pa.Table | None) -> Schema:
        known, schema = self._hot
        if hot is None or hot is not known:
            names = [] if hot is None else hot.column_names
            schema = _schema(cursor, "stored1", names)
            self._hot = (hot, schema)
        return schema


@dataclass(frozen=True)
class Session:
    """Statements over one snapshot.

    Attributes:
        schema: the columns of the relation `stored`.
        timeout: seconds after which a statement is interrupted.
    """

    cursor: duckdb.DuckDBPyConnection
    schema: Schema
    timeout: float

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement and return its rows.

        Args:
            parameters: values by name; those that the statement does not use are left out.

        Raises:
            UpstreamFailed: it took too long, or more memory than the engine may use.
        """
        statement = self.cursor.extract_statements(sql)[0]
        used = {name: value for name, value in (parameters or {}).items() if name in statement.named_parameters}
        alarm = threading.Timer(self.timeout, self.cursor.interrupt)
        alarm.start()
        try:
            result = self.cursor.execute(statement, used)
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


def _define(
    cursor: duckdb.DuckDBPyConnection, name: str, files: Sequence[Path], tables: Sequence[pa.Table | None]
) -> None:
    parts = []
    if files:
        paths = ", ".join(_text(str(path)) for path in files)
        parts.append(f"SELECT * FROM read_parquet([{paths}], union_by_name = true)")
    for number, table in enumerate(tables):
        if table is not None:
            cursor.register(f"{name}{number}", table)
            parts.append(f"SELECT * FROM {name}{number}")
    cursor.execute(f"CREATE OR REPLACE TEMP VIEW {name} AS " + " UNION ALL BY NAME ".join(parts))


def _schema(cursor: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> Schema:
    keys: dict[str, frozenset[str]] = {}
    for scope, column in REST_COLUMN.items():
        sql = f"SELECT DISTINCT unnest(json_keys({column})) FROM {relation} WHERE {column} IS NOT NULL"
        found = cursor.execute(sql).fetchall() if column in names else []
        keys[scope] = frozenset(row[0] for row in found)
    return Schema(frozenset(names), keys)


def _text(value: str) -> str:
    """Quote a string of our own (a path) where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"
