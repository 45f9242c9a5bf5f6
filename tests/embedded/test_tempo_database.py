"""What DuckDB may do in the query process, and what it makes of odd stores: cycles, vanished segments, late answers."""

from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from span_store import Given, span_hex, trace_hex, write_store

from stackctl.clients import traces
from stackctl.clients.calls import walk
from stackctl.embedded.store.reader import Snapshot, SpanReader
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.tracejson import trace_json
from stackctl.errors import UpstreamFailed
from stackctl.traceql import compile_query

# Two spans that are each other's parent, beside a root with a child.
SPANS = [Given(1, 1, 2, "a"), Given(1, 2, 1, "b"), Given(1, 3, 0, "root"), Given(1, 4, 3, "child")]


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    write_store(tmp_path, sealed=SPANS[:2], hot=SPANS[2:])
    return tmp_path


@pytest.fixture
def database(data_dir: Path) -> Iterator[SpanDatabase]:
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    yield database
    database.close()


def count(session: Session) -> int:
    return session.rows(f"SELECT count(*) AS n FROM {session.spans(['span_id'])}")[0]["n"]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_csv('/etc/passwd')",
        "COPY (SELECT 1) TO '/dev/null'",
        "ATTACH '/dev/null' AS other",
        "INSTALL httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
    ],
)
def test_duckdb_reads_the_store_and_nothing_else(database: SpanDatabase, statement: str) -> None:
    """Files outside the store, writing, extensions and its own settings are closed to any statement."""
    with database.session() as session, pytest.raises(duckdb.Error):
        session.rows(statement)


def test_settings_hold_for_every_session(database: SpanDatabase) -> None:
    """Sessions run at the same time, too, keep footers and look for no relations among Python's variables."""
    found = []
    with database.session() as one, database.session() as other:
        for session in (one, other):
            names = (
                "parquet_metadata_cache",
                "python_enable_replacements",
                "enable_external_access",
                "memory_limit",
                "read_ahead_depth",
                "disable_parquet_prefetching",
            )
            found.append(session.rows(f"SELECT {', '.join(f'current_setting({n!r})' for n in names)}")[0].values())
    assert [list(values) for values in found] == [[True, False, False, "488.2 MiB", 0, True]] * 2


def test_a_statement_that_takes_too_long_is_interrupted(data_dir: Path) -> None:
    """Time is bounded: the statement ends with an error that says so, and the next one works."""
    slow = SpanDatabase(SpanReader(data_dir), data_dir / "spans", timeout=0.2)
    with slow.session() as session:
        with pytest.raises(UpstreamFailed, match="longer than"):
            session.rows("SELECT sum(a.range * b.range) FROM range(10000000) a, range(10000000) b")
        assert count(session) == 4
    slow.close()


def test_a_segment_that_vanishes_is_looked_for_again(data_dir: Path) -> None:
    """When retention removes a segment between listing and reading, the newer listing is read instead."""
    reader = SpanReader(data_dir)
    stale = reader.snapshot()
    gone = Snapshot((data_dir / "spans" / "gone.parquet",), stale.logs, (), None, stale.last_seq)

    class Source:
        answers = iter([gone])

        def snapshot(self) -> Snapshot:
            return next(self.answers, stale)

    database = SpanDatabase(Source(), data_dir / "spans")
    with database.session() as session:
        assert count(session) == 4
    database.close()


def test_cycles_of_parents_end(database: SpanDatabase) -> None:
    """Spans that are each other's ancestors are found as such, and shown once each."""
    with database.session() as session:
        (found,) = search(session, SearchRequest(compile_query('{ name = "a" } >> { true }').body, spans_per_spanset=0))
        assert {span["spanID"] for span in found["spanSet"]["spans"]} == {span_hex(1), span_hex(2)}
        data = otlp.trace(session, trace_hex(1))
    assert data is not None
    trace = traces.trace(trace_json(data, "batches"))
    assert trace is not None
    assert [(span.name, depth) for span, depth in walk(trace)] == [("root", 0), ("child", 1), ("a", 0), ("b", 1)]
