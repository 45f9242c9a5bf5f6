"""What real libraries sent, through the real Collector and through the embedded pipeline: the same spans and series."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl.collector.render import CollectorSettings
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.embedded.series.derive import Derivation
from stackctl.stack import EngineConfig
from tests.collector.real import SPANS, Series, scraped, series_of, to_files, until, written

pytestmark = pytest.mark.realstack

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*/*.traces.pb"))
HOSTS = {"127.0.0.1": "openai", "localhost": "openai"}
Rows = dict[tuple[int, int, int], dict[str, Any]]


@dataclass(frozen=True)
class Both:
    """Spans by id and series, as each executor has them."""

    collector: Rows
    embedded: Rows
    collector_series: Series
    embedded_series: Series
    log: str


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Every capture through both executors."""
    directory = tmp_path_factory.mktemp("captures")
    bodies = [path.read_bytes() for path in CAPTURES]
    table = Pipeline(EngineConfig(data_dir="", price_hosts=HOSTS)).process(decode.spans(bodies, 1))
    counted = series_of([Derivation().from_spans(table)])
    with to_files(directory, CollectorSettings(price_hosts=HOSTS)) as collector:
        assert [collector.send("traces", body) for body in bodies] == [200] * len(bodies)
        # First tokens come by a way of their own, and later; what differs in the end is for the test to say.
        until(
            lambda: _observed(scraped(collector.http.get(collector.derived).text)) >= _observed(counted), "the series"
        )
        until(lambda: len(_rows(_stored(directory))) >= table.num_rows, "the spans")
        shown = scraped(collector.http.get(collector.derived).text)
        yield Both(_rows(_stored(directory)), _rows(table), shown, counted, collector.log.read_text())


def _observed(series: Series) -> float:
    """How much was counted and observed in all."""
    return sum(
        value for (name, _), value in series.items() if name.endswith(("_count", "_total")) and "usd" not in name
    )


def _stored(directory: Path) -> pa.Table:
    requests = written(directory / SPANS, ExportTraceServiceRequest)
    return decode.spans([request.SerializeToString() for request in requests], 1)


def _rows(table: pa.Table) -> Rows:
    """Spans by their ids, without what is empty, when it arrived and links, which the Collector drops."""
    left_out = ("arrival_ms", "links")
    return {
        (row["tid_hi"], row["tid_lo"], row["span_id"]): {
            key: value for key, value in row.items() if value not in (None, "") and key not in left_out
        }
        for row in table.to_pylist()
    }


def test_spans_of_all_captures_are_the_same(both: Both) -> None:
    """Every attribute, name, event and status that one executor stores of a capture the other stores too, alike."""
    assert both.collector.keys() == both.embedded.keys()
    differing = {
        (column, expected.get(column), found.get(column))
        for key, expected in both.embedded.items()
        for found in [both.collector[key]]
        for column in expected.keys() | found.keys()
        if not alike(expected.get(column), found.get(column))
    }
    assert not differing


def alike(one: object, other: object) -> bool:
    """Equal, but for the last bits of a number that was worked out."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12)
    return one == other


def test_series_of_all_captures_are_the_same(both: Both) -> None:
    """Every series has the same name and labels; counters and buckets are equal, sums to 1e-9."""
    assert both.collector_series.keys() == both.embedded_series.keys()
    for key, expected in both.embedded_series.items():
        exact = key[0].endswith(("_bucket", "_count")) or (key[0].endswith("_total") and "cost_usd" not in key[0])
        assert both.collector_series[key] == (expected if exact else pytest.approx(expected, abs=1e-9)), key


def test_no_statement_failed(both: Both) -> None:
    """The Collector writes no warning of its own while it takes every capture."""
    assert "error" not in both.log
    assert "warn" not in both.log
