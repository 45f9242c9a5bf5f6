"""Series of TraceQL metrics: how they are told apart, named, put together and shown."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from span_store import BASE_NS, Given, served, write_store

from stackctl.embedded.api.tempo import app
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.measuring import Steps
from stackctl.embedded.traces.metrics import MetricSeries, measure, series_json
from stackctl.stack import EngineConfig
from stackctl.traceql import compile_query

SECOND = 10**9
WHOLE = Steps(BASE_NS + 100 * SECOND, 101 * SECOND, 1)
TWO = Steps(BASE_NS + 10 * SECOND, 10 * SECOND, 2)  # what begins within ten seconds, and within the next ten
Ask = Callable[..., list[MetricSeries]]


@pytest.fixture(params=["sealed", "hot"])
def ask(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Ask]]:
    """Ask for series over some spans: their attributes, each a second and 100 ms long, one after the other."""
    databases = []

    def over(*attributes: dict[str, Any], starts: tuple[float, ...] = ()) -> Ask:
        spans = [
            Given(n, 1, start_ms=1000 * (starts[n] if starts else n) + 1, duration_ms=100.0, attributes=given)
            for n, given in enumerate(attributes)
        ]
        write_store(tmp_path, **{request.param: spans})
        databases.append(SpanDatabase(SpanReader(tmp_path), tmp_path / "spans"))

        def asked(query: str, steps: Steps = WHOLE) -> list[MetricSeries]:
            with databases[0].session() as session:
                return measure(session, compile_query(query).body, steps)

        return asked

    yield over
    for database in databases:
        database.close()


def told(series: list[MetricSeries]) -> dict[str, dict[int, float]]:
    return {series_json(one)["promLabels"]: dict(one.points) for one in series}


@pytest.mark.parametrize("condition", ["true", "traceDuration >= 0"])
def test_values_of_other_types_are_other_series(ask: Callable[..., Ask], condition: str) -> None:
    """1, 1.0, true and "1" are four series, though Python takes three of them for equal."""
    asked = ask({"x": 1}, {"x": 1.0}, {"x": True}, {"x": "1"}, {"x": 0}, {"x": False}, {})
    found = asked(f"{{ {condition} }} | count_over_time() by (.x)")
    kinds = sorted((type(value).__name__, str(value), dict(one.points)[0]) for one in found for _, value in one.labels)
    assert kinds == [
        ("bool", "False", 1.0),
        ("bool", "True", 1.0),
        ("float", "1.0", 1.0),
        ("int", "0", 1.0),
        ("int", "1", 1.0),
        ("str", "1", 1.0),
        ("str", "nil", 1.0),
    ]


def test_calculations_pair_series_of_one_type(ask: Callable[..., Ask]) -> None:
    """A series of 1 is not divided by the one of true."""
    asked = ask({"x": 1}, {"x": 1}, {"x": True})
    query = "({ .x = 1 } | count_over_time() by (.x)) / ({ .x = true } | count_over_time() by (.x))"
    assert asked(query) == []


def test_labels_of_absent_values_are_left_out(ask: Callable[..., Ask]) -> None:
    """As in Tempo; where all are absent, the first one is nil."""
    asked = ask({"a": "x", "b": "y"}, {"b": "y"}, {})
    found = asked("{} | count_over_time() by (.a, .b, .c)")
    assert [one.labels for one in found] == [((".a", "x"), (".b", "y")), ((".b", "y"),), ((".a", "nil"),)]


def test_intrinsics_are_named_and_shown_as_tempo_does(ask: Callable[..., Ask]) -> None:
    """Enums and durations as texts, under the names of old."""
    asked = ask({}, {})
    found = asked("{} | count_over_time() by (span:duration, kind, trace:duration)")
    assert {one.labels for one in found} == {(("duration", "100ms"), ("kind", "internal"), ("traceDuration", "100ms"))}


def test_a_series_without_labels_goes_with_each(ask: Callable[..., Ask]) -> None:
    """A share of the total, and what is left of it."""
    asked = ask({"k": "a"}, {"k": "a"}, {"k": "b"}, {"k": "c"})
    each, total = "({} | count_over_time() by (.k))", "({} | count_over_time())"
    shares = {'{".k"="a"}': {0: 0.5}, '{".k"="b"}': {0: 0.25}, '{".k"="c"}': {0: 0.25}}
    assert told(asked(f"{each} / {total}")) == shares
    assert told(asked(f"{total} - {each}")) == {key: {0: 4 - 4 * value[0]} for key, value in shares.items()}
    named = asked(f"{total} + ({{}} | rate())")
    assert [one.labels for one in named] == [(("__name__", "(count_over_time + rate)"),)]


def test_what_one_side_lacks_is_nothing(ask: Callable[..., Ask]) -> None:
    """At steps where one series has no value, and after a rank has left it out there; by nothing is not divided."""
    asked = ask({"k": "a", "v": 3}, {"k": "a"}, starts=(1, 12))
    most, count = "({} | max_over_time(.v) by (.k))", "({} | count_over_time() by (.k))"
    assert told(asked(f"{most} + {count}", TWO)) == {'{".k"="a"}': {0: 4.0, 1: 1.0}}
    assert told(asked(f"{count} / {most}", TWO)) == {'{".k"="a"}': {0: 1 / 3}}


def test_series_without_points_are_left_out(ask: Callable[..., Ask]) -> None:
    """Those that are nowhere above a threshold."""
    asked = ask({"k": "a"}, {"k": "b"}, {"k": "b"})
    assert told(asked("{} | count_over_time() by (.k) > 1")) == {'{".k"="b"}': {0: 2.0}}
    assert asked("{} | count_over_time() by (.k) > 9") == []


@pytest.mark.parametrize("condition", ["true", "traceDuration >= 0"])
def test_what_is_no_number_wins_nothing(ask: Callable[..., Ask], condition: str) -> None:
    """NaN is neither the highest nor the lowest, in no quantile, and no point where there is nothing else."""
    asked = ask({"x": float("nan"), "y": float("nan")}, {"x": 5.0}, {"x": 7.0})
    for function, value in {
        "max_over_time(.x)": 7.0,
        "min_over_time(.x)": 5.0,
        "quantile_over_time(.x, 1)": 7.0,
    }.items():
        assert [dict(one.points) for one in asked(f"{{ {condition} }} | {function}")] == [{0: value}]
    assert asked(f"{{ {condition} }} | sum_over_time(.y)") == []
    assert asked(f"{{ {condition} }} | max_over_time(.y)") == []


def test_histograms_count_nothing_as_nothing(ask: Callable[..., Ask]) -> None:
    """A bucket has a value at every step, as counts have."""
    asked = ask({"x": 3}, {"x": 3}, {"x": 60}, starts=(1, 2, 12))
    found = asked("{} | histogram_over_time(.x)", TWO)
    assert told(found) == {'{__bucket="4"}': {0: 2.0, 1: 0.0}, '{__bucket="64"}': {0: 0.0, 1: 1.0}}


def test_labels_are_written_as_go_does(ask: Callable[..., Ask]) -> None:
    """Truth in small letters, whole floats without a point, letters as they are."""
    asked = ask({"x": True}, {"x": 2.0}, {"x": "é"})
    assert sorted(told(asked("{} | count_over_time() by (.x)"))) == ['{".x"="2"}', '{".x"="true"}', '{".x"="é"}']


def test_numbers_without_an_end_are_told(tmp_path: Path) -> None:
    """As protobuf's JSON has them; null would be no number at all."""
    attributes = ({"x": float("inf"), "y": float("-inf")}, {"x": 1.0, "y": 1.0})
    write_store(tmp_path, hot=[Given(n, 1, start_ms=1.0, attributes=given) for n, given in enumerate(attributes)])
    times = {"start": BASE_NS // SECOND - 10, "end": BASE_NS // SECOND + 10, "step": "30s"}
    with served(app(EngineConfig(str(tmp_path)))) as url, httpx2.Client(base_url=url, trust_env=False) as http:
        for query, value in (("max_over_time(.x)", "Infinity"), ("min_over_time(.y)", "-Infinity")):
            asked = {"q": f"{{}} | {query}", **times}
            (whole,) = http.get("/api/metrics/query", params=asked).json()["series"]
            (series,) = http.get("/api/metrics/query_range", params=asked).json()["series"]
            assert {whole["value"], *(one["value"] for one in series["samples"])} == {value}
