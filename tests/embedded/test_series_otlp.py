"""Applications' OTLP metrics: names, labels and values as the real Prometheus has them; resets, redaction."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import (
    AggregationTemporality,
    Exemplar,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
    Summary,
    SummaryDataPoint,
)
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from stackctl.embedded.series.head import Head
from stackctl.embedded.series.names import label_name
from stackctl.embedded.series.otlp_metrics import PROMOTED, decode
from stackctl.embedded.series.reader import ALL_TIME, SampleReader
from stackctl.promql import Matcher
from tests.realstack import prometheus

CUMULATIVE = AggregationTemporality.AGGREGATION_TEMPORALITY_CUMULATIVE
DELTA = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA
START = 1_700_000_000_000
ALL_KEYS = (".*",)
EVERYTHING = (Matcher("__name__", "=~", ".+"),)


def attributes(**values: Any) -> list[KeyValue]:
    made = []
    for key, value in values.items():
        kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
        made.append(KeyValue(key=key, value=AnyValue(**{kind: value})))
    return made


def number(value: float, started_ns: int = 0, **labels: Any) -> NumberDataPoint:
    return NumberDataPoint(
        as_double=value,
        start_time_unix_nano=started_ns,
        time_unix_nano=time.time_ns(),
        attributes=attributes(**labels),
    )


def histogram(counts: list[int], total: float, **labels: Any) -> HistogramDataPoint:
    return HistogramDataPoint(
        explicit_bounds=[0.005, 1.0, 2.5],
        bucket_counts=counts,
        count=sum(counts),
        sum=total,
        time_unix_nano=time.time_ns(),
        attributes=attributes(**labels),
    )


def counter(name: str, *points: NumberDataPoint, unit: str = "", temporality: int = CUMULATIVE) -> Metric:
    data = Sum(is_monotonic=True, aggregation_temporality=temporality, data_points=points)
    return Metric(name=name, unit=unit, sum=data)


def request(*metrics: Metric, **resource: Any) -> bytes:
    shop = {"service.name": "shop", "service.namespace": "eu", "service.instance.id": "i-1"} | resource
    return ExportMetricsServiceRequest(
        resource_metrics=[
            ResourceMetrics(
                resource=Resource(attributes=attributes(**shop)), scope_metrics=[ScopeMetrics(metrics=metrics)]
            )
        ]
    ).SerializeToString()


def stored(data_dir: Path, name: str) -> list[tuple[dict[str, str], list[tuple[int, float]]]]:
    """Labels without what the resource gives, and times after START with values."""
    found = SampleReader(data_dir).select([Matcher("__name__", "=", name)], *ALL_TIME)
    shared = {"__name__", "job", "instance", "service_name", "service_namespace", "service_instance_id"}
    return [
        (
            {key: value for key, value in one.labels.items() if key not in shared},
            [(int(at) - START, float(value)) for at, value in zip(one.t_ms, one.v, strict=True)],
        )
        for one in found
    ]


def store(head: Head, body: bytes, at_ms: int) -> None:
    head.append(decode(body, ALL_KEYS).points, START + at_ms)


NAMES = (
    *("gen_ai.client.token.usage", "http.server.duration", "9lives", "a--b..c", "already_seconds", "x_total", "x:y"),
    *("Total.total.ratio", "_leading", "trailing_", "memory.usage.bytes", "ratio", "requests.per.second", "äpfel"),
)
UNITS = (
    *("", "1", "s", "ms", "By", "KiBy", "{token}", "{token}/s", "By/s", "m/h", "%", "USD", "1/s", "d", "Cel", "By/min"),
    *("/s", "requests/{x}", "s/", "__x__"),
)


def sampler() -> bytes:
    """A request with every name, unit and kind of metric, and odd attribute keys."""
    metrics = []
    for at, (name, unit) in enumerate((name, unit) for name in NAMES for unit in UNITS):
        point = number(float(at), at=at)
        metrics += [
            counter(name, point, unit=unit),
            Metric(name=f"g.{name}", unit=unit, gauge=Gauge(data_points=[point])),
            Metric(
                name=f"u.{name}",
                unit=unit,
                sum=Sum(is_monotonic=False, aggregation_temporality=CUMULATIVE, data_points=[point]),
            ),
        ]
    odd = {"a.b": "1", "a_b": "2", "9x": "3", "_private": "4", "__double": "5", "b": True, "f": 1.5, "n": 7}
    quantiles = [SummaryDataPoint.ValueAtQuantile(quantile=q, value=v) for q, v in ((0.5, 1.0), (0.99, 2.0))]
    summary = SummaryDataPoint(count=3, sum=4.5, quantile_values=quantiles, time_unix_nano=time.time_ns())
    metrics += [
        Metric(name="odd.labels", gauge=Gauge(data_points=[number(1.0, **odd)])),
        Metric(
            name="h.duration",
            unit="s",
            histogram=Histogram(aggregation_temporality=CUMULATIVE, data_points=[histogram([1, 2, 0, 4], 9.5, k="v")]),
        ),
        Metric(name="s.latency", unit="ms", summary=Summary(data_points=[summary])),
    ]
    return request(*metrics, **{"service.version": "1.2", "host.name": "box", "process.pid": 7})


def without_promoted(labels: dict[str, str]) -> tuple[tuple[str, str], ...]:
    promoted = {label_name(key) for key in PROMOTED}
    return tuple(sorted((name, value) for name, value in labels.items() if name not in promoted))


@pytest.mark.realstack
def test_names_labels_and_values_are_those_of_the_real_receiver(tmp_path: Path) -> None:
    """Any metric that an SDK can name becomes the series that Prometheus' own OTLP receiver makes of it."""
    body = sampler()
    with prometheus(tmp_path / "real", flags=["--web.enable-otlp-receiver"]) as real:
        answer = real.http.post(
            f"{real.url}/api/v1/otlp/v1/metrics", content=body, headers={"content-type": "application/x-protobuf"}
        )
        assert answer.status_code == 200, answer.text
        found = real.instant('{__name__=~".+"}', int(time.time() * 1000) + 1000).result
    theirs = {without_promoted(one["metric"]): float(one["value"][1]) for one in found}
    head = Head(tmp_path, clock_ms=lambda: START)
    store(head, body, 0)
    series = SampleReader(tmp_path).select(EVERYTHING, *ALL_TIME)
    ours = {without_promoted(dict(one.labels)): float(one.v[-1]) for one in series}
    assert len(theirs) > 300
    assert ours == theirs


