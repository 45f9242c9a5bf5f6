"""How quickly the console shows Home over a day of many series: paint, drawn, and bytes on the wire, in Chromium."""

import itertools
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import orjson

from stackctl.bench.reports import ConsoleReport
from stackctl.clients import PrometheusClient
from stackctl.errors import ComponentUnhealthy, PackageMissing, UpstreamFailed
from stackctl.files import console_pages
from stackctl.runtime import browser

HOURS: Final = 24
SAMPLE_MS: Final = 15_000
# What issue 7 promises, on two cores.
MOST_PAINT_SECONDS: Final = 1.0
MOST_DRAWN_SECONDS: Final = 2.5
MOST_WIRE_BYTES: Final = 600_000
_LONGEST_SECONDS: Final = 30.0
_REQUESTS: Final = 4  # of different services and models: together more than 1,000 series
_TRAFFIC_EVERY: Final = 8  # ticks between two arrivals: calls come every two minutes
# Notes when the last panel was drawn, without asking the page all the time.
_WATCH: Final = """
addEventListener("DOMContentLoaded", () => new MutationObserver(() => {
  const panels = [...document.querySelectorAll(".panel")];
  if (panels.length && panels.every((one) => one.dataset.state)) window.stackctlDrawn ??= performance.now();
}).observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ["data-state"] }));
"""


def measure(runs: int, tell: Callable[[str], None]) -> ConsoleReport:
    """Make a day of series, start a stack over it, and open Home so many times, each with an empty cache.

    Args:
        tell: called with each figure.

    Raises:
        PackageMissing: Playwright is not installed.
        EnvironmentLacks: no Chromium is installed.
        ComponentUnhealthy: the stack did not start.
        UpstreamFailed: a panel could not be drawn.
    """
    try:
        from playwright.sync_api import sync_playwright
    except ImportError as error:
        raise PackageMissing(
            "the console's benchmark drives Chromium through Playwright, which is not installed",
            next_step="install it: pip install 'stackctl[test]'",
        ) from error
    program = browser.chromium()
    with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home:
        data_dir = Path(home) / "data"
        make_day(data_dir)
        with _stack(data_dir) as (url, prometheus), sync_playwright() as playwright:
            series = int(PrometheusClient(prometheus).instant('count({__name__=~".+"})')[0].value)
            tell(f"{series} series of {HOURS} h")
            chromium = playwright.chromium.launch(executable_path=program, args=list(browser.FLAGS))
            loads = [_load(chromium, f"{url}/d/home?from=now-{HOURS}h&to=now", tell) for _ in range(runs)]
            chromium.close()
    paints, drawn, wire = zip(*loads, strict=True)
    return ConsoleReport(
        series=series,
        first_paint_seconds=median(paints),
        drawn_seconds=median(drawn),
        wire_bytes=int(median(wire)),
        loads=tuple(drawn),
        build_seconds=_build_seconds(),
    )


def _build_seconds() -> float | None:
    """Return how long the pages took to build when this installation was made; None where that was not noted."""
    noted = console_pages() / "built-in.txt"
    return float(noted.read_text(encoding="utf-8")) if noted.is_file() else None


def problems(report: ConsoleReport) -> list[str]:
    """Return what of a report breaks a promise."""
    rows = (
        ("first paint", report.first_paint_seconds, MOST_PAINT_SECONDS, "s"),
        ("Home drawn", report.drawn_seconds, MOST_DRAWN_SECONDS, "s"),
        ("on the wire", report.wire_bytes, MOST_WIRE_BYTES, "bytes"),
    )
    return [f"{name}: {value:g} {unit}, more than {most:g}" for name, value, most, unit in rows if value > most]


def make_day(data_dir: Path) -> None:
    """Write the samples that a day of traffic leaves.

    The series are those of real requests, decoded and counted by the engine's own code under a clock that runs fast.
    """
    from stackctl.bench.requests import RequestSource
    from stackctl.embedded.columns import Pipeline
    from stackctl.embedded.otlp import decode
    from stackctl.embedded.series import derive
    from stackctl.embedded.series.head import Head
    from stackctl.stack import EngineConfig

    source, pipeline = RequestSource(1), Pipeline(EngineConfig(str(data_dir)))
    derivation = derive.Derivation()
    end_ms = time.time_ns() // 1_000_000
    clock = [end_ms - HOURS * 3_600_000]
    head = Head(data_dir, clock_ms=lambda: clock[0], sync=lambda _: None)
    requests = [source.make(number) for number in range(_REQUESTS)]
    arrivals = [derivation.from_spans(pipeline.process(decode.spans([one], clock[0]))) for one in requests]
    head.start()
    for tick in itertools.count():
        clock[0] += SAMPLE_MS
        if clock[0] > end_ms:
            break
        if tick % _TRAFFIC_EVERY == 0:
            head.apply(replace(arrivals[tick // _TRAFFIC_EVERY % _REQUESTS], arrival_ms=clock[0]), 1)
            head.applied_seq = 0  # no frame of a span log stands behind these
        head.beat()
    head.close()
    head.seal_closed()


@contextmanager
def _stack(data_dir: Path) -> Iterator[tuple[str, str]]:
    """Run a stack over the data; yield the addresses of its console and its Prometheus API."""
    command = [sys.executable, "-m", "stackctl", "--data-dir", str(data_dir)]
    up = [*command, "up", "--runtime", "embedded", "--console", "builtin", "--ports", "auto", "--json"]
    started = subprocess.run(up, capture_output=True, check=False)
    if started.returncode:
        raise ComponentUnhealthy(
            f"the stack did not start: {started.stderr.decode().strip()}", next_step="start one by hand: stackctl up"
        )
    try:
        endpoints = orjson.loads(started.stdout)["endpoints"]
        yield endpoints["console"], endpoints["prometheus"]
    finally:
        subprocess.run([*command, "down"], capture_output=True, check=False)


def _load(chromium: Any, url: str, tell: Callable[[str], None]) -> tuple[float, float, int]:
    """Open a page with an empty cache; return seconds to first paint and to drawn, and bytes on the wire."""
    context = chromium.new_context(viewport={"width": 1440, "height": 1100})
    page = context.new_page()
    page.add_init_script(_WATCH)
    session = context.new_cdp_session(page)
    received: list[float] = []
    session.send("Network.enable")
    session.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto(url)
    deadline = time.monotonic() + _LONGEST_SECONDS
    while (drawn := page.evaluate("() => window.stackctlDrawn")) is None:
        if time.monotonic() > deadline:
            raise UpstreamFailed(f"Home was not drawn within {_LONGEST_SECONDS:g} s", next_step="open it and look")
        page.wait_for_timeout(50)
    failed = page.evaluate("() => [...document.querySelectorAll('[data-state=failed]')].map((one) => one.innerText)")
    if failed:
        raise UpstreamFailed(f"a panel could not be drawn: {failed[0]}", next_step="open Home and look")
    paint = page.evaluate("() => performance.getEntriesByName('first-contentful-paint')[0].startTime")
    context.close()
    tell(f"first paint {paint:.0f} ms, drawn {drawn:.0f} ms, {sum(received) / 1000:.0f} kB")
    return paint / 1000, drawn / 1000, int(sum(received))
