"""The Tempo HTTP API through a real server: shapes, errors, protobuf, evaluations, probe."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from span_store import BASE_NS, Given, evaluation_request, otlp_request, served, span_hex, trace_hex, write_store

from stackctl.embedded.api.tempo import app
from stackctl.stack import PROBE_SERVICE, EngineConfig

SPANS = [
    Given(1, 1, 0, "ask", 0, 900, kind=2, resource={"service.name": "shop", "replicas": 3}),
    Given(
        1,
        2,
        1,
        "chat",
        10,
        800,
        kind=3,
        status=2,
        message="too slow",
        attributes={"model": "m", "n": 2**60, "f": 0.1, "ok": False, "tags": ["a", 1, True], "map": {"x": {"y": 2}}},
        events=[("first token", {"index": 1, "text": "hi"})],
        links=[(9, 9)],
    ),
    Given(5, 5, 0, "probe", 3000, 1, resource={"service.name": PROBE_SERVICE, "probe.only": "x"}),
    Given(
        7,
        8,
        0,
        "done",
        2000,
        1,
        attributes={"gen_ai.response.finish_reasons": ["stop", "length"], "text": "[not an array"},
    ),
]
JUDGED = {
    "gen_ai.evaluation.name": "grounded",
    "gen_ai.evaluation.score.value": 0.5,
    "gen_ai.evaluation.score.label": "partly",
}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data_dir = tmp_path_factory.mktemp("api")
    write_store(data_dir, sealed=SPANS[:1], hot=SPANS[1:], evaluations=[evaluation_request(1, 2, JUDGED)])
    with served(app(EngineConfig(str(data_dir)))) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        yield client


def stored(data: TracesData) -> dict[bytes, object]:
    """Return each span by its id, with its resource's attributes and its scope, for comparison."""
    return {
        span.span_id: (
            span.name,
            span.kind,
            span.parent_span_id,
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            span.status.SerializeToString(),
            sorted(attribute.SerializeToString() for attribute in span.attributes),
            [event.SerializeToString() for event in span.events if not event.name.startswith("gen_ai.evaluation")],
            [link.SerializeToString() for link in span.links],
            sorted(attribute.SerializeToString() for attribute in resource.resource.attributes),
            (scope.scope.name, scope.scope.version),
        )
        for resource in data.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    }


def test_a_trace_comes_back_as_it_was_sent(http: httpx2.Client) -> None:
    """Protobuf by id is what was sent, value for value: ids, times, types, arrays, maps, events, links, scope."""
    for trace in (1, 7):
        answer = http.get(f"/api/traces/{trace_hex(trace)}", headers={"accept": "application/protobuf"})
        assert answer.headers["content-type"] == "application/protobuf"
        sent = TracesData.FromString(otlp_request([span for span in SPANS if span.trace == trace]))
        assert stored(TracesData.FromString(answer.content)) == stored(sent)


def test_v2_wraps_the_same_trace(http: httpx2.Client) -> None:
    """`/api/v2/traces` holds the trace in field 1 of its envelope, and under `trace.resourceSpans` in JSON."""
    accept = {"accept": "application/protobuf"}
    plain = http.get(f"/api/traces/{trace_hex(1)}", headers=accept).content
    wrapped = http.get(f"/api/v2/traces/{trace_hex(1)}", headers=accept).content
    assert wrapped[0] == 0x0A  # field 1, length-delimited
    assert wrapped.endswith(plain)
    assert len(wrapped) == len(plain) + 3  # the length takes two bytes
    json = http.get(f"/api/v2/traces/{trace_hex(1)}").json()
    assert json["trace"]["resourceSpans"] == http.get(f"/api/traces/{trace_hex(1)}").json()["batches"]


def test_json_is_tempos(http: httpx2.Client) -> None:
    """JSON by id has Tempo's spelling: `batches`, base64 ids, enum names, 64-bit numbers as strings."""
    batches = http.get(f"/api/traces/{trace_hex(1)}").json()["batches"]
    spans = [span for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]]
    chat = next(span for span in spans if span["name"] == "chat")
    assert chat["traceId"] == "8AAAAAAAAAAAAAAAAAAAAQ=="
    assert chat["parentSpanId"] == "gAAAAAAAAAE="
    assert chat["kind"] == "SPAN_KIND_CLIENT"
    assert chat["status"] == {"code": "STATUS_CODE_ERROR", "message": "too slow"}
    assert chat["startTimeUnixNano"] == str(BASE_NS + 10_000_000)
    assert {"key": "n", "value": {"intValue": str(2**60)}} in chat["attributes"]


