"""`stackctl bench query` measures what it says: a store as the engine writes it, and answers that were found."""

from collections.abc import Callable
from pathlib import Path

import pytest

from stackctl.bench import home
from stackctl.bench.query import QUESTIONS, problems
from stackctl.bench.reports import AnswerReport, QueryReport
from stackctl.bench.stored import POOL_ROWS, Corpus, write_corpus
from stackctl.boards import policy, render
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.promql.parse import parse
from stackctl.traceql import compile_query


def test_the_corpus_is_a_store_of_fresh_spans(tmp_path: Path) -> None:
    """Whole traces with ids of their own over the whole time; every sample is found by its trace and its response."""
    corpus = write_corpus(tmp_path, POOL_ROWS + 1, 5, lambda _: None, seconds=3600)
    assert corpus.spans == 2 * POOL_ROWS
    assert [sample.rare for sample in corpus.samples] == [True, False]
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    with database.session() as session:
        sql = "SELECT count(*) AS n, count(DISTINCT (tid_hi, tid_lo)) AS traces, max(start_ns) - min(start_ns) AS ns"
        (row,) = session.rows(f"{sql} FROM {session.spans(('tid_hi', 'tid_lo', 'start_ns'))}")
        assert (row["n"], row["traces"]) == (corpus.spans, corpus.spans // 8)
        assert row["ns"] == pytest.approx(3600e9, rel=0.01)
        for sample in corpus.samples:
            stored = otlp.trace(session, otlp.trace_id_hex(sample.tid_hi, sample.tid_lo))
            assert stored is not None
            data = otlp.message(stored)
            spans = [span for resource in data.resource_spans for scope in resource.scope_spans for span in scope.spans]
            assert len(spans) == 8
            assert {span.parent_span_id for span in spans} == {b"", spans[0].span_id}
            query = compile_query(f'{{ .gen_ai.response.id = "{sample.response_id}" }}')
            (found,) = search(session, SearchRequest(query.body))
            assert found["traceID"] == otlp.trace_id_hex(sample.tid_hi, sample.tid_lo)
    database.close()
    corpus.write(tmp_path / "corpus.json")
    assert Corpus.read(tmp_path / "corpus.json") == corpus


def test_a_short_run_answers_every_question(stackctl_cli: Callable, tmp_path: Path) -> None:
    """Every question is asked through the HTTP API with spans coming in, and the store stays where it was told to."""
    arguments = ("bench", "query", "--spans", "1000", "--rate", "2000", "--data-dir", tmp_path / "bench", "--json")
    done = stackctl_cli(*arguments, timeout=300)  # of which it looks at boards for two thirds
    assert done.code in (0, 1), done.stderr  # 1: slower than promised, which this machine may be just now
    assert "counters lack" not in done.stderr  # the spans that were there are no loss
    report = done.json()
    assert [answer["name"] for answer in report["answers"]] == [*(question.name for question in QUESTIONS), home.NAME]
    assert all(answer["repetitions"] >= 25 and answer["median_ms"] > 0 for answer in report["answers"])
    assert report["ingest_spans_per_second"] > 500
    assert (tmp_path / "bench" / "corpus.json").exists()


def test_a_directory_with_something_else_is_refused(stackctl_cli: Callable, tmp_path: Path) -> None:
    """No benchmark writes into a directory that holds other data."""
    (tmp_path / "mine").write_text("x")
    done = stackctl_cli("bench", "query", "--spans", "1000", "--data-dir", tmp_path)
    assert done.code == 2
    assert "holds something else" in done.stderr


def test_home_is_asked_as_the_console_asks_it() -> None:
    """Every panel and variable; steps by the panel's width, and the queries of today's board, which all parse."""
    end_ms = 1_790_000_123_456
    asked = home.requests(end_ms)
    board = next(one for one in render.boards() if one.uid == "home")
    titles = {panel["title"] for panel in policy.panels(board.json) if panel["targets"]}
    assert titles <= {request.panel for request in asked}
    assert {request.panel for request in asked} - titles == {"$service", "$environment", "$provider", "$model"}
    ranges = [request.parameters for request in asked if request.path.endswith("query_range")]
    assert {one["step"] for one in ranges} <= {60, 120, 300}
    assert all(float(one["end"]) - float(one["start"]) == 86_400 and end_ms / 1000 - 300 < one["end"] for one in ranges)
    for request in asked:
        if "query" in request.parameters:
            assert "$" not in str(request.parameters["query"]).replace("$1", "")
            parse(str(request.parameters["query"]))


def test_a_slow_answer_is_a_problem() -> None:
    """A median above its bar fails the benchmark by name; one without a bar cannot."""
    slow = AnswerReport("trace by id", 20.0, 10, 20.1, 30.0, 40.0, 5.0, None)
    free = AnswerReport("search", None, 10, 999.0, 999.0, 999.0, 5.0, None)
    assert problems(QueryReport(1, 1, 0.0, 1.0, 0.0, 0.0, 1, (slow, free))) == ["trace by id: 20 ms, 20 ms promised"]


def test_answers_beside_too_little_load_are_a_problem() -> None:
    """One request less than should have come is no problem, where requests are large and the time is short."""
    rates = {49_500: True, 49_400: False}
    for came, fine in rates.items():
        assert problems(QueryReport(1, 1, 0.0, 60.0, came, 0.0, 1, ()), 50_000) == (
            [] if fine else [f"{came} of 50000 spans/s came in"]
        )
    assert problems(QueryReport(1, 1, 0.0, 1.0, 1_500, 0.0, 1, ()), 2_000) == []
    assert problems(QueryReport(1, 1, 0.0, 1.0, 1_400, 0.0, 1, ()), 2_000) == ["1400 of 2000 spans/s came in"]