def test_delta_counts_are_added_up_from_zero(tmp_path: Path) -> None:
    """Delta temporality becomes a counter that begins at zero and never falls, across a restart too."""
    head = Head(tmp_path, clock_ms=lambda: START)
    store(head, request(counter("jobs", number(3), temporality=DELTA)), 1_000)
    store(head, request(counter("jobs", number(4), temporality=DELTA)), 2_000)
    again = Head(tmp_path, clock_ms=lambda: START)
    store(again, request(counter("jobs", number(5), temporality=DELTA)), 3_000)
    assert stored(tmp_path, "jobs_total") == [({}, [(1_000, 0.0), (1_001, 3.0), (2_000, 7.0), (3_000, 12.0)])]


def test_a_sender_that_began_anew_counts_from_zero(tmp_path: Path) -> None:
    """A later start time puts a zero before the sample, even where the value did not fall."""
    head = Head(tmp_path, clock_ms=lambda: START)
    for at, (value, started) in enumerate(((5, 10), (9, 10), (20, 30)), 1):
        store(head, request(counter("jobs", number(value, started))), at * 1_000)
    assert stored(tmp_path, "jobs_total") == [
        ({}, [(1_000, 0.0), (1_001, 5.0), (2_000, 9.0), (3_000, 0.0), (3_001, 20.0)])
    ]


def test_an_old_counter_of_unknown_start_gets_no_zero(tmp_path: Path) -> None:
    """What a sender counted before anybody looked is not taken for an increase of now."""
    head = Head(tmp_path, clock_ms=lambda: START)
    store(head, request(counter("jobs", number(1_000_000))), 1_000)
    assert stored(tmp_path, "jobs_total") == [({}, [(1_000, 1_000_000.0)])]


def test_samples_of_one_millisecond_keep_their_order(tmp_path: Path) -> None:
    """Two exports that arrive at once are two samples, never one that overwrites the other."""
    head = Head(tmp_path, clock_ms=lambda: START)
    for value in (1.0, 2.0):
        store(head, request(Metric(name="depth", gauge=Gauge(data_points=[number(value)]))), 1_000)
    assert stored(tmp_path, "depth") == [({}, [(1_000, 1.0), (1_001, 2.0)])]


def test_delta_histograms_become_cumulative_buckets(tmp_path: Path) -> None:
    """Buckets, sum and count add up over exports, each from zero."""
    head = Head(tmp_path, clock_ms=lambda: START)
    for at in (1_000, 2_000):
        data = Histogram(aggregation_temporality=DELTA, data_points=[histogram([1, 2, 0, 4], 9.5)])
        store(head, request(Metric(name="wait", unit="s", histogram=data)), at)
    buckets = {
        labels["le"]: [value for _, value in points] for labels, points in stored(tmp_path, "wait_seconds_bucket")
    }
    assert buckets == {"0.005": [0, 1, 2], "1": [0, 3, 6], "2.5": [0, 3, 6], "+Inf": [0, 7, 14]}
    assert stored(tmp_path, "wait_seconds_sum")[0][1][-1][1] == 19.0
    assert stored(tmp_path, "wait_seconds_count")[0][1][-1][1] == 14.0