def test_evaluations_stand_on_the_span_they_judge(http: httpx2.Client) -> None:
    """An evaluation event that came as a log record is an event of its span, with name, score and label."""
    batches = http.get(f"/api/traces/{trace_hex(1)}").json()["batches"]
    spans = [span for batch in batches for scope in batch["scopeSpans"] for span in scope["spans"]]
    events = {span["name"]: span.get("events", []) for span in spans}
    judged = [event for event in events["chat"] if event["name"] == "gen_ai.evaluation.result"]
    assert len(judged) == 1
    assert {"key": "gen_ai.evaluation.score.value", "value": {"doubleValue": 0.5}} in judged[0]["attributes"]
    assert not events["ask"]


def test_short_ids_are_padded(http: httpx2.Client) -> None:
    """An id shorter than 32 digits is padded with zeros, so it is looked for and not refused."""
    assert http.get("/api/traces/1").status_code == 404


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/traces/xyz", 400, "hex"),
        (f"/api/traces/{'1' * 33}", 400, "128 bits"),
        (f"/api/traces/{trace_hex(77)}", 404, "not found"),
        ("/api/search?q={ .a = }", 400, "parse error at line 1, col 8"),
        ('/api/search?q={ 1 = "a" }', 400, "one type"),
        ("/api/search?q={ instrumentation.a = 1 }", 422, "instrumentation scopes (instrumentation.a)"),
        ("/api/search?q=({} | rate()) %2B ({} | rate())", 422, "metrics"),
        ("/api/search?limit=no", 400, "invalid limit"),
        ("/api/search?start=10&end=5", 400, "invalid start/end"),
        ("/api/search?minDuration=fast", 400, "invalid minDuration"),
        ("/api/metrics/query_range?q={}", 400, "not a metrics query"),
        ("/api/metrics/query_range?q={} | compare({})", 422, "compare"),
        ("/api/metrics/query_range?q={} | rate()&start=1&end=100000000&step=1s", 400, "invalid step"),
        ("/api/v2/search/tags?scope=nonsense", 400, "invalid scope"),
    ],
)
def test_errors_are_tempos(http: httpx2.Client, path: str, status: int, said: str) -> None:
    """What is wrong with a request is said in plain text with Tempo's status code; what is not built is 422."""
    answer = http.get(path)
    assert answer.status_code == status
    assert said in answer.text
    assert answer.headers["content-type"].startswith("text/plain")


def test_search_finds_by_traceql_tags_and_duration(http: httpx2.Client) -> None:
    """The three ways to search give the same trace, in Tempo's shape."""
    span = f"&start={BASE_NS // 10**9}&end={BASE_NS // 10**9 + 1}"
    for question in (
        'q={ .model = "m" }',
        "tags=model=m",
        "tags=error=true service.name=shop",
        "minDuration=100ms" + span,
    ):
        traces = http.get(f"/api/search?{question}").json()["traces"]
        assert [trace["traceID"] for trace in traces] == [trace_hex(1)], question
        assert traces[0]["rootServiceName"] == "shop"
        assert traces[0]["rootTraceName"] == "ask"
        assert traces[0]["startTimeUnixNano"] == str(BASE_NS)
        assert traces[0]["durationMs"] == 900
    spans = http.get('/api/search?q={ .model = "m" }').json()["traces"][0]["spanSets"][0]["spans"]
    assert spans[0]["spanID"] == span_hex(2)


def test_an_array_has_the_types_that_were_sent(http: httpx2.Client) -> None:
    """Arrays of numbers and bools are such in a search too, and their elements are a tag's values."""
    question = {"q": "{ name = `chat` } | by(span.tags) | select(span.tags)"}
    spanset = http.get("/api/search", params=question).json()["traces"][0]["spanSets"][0]
    typed = {"arrayValue": {"values": [{"stringValue": "a"}, {"intValue": "1"}, {"boolValue": True}]}}
    assert {"key": "tags", "value": typed} in spanset["spans"][0]["attributes"]
    assert spanset["attributes"][0]["value"] == typed
    values = http.get("/api/v2/search/tag/span.tags/values").json()["tagValues"]
    assert values == [
        {"type": kind, "value": value} for kind, value in (("string", "a"), ("int", "1"), ("bool", "true"))
    ]
    reasons = http.get("/api/v2/search/tag/span.gen_ai.response.finish_reasons/values").json()["tagValues"]
    assert [one["value"] for one in reasons] == ["stop", "length"]


