"""Spans that no segment holds yet are found as sealed ones are, and only where they may be; deadlines ring in time."""

import asyncio
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from span_store import Given, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.alarms import Alarms
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.following import Following
from stackctl.embedded.traces.hot import HotCatalogue, HotPiece, Wanted
from stackctl.embedded.traces.marks import mark, marks
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


@dataclass
class Rows:
    """A frame that counts how often it is decoded."""

    stored: pa.Table
    decoded: int = 0

    @property
    def rows(self) -> int:
        return self.stored.num_rows

    def table(self) -> pa.Table:
        self.decoded += 1
        return self.stored


@dataclass(frozen=True)
class Frames:
    first: int
    frames: Sequence[Rows] = field(default_factory=list)


def no_keys(_: pa.Table) -> Mapping[str, frozenset[str]]:
    return {"span": frozenset(), "resource": frozenset()}


def piece(*tables: pa.Table) -> HotPiece:
    return HotPiece.of([Rows(table) for table in tables], Wanted(), no_keys)


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
    assert may_match(piece(TABLE), compile_query(f"{{ {condition} }}").body.stages[0].condition) is expected


def test_what_is_known_of_a_piece() -> None:
    """Its time, the columns with values, and those of them that somebody other than the probe has."""
    found = piece(TABLE)
    assert (found.first_ns, found.last_ns, found.longest_ns) == (50, 300, 400)
    assert Window(None, 49).touches(found) is False
    assert set(TABLE.column_names) - set(found.columns) == {"s:empty:s"}
    assert set(found.columns) - found.tags == {"s:only.probe:s"}
    assert [row["dur_ns"] for row in found.rows_of([5], ["dur_ns", "s:empty:s"])] == [20, 5]
    assert [row["dur_ns"] for row in found.rows_of([9, -7], None)] == [400, 1]
    assert found.rows_of([6], None) == []


def test_pieces_put_together_are_as_one_that_was_looked_at() -> None:
    """Whatever columns their frames have, and whichever were asked for: the same facts, columns and rows."""
    rng = np.random.default_rng(20261126)
    tables = []
    for number in range(6):
        table = TABLE.take(rng.integers(0, 4, 40)).drop_columns(["s:empty:s"])
        ids = pa.array([None if row % 7 == number else f"resp-{number}-{row}" for row in range(40)])
        table = table.append_column("s:x.id:s", ids) if number % 2 else table.drop_columns(["s:tokens:i"])
        tables.append(table)
    whole, parts = piece(*tables), [piece(table) for table in tables]
    for number, part in enumerate(parts):
        part.table(["dur_ns", "s:x.id:s"] if number else ["dur_ns", "s:model:s"])
    joined = parts[0]
    for part in parts[1:]:
        joined = joined.joined(part)
    assert (set(joined.columns), joined.tags, joined.times) == (set(whole.columns), whole.tags, whole.times)
    assert {name: found.tolist() for name, found in joined.marks.items()} == {
        name: found.tolist() for name, found in whole.marks.items()
    }
    names = ["dur_ns", "s:x.id:s", "s:model:s", "s:tokens:i"]
    assert joined.table(names) == whole.table(names)
    assert joined.table(names) == pa.concat_tables(tables, promote_options="default").select(names)
    for columns in (None, names):
        assert joined.rows_of([9, 5], columns) == whole.rows_of([9, 5], columns)
    for text in ("resp-3-1", "resp-2-1", "resp-5-39"):
        assert joined.may_hold("s:x.id:s", [text]) is any(
            text in t.column("s:x.id:s").to_pylist() for t in tables[1::2]
        )


def test_marks_tell_texts_apart() -> None:
    """Of every length, the same text has the same mark wherever it stands; no text has that of a missing one."""
    texts = [letter * size for letter in "aä" for size in range(20)] + ["chatcmpl-" + "x" * n + "1" for n in range(40)]
    column = pa.chunked_array([pa.array([None, *texts]).slice(1, 30), pa.array([*texts, None]).slice(30)])
    found = marks(column).tolist()
    assert found == [mark(text) for text in texts[:30]] + [mark(text) for text in texts[30:]] + [0]
    assert len(set(found)) == len(set(texts)) + 1
    assert marks(pa.chunked_array([], pa.string())).tolist() == []


def test_a_frame_is_looked_at_once() -> None:
    """What was known is known again when a log has more; JSON keys are read only where there are some."""
    read: list[int] = []

    def keys(table: pa.Table) -> Mapping[str, frozenset[str]]:
        read.append(table.num_rows)
        return {"span": frozenset({"list"}), "resource": frozenset()}

    catalogue = HotCatalogue(keys)
    other = TABLE.append_column("rest", pa.array(['{"list": [1]}', None, None, None]))
    frames = [Rows(TABLE), Rows(other), Rows(TABLE)]
    first = catalogue.of([Frames(1, frames[:1])])
    assert catalogue.of([Frames(1, frames[:1])]) == first
    again = catalogue.of([Frames(1, frames), Frames(9, [Rows(TABLE)])])
    assert [frame.decoded for frame in frames] == [1, 1, 1]
    assert (sum(one.rows for one in again), read) == (16, [8])
    assert {key for one in again for key in one.rest_keys["span"]} == {"list"}
    renewed = [Rows(TABLE)]
    assert sum(one.rows for one in catalogue.of([Frames(1, renewed)])) == 4
    assert renewed[0].decoded == 1


def test_columns_that_are_asked_for_are_kept() -> None:
    """A frame is decoded once for them; those that come later keep them from the beginning."""
    catalogue = HotCatalogue(no_keys)
    frames = [Rows(TABLE), Rows(TABLE)]
    (first,) = catalogue.of([Frames(1, frames[:1])])
    for _ in range(3):
        assert first.table(["dur_ns", "s:model:s"]).column_names == ["dur_ns", "s:model:s"]
    assert frames[0].decoded == 2
    (both,) = catalogue.of([Frames(1, frames)])
    assert both.table(["dur_ns", "s:model:s"]) == pa.concat_tables([TABLE, TABLE]).select(["dur_ns", "s:model:s"])
    assert [frame.decoded for frame in frames] == [2, 1]


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
    alarms = Alarms(0.5)
    rung = threading.Event()
    with alarms.set(rung.set):
        pass
    time.sleep(0.6)
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
        following = Following(catch_up, every_seconds=0.01, idle_seconds=1.0)
        async with following.running():
            while len(seen) < 2:
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.1)
            assert len(seen) == 2  # after a failure it waits for a question
            following.asked()
            while len(seen) < 3:
                await asyncio.sleep(0.01)
            await asyncio.sleep(1.5)
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