def test_content_does_not_pass_through_metrics(tmp_path: Path) -> None:
    """Attributes that no rule allows, descriptions and exemplar attributes reach no file; counts stay whole."""
    canary = "what is the capital of france"
    points = [number(2, **{"gen_ai.prompt": canary}), number(3, **{"app.question": canary, "error.type": canary})]
    points[0].exemplars.append(
        Exemplar(as_double=1, trace_id=b"\x01" * 16, filtered_attributes=attributes(question=canary))
    )
    metric = counter("jobs", *points)
    metric.description = canary
    head = Head(tmp_path, clock_ms=lambda: START)
    head.append(decode(request(metric)).points, START)
    assert sum(points[-1][1] for _, points in stored(tmp_path, "jobs_total")) == 5.0
    assert canary.encode() not in b"".join(file.read_bytes() for file in tmp_path.rglob("*") if file.is_file())
    assert canary not in str(SampleReader(tmp_path).select(EVERYTHING, *ALL_TIME))


def test_names_and_units_that_are_text_do_not_pass() -> None:
    """A metric named by a sentence is refused; a unit that is one becomes no part of a name."""
    sentence = "what is the capital of france"
    found = decode(request(counter(sentence, number(1)), counter("jobs", number(2), unit=sentence)))
    assert [point.family.name for point in found.points if point.family.kind == "counter"] == ["jobs_total"]
    assert found.refused == {"the metric has no name, or one that is none": 1}


def test_series_that_differ_by_a_dropped_attribute_are_added() -> None:
    """Two cumulative series of which redaction makes one show their sum, not the last of them."""
    points = [number(2, secret="a"), number(3, secret="b"), number(4, **{"error.type": "timeout"})]
    found = decode(request(counter("jobs", *points))).points
    assert sorted(point.values for point in found if point.family.name == "jobs_total") == [(4.0,), (5.0,)]


def test_what_cannot_be_stored_is_refused_by_name() -> None:
    """Exponential histograms, names of the catalogue and broken points are counted with the reason."""
    exponential = ExponentialHistogram(data_points=[ExponentialHistogramDataPoint(count=1)])
    broken = histogram([1, 2], 3.0)
    refused = decode(
        request(
            Metric(name="latency", exponential_histogram=exponential),
            counter("llm.requests", number(1)),
            Metric(name="wait", histogram=Histogram(aggregation_temporality=CUMULATIVE, data_points=[broken])),
            counter("fine", number(1)),
        )
    )
    assert refused.refused == {
        "exponential histograms are not supported, use explicit buckets": 1,
        "llm_requests_total is derived from spans and cannot be sent": 1,
        "malformed data point": 1,
    }
    assert [point.family.name for point in refused.points] == ["fine_total"]


@pytest.mark.parametrize("bounds", [(math.nan,), (-math.inf, 1.0), (1.0, 1.0), (2.0, 1.0), (1.0, math.nan, 2.0)])
def test_bounds_that_are_no_labels_are_refused(bounds: tuple[float, ...]) -> None:
    """A bound or quantile that is no number would stand in the log and keep every query from reading it."""
    point = HistogramDataPoint(explicit_bounds=bounds, bucket_counts=[1] * (len(bounds) + 1), count=len(bounds) + 1)
    wait = Metric(name="wait", histogram=Histogram(aggregation_temporality=CUMULATIVE, data_points=[point]))
    assert decode(request(wait)).refused == {"malformed data point": 1}
    summary = SummaryDataPoint(quantile_values=[{"quantile": bound, "value": 1} for bound in bounds])
    found = decode(request(Metric(name="wait", summary=Summary(data_points=[summary])))).refused
    assert found == ({} if bounds == (2.0, 1.0) else {"malformed data point": 1})  # quantiles come in any order


def test_bytes_that_are_no_request_are_an_error() -> None:
    """Undecodable bytes never count as an empty request."""
    with pytest.raises(DecodeError):
        decode(b"\xff\xff\xff")


def test_real_captures_become_the_series_the_conventions_name() -> None:
    """What the OpenAI instrumentation exports comes out under the names that every GenAI board uses."""
    captures = Path(__file__).parents[1] / "captures" / "genai-openai-1.3b0"
    found = decode((captures / "stream_usage.metrics.pb").read_bytes())
    assert found.refused == {}
    names = {point.family.name for point in found.points}
    assert {"gen_ai_client_operation_duration_seconds", "gen_ai_client_token_usage", "target_info"} <= names
