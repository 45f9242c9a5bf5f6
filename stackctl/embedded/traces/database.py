"""DuckDB over the stored spans: the sealed segments that a question needs, the hot pieces, and the evaluations.

The connection is in memory and reads nothing but the store's directory: DuckDB's own settings say so, and are locked.
"""

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import duckdb
import pyarrow as pa

from stackctl.embedded.store.reader import Snapshot
from stackctl.embedded.traces.alarms import Alarms
from stackctl.embedded.traces.asking import Asking
from stackctl.embedded.traces.hot import SERVICE, HotCatalogue, HotTable
from stackctl.embedded.traces.partials import Partials
from stackctl.embedded.traces.schema import REST_COLUMN, Schema, identifier
from stackctl.embedded.traces.segments import Catalogue, Segment
from stackctl.embedded.traces.session import MEMORY_LIMIT, NOT_PROBE, Session, joined, text
from stackctl.stack import PROBE_SERVICE

THREADS: Final = 2
TIMEOUT_SECONDS: Final = 30.0


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
        self._alarms = Alarms(timeout)
        self._lock = threading.Lock()
        self._segments = Catalogue(self._read_through)
        self._judged = Catalogue()
        self._hot = HotCatalogue(self._read_keys)
        self._partials = Partials()
        self._schema: tuple[tuple[Path, ...], Schema] = ((), Schema(frozenset()))
        self._asking = Asking(())
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._connection = duckdb.connect(":memory:")
        for setting in (
            f"memory_limit = '{MEMORY_LIMIT}'",
            f"threads = {THREADS}",
            # Reading ahead opens files in threads of its own. The query process crashed a few times beside other work,
            # the one time its place was known on a list of files that was freed: such a thread that outlives its query
            # is the likely reason, not a proven one (DuckDB's issue 26001 is alike). Of files in the page cache it
            # speeds up nothing. No such threads at all (async_threads = 0) let recursive statements wait for ever.
            "read_ahead_depth = 0",
            "disable_parquet_prefetching = true",
            "temp_directory = ''",
            "parquet_metadata_cache = true",
            "python_enable_replacements = false",
            f"allowed_directories = [{text(str(directory.resolve()) + '/')}]",
            "enable_external_access = false",
            "lock_configuration = true",
        ):
            # Globally: some settings are a connection's own otherwise, and each cursor is a connection.
            self._connection.execute(f"SET GLOBAL {setting}")

    def close(self) -> None:
        """Close the connection."""
        self._alarms.close()
        for cursor in self._cursors:
            cursor.close()
        self._connection.close()

    @contextmanager
    def session(self) -> Iterator[Session]:
        """Open a view of what is stored now. Every statement in it sees the same spans."""
        # The first statement of a fresh cursor takes three milliseconds longer than others.
        try:
            cursor = self._cursors.pop()
        except IndexError:
            cursor = self._connection.cursor()
        with ExitStack() as failed:
            failed.callback(cursor.close)  # who knows what it is in the middle of
            with self._lock:
                session = self._open(cursor)
            yield session
            session.release()
            failed.pop_all()
        self._cursors.append(cursor)

    def catch_up(self) -> None:
        """Take in what was stored since the last time, so that the next question need not."""
        snapshot = self._source.snapshot()
        with suppress(FileNotFoundError):  # retention or compaction was there first; the next snapshot knows
            self._segments.learn(snapshot.segments)
            self._judged.learn(snapshot.evaluation_segments)
        with self._lock:  # of now: what went since then must not come back
            self._hot.of(self._source.snapshot().logs)

    def _open(self, cursor: duckdb.DuckDBPyConnection) -> Session:
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
                found = (Schema(frozenset(part.columns), part.rest_keys) for part in segments)
                self._schema = (snapshot.segments, joined(found))
                self._asking = Asking(segments)
                self._partials.only(set(snapshot.segments))
            hot = self._hot.of(snapshot.logs)
            judged_hot = [] if snapshot.evaluations_hot is None else [snapshot.evaluations_hot]
            schema = joined([self._schema[1], *(Schema(frozenset(piece.columns), piece.rest_keys) for piece in hot)])
            return Session(
                cursor,
                schema,
                tuple(segments),
                tuple(hot),
                tuple(judged),
                tuple(map(HotTable, judged_hot)),
                self._alarms,
                self._partials,
                self._asking,
            )

    def _read_keys(self, table: pa.Table) -> Mapping[str, frozenset[str]]:
        """Return the keys in the JSON columns of hot spans."""
        cursor = self._connection.cursor()
        try:
            rests = [name for name in REST_COLUMN.values() if name in table.column_names]
            cursor.register("rests", table.select(rests))
            return _rest_keys(cursor, "rests", rests)
        finally:
            cursor.close()

    def _read_through(self, segment: Segment) -> Segment:
        """Add what only reading a segment tells: the keys in its JSON columns, and what the probe left in it."""
        cursor = self._connection.cursor()
        try:
            relation = f"read_parquet({text(str(segment.path))})"
            cursor.execute(
                f"SELECT 1 FROM {relation} LIMIT 0"
            )  # DuckDB keeps the footer, which takes longer than most answers
            keys = _rest_keys(cursor, relation, segment.columns)
            names = sorted(segment.columns)
            if not segment.may_hold(SERVICE, [PROBE_SERVICE]) or not _probed(cursor, relation):
                return replace(segment, rest_keys=keys, tags=frozenset(names))
            return replace(segment, rest_keys=keys, has_probe=True, tags=_filled(cursor, relation, names))
        finally:
            cursor.close()


def _rest_keys(cursor: duckdb.DuckDBPyConnection, relation: str, filled: Iterable[str]) -> dict[str, frozenset[str]]:
    keys: dict[str, frozenset[str]] = {}
    for scope, column in REST_COLUMN.items():
        sql = f"SELECT DISTINCT unnest(json_keys({column})) FROM {relation} WHERE {column} IS NOT NULL"
        keys[scope] = frozenset(row[0] for row in cursor.execute(sql).fetchall()) if column in filled else frozenset()
    return keys


def _probed(cursor: duckdb.DuckDBPyConnection, relation: str) -> bool:
    return bool(cursor.execute(f"SELECT 1 FROM {relation} WHERE NOT ({NOT_PROBE}) LIMIT 1").fetchall())


def _filled(cursor: duckdb.DuckDBPyConnection, relation: str, names: Sequence[str]) -> frozenset[str]:
    """Return the columns with a value on a span that is not the probe's."""
    counts = ", ".join(f"count({identifier(name)})" for name in names)
    row = cursor.execute(f"SELECT {counts} FROM {relation} WHERE {NOT_PROBE}").fetchall()[0]
    return frozenset(name for name, count in zip(names, row, strict=True) if count)
