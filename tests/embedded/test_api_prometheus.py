"""The Prometheus API: shapes, errors and codes as the real one's; guarded."""

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series_data import END, EVERYTHING, START, fill
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from stackctl.embedded.api import promjson
from stackctl.embedded.api.http import Guarded
from stackctl.embedded.api.prometheus import PrometheusApi
from stackctl.embedded.api.promjson import value_text
from stackctl.embedded.otlp.limits import guard_of
from stackctl.embedded.series.reader import ALL_TIME, SampleReader
from stackctl.promql import Result, Series
from tests.realstack import RealPrometheus, prometheus


def client_of(data_dir: Path) -> TestClient:
    return TestClient(PrometheusApi(SampleReader(data_dir), lambda: END).app(), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled")
    fill(directory)
    return directory


@pytest.fixture(scope="module")
def api(filled: Path) -> TestClient:
    return client_of(filled)


def data(answer: httpx2.Response) -> Any:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    return answer.json()["data"]


# --- against the real one ---------------------------------------------------------------------------------------------
def open_metrics(data_dir: Path) -> str:
    """All stored samples in OpenMetrics text, so that the real Prometheus can hold the same."""
    lines = []
    for one in SampleReader(data_dir).select(EVERYTHING, *ALL_TIME):
        labels = {key: value.replace("\\", r"\\").replace('"', r"\"") for key, value in one.labels.items()}
        name = labels.pop("__name__")
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        for at, value in zip(one.t_ms.tolist(), one.v.tolist(), strict=True):
            lines.append(f"{name}{{{text}}} {value_text(value)} {at / 1000:.3f}")
    return "\n".join([*lines, "# EOF\n"])


@pytest.fixture(scope="module")
def real(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    with prometheus(tmp_path_factory.mktemp("real"), open_metrics(filled)) as running:
        yield running


SPAN = f"start={START / 1000}&end={END / 1000}"
POWERS = (
    *((3.7, 41), (1.0001, 123_457), (0.3, -57), (-7.3, 33), (2.5, -1070), (-1.5, 2**62), (9.9, 400), (1e-300, 1.0)),
    *((5e-324, 1), (5e-324, -1), (0.1, 323), (0.1, 324), (2, -1074), (2, -1075), (3, -678), (2, 0.5), (2, -0.5)),
    *((0, -3), ("-0", -3), ("-0", 3), (0, 0), ("NaN", 0), (1, "NaN"), ("-Inf", 3), ("Inf", -2), (-1, "Inf"), (-2, 0.5)),
)  # also beyond and below what numbers can be
ASKED = (
    f"query?query=llm_requests_total&time={END / 1000}",
    f"query?query=llm_requests_total&time={END / 1000}&limit=1",
    "query?query=llm_requests_total&time=2023-11-14T22:15:00Z",
    "query?query=llm_requests_total&time=2023-11-14T22:15:00.5%2B00:00",
    f"query?query=odd_value[10m]&time={END / 1000}",
    "query?query=1e-7&time=1700000000.123",
    'query?query="text"&time=1700000000',
    *(f"query?query={base} ^ {power}&time=1700000000" for base, power in POWERS),
    f"query?query=sum by (job)(increase(llm_requests_total[2m] anchored))&time={END / 1000}",
    f"query_range?query=rate(llm_requests_total[1m])&{SPAN}&step=15s",
    f"query_range?query=rate(llm_requests_total[1m])&{SPAN}&step=7.5",
    f"query_range?query=histogram_quantile(0.5,llm_request_duration_seconds_bucket)&{SPAN}&step=1m30s",
    f"query_range?query=vector(1)&{SPAN}&step=60&limit=1",
    f"labels?{SPAN}",
    f"labels?{SPAN}&match[]=odd_value",
    f"labels?{SPAN}&limit=2",
    f"label/__name__/values?{SPAN}",
    f"label/job/values?{SPAN}&match[]=odd_value&match[]=llm_requests_total",
    f"label/nothing/values?{SPAN}",
    f"series?{SPAN}&match[]=llm_requests_total&match[]=odd_value",
    f"series?{SPAN}&match[]=nothing",
    "labels?start=2&end=1",
    "series?start=2&end=1&match[]=llm_requests_total",
    "series?start=1600000000&end=1600000100&match[]=llm_requests_total",
    "rules",
    "alerts",
)
REFUSED = (
    "query",
    "query?query=sum(",
    "query?query=up&time=yesterday",
    "query?query=up&timeout=soon",
    "query?query=up&limit=-1",
    "query?query=llm_requests_total %2B on(job) llm_request_duration_seconds_bucket&time=1700000200",
    "query?query={}",
    "query_range?query=up",
    "query_range?query=up&start=1&end=2",
    "query_range?query=up&start=1&end=2&step=0",
    "query_range?query=up&start=1&end=2&step=-1s",
    "query_range?query=up&start=3&end=2&step=1",
    "query_range?query=up&start=0&end=11001&step=1",
    "query_range?query=up[1m]&start=0&end=10&step=1",
    "series",
    "series?match[]=",
    "series?match[]={}",
    "series?match[]=up[5m]",
    "labels?start=a",
    "query_exemplars?query=up(",
    "query_exemplars?query=up&start=2&end=1",
    "query_exemplars?query=up&start=x",
    "series?match[]=up&start=x",
    "label/__name__/values?end=x",
)


def _count(answer: Any) -> int:
    found = answer["data"]
    return len(found["result"] if isinstance(found, dict) else found)


def ordered(answer: Any) -> Any:
    """The answer with lists that have no order sorted, and without words that only explain."""
    if isinstance(answer, dict):
        return {key: ordered(value) for key, value in answer.items() if key not in ("infos", "warnings")}
    if isinstance(answer, list) and all(isinstance(one, dict) for one in answer):
        return sorted((ordered(one) for one in answer), key=str)
    return answer


@pytest.mark.realstack
@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_those_of_the_real_prometheus(api: TestClient, real: RealPrometheus, asked: str) -> None:
    """Same samples, same request, the same JSON: a client cannot tell which of the two answers."""
    theirs = real.http.get(f"{real.url}/api/v1/{asked}")
    ours = api.get(f"/api/v1/{asked}")
    assert ours.status_code == theirs.status_code == 200, ours.text
    if "limit=" in asked:  # which ones are left out is nobody's promise
        assert _count(ours.json()) == _count(theirs.json())
        assert ours.json().get("warnings") == theirs.json().get("warnings")
    else:
        assert ordered(ours.json()) == ordered(theirs.json())


@pytest.mark.realstack
@pytest.mark.parametrize("asked", REFUSED)
def test_refusals_are_those_of_the_real_prometheus(api: TestClient, real: RealPrometheus, asked: str) -> None:
    """The same status and error type, and for parameters the same words."""
    theirs = real.http.get(f"{real.url}/api/v1/{asked}")
    ours = api.get(f"/api/v1/{asked}")
    assert (ours.status_code, ours.json()["errorType"]) == (theirs.status_code, theirs.json()["errorType"])
    assert ours.json()["status"] == "error"
    if "parse error" not in theirs.json()["error"] and "many-to-" not in theirs.json()["error"]:
        assert ours.json()["error"] == theirs.json()["error"]


# --- ours alone -------------------------------------------------------------------------------------------------------
def test_post_form_is_the_same_as_get(api: TestClient) -> None:
    """Grafana posts its queries as forms; a form and an address may share the parameters."""
    form = {"query": "sum(llm_requests_total)", "time": str(END / 1000)}
    posted = api.post("/api/v1/query", data=form)
    assert data(posted) == data(api.get("/api/v1/query", params=form))
    assert data(posted)["result"][0]["value"][1] == "420"
    assert data(api.post(f"/api/v1/query?time={END / 1000}", data={"query": "1"}))["result"] == [END // 1000, "1"]


def test_what_is_not_built_is_refused_by_name(api: TestClient) -> None:
    """Valid PromQL that this engine lacks is 422 with its name, never an empty answer."""
    answer = api.get("/api/v1/query", params={"query": "histogram_count(llm_requests_total)"})
    assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
    assert "histogram_count" in answer.json()["error"]


def test_another_lookback_is_refused(api: TestClient) -> None:
    """A parameter that would change the answer is never ignored."""
    asked = {"query": "llm_requests_total", "lookback_delta": "1m"}
    answer = api.get("/api/v1/query", params=asked)
    assert (answer.status_code, "lookback_delta" in answer.json()["error"]) == (422, True)
    assert api.get("/api/v1/query", params=asked | {"lookback_delta": "5m"}).status_code == 200


@pytest.mark.parametrize(
    "query",
    [
        "(" * 100_000 + "1" + ")" * 100_000,
        "1" + " + 1" * 100_000,
        "abs(" * 800 + "up" + ")" * 800,
        "up" + " or up" * 900,
        "up{" + 'a="b",' * 5000 + "}",
        '"' + "a" * 300_000 + '"',
    ],
)
def test_a_query_beyond_all_measure_is_refused(api: TestClient, query: str) -> None:
    """Text that would take a parser's stack, or its time, is 400 and does no harm; posted, it may be megabytes."""
    answer = api.post("/api/v1/query", data={"query": query})
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    found = api.post("/api/v1/series", data={"match[]": query})
    assert (found.status_code, found.json()["errorType"]) == (400, "bad_data")


def test_a_long_list_of_values_is_no_complexity(api: TestClient) -> None:
    """Grafana writes each chosen value of a variable into one regular expression: brackets in texts do not count."""
    values = "|".join(f"team-{number}, (east)+" for number in range(2000))
    answer = api.post(
        "/api/v1/query", data={"query": f'llm_requests_total{{job=~"{values}|shop"}}', "time": END / 1000}
    )
    assert len(data(answer)["result"]) == 1


def test_an_answer_beyond_memory_is_refused(api: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """What would fill the memory is 422 in Prometheus' words, and nothing of it is built."""
    monkeypatch.setattr(promjson, "MAX_RESULT_POINTS", 40)
    form = {"query": "llm_requests_total", "start": START / 1000 + 15, "end": END / 1000, "step": "15"}
    assert len(data(api.post("/api/v1/query_range", data=form))["result"]) == 2
    answer = api.post("/api/v1/query_range", data=form | {"step": "14"})
    assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
    assert "too many samples" in answer.json()["error"]


def test_a_query_that_takes_too_long_is_a_timeout(api: TestClient) -> None:
    """A query's own time limit ends it with 503, as Prometheus does."""
    answer = api.get("/api/v1/query", params={"query": "llm_requests_total", "timeout": "0"})
    assert (answer.status_code, answer.json()["errorType"]) == (503, "timeout")


def test_exemplars_carry_their_series_and_trace(api: TestClient) -> None:
    """From a bucket on a board one gets to the traces behind it."""
    query = 'histogram_quantile(0.9, sum by (le) (rate(llm_request_duration_seconds_bucket{job="shop"}[1m])))'
    span = {"start": str(START / 1000), "end": str(END / 1000)}
    found = data(api.get("/api/v1/query_exemplars", params={"query": query, **span}))
    assert {one["seriesLabels"]["le"] for one in found} == {"0.1", "1", "+Inf"}
    assert {one["seriesLabels"]["job"] for one in found} == {"shop"}
    assert found[0]["exemplars"][0] == {
        "labels": {"trace_id": f"{1:016x}{0:016x}"},
        "value": "0.05",
        "timestamp": START // 1000,
    }


def test_metadata_says_what_a_metric_is(api: TestClient) -> None:
    """Grafana's query builder learns kind and help of catalogue metrics."""
    found = data(api.get("/api/v1/metadata", params={"metric": "llm_requests_total"}))
    assert found["llm_requests_total"][0]["type"] == "counter"
    assert found["llm_requests_total"][0]["help"]
    assert set(data(api.get("/api/v1/metadata"))) == {"llm_requests_total", "llm_request_duration_seconds", "odd_value"}


def test_build_info_names_a_prometheus_and_this_program(api: TestClient) -> None:
    """Grafana reads the version to know what it may ask; people see that it is not Prometheus itself."""
    found = data(api.get("/api/v1/status/buildinfo"))
    assert found["version"].startswith("3.")
    assert found["application"] == "stackctl"
    assert api.get("/-/ready").status_code == api.get("/-/healthy").status_code == 200


@pytest.mark.parametrize(
    ("host", "authorization", "status"),
    [
        ("127.0.0.1", None, 200),
        ("localhost:9090", None, 200),
        ("evil.example", None, 403),
        ("10.0.0.7:9090", "Bearer right", 200),
        ("10.0.0.7:9090", "Bearer wrong", 401),
        ("10.0.0.7:9090", None, 401),
    ],
)
def test_who_may_ask(filled: Path, host: str, authorization: str | None, status: int) -> None:
    """A page of another site gets no answer over a rebound name, and beyond loopback a token is needed."""
    guard = guard_of("10.0.0.7", "right") if "10." in host else guard_of("127.0.0.1", None)
    app = PrometheusApi(SampleReader(filled)).app()
    noted: list[bool] = []
    middleware = Middleware(Guarded, guard=guard, note=lambda: noted.append(True))
    guarded = Starlette(routes=[Mount("", app)], middleware=[middleware])
    headers = {"host": host, "origin": "http://evil.example"}
    headers |= {"authorization": authorization} if authorization else {}
    answer = TestClient(guarded).get("/api/v1/query?query=1", headers=headers)
    assert answer.status_code == status
    assert noted == [True] * (status == 200)  # nobody else makes ingest leave a core
    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_a_query_tells_the_writer_that_somebody_waits(filled: Path, api: TestClient) -> None:
    """Each query touches `series/wanted`, so that a reader soon sees its own numbers."""
    before = time.time()
    api.get("/api/v1/query?query=1")
    assert SampleReader(filled).layout.wanted.stat().st_mtime >= before - 0.05


def test_nothing_is_there_before_the_first_metric(tmp_path: Path) -> None:
    """An empty data directory answers empty, not with an error."""
    fresh = client_of(tmp_path)
    assert data(fresh.get("/api/v1/query?query=up"))["result"] == []
    assert data(fresh.get("/api/v1/labels")) == []


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(width=64) | st.integers(-(10**15), 10**15).map(float), max_size=30))
def test_many_values_are_written_as_each_of_them(values: list[float]) -> None:
    """A line's numbers are written at once, and read as they would one by one."""
    series = Series({"a": 'x"'}, np.arange(len(values)) * 500, np.array(values, np.float64))
    answer, _ = promjson.data(Result("matrix", [series]), 0)
    written = orjson.loads(orjson.dumps(answer))["result"][0]
    assert written == {
        "metric": {"a": 'x"'},
        "values": [[at * 0.5, value_text(value)] for at, value in enumerate(values)],
    }


def test_a_large_array_is_written_in_few_pieces() -> None:
    """The text is that of the whole array, and orjson begins one for thousands of items: each takes 4 KB for good."""
    items, written = list(range(promjson.PIECE_POINTS * 2 + 5)), list[int]()

    def write(some: Sequence[int]) -> Sequence[int]:
        written.append(len(some))
        return some

    assert orjson.dumps(promjson.in_pieces(items, lambda _: 1, write)) == orjson.dumps(items)
    assert written == [promjson.PIECE_POINTS, promjson.PIECE_POINTS, 5]
    assert orjson.dumps(promjson.in_pieces([], lambda _: 1, write)) == b"[]"
