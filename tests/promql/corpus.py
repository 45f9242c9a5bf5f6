"""Generated samples and queries, and the comparison of our answers with those of the real Prometheus.

Everything follows from a seed. A feature is a row: its name and how to write an expression that uses it. `queries`
goes through all features in turn, so each is used equally often.
"""

import math
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import re2

from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import Matcher, Result, Series, instant, range_

START_MS = 1_700_000_000_000
LENGTH_MS = 90 * 60_000
SCRAPE_MS = 15_000
BOUNDS = ("0.1", "0.25", "0.5", "1", "2.5", "5", "+Inf")
# The real server's answer may differ by this much of the value.
TOLERANCE = 1e-9


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
            return re2.fullmatch(matcher.value, value) is not None
        case _:
            return re2.fullmatch(matcher.value, value) is None


def _number(value: float) -> str:
    if math.isnan(value):
        return "NaN"
    return ("+Inf" if value > 0 else "-Inf") if math.isinf(value) else repr(float(value))


def samples(seed: int) -> Samples:
    """Make series of all kinds: counters with resets, gauges, histograms, gaps, late starts, early ends, odd values."""
    rng = np.random.default_rng(seed)
    series: list[Series] = []
    for job in ("api", "db"):
        for instance in ("a:1", "b:2", "c:3"):
            labels = {"job": job, "instance": instance}
            series += _of_instance(rng, labels)
        version = f"1.{len(job)}"
        series.append(_gauge(rng, {"__name__": "build_info", "job": job, "version": version}, lambda n: np.ones(n)))
    series += _odd(rng)
    return Samples(series)


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


# ---------------------------------------------------------------------------------------------------- queries

COUNTERS = ("requests_total", "cost_usd_total", "latency_seconds_count", "latency_seconds_sum")
GAUGES = ("temperature", "memory_bytes", "level", "up")
RANGES = ("1m", "2m", "5m", "7m30s", "20m")
JOINED = ("job", "instance")


@dataclass
class Writer:
    """Writes pieces of queries by chance."""

    rng: random.Random

    def pick(self, choices: Sequence[str]) -> str:
        """Return one of some texts."""
        return self.rng.choice(choices)

    def matchers(self) -> str:
        """Return a label part, mostly none."""
        return self.pick(
            ("",) * 4
            + ('{job="api"}', '{job!="db"}', '{instance=~"a.*|b.*"}', '{instance!~"a.*"}', '{job=~".+",instance="b:2"}')
        )

    def times(self) -> str:
        """Return offset and @ modifiers, mostly none."""
        moment = (START_MS + self.rng.randrange(LENGTH_MS)) / 1000
        return self.pick(
            ("",) * 8 + (" offset 3m", " offset -90s", f" @ {moment:.3f}", " @ start()", " @ end() offset 1m")
        )

    def selector(self, names: Sequence[str] = COUNTERS + GAUGES) -> str:
        """Return an instant selector."""
        return self.pick(names) + self.matchers() + self.times()

    def ranged(self, names: Sequence[str] = COUNTERS + GAUGES) -> str:
        """Return a range selector, now and then a subquery."""
        if self.rng.random() < 0.15:
            inner = self.pick((self.pick(names), f"rate({self.pick(COUNTERS)}[2m])", f"(-{self.pick(names)})"))
            return f"{inner}[{self.pick(('6m', '20m'))}:{self.pick(('', '30s', '1m', '47s'))}]{self.times()}"
        return f"{self.pick(names)}{self.matchers()}[{self.pick(RANGES)}]{self.times()}"

    def vector(self) -> str:
        """Return an instant vector expression."""
        return self.pick(
            (
                self.selector(),
                self.selector(),
                f"rate({self.pick(COUNTERS)}{self.matchers()}[{self.pick(RANGES)}])",
                f"sum by (job) ({self.selector()})",
                f"avg_over_time({self.pick(GAUGES)}[{self.pick(RANGES)}])",
                f"abs({self.pick(GAUGES)})",
            )
        )

    def distinct(self) -> str:
        """Return an instant vector whose values differ: among equal ones topk chooses by chance, the real one too."""
        return self.pick(
            (
                f"temperature{self.matchers()}",
                f"memory_bytes{self.times()}",
                "rate(cost_usd_total[5m])",
                "temperature / 3",
            )
        )

    def scalar(self) -> str:
        """Return a scalar expression."""
        return self.pick(("2", "0.5", "-1.5", "1e3", "time()", "scalar(sum(up))", "pi()", "(3 - 1) * 2"))

    def labels(self) -> str:
        """Return a list of labels."""
        return self.pick(("job", "instance", "job, instance", "code", "", "route, job"))


