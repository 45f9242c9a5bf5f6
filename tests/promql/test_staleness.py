"""Staleness markers, which OpenMetrics text cannot carry: sent to the real server as OTLP points without a value."""

import time
from pathlib import Path

import numpy as np
import pytest
import realstack
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from stackctl.bench.promql_compare import compare, ours
from stackctl.bench.promql_corpus import Query
from stackctl.bench.promql_series import STALE, START_MS, Samples
from stackctl.promql import Series

_NO_RECORDED_VALUE = 1

# The last values of each series; None is a marker. They end, return, and are stale at once.
SHAPES: dict[str, list[float | None]] = {
    "ends": [*map(float, range(20)), None],
    "returns": [*map(float, range(10)), None, *map(float, range(12))],
    "blinks": [1.0, None, 2.0, None, None, 3.0, 5.0, None, 4.0],
    "never": [None, None],
    "lives": [*map(float, range(30))],
}
QUERIES = (
    "m",
    "count(m)",
    "timestamp(m)",
    "rate(m[2m])",
    "increase(m[5m] anchored)",
    "increase(m[2m] smoothed)",
    "m smoothed",
    "count_over_time(m[5m])",
    "last_over_time(m[3m])",
    "absent(m{n='blinks'})",
    "absent_over_time(m{n='never'}[5m])",
    "changes(m[5m])",
    "sum_over_time(m[3m:15s])",
    "m offset 1m",
    "m unless m offset 1m",
)


def _storage(start_ms: int) -> Samples:
    made = []
    for name, values in SHAPES.items():
        t = start_ms + 15_000 * np.arange(len(values), dtype=np.int64)
        v = np.array([STALE if value is None else value for value in values])
        made.append(Series({"__name__": "m", "n": name, "job": "j"}, t, v))
    return Samples(made)


def _request(start_ms: int) -> bytes:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    attribute = resource.resource.attributes.add(key="service.name")
    attribute.value.string_value = "j"
    metric = resource.scope_metrics.add().metrics.add(name="m")
    for name, values in SHAPES.items():
        for place, value in enumerate(values):
            point = metric.gauge.data_points.add(time_unix_nano=(start_ms + 15_000 * place) * 1_000_000)
            point.attributes.add(key="n").value.string_value = name
            if value is None:
                point.flags = _NO_RECORDED_VALUE
            else:
                point.as_double = value
    return request.SerializeToString()


def test_markers_end_a_series_at_once() -> None:
    """An instant selector sees nothing from the marker on, a window only the samples beside it."""
    storage = _storage(START_MS)
    at_marker = START_MS + 20 * 15_000
    seen = ours(Query("", "m{n='ends'}", at_marker - 1), storage)
    assert [one.v.tolist() for one in seen.series] == [[19.0]]
    assert not ours(Query("", "m{n='ends'}", at_marker), storage).series
    counted = ours(Query("", "count_over_time(m{n='ends'}[1m])", at_marker), storage)
    assert counted.series[0].v.tolist() == [3.0]


@pytest.mark.realstack
def test_markers_act_as_in_the_real_prometheus(tmp_path: Path) -> None:
    """Every kind of selector treats markers as the real server does."""
    start = (int(time.time()) - 900) // 15 * 15_000  # recent: the server's head takes nothing old
    with realstack.prometheus(tmp_path / "p", flags=["--web.enable-otlp-receiver"]) as server:
        sent = server.http.post(
            f"{server.url}/api/v1/otlp/v1/metrics",
            content=_request(start),
            headers={"Content-Type": "application/x-protobuf"},
        )
        assert sent.status_code == 200, sent.text
        storage = _storage(start)
        for query in QUERIES:
            ranged = Query("", query, start, start + 700_000, 7_000)
            verdict = compare(ranged, storage, server)
            assert verdict.difference is None, f"{query}: {verdict.difference}"
            assert not verdict.refused
