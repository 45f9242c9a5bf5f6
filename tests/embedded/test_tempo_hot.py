"""Spans that no segment holds yet are found as sealed ones are, and only where they may be; deadlines ring in time."""

import asyncio
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from span_store import Given, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.alarms import Alarms
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.following import Following
from stackctl.embedded.traces.hot import HotCatalogue, HotPiece
from stackctl.embedded.traces.pruning import may_match
from stackctl.embedded.traces.segments import Window
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import compile_query

TABLE = pa.table(
    {
        "tid_hi": [5, 5, -7, 9],
        "tid_lo": [1, 1, 2, 3],
        "start_ns": [100, 110, 300, 50],
        "dur_ns": [20, 5, 400, 1],
        "s:model:s": ["a", None, "b", None],
        "s:tokens:i": [1, 2, 3, 4],
        "s:only.probe:s": [None, None, None, "x"],
        "s:empty:s": pa.nulls(4, pa.string()),
        "r:service.name:s": ["shop", None, "shop", PROBE_SERVICE],
    }
)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('.model = "a"', True),
        ('.model = "c"', False),
        ('.model = "c" || .tokens = 99', True),  # numbers are for the statement to compare
        ('.empty = "x"', False),
        (".absent > 1", False),
        ('.model = "a" && .absent = "x"', False),
        ('trace:id = "00000000000000050000000000000001"', True),
        ('trace:id = "00000000000000060000000000000001"', False),
    ],
)
def test_only_pieces_that_may_match_are_opened(condition: str, expected: bool) -> None:
    """A piece without an answer is never shown to DuckDB, and one with an answer always is."""
    assert may_match(HotPiece(TABLE), compile_query(f"{{ {condition} }}").body.stages[0].condition) is expected


def test_what_is_known_of_a_piece() -> None:
    """Its time, the columns with values, and those of them that somebody other than the probe has."""
    piece = HotPiece(TABLE)
    assert (piece.first_ns, piece.last_ns, piece.longest_ns) == (50, 300, 400)
    assert Window(None, 49).touches(piece) is False
    assert set(TABLE.column_names) - set(piece.columns) == {"s:empty:s"}
    assert set(piece.columns) - piece.tags == {"s:only.probe:s"}
    assert [row["dur_ns"] for row in piece.rows_of([5], ["dur_ns", "s:empty:s"])] == [20, 5]
    assert [row["dur_ns"] for row in piece.rows_of([9, -7], None)] == [400, 1]
    assert piece.rows_of([6], None) == []


def test_a_piece_is_looked_at_once() -> None:
    """The same table is the same piece, whose JSON keys are read only where there are some, and once."""
    read: list[pa.Table] = []

    def keys(table: pa.Table) -> dict[str, frozenset[str]]:
        read.append(table)
        return {"span": frozenset({"list"})}

    catalogue = HotCatalogue(keys)
    other = TABLE.append_column("rest", pa.array(['{"list": [1]}', None, None, None]))
    first = catalogue.of([TABLE, other])
    again = catalogue.of([TABLE, other])
    assert [a is b for a, b in zip(first, again, strict=True)] == [True, True]
    assert (read, first[1].rest_keys) == ([other], {"span": frozenset({"list"})})


def test_hot_and_sealed_spans_answer_alike(tmp_path: Path) -> None:
    """Lists in `rest`, numbers and texts: the same statement finds them in the log and in a segment."""
    for number, place in enumerate(("sealed", "hot"), 1):
        spans = [Given(number, 1, attributes={"model": "a", "list": ["x", "y"], "tokens": number}), Given(number, 2)]
        write_store(tmp_path, **{place: spans})
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    with database.session() as session:
        rows = session.rows(f"SELECT * FROM {session.spans(['tid_lo', 's:model:s', 's:tokens:i', 'rest'])}")
        assert sorted((r["tid_lo"], r["s:model:s"], r["s:tokens:i"]) for r in rows if r["rest"]) == [
            (1, "a", 1),
            (2, "a", 2),
        ]
        assert session.schema.in_rest("span", "list")
        assert len(session.spans_of([(rows[0]["tid_lo"], 0)])) == 0
    database.close()


def test_a_deadline_rings_once_and_only_while_it_matters() -> None:
    """What ends in time is left alone; what does not is rung for from another thread, also when it began later."""
    alarms = Alarms(0.15)
    rung = threading.Event()
    with alarms.set(rung.set):
        pass
    time.sleep(0.2)
    assert not rung.is_set()
    with alarms.set(rung.set):
        assert rung.wait(5)
    alarms.close()


def test_the_store_is_followed_between_questions(tmp_path: Path) -> None:
    """At the start and while somebody asks, what is new is taken in; a failure is told and ends nothing."""
    seen: list[float] = []

    def catch_up() -> None:
        seen.append(time.monotonic())
        if len(seen) == 2:
            raise OSError("no")

    async def follow() -> None:
        following = Following(catch_up, every_seconds=0.01, idle_seconds=0.2)
        async with following.running():
            while len(seen) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(seen) == 2  # after a failure it waits for a question
            following.asked()
            while len(seen) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.5)
            found = len(seen)
            await asyncio.sleep(0.1)
            assert len(seen) == found  # nobody asked for so long

    asyncio.run(follow())
    write_store(tmp_path, sealed=[Given(1, 1)], hot=[Given(1, 2)])
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    database.catch_up()
    with database.session() as session:
        assert len(session.rows(f"SELECT 1 FROM {session.spans(['span_id'])}")) == 2
    database.close()