Feature = tuple[str, Callable[[Writer], str]]
"""The name of what is used, and how to write an expression that uses it."""

_OVER_ANY = (
    "avg_over_time", "min_over_time", "max_over_time", "sum_over_time", "count_over_time", "last_over_time",
    "present_over_time", "stddev_over_time", "stdvar_over_time", "changes", "resets", "deriv", "idelta", "delta",
)  # fmt: skip
_OVER_EXPERIMENTAL = (
    "first_over_time", "mad_over_time", "ts_of_min_over_time", "ts_of_max_over_time", "ts_of_last_over_time",
    "ts_of_first_over_time",
)  # fmt: skip
_OF_VALUES = (
    "abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "sgn", "sin", "cos", "tan", "asin", "acos", "atan",
    "sinh", "cosh", "tanh", "asinh", "acosh", "atanh", "deg", "rad",
)  # fmt: skip
_CALENDAR = ("minute", "hour", "day_of_week", "day_of_month", "day_of_year", "days_in_month", "month", "year")
_FOLDS = ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar")
_ARITHMETIC = ("+", "-", "*", "/", "%", "^", "atan2")
_COMPARISONS = ("==", "!=", ">", "<", ">=", "<=")


def _over(name: str, names: Sequence[str]) -> Feature:
    return name, lambda w: f"{name}({w.ranged(names)})"


def _extended(word: str, name: str) -> Feature:
    names = GAUGES if name in ("delta", "changes") else COUNTERS

    def write(w: Writer) -> str:
        modifiers = w.pick((f" {word}{w.times()}", f"{w.times()} {word}"))
        return f"{name}({w.pick(names)}{w.matchers()}[{w.pick(RANGES)}]{modifiers})"

    return f"{word} {name}", write


def _small(name: str) -> Feature:
    """A function of values, on values small enough that it is defined at some."""
    return name, lambda w: f"{name}({w.pick(('level / 4', 'temperature', 'level', 'up', w.vector()))})"


def _of_date(name: str) -> Feature:
    return name, lambda w: f"{name}({w.pick(('', 'timestamp(up)', 'vector(time() * 3)', 'memory_bytes', 'strange'))})"


def _folds(name: str, modifier: str) -> Feature:
    def write(w: Writer) -> str:
        grouping = f" {modifier} ({w.labels()}) " if modifier else ""
        return f"{name}{grouping}({w.vector()})" if w.rng.random() < 0.7 else f"{name}({w.vector()}){grouping}"

    return f"{name} {modifier}".strip(), write


def _with_param(name: str, params: Sequence[str]) -> Feature:
    def write(w: Writer) -> str:
        grouping = w.pick(("", f" by ({w.labels()})", f" without ({w.labels()})"))
        return f"{name}{grouping} ({w.pick(params)}, {w.distinct() if 'k' in name else w.vector()})"

    return name, write


def _binary(op: str) -> Iterator[Feature]:
    yield (
        f"{op} scalar",
        lambda w: w.pick((f"{w.vector()} {op} {w.scalar()}", f"{w.scalar()} {op} {w.vector()}")),
    )
    yield (
        f"{op} vector",
        lambda w: w.pick(
            (
                f"temperature{w.times()} {op} level{w.matchers()}",
                f"up {op} on (job, instance) level",
                f"rate(latency_seconds_sum[5m]) {op} rate(latency_seconds_count[5m])",
                f'requests_total{{code="200"}} {op} ignoring (code) requests_total{{code="404"}}',
                f"sum by (job) ({w.selector()}) {op} on (job) avg by (job) ({w.selector()})",
            )
        ),
    )