def test_a_span_that_ends_before_it_begins_has_no_length(tmp_path: Path) -> None:
    """The API's durations have no sign; by its id the trace still is what was sent."""
    write_store(tmp_path, hot=[Given(1, 2, 0, "late", 5000, -3000), Given(2, 1, 0, "ask", 0, 10)])
    with served(app(EngineConfig(str(tmp_path)))) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        (trace,) = client.get("/api/search", params={"q": "{ name = `late` }"}).json()["traces"]
        assert (trace["durationMs"], trace["spanSets"][0]["spans"][0]["durationNanos"]) == (0, "0")
        found = client.get("/api/search", params={"q": "{ trace:duration < 5ms }"}).json()["traces"]
        assert [trace["traceID"] for trace in found] == [trace_hex(1)]
        (sent,) = client.get(f"/api/traces/{trace_hex(1)}").json()["batches"][0]["scopeSpans"][0]["spans"]
        assert int(sent["endTimeUnixNano"]) - int(sent["startTimeUnixNano"]) == -3_000_000_000


def test_the_probe_leaves_nothing_a_person_sees(http: httpx2.Client) -> None:
    """The readiness probe's trace is found by its id, and by no search, tag or metric."""
    assert http.get(f"/api/traces/{trace_hex(5)}").status_code == 200
    assert {trace["traceID"] for trace in http.get("/api/search?q={}").json()["traces"]} == {trace_hex(1), trace_hex(7)}
    assert "probe.only" not in http.get("/api/search/tags").json()["tagNames"]
    values = http.get("/api/v2/search/tag/resource.service.name/values").json()["tagValues"]
    assert values == [{"type": "string", "value": "shop"}]
    span = f"start={BASE_NS - 10**9}&end={BASE_NS + 10**10}"
    series = http.get(f"/api/metrics/query?q={{}} | count_over_time()&{span}").json()["series"]
    assert series[0]["value"] == 3


def test_tags_and_values(http: httpx2.Client) -> None:
    """Keys come by scope; values with their types, narrowed by a query, and in full where it is only half typed."""
    scopes = {scope["name"]: scope["tags"] for scope in http.get("/api/v2/search/tags").json()["scopes"]}
    assert scopes["resource"] == ["replicas", "service.name"]
    assert {"model", "n", "tags", "map"} <= set(scopes["span"])
    assert "status" in scopes["intrinsic"]
    path = "/api/v2/search/tag/{}/values"
    assert http.get(path.format("span.n")).json()["tagValues"] == [{"type": "int", "value": str(2**60)}]
    assert http.get(path.format("status") + "?q={ name = `chat` }").json()["tagValues"] == [
        {"type": "keyword", "value": "error"}
    ]
    for unfinished in ("{ name = ", '{ name =~ "(" }', "{ name = 1 }"):
        assert len(http.get(path.format("name"), params={"q": unfinished}).json()["tagValues"]) == 3
    assert http.get("/api/search/tag/model/values").json()["tagValues"] == ["m"]


def test_metrics_range_shape(http: httpx2.Client) -> None:
    """A metrics range answer has labels, promLabels and samples whose times are aligned to the step."""
    start = BASE_NS // 10**9
    answer = http.get(
        f"/api/metrics/query_range?q={{}} | rate() by (resource.service.name)&start={start}&end={start + 4}&step=2s"
    )
    (series,) = answer.json()["series"]
    assert series["labels"] == [{"key": "resource.service.name", "value": {"stringValue": "shop"}}]
    assert series["promLabels"] == '{"resource.service.name"="shop"}'
    assert sum(sample["value"] for sample in series["samples"]) * 2 == 3
    assert {int(sample["timestampMs"]) % 2000 for sample in series["samples"]} == {0}


def test_what_grafana_asks_first(http: httpx2.Client) -> None:
    """Readiness, echo and build information answer as Tempo's do."""
    assert http.get("/ready").text.strip() == "ready"
    assert http.get("/api/echo").text == "echo"
    assert http.get("/api/status/buildinfo").json()["version"].startswith("3.")


def test_an_empty_store_answers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before the first span every question has an empty answer, and none fails."""
    data_dir = tmp_path_factory.mktemp("empty")
    with served(app(EngineConfig(str(data_dir)))) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        assert client.get("/api/search?q={}").json()["traces"] == []
        assert client.get("/api/search/tags").json()["tagNames"] == []
        assert client.get("/api/v2/search/tag/span.a/values").json()["tagValues"] == []
        assert client.get(f"/api/traces/{trace_hex(1)}").status_code == 404


@pytest.mark.parametrize("where", ["traceDuration >= 500ns", "duration >= 500ns"])
def test_quantiles_are_answered_as_numbers(http: httpx2.Client, where: str) -> None:
    """Measured in one statement or segment by segment: both become JSON."""
    times = {"start": BASE_NS // 10**9 - 10, "end": BASE_NS // 10**9 + 10}
    answer = http.get(
        "/api/metrics/query", params={"q": f"{{ {where} }} | quantile_over_time(duration, .5, 1)", **times}
    )
    assert answer.status_code == 200
    assert sorted(one["value"] for one in answer.json()["series"]) == pytest.approx([0.8, 0.9])
