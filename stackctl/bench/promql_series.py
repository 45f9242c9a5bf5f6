"""Generated series of all kinds for the comparison with the real Prometheus. Everything follows from a seed.

Counters with resets, gauges, histograms, gaps, late starts, early ends, staleness markers, odd values, exemplars.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from stackctl.promql import Matcher, Series
from stackctl.promql.regex import matches
from stackctl.promql.values import STALE_BITS, Times

START_MS = 1_700_000_000_000
LENGTH_MS = 90 * 60_000
SCRAPE_MS = 15_000
PORTION_MS = 600_000
"""So much of all series is sent to the real server at a time."""
STALE = float(np.array([STALE_BITS]).view(np.float64)[0])
BOUNDS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf")


@dataclass
class Samples:
    """A storage in memory."""

    series: list[Series]

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[Series]:
        """Return the series that fulfil all matchers, cut to the samples asked for."""
        found = []
        for one in self.series:
            if all(_fulfils(one.labels.get(matcher.name, ""), matcher) for matcher in matchers):
                low, high = one.t_ms.searchsorted([start_ms, end_ms + 1])
                if high > low:
                    found.append(Series(one.labels, one.t_ms[low:high], one.v[low:high]))
        return found

    def open_metrics(self) -> str:
        """Write all samples as OpenMetrics text with time stamps."""
        lines = []
        for one in sorted(self.series, key=lambda series: series.labels["__name__"]):
            inner = ",".join(f'{k}="{v}"' for k, v in sorted(one.labels.items()) if k != "__name__")
            name = f"{one.labels['__name__']}{{{inner}}}"
            lines += [f"{name} {_number(v)} {t / 1000:.3f}" for t, v in zip(one.t_ms, one.v, strict=True)]
        return "\n".join([*lines, "# EOF\n"])


def _fulfils(value: str, matcher: Matcher) -> bool:
    match matcher.op:
        case "=":
            return value == matcher.value
        case "!=":
            return value != matcher.value
        case "=~":
            return matches(matcher.value, value)
        case _:
            return not matches(matcher.value, value)


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else repr(float(value))


def make(seed: int) -> Samples:
    """Make series of all kinds: counters with resets, gauges, histograms, gaps, late starts, early ends, odd values."""
    rng = np.random.default_rng(seed)
    series: list[Series] = []
    for job in ("api", "db"):
        for instance in ("a:1", "b:2", "c:3"):
            labels = {"job": job, "instance": instance}
            series += _of_instance(rng, labels)
        version = f"1.{len(job)}"
        series.append(_gauge(rng, {"__name__": "build_info", "job": job, "version": version}, lambda n: np.ones(n)))
    series += _targets(rng)
    series += _odd(rng)
    return Samples(sorted(_marked(rng, series), key=_first_seen))


def _first_seen(series: Series) -> tuple[int, list[tuple[str, str]]]:
    """Order series as the real server comes to know them: its limitk takes the first ones."""
    return (int(series.t_ms[0]) - START_MS) // PORTION_MS, sorted(series.labels.items())


def _targets(rng: np.random.Generator) -> list[Series]:
    """Make info series of some targets, whose version changes in the middle; and metrics named as keywords."""
    made = []
    half = START_MS + LENGTH_MS // 2 + 7
    for job, instance in (("api", "a:1"), ("api", "b:2"), ("db", "a:1")):
        for version, since, until in (("1", START_MS, half), ("2", half, START_MS + LENGTH_MS)):
            labels = {"__name__": "target_info", "job": job, "instance": instance, "version": version, "zone": "z"}
            t = np.arange(since, until, SCRAPE_MS, dtype=np.int64)
            made.append(Series(labels, t, np.ones(len(t))))
    for name in ("anchored", "smoothed", "fill"):
        labels = {"__name__": name, "job": "api", "instance": "a:1"}
        made.append(_gauge(rng, labels, lambda n: rng.integers(0, 9, n).astype(float)))
    return made


def _marked(rng: np.random.Generator, series: list[Series]) -> list[Series]:
    """End some series by staleness markers, at gaps and at their end; series with equal times keep equal times."""
    marks: dict[int, Times] = {}
    made = []
    for one in series:
        if id(one.t_ms) not in marks:
            marks[id(one.t_ms)] = _markers(one.t_ms) if rng.random() < 0.5 else one.t_ms[:0]
        markers = marks[id(one.t_ms)]
        t = np.concatenate((one.t_ms, markers))
        order = np.argsort(t, kind="stable")
        v = np.concatenate((one.v, np.full(len(markers), STALE)))
        made.append(Series(one.labels, t[order], v[order]) if len(markers) else one)
    return made


def _markers(t: Times) -> Times:
    """Return the moments of the scrapes that found nothing anymore."""
    ends = np.append(np.flatnonzero(np.diff(t) > 2 * SCRAPE_MS), len(t) - 1)
    markers: Times = t[ends] + SCRAPE_MS
    return markers


def _of_instance(rng: np.random.Generator, labels: dict[str, str]) -> list[Series]:
    made = [_gauge(rng, {"__name__": "up", **labels}, lambda n: rng.integers(0, 2, n).astype(float))]
    codes = ("200", "404", "500")
    made += [_counter(rng, {"__name__": "requests_total", "code": code, **labels}, whole=True) for code in codes]
    made.append(_counter(rng, {"__name__": "cost_usd_total", **labels}, whole=False))
    made.append(_gauge(rng, {"__name__": "temperature", **labels}, lambda n: np.cumsum(rng.normal(0, 1.3, n))))
    made.append(_gauge(rng, {"__name__": "memory_bytes", **labels}, lambda n: 1e9 + np.cumsum(rng.normal(0, 1e5, n))))
    made.append(_gauge(rng, {"__name__": "level", **labels}, lambda n: rng.integers(-3, 4, n).astype(float)))
    return made + _histogram(rng, labels)


def _odd(rng: np.random.Generator) -> list[Series]:
    strange = np.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e300, -1e300, 1e-300, 1.5])
    made = [
        _gauge(rng, {"__name__": "strange", "n": str(n)}, lambda count: strange[rng.integers(0, 9, count)])
        for n in range(3)
    ]
    for n in range(3):
        t = START_MS + np.sort(rng.integers(0, LENGTH_MS, 12)).astype(np.int64)
        t = np.unique(t)
        made.append(Series({"__name__": "sparse", "n": str(n)}, t, rng.normal(0, 10, len(t))))
    return made


def _times(rng: np.random.Generator) -> np.ndarray:
    """Scrape times: on the grid, or with jitter; sometimes starting late, ending early, or with a gap."""
    t = START_MS + np.arange(0, LENGTH_MS, SCRAPE_MS, dtype=np.int64)
    if rng.random() < 0.4:
        t = t + rng.integers(-400, 400, len(t)) + int(rng.integers(0, SCRAPE_MS))
    keep = np.ones(len(t), bool)
    if rng.random() < 0.25:
        keep[: int(rng.integers(10, 150))] = False
    if rng.random() < 0.25:
        keep[-int(rng.integers(10, 150)) :] = False
    if rng.random() < 0.35:
        gap = int(rng.integers(20, 300))
        keep[gap : gap + int(rng.integers(2, 60))] = False
    if rng.random() < 0.3:
        keep &= rng.random(len(t)) > 0.1
    return t[keep]


def _counter(rng: np.random.Generator, labels: Mapping[str, str], whole: bool) -> Series:
    t = _times(rng)
    steps = rng.poisson(rng.uniform(0.2, 6), len(t)).astype(float) if whole else rng.exponential(0.013, len(t))
    v = np.cumsum(steps)
    for reset in rng.integers(1, len(t), int(rng.integers(0, 4))):
        v[reset:] -= v[reset] - steps[reset]
    return Series(labels, t, np.maximum(v, 0.0))


def _gauge(rng: np.random.Generator, labels: Mapping[str, str], values: Callable[[int], np.ndarray]) -> Series:
    t = _times(rng)
    return Series(labels, t, values(len(t)))


def _histogram(rng: np.random.Generator, labels: Mapping[str, str]) -> list[Series]:
    t = _times(rng)
    made = []
    for route in ("/chat", "/embed"):
        counts = rng.poisson(rng.uniform(0.1, 2), (len(BOUNDS), len(t)))
        cumulative = np.cumsum(np.cumsum(counts, axis=0), axis=1).astype(float)
        every = {"route": route, **labels}
        for bound, row in zip(BOUNDS, cumulative, strict=True):
            made.append(Series({"__name__": "latency_seconds_bucket", "le": bound, **every}, t, row))
        made.append(Series({"__name__": "latency_seconds_count", **every}, t, cumulative[-1]))
        made.append(Series({"__name__": "latency_seconds_sum", **every}, t, cumulative[-1] * 0.37))
    return made