def _bool(op: str) -> Feature:
    return (
        f"{op} bool",
        lambda w: w.pick((f"level {op} bool {w.scalar()}", f"up {op} bool level", f"1 {op} bool {w.scalar()}")),
    )


_QUANTILES = ("0.9", "0", "1", "-1", "2", "0.37", "0.5", "0.99")
_OF_FEW = ("rate", "delta", "last_over_time", "irate", "deriv", "increase")
_ABSENT = ("nosuch", 'nosuch{job="api",x!="y"}', "up > 5", 'nosuch{a="1",a="2",b=~"x"}', "sum(nosuch)")
_ABSENT_RANGES = ('nosuch{job="api"}[5m]', 'sparse{n="1"}[2m]', "up[1m] offset 2h", "nosuch[5m:1m]")
_SINGLE = ("sum(up)", 'build_info{job="api"}')


def _label_replace(w: Writer) -> str:
    target, template = w.pick(("host", "job", "instance", "new")), w.pick(("$1", "x-$1", "", "${1}_$2"))
    return f'label_replace({w.vector()}, "{target}", "{template}", "instance", "(.*):(.*)")'


def _all_codes(w: Writer) -> str:
    return f"sum without (code) (requests_total{w.matchers()})"


_OTHERS: tuple[Feature, ...] = (
    ("selector", lambda w: w.selector()),
    ("name by matcher", lambda w: f'{{__name__=~"{w.pick(("up|level", "temp.*", "cost.*"))}",job="api"}}'),
    ("smoothed selector", lambda w: f"{w.pick(GAUGES + COUNTERS)}{w.matchers()} smoothed{w.times()}"),
    ("anchored selector", lambda w: f"{w.pick(GAUGES + COUNTERS)}{w.times()} anchored"),
    ("samples", lambda w: f"{w.pick(GAUGES)}[{w.pick(RANGES)}]{w.pick(('', ' anchored', ' smoothed', ' offset 1m'))}"),
    ("offset", lambda w: f"{w.pick(GAUGES)} offset {w.pick(('1m', '4m', '-2m', '10m'))}"),
    ("@", lambda w: f"{w.pick(GAUGES)} @ {(START_MS + w.rng.randrange(LENGTH_MS)) / 1000:.3f}"),
    ("@ start", lambda w: f"rate({w.pick(COUNTERS)}[5m] @ start())"),
    ("@ end", lambda w: f"{w.pick(GAUGES)} @ end()"),
    ("subquery", lambda w: f"{w.pick(('max', 'avg', 'sum', 'last'))}_over_time(({w.vector()})[10m:1m])"),
    ("subquery offset", lambda w: f"min_over_time({w.pick(GAUGES)}[5m:] offset {w.pick(('1m', '-30s'))})"),
    ("subquery @", lambda w: f"sum_over_time({w.pick(GAUGES)}[5m:30s] @ end())"),
    ("subquery of rate", lambda w: f"max_over_time(sum(rate({w.pick(COUNTERS)}[2m]))[10m:{w.pick(('', '20s'))}])"),
    ("subquery of scalar", lambda w: f"avg_over_time(vector({w.scalar()})[5m:30s])"),
    ("unary minus", lambda w: f"-{w.pick((w.selector(), f'({w.vector()})', f'{w.scalar()} ^ 2'))}"),
    ("precedence", lambda w: f"{w.pick(GAUGES)} + 2 * {w.pick(GAUGES)} ^ 2 ^ 0.5 - -1"),
    ("quantile_over_time", lambda w: f"quantile_over_time({w.pick(_QUANTILES)}, {w.ranged()})"),
    ("predict_linear", lambda w: f"predict_linear({w.ranged(GAUGES)}, {w.pick(('60', '3600', '-600'))})"),
    ("irate", lambda w: f"irate({w.ranged(COUNTERS)})"),
    ("rate", lambda w: f"rate({w.ranged(COUNTERS)})"),
    ("increase", lambda w: f"increase({w.ranged(COUNTERS)})"),
    ("absent", lambda w: f"absent({w.pick((*_ABSENT, w.selector()))})"),
    ("absent_over_time", lambda w: f"absent_over_time({w.pick(_ABSENT_RANGES)})"),
    ("timestamp", lambda w: f"timestamp({w.pick((w.selector(), w.vector(), 'sparse'))})"),
    ("time", lambda w: f"time() - timestamp({w.selector()})"),
    ("vector", lambda w: f"vector({w.scalar()})"),
    ("scalar", lambda w: f"scalar({w.pick((w.vector(), *_SINGLE))}) + 1"),
    ("scalar expression", lambda w: f"{w.scalar()} {w.pick(_ARITHMETIC)} {w.scalar()}"),
    ("round", lambda w: f"round({w.vector()}{w.pick(('', ', 0.1', ', 5', ', 1e3'))})"),
    ("clamp", lambda w: f"clamp({w.vector()}, {w.pick(('-1', '0'))}, {w.pick(('1', '100', '-2'))})"),
    ("clamp_min", lambda w: f"clamp_min({w.vector()}, {w.scalar()})"),
    ("clamp_max", lambda w: f"clamp_max({w.vector()}, {w.scalar()})"),
    ("label_replace", _label_replace),
    ("label_join", lambda w: f'label_join({w.vector()}, "{w.pick(("both", "job"))}", "-", "job", "instance")'),
    ("sort", lambda w: f"sort({w.distinct()})"),
    ("sort_desc", lambda w: f"sort_desc({w.distinct()})"),
    ("histogram_quantile", lambda w: f"histogram_quantile({w.pick(_QUANTILES)}, {_buckets(w)})"),
    (
        "histogram_fraction",
        lambda w: f"histogram_fraction({w.pick(('0', '0.2', '-1'))}, {w.pick(('0.7', '1', '+Inf'))}, {_buckets(w)})",
    ),
    ("group_left", lambda w: f"{w.pick(GAUGES)} * on (job) group_left ({w.pick(('', 'version'))}) build_info"),
    ("group_right", lambda w: f"build_info + on (job) group_right (version) {w.pick(GAUGES)}"),
    ("group_left ignoring", lambda w: f"requests_total / ignoring (code) group_left () {_all_codes(w)}"),
    (
        "group_left filter",
        lambda w: f"requests_total {w.pick(_COMPARISONS)} on (job) group_left () avg by (job) (requests_total)",
    ),
    ("and", lambda w: f"{w.selector(GAUGES)} and {w.pick(('', 'on (job) ', 'ignoring (x) '))}({w.pick(GAUGES)} > 0)"),
    ("or", lambda w: f"{w.selector(GAUGES)} or {w.pick(('', 'on (job) ', 'ignoring (instance) '))}{w.vector()}"),
    ("unless", lambda w: f"{w.selector(GAUGES)} unless {w.pick(('', 'on (job, instance) '))}({w.pick(GAUGES)} > 0)"),
    ("strange values", lambda w: f"{w.pick(_FOLDS)}(strange)"),
    ("strange windows", lambda w: f"{w.pick(('avg', 'sum', 'max', 'min', 'quantile'))}_over_time(strange[5m])"
        .replace("quantile_over_time(", "quantile_over_time(0.4, ")),
    ("sparse values", lambda w: f"{w.pick(_OF_FEW)}(sparse[{w.pick(('5m', '20m'))}])"),
)  # fmt: skip

