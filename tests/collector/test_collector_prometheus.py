"""The catalogue in a real Prometheus: exact under senders side by side, with traces behind its samples."""

import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from stackctl import semconv
from stackctl.bench.collector_server import RealCollector, running
from stackctl.bench.promql_server import RealPrometheus
from tests.collector.real import until
from tests.realstack import FEATURES, free_port, program
from tests.realstack import prometheus as real_prometheus

pytestmark = pytest.mark.realstack

SENDERS, REQUESTS, SPANS = 8, 400, 25
SCRAPED = Path(__file__).parents[2] / "compose" / "prometheus" / "prometheus.yml"
SENTENCE = "zebra crossing is eaten by a grey river horse"


@dataclass(frozen=True)
class Servers:
    """A Collector, the Prometheus that scrapes it, and what was sent."""

    collector: RealCollector
    prometheus: RealPrometheus
    trace_ids: frozenset[str]

    def total(self, query: str) -> float:
        """Return the increase of a series' sum since the servers began, 0 for none."""
        answer = self.prometheus.instant(f"sum(increase({query}[1h] anchored))", int(time.time() * 1000))
        assert answer.error is None, answer.error
        return sum(float(one["value"][1]) for one in answer.result)


def _pairs(values: dict[str, str | int | float | bool]) -> list[KeyValue]:
    pairs = []
    for key, value in values.items():
        pair = KeyValue(key=key)
        kind = {bool: "bool_value", int: "int_value", float: "double_value", str: "string_value"}[type(value)]
        setattr(pair.value, kind, value)
        pairs.append(pair)
    return pairs


def _resource() -> Resource:
    named = {semconv.SERVICE_NAMESPACE: "shop", semconv.SERVICE_NAME: "api", semconv.SERVICE_INSTANCE_ID: "i-1"}
    return Resource(attributes=_pairs({**named, semconv.DEPLOYMENT_ENVIRONMENT: "test"}))


