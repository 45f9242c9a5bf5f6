"""A real Collector whose output is written to files, and what it wrote read back."""

import base64
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message

from stackctl.bench.collector_server import RealCollector, running
from stackctl.collector.render import CollectorSettings
from stackctl.embedded.series.increments import Increments
from tests.realstack import program

SPANS, METRICS = "spans.jsonl", "metrics.jsonl"
_SECONDS = 60.0
Series = dict[tuple[str, tuple[tuple[str, str], ...]], float]


@contextmanager
def to_files(
    directory: Path, settings: CollectorSettings | None = None, overrides: Sequence[str] = ()
) -> Iterator[RealCollector]:
    """Run the real Collector; spans and applications' metrics go to files of the directory instead of servers."""
    override = f"""\
exporters:
  file/spans: {{path: {directory / SPANS}, flush_interval: 50ms}}
  file/metrics: {{path: {directory / METRICS}, flush_interval: 50ms}}
connectors:
  span_metrics/first_token: {{metrics_flush_interval: 500ms}}
service:
  pipelines:
    traces/store: {{exporters: [file/spans]}}
    metrics/application: {{exporters: [file/metrics]}}
"""
    with running(program("otelcol-contrib"), directory, settings, [override, *overrides]) as collector:
        yield collector


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for what another process does."""
    deadline = time.monotonic() + _SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.1)


def written(path: Path, kind: type[Message]) -> list[Message]:
    """Return the requests in a file; its last line may still be in the making."""
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    return [ParseDict(_with_base64_ids(orjson.loads(line)), kind()) for line in lines]


def _with_base64_ids(value: Any) -> Any:
    """OTLP's JSON has ids in hexadecimal, protobuf's own in base64."""
    if isinstance(value, list):
        return [_with_base64_ids(item) for item in value]
    if not isinstance(value, dict):
        return value
    ids = ("traceId", "spanId", "parentSpanId")
    return {
        key: base64.b64encode(bytes.fromhex(item)).decode() if key in ids else _with_base64_ids(item)
        for key, item in value.items()
    }


def scraped(text: str) -> Series:
    """Return the catalogue's series as the Collector exposes them: name and labels to value."""
    found: Series = {}
    for line in text.splitlines():
        parts = re.match(r"^([a-z_]+)(?:\{(.*?)\})? (\S+)", line)
        if parts is None or parts[1] == "target_info" or parts[1].endswith("_created"):
            continue
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', parts[2] or ""))
        if "le" in labels:
            labels["le"] = str(float(labels["le"]))
        found[parts[1], tuple(sorted(labels.items()))] = float(parts[3])
    return found


def series_of(parts: Sequence[Increments]) -> Series:
    """Return what the embedded engine counts, in the same form."""
    found: Series = {}

    def add(name: str, labels: dict[str, str], value: float) -> None:
        key = (name, tuple(sorted(labels.items())))
        found[key] = found.get(key, 0.0) + value

    for block in (block for part in parts for block in part.blocks):
        for labels, values in zip(map(dict, block.labels), block.values.tolist(), strict=True):
            if block.kind == "counter":
                add(block.name, labels, values[0])
                continue
            cumulated = 0.0
            for bound, count in zip((*block.bounds, float("inf")), values[:-1], strict=True):
                cumulated += count
                add(f"{block.name}_bucket", labels | {"le": str(float(bound))}, cumulated)
            add(f"{block.name}_sum", labels, values[-1])
            add(f"{block.name}_count", labels, cumulated)
    return found