_EXPERIMENTAL: tuple[Feature, ...] = (
    *(_over(name, GAUGES) for name in _OVER_EXPERIMENTAL),
    (
        "double_exponential_smoothing",
        lambda w: f"double_exponential_smoothing({w.ranged(GAUGES)}, 0.4, {w.pick(('0.1', '0.7'))})",
    ),
    ("sort_by_label", lambda w: f'sort_by_label({w.selector(GAUGES)}, "{w.pick(JOINED)}")'),
    ("sort_by_label_desc", lambda w: f'sort_by_label_desc({w.selector(GAUGES)}, "instance", "job")'),
)  # fmt: skip


def _buckets(w: Writer) -> str:
    return w.pick(
        (
            "latency_seconds_bucket",
            "rate(latency_seconds_bucket[5m])",
            f"sum by (le) (rate(latency_seconds_bucket{w.matchers()}[{w.pick(RANGES)}]))",
            "sum by (le, route) (increase(latency_seconds_bucket[5m]))",
            'latency_seconds_bucket{le!="0.5"}',
        )
    )


FEATURES: tuple[Feature, ...] = (
    *(_over(name, COUNTERS + GAUGES) for name in _OVER_ANY),
    *(_extended("anchored", name) for name in ("rate", "increase", "delta", "changes", "resets")),
    *(_extended("smoothed", name) for name in ("rate", "increase", "delta")),
    *(_small(name) for name in _OF_VALUES),
    *(_of_date(name) for name in _CALENDAR),
    *(_folds(name, modifier) for name in _FOLDS for modifier in ("", "by", "without")),
    *(_with_param(name, params) for name, params in (
        ("topk", ("1", "2", "3")), ("bottomk", ("1", "2")), ("quantile", _QUANTILES), ("count_values", ('"value"',)),
    )),
    *(feature for op in (*_ARITHMETIC, *_COMPARISONS) for feature in _binary(op)),
    *(_bool(op) for op in _COMPARISONS),
    *_OTHERS,
)  # fmt: skip