def _request(number: int) -> tuple[bytes, list[str]]:
    """Return a request of streamed calls that cost one and a half USD a million tokens, and its trace ids."""
    request = ExportTraceServiceRequest()
    spans = request.resource_spans.add(resource=_resource()).scope_spans.add()
    spans.scope.name = "opentelemetry.instrumentation.genai.openai"
    traces = []
    for at in range(SPANS):
        trace = uuid.uuid4()
        traces.append(trace.hex)
        start = time.time_ns()
        values = {
            semconv.OPERATION: "chat",
            semconv.PROVIDER: "openai",
            semconv.REQUEST_MODEL: "gpt-4o-mini",
            semconv.RESPONSE_MODEL: "gpt-4o-mini" if at % 2 else "nobody-knows-this-one",
            semconv.STREAM: True,
            semconv.TIME_TO_FIRST_CHUNK: 0.25,
            semconv.INPUT_TOKENS: 100,
            semconv.OUTPUT_TOKENS: 10,
        }
        span = spans.spans.add(trace_id=trace.bytes, span_id=number.to_bytes(4) + at.to_bytes(4), name="chat", kind=3)
        span.start_time_unix_nano, span.end_time_unix_nano = start, start + 10**9
        span.attributes.extend(_pairs(values))
    return request.SerializeToString(), traces


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """8 senders' 10,000 spans through a real Collector that a real Prometheus scrapes as compose/ tells it to."""
    directory = tmp_path_factory.mktemp("stack")
    port = free_port()
    override = f"""\
exporters:
  otlp_http/prometheus: {{endpoint: "http://127.0.0.1:{port}/api/v1/otlp"}}
service:
  pipelines:
    traces/store: {{exporters: [nop]}}
"""
    with running(
        program("otelcol-contrib"), directory / "collector", None, ["exporters: {nop: {}}", override]
    ) as collector:
        settings = _scraping(collector)
        flags = [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver"]
        with real_prometheus(directory / "prometheus", features=FEATURES, flags=flags, settings=settings) as prometheus:
            prometheus = RealPrometheus(f"http://127.0.0.1:{port}", prometheus.http)
            requests = [_request(number) for number in range(REQUESTS)]
            with ThreadPoolExecutor(SENDERS) as pool:
                sent = list(pool.map(lambda request: collector.send("traces", request[0]), requests))
            assert sent == [200] * REQUESTS
            yield Servers(collector, prometheus, frozenset(trace for _, traces in requests for trace in traces))


def _scraping(collector: RealCollector) -> str:
    """The shipped configuration with this Collector's address, a short interval, and no other servers."""
    shipped = yaml.safe_load(SCRAPED.read_text())
    address = collector.derived.removeprefix("http://").removesuffix("/metrics")
    text = yaml.safe_dump({**shipped, "rule_files": [], "scrape_configs": shipped["scrape_configs"][:1]})
    return text.replace("otelcol:8889", address).replace("5s", "1s")


def test_counters_are_exact_under_senders_side_by_side(servers: Servers) -> None:
    """Counters and histogram counts equal what eight senders sent, from the first increment on."""
    sent = REQUESTS * SPANS
    until(lambda: servers.total("llm_requests_total") >= sent, "the calls")
    until(lambda: servers.total("llm_time_to_first_token_seconds_count") >= sent, "the first tokens")
    assert servers.total("llm_requests_total") == sent
    assert servers.total('llm_tokens_total{gen_ai_token_type="input"}') == 100 * sent
    assert servers.total('llm_tokens_total{gen_ai_token_type="output"}') == 10 * sent
    assert servers.total("llm_request_duration_seconds_count") == sent
    assert servers.total('llm_request_duration_seconds_bucket{le="1.0"}') == sent
    assert servers.total("llm_time_to_first_token_seconds_count") == sent
    assert servers.total('llm_time_to_first_token_seconds_bucket{le="0.3"}') == sent
    assert servers.total('llm_time_to_first_token_seconds_bucket{le="0.2"}') == 0
    assert servers.total("llm_cost_usd_total") == pytest.approx(sent * (100 * 0.15 + 10 * 0.6) / 1e6, abs=1e-9)
    assert servers.total('llm_requests_total{gen_ai_response_model="other"}') == REQUESTS * (SPANS + 1) // 2


def test_labels_are_the_catalogues(servers: Servers) -> None:
    """A series has the catalogue's labels, and job and instance as Prometheus' own receiver makes them."""
    until(lambda: servers.total("llm_requests_total") > 0, "the calls")
    found = servers.prometheus.instant("llm_requests_total", int(time.time() * 1000)).result
    assert {frozenset(one["metric"]) for one in found} == {
        frozenset(
            {
                *("__name__", "job", "instance", "service_name", "deployment_environment_name"),
                *("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model", "gen_ai_response_model"),
            }
        )
    }
    assert {(one["metric"]["job"], one["metric"]["instance"]) for one in found} == {("shop/api", "i-1")}


def test_first_tokens_lead_to_their_traces(servers: Servers) -> None:
    """An exemplar of the first token's histogram carries the id of a trace that was sent."""

    def exemplars() -> list[str]:
        query = {"query": "llm_time_to_first_token_seconds_bucket", "start": "0", "end": str(time.time() + 60)}
        answer = servers.prometheus.http.get(servers.prometheus.url + "/api/v1/query_exemplars", params=query).json()
        return [one["labels"]["trace_id"] for series in answer["data"] for one in series["exemplars"]]

    until(lambda: bool(exemplars()), "an exemplar")
    assert set(exemplars()) <= servers.trace_ids


def test_evaluations_become_series_and_other_records_are_counted(servers: Servers) -> None:
    """Evaluation records are counted by name and label, their scores observed; other records go, and are counted."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add(resource=_resource()).scope_logs.add().log_records
    for score in (0.0, 0.25, 1.0):
        record = records.add(event_name=semconv.EVALUATION_EVENT)
        record.attributes.extend(
            _pairs(
                {
                    semconv.EVALUATION_NAME: "hallucination",
                    semconv.EVALUATION_SCORE: score,
                    semconv.EVALUATION_LABEL: "grounded" if score < 0.5 else SENTENCE,
                }
            )
        )
    records.add(event_name="gen_ai.client.inference.operation.details").body.string_value = SENTENCE
    assert servers.collector.send("logs", request.SerializeToString()) == 200
    until(lambda: servers.total("llm_evaluation_score_count") >= 3, "the evaluations")
    assert servers.total('llm_evaluations_total{gen_ai_evaluation_score_label="grounded"}') == 2
    assert servers.total('llm_evaluations_total{gen_ai_evaluation_score_label="other"}') == 1
    assert servers.total('llm_evaluation_score_bucket{le="0.25"}') == 2
    own = servers.collector.http.get(servers.collector.own).text
    dropped = [line for line in own.splitlines() if line.startswith("otelcol_processor_filter_logs_filtered")]
    assert [float(line.split()[-1]) for line in dropped] == [1.0]


def test_metrics_of_applications_become_cumulative_and_lose_their_texts(servers: Servers) -> None:
    """Deltas add up under Prometheus' own names; texts in attributes, descriptions and exemplars do not pass."""

    def request(value: int) -> bytes:
        found = ExportMetricsServiceRequest()
        metric = found.resource_metrics.add(resource=_resource()).scope_metrics.add().metrics.add()
        metric.name, metric.description, metric.unit = "app.orders", SENTENCE, "{order}"
        metric.sum.is_monotonic, metric.sum.aggregation_temporality = True, 1
        point = metric.sum.data_points.add(as_int=value, time_unix_nano=time.time_ns())
        point.attributes.extend(_pairs({"http.route": "/orders/{id}", "query": SENTENCE, "error.type": SENTENCE}))
        return found.SerializeToString()

    def value() -> list[float]:
        found = servers.prometheus.instant("app_orders_total", int(time.time() * 1000)).result
        return [float(one["value"][1]) for one in found]

    for number in (1, 2, 4):
        assert servers.collector.send("metrics", request(number)) == 200
        time.sleep(0.3)
    until(lambda: value() == [7.0], "the orders")
    (series,) = servers.prometheus.instant("app_orders_total", int(time.time() * 1000)).result
    labels = series["metric"]
    assert (labels["job"], labels["instance"], labels["http_route"]) == ("shop/api", "i-1", "/orders/{id}")
    assert (labels["error_type"], "query" in labels) == ("[masked]", False)
