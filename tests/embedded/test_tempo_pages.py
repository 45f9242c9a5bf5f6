"""Rows that are read page by page are those that Parquet's own reader finds, and look-ups answer as statements do."""

import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from span_store import BASE_NS, Given, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.seal import Part, write_parquet
from stackctl.embedded.traces import session as sessions
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.encodings import hybrid
from stackctl.embedded.traces.pagefile import Places
from stackctl.embedded.traces.pageheaders import DATA, DICTIONARY, PageHeader
from stackctl.embedded.traces.pages import SegmentPages, Unfamiliar
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.spansets import Bounds
from stackctl.embedded.traces.thrift import fields
from stackctl.traceql import compile_query

ROWS = 20_000  # two row groups, of several pages
SEED = 20261125
ID = "s:gen_ai.response.id:s"


def made(rng: random.Random) -> pa.Table:
    """Return spans whose columns are of every type and of every way in which values repeat or are missing."""
    numbers = np.random.default_rng(SEED)
    runs = [value for _ in range(ROWS // 100) for value in [rng.choice(["ask", "chat", None])] * 100]
    return pa.table(
        {
            "tid_hi": np.repeat(numbers.integers(-(2**63), 2**63 - 1, ROWS // 8), 8),
            "start_ns": np.sort(numbers.integers(BASE_NS, BASE_NS + 10**13, ROWS)),
            "dur_ns": numbers.integers(0, 10**12, ROWS),
            "kind": pa.array(numbers.integers(1, 6, ROWS), pa.int8()),
            "name": runs,
            "status_msg": pa.nulls(ROWS, pa.string()),
            "rest": [None if rng.random() < 0.9 else '{"list": ["ä"]}' * rng.randrange(1, 90) for _ in range(ROWS)],
            ID: [f"resp-{rng.randrange(ROWS)}" if rng.random() < 0.7 else None for _ in range(ROWS)],
            "s:other_id:s": [f"{rng.getrandbits(256):064x}" for _ in range(ROWS)],
            "s:model:s": [rng.choice(["a", "b", "日本語", "", None]) for _ in range(ROWS)],
            "s:tokens:i": [rng.choice([None, rng.randrange(5000)]) for _ in range(ROWS)],
            "s:cost:d": [rng.choice([None, rng.random(), 0.0, float("inf")]) for _ in range(ROWS)],
            "s:stream:b": [rng.choice([True, False, None]) for _ in range(ROWS)],
            "r:service.name:s": ["shop"] * ROWS,
        }
    )


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pa.Table]:
    """A segment as the store writes it, and what is in it."""
    path = tmp_path_factory.mktemp("pages") / "segment.parquet"
    table = made(random.Random(SEED))
    half = ROWS // 2
    parts = [
        Part(lambda: table.schema, half, lambda: table[:half]),
        Part(lambda: table.schema, half, lambda: table[half:]),
    ]
    write_parquet(parts, path)
    return path, table


@pytest.fixture
def pages(stored: tuple[Path, pa.Table]) -> Iterator[SegmentPages]:
    with SegmentPages(stored[0], places_of(stored[0])) as opened:
        yield opened


def places_of(path: Path) -> Places:
    found = Places.of(pq.read_metadata(path))
    assert found is not None
    return found


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(group=st.sampled_from([0, 1]), chosen=st.sets(st.integers(0, ROWS // 2 - 1), min_size=1, max_size=40))
def test_rows_are_those_of_parquets_own_reader(
    pages: SegmentPages, stored: tuple[Path, pa.Table], group: int, chosen: set[int]
) -> None:
    """Whichever rows are asked for, of both row groups and all columns, with their gaps."""
    places = sorted(chosen)
    expected = stored[1].slice(group * (ROWS // 2), ROWS // 2).take(places).to_pylist()
    assert pages.rows(group, stored[1].column_names, places) == expected
    assert pages.rows(group, [], places) == [{} for _ in places]


@pytest.mark.parametrize("at_once", [1, 100_000])
def test_however_many_pages_are_unpacked_at_once(
    pages: SegmentPages, stored: tuple[Path, pa.Table], monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """One after the other as many together; of a column with one value, only where rows have it is read."""
    monkeypatch.setattr("stackctl.embedded.traces.pagefile._UNPACKED", at_once)
    places = list(range(0, ROWS // 2, 777))
    expected = stored[1].take(places).to_pylist()
    assert pages.rows(0, stored[1].column_names, places) == expected
    known = {"s:stream:b": "some", "s:absent:s": "other"}
    marked = [row | {"s:stream:b": None if row["s:stream:b"] is None else "some"} for row in expected]
    assert pages.rows(0, stored[1].column_names, places, known) == marked
    traces = stored[1]["tid_hi"].to_pylist()
    assert pages.where(0, "tid_hi", traces[80:81]) == list(range(80, 88))


def test_headers_are_read_at_once_as_they_are_field_by_field(stored: tuple[Path, pa.Table]) -> None:
    """Of every page there is, of either kind; what begins as a header and is none is refused."""
    data, places = stored[0].read_bytes(), places_of(stored[0])
    kinds = set()
    for start, size in zip(places.starts.flatten().tolist(), places.sizes.flatten().tolist(), strict=True):
        at = start
        while at < start + size:
            found, (slowly, end) = PageHeader.at(data, at), fields(data, at)
            own = slowly[5 if found.kind == DATA else 7]
            expected = (slowly[1], slowly[2], slowly[3], own[1], own[2], own.get(3, found.levels), end)
            assert (found.kind, *found[1:]) == expected
            kinds.add(found.kind)
            at = end + found.packed
    assert kinds == {DATA, DICTIONARY}
    with pytest.raises(ValueError, match="type 1"):
        PageHeader.at(b"\x15\x02\x15\x02\x15\x02\x00", 0)
    assert PageHeader.at(b"\x15\x00\x15\x01\x15\x02\x2c\x15\x02\x15\x00\x15\x06\x15\x06\x00\x00", 0).size > 2**60


def test_rows_are_found_by_an_id(pages: SegmentPages, stored: tuple[Path, pa.Table]) -> None:
    """Every row with one of some numbers, or with a text; none of which the text is only a part."""
    second = stored[1].slice(ROWS // 2)
    traces, texts = second["tid_hi"].to_pylist(), second[ID].to_pylist()
    assert pages.where(1, "tid_hi", traces[80:81]) == list(range(80, 88))
    assert pages.where(1, "tid_hi", [traces[800], 7, traces[0]]) == [*range(8), *range(800, 808)]
    assert pages.where(1, "tid_hi", [7]) == []
    for text in ("resp-1", next(filter(None, reversed(texts))), "resp-"):
        assert pages.where_text(1, ID, text) == [row for row, value in enumerate(texts) if value == text]


def test_a_text_inside_another_is_not_found(tmp_path: Path) -> None:
    """A text that holds another with its length before it, as the page has it, is not that other text."""
    table = pa.table({"tid_hi": [1, 2, 3], ID: ["x\x03\0\0\0abc", "abc", "abc\x03\0\0\0abc"]})
    write_parquet([Part(lambda: table.schema, 3, lambda: table)], tmp_path / "one")
    with SegmentPages(tmp_path / "one", places_of(tmp_path / "one")) as opened:
        assert opened.where_text(0, ID, "abc") == [1]


def test_a_text_is_found_where_few_rows_have_one(tmp_path: Path) -> None:
    """Of a dictionary as of plain texts; where many rows have one of a dictionary, it is for DuckDB to look."""
    rng = random.Random(SEED)
    few = [rng.choice(["a", "bb", "ccc"]) if rng.random() < 0.05 else None for _ in range(ROWS)]
    table = pa.table({"tid_hi": range(ROWS), "s:few:s": few, "s:many:s": ["a", "b"] * (ROWS // 2), "s:n:i": [1] * ROWS})
    write_parquet([Part(lambda: table.schema, ROWS, lambda: table)], tmp_path / "one")
    places = places_of(tmp_path / "one")
    with SegmentPages(tmp_path / "one", places) as opened:
        for text in ("a", "bb", "ccc", "cc", ""):
            found = [row for row, value in enumerate(few[: places.rows[0]]) if value == text]
            assert opened.where_text(0, "s:few:s", text) == found
        for refused in ("s:many:s", "s:n:i"):
            with pytest.raises(Unfamiliar):
                opened.where_text(0, refused, "a")


def test_runs_of_numbers_are_read_anywhere() -> None:
    """The specification's own example: 3 bits each of 0 to 7, and a run of 9 fives behind it."""
    data = bytes([0b11, 0b10001000, 0b11000110, 0b11111010, 9 << 1, 5])
    assert hybrid(data, 0, 3, [0, 3, 7, 8, 16]) == [0, 3, 7, 5, 5]


def test_what_is_not_known_here_is_refused(tmp_path: Path) -> None:
    """Other encodings, wide differences, a file that is gone: never a guess."""
    far = [-(2**62), 2**62, 0]
    table = pa.table({"tid_hi": [1, -1, 1], "start_ns": far, "other": [1, 2, 3], "list": [[1], [2], []]})
    pq.write_table(table, tmp_path / "nested")
    assert Places.of(pq.read_metadata(tmp_path / "nested")) is None
    flat = table.drop_columns(["list"])
    encodings = {"start_ns": "DELTA_BINARY_PACKED", "other": "BYTE_STREAM_SPLIT"}
    pq.write_table(flat, tmp_path / "flat", use_dictionary=["tid_hi"], column_encoding=encodings, compression="zstd")
    places = places_of(tmp_path / "flat")
    with SegmentPages(tmp_path / "flat", places) as opened:
        assert opened.rows(0, ["tid_hi"], [1]) == [{"tid_hi": -1}]
        for refused in ("start_ns", "other"):
            with pytest.raises(Unfamiliar):
                opened.rows(0, [refused], [1])
        with pytest.raises(Unfamiliar):
            opened.where(0, "tid_hi", [1])  # of a dictionary
    with pytest.raises(Unfamiliar):
        SegmentPages(tmp_path / "gone", places)


def test_damage_is_refused_or_changes_values_only(stored: tuple[Path, pa.Table], tmp_path: Path) -> None:
    """Whatever a byte of a column chunk becomes, or where the file ends, nothing else is ever raised."""
    rng, path = random.Random(SEED), tmp_path / "damaged"
    good, places, refused = stored[0].read_bytes(), places_of(stored[0]), 0
    for _ in range(400):
        column = rng.choice(stored[1].column_names)
        number = places.forms[column].number
        start, size = int(places.starts[0, number]), int(places.sizes[0, number])
        at = start + min(size - 1, int(rng.expovariate(1 / 60)))
        bad = bytearray(good[: start + size])
        bad[at] = rng.randrange(256)
        path.write_bytes(bad[: rng.choice([len(bad), at])])
        with SegmentPages(path, places) as opened:
            try:
                assert len(opened.rows(0, [column], [0, 5000, 9999])) == 3
            except Unfamiliar:
                refused += 1
    assert refused > 100


SPANS = [
    Given(trace, span, parent=span > 1, name="ask" if span == 1 else "chat", start_ms=trace * 1000 + span % 3)
    for trace in range(1, 25)
    for span in range(1, 6)
]


def answered(span: Given) -> Given:
    attributes = {"gen_ai.response.id": f"resp-{span.trace % 6}", "model": "ab"[span.span % 2], "n": span.span}
    return Given(**{**vars(span), "attributes": attributes})


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SpanDatabase]:
    """Six segments, of which each response is in one, and spans in the log."""
    data_dir = tmp_path_factory.mktemp("look-ups")
    spans = [answered(span) for span in SPANS]
    for number in range(6):
        write_store(data_dir, sealed=[span for span in spans if span.trace % 6 == number])
    write_store(data_dir, hot=[Given(3, 77, 1, "late", 3500, attributes={"gen_ai.response.id": "resp-3"})])
    opened = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    yield opened
    opened.close()


@pytest.mark.parametrize("shown", [0, 1, 3])
@pytest.mark.parametrize("limit", [2, 20])
@pytest.mark.parametrize(
    "query",
    [
        '{ span.gen_ai.response.id = "resp-3" }',
        '{ .gen_ai.response.id = "resp-3" && span.n > 2 }',
        '{ .gen_ai.response.id = "resp-2" } | by(span.model)',
        '{ .gen_ai.response.id = "resp-2" } | by(span.model) | count() > 2',
        '{ .gen_ai.response.id = "resp-1" && name = "ask" } >> { name = "chat" }',
        '{ .gen_ai.response.id = "resp-9" }',
        '{ span.model = "a" }',
    ],
)
def test_few_spans_are_grouped_as_many_are(
    database: SpanDatabase, monkeypatch: pytest.MonkeyPatch, query: str, limit: int, shown: int
) -> None:
    """A search that looks up rows and groups them here answers as one that leaves both to DuckDB."""
    request = SearchRequest(compile_query(query).body, limit=limit, spans_per_spanset=shown)

    def found() -> list[dict[str, Any]]:
        with database.session() as session:
            return search(session, request)

    monkeypatch.setattr(Session, "narrow", lambda _: True)
    here = found()
    monkeypatch.setattr(Session, "narrow", lambda _: False)
    monkeypatch.setattr(sessions.Needle, "within", lambda *_: None)
    assert here == found()
    assert bool(here) is ("resp-9" not in query)


@pytest.mark.parametrize("start_ms", [None, 0, 8_000, 8_002, 14_000, 20_001])
@pytest.mark.parametrize("end_ms", [None, 2_000, 14_001, 25_000])
def test_a_search_for_one_text_keeps_to_its_time(
    database: SpanDatabase, monkeypatch: pytest.MonkeyPatch, start_ms: int | None, end_ms: int | None
) -> None:
    """Without a statement the same spans are found, in whatever time, and neither before nor after it."""
    start, end = (None if ms is None else BASE_NS + ms * 10**6 for ms in (start_ms, end_ms))
    body = compile_query('{ span.gen_ai.response.id = "resp-2" }').body
    request = SearchRequest(body, Bounds(Window(start, end)), spans_per_spanset=0)

    def found() -> list[dict[str, Any]]:
        with database.session() as session:
            return search(session, request)

    statements: list[object] = []
    monkeypatch.setattr(Session, "rows", lambda *_: statements.append(_))
    here = found()
    monkeypatch.undo()
    monkeypatch.setattr(Session, "rows_of_text", lambda *_: None)
    assert (here, statements) == (found(), [])


def test_traces_are_the_same_by_page_and_by_statement(
    database: SpanDatabase, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All columns, and a few; where pages cannot be read, DuckDB is asked, which the log tells."""
    with database.session() as session:
        high = session.rows(f"SELECT DISTINCT tid_hi FROM {session.spans(['tid_hi'])}")[0]["tid_hi"]
        keys = [(high, 3), (high, 8)]

        def found() -> list[Any]:
            few = session.spans_of(keys, ["tid_hi", "tid_lo", "span_id", "start_ns", "name", "s:model:s", "s:absent:s"])
            return [session.spans_of(keys[:1]), session.spans_of(keys), few]

        paged = found()
        assert [len(rows) for rows in paged] == [6, 11, 11]
        with monkeypatch.context() as patched:
            patched.setattr(sessions, "_PAGED_GROUPS", 0)
            assert found() == paged
        monkeypatch.setattr("stackctl.embedded.traces.pagefile._LARGEST", 10)
        with caplog.at_level(logging.INFO):
            assert found() == paged
        assert "asking DuckDB" in caplog.text
        monkeypatch.setattr(Session, "narrow", lambda _: True)
        looked_up = SearchRequest(compile_query('{ .gen_ai.response.id = "resp-3" }').body)
        assert len(search(session, looked_up)) == 4