def _composed(w: Writer) -> str:
    """Put two expressions together, whatever they are: both sides must agree on errors as well."""
    one, other = (f"({w.rng.choice(FEATURES)[1](w)})" for _ in range(2))
    return w.pick(
        (
            f"sum by ({w.labels()}) {one}",
            f"max without ({w.labels()}) {one}",
            f"{one} {w.pick((*_ARITHMETIC, *_COMPARISONS))} on (job, instance) {other}",
            f"{one} {w.pick(_ARITHMETIC)} on (job) group_left () avg by (job) {other}",
            f"{one} {w.pick(('and', 'or', 'unless'))} {w.pick(('', 'on (job)', 'ignoring (instance)'))} {other}",
            f"{w.pick(('avg', 'max', 'last', 'count'))}_over_time({one}[8m:{w.pick(('', '40s'))}])",
            f"{w.pick(('rate', 'deriv', 'changes', 'delta', 'irate'))}({one}[10m:1m] {w.pick(('', 'offset 2m'))})",
            f'label_replace({one}, "x", "$1", "instance", "(.).*")',
            f"{w.pick(_OF_VALUES[:9])}({one})",
            f"clamp_min({one}, scalar({other}))",
            f'count_values by (job) ("v", round({one}))',
            f"{one} * {w.scalar()}",
            f"-{one}",
        )
    )


COMPOSED: tuple[Feature, ...] = (("composed", _composed),)
"""Combinations of two features."""
EXPERIMENTAL: tuple[Feature, ...] = _EXPERIMENTAL
"""Features that Prometheus has only behind promql-experimental-functions."""


@dataclass(frozen=True)
class Query:
    """A query to compare: an instant one when `end_ms` is None. Times in milliseconds."""

    feature: str
    text: str
    start_ms: int
    end_ms: int | None = None
    step_ms: int = 0


def queries(seed: int, count: int, features: Sequence[Feature] = FEATURES) -> Iterator[Query]:
    """Yield queries; two of three over a range, the others at one moment."""
    writer = Writer(random.Random(seed))
    for number in range(count):
        name, write = features[number % len(features)]
        text = write(writer)
        start = START_MS + writer.rng.randrange(10 * 60_000, LENGTH_MS)
        if name == "samples" or writer.rng.random() < 0.33:
            yield Query(name, text, start)
        else:
            start -= writer.rng.randrange(0, 20 * 60_000)
            step = writer.rng.choice((15_000, 30_000, 60_000, 47_123))
            yield Query(name, text, start, start + step * writer.rng.randrange(0, 25), step)


# ------------------------------------------------------------------------------------------------- comparison


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison.

    Attributes:
        difference: what differs, None where the answers agree.
        refused: we refused by name.
        empty: both answered nothing (or both an error).
    """

    difference: str | None = None
    refused: bool = False
    empty: bool = False


def ours(query: Query, storage: Samples) -> Result:
    """Evaluate a query with our engine."""
    if query.end_ms is None:
        return instant(query.text, query.start_ms, storage)
    return range_(query.text, query.start_ms, query.end_ms, query.step_ms, storage)


def theirs(query: Query, server):  # type: ignore[no-untyped-def]
    """Evaluate a query with the real server."""
    if query.end_ms is None:
        return server.instant(query.text, query.start_ms)
    return server.range(query.text, query.start_ms, query.end_ms, query.step_ms)


def compare(query: Query, storage: Samples, server) -> Verdict:  # type: ignore[no-untyped-def]
    """Evaluate a query here and there, and compare."""
    expected = theirs(query, server)
    try:
        result = ours(query, storage)
    except QueryUnsupported:
        return Verdict(refused=True)
    except QueryInvalid as error:
        return Verdict(f"we refuse: {error.message}" if expected.error is None else None, empty=True)
    if expected.error is not None:
        return Verdict(f"they refuse: {expected.error}")
    if expected.kind != result.kind:
        return Verdict(f"kind {result.kind}, not {expected.kind}")
    if result.kind == "string":
        return Verdict(None if expected.result[1] == result.text else "text differs")
    mine, real = lines(result), server_lines(expected.kind, expected.result)
    in_order = "sort" in query.text and query.end_ms is None
    return Verdict(_difference(mine, real, in_order), empty=not real)


Points = list[tuple[int, float]]
Lines = list[tuple[tuple[tuple[str, str], ...], Points]]


def lines(result: Result) -> Lines:
    """Return our result as label sets with points."""
    return [
        (tuple(sorted(one.labels.items())), list(zip(one.t_ms.tolist(), one.v.tolist(), strict=True)))
        for one in result.series
    ]


def server_lines(kind: str, result) -> Lines:  # type: ignore[no-untyped-def]
    """Return the real server's JSON result as label sets with points."""
    if kind == "scalar":
        return [((), [(round(result[0] * 1000), float(result[1]))])]
    return [
        (
            tuple(sorted(one["metric"].items())),
            [(round(t * 1000), float(v)) for t, v in one.get("values", [one.get("value")])],
        )
        for one in result
    ]


def _difference(mine: Lines, real: Lines, in_order: bool) -> str | None:
    if in_order and [labels for labels, _ in mine] != [labels for labels, _ in real]:
        return "order differs"
    ours_by, theirs_by = dict(mine), dict(real)
    if len(ours_by) != len(mine):
        return "we answer one label set twice"
    if ours_by.keys() != theirs_by.keys():
        extra, missing = ours_by.keys() - theirs_by.keys(), theirs_by.keys() - ours_by.keys()
        return f"series: extra {sorted(extra)[:2]}, missing {sorted(missing)[:2]}"
    for labels, points in ours_by.items():
        other = theirs_by[labels]
        if [t for t, _ in points] != [t for t, _ in other]:
            return f"times of {labels}: {points[:3]} {other[:3]}"
        for (t, a), (_, b) in zip(points, other, strict=True):
            if not same(a, b):
                return f"{labels} at {t}: {a!r}, not {b!r}"
    return None


def same(a: float, b: float) -> bool:
    """Say whether two values agree to the tolerance; NaN agrees with NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=0.0)
