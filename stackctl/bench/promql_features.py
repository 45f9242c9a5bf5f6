"""What generated queries use: every function, aggregation, operator and modifier as a row.

A feature is its name and how to write an expression that uses it.
"""

from collections.abc import Callable, Iterator, Sequence

from stackctl.bench.promql_series import LENGTH_MS, START_MS
from stackctl.bench.promql_writer import COUNTERS, GAUGES, JOINED, NAMED_AS_WORDS, RANGES, Writer

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


def _grouping(w: Writer) -> str:
    return w.pick(("", f" by ({w.labels()})", f" without ({w.labels()})"))


def _with_param(name: str, params: Sequence[str]) -> Feature:
    def write(w: Writer) -> str:
        return f"{name}{_grouping(w)} ({w.pick(params)}, {w.distinct() if 'k' in name else w.vector()})"

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
    ("unary plus", lambda w: f"+{w.vector()}"),
    ("named as a word", lambda w: f"{w.pick(NAMED_AS_WORDS)}{w.pick(('', ' smoothed', ' offset 1m anchored'))}"),
    ("duration expression", lambda w: f"{w.pick(('rate', 'increase'))}({w.pick(COUNTERS)}[{w.duration()}])"),
    ("duration offset", lambda w: f"{w.pick(GAUGES)} offset {w.pick(('', '-', '+'))}({w.duration()})"),
    ("duration of a step", lambda w: f"sum_over_time({w.pick(GAUGES)}[{w.duration()}:step() / 4 + 13])"),
    ("duration step()", lambda w: f"last_over_time({w.pick(GAUGES)}[4m + step()] offset -step())"),
    ("duration range()", lambda w: f"max_over_time({w.pick(GAUGES)}[range() + 2m] offset max_of(range() / 2, 1))"),
    ("strange values", lambda w: f"{w.pick(_FOLDS)}(strange)"),
    ("strange windows", lambda w: f"{w.pick(('avg', 'sum', 'max', 'min', 'quantile'))}_over_time(strange[5m])"
        .replace("quantile_over_time(", "quantile_over_time(0.4, ")),
    ("sparse values", lambda w: f"{w.pick(_OF_FEW)}(sparse[{w.pick(('5m', '20m'))}])"),
)  # fmt: skip

_FILLS = ("fill (0)", "fill_left (1)", "fill_right (-2.5)", "fill_left (3) fill_right (1m)", "fill (NaN)")
_FILLED_SIDES = (
    ("temperature", "", "level"),
    ("requests_total{code='200'}", "ignoring (code) ", "requests_total{code='404',job='api'}"),
    ("sparse", "on (n) ", "strange"),
    ("level{job='api'}", "on (job, instance) ", "up > 0"),
    ("requests_total{job='api'}", "on (instance) group_left () ", "anchored"),
    ("level", "on (job, instance) group_left (zone) ", "target_info{version='1'}"),
    ("up > 0", "on (job, instance) group_right () ", "requests_total"),
)


def _filled(name: str) -> Feature:
    fills = [fill for fill in _FILLS if f"{name} " in fill]

    def write(w: Writer) -> str:
        left, matching, right = w.rng.choice(_FILLED_SIDES)
        op = w.pick((*_ARITHMETIC[:4], *_COMPARISONS, *(f"{op} bool" for op in _COMPARISONS)))
        return f"({left}) {op} {matching}{w.pick(fills)} ({right})"

    return name, write


_MOMENTS = ("start", "end", "step", "range")
_INFO_SELECTORS = (
    "",
    ", {version=~'.+'}",
    ", {zone='z'}",
    ", {version='1'}",
    ", {nosuch=''}",
    ", {__name__=~'target_i.*'}",
)

_EXPERIMENTAL: tuple[Feature, ...] = (
    *((name, lambda w, name=name: f"{w.vector()} {w.pick(('+', '>', '*'))} {name}()") for name in _MOMENTS),
    ("min_of", lambda w: f"min_of({w.scalar()}, {w.scalar()}) + {w.scalar()}"),
    ("max_of", lambda w: f"{w.vector()} - max_of({w.scalar()}, {w.scalar()})"),
    *(_filled(name) for name in ("fill", "fill_left", "fill_right")),
    ("info", lambda w: f"info({w.pick((*GAUGES, *COUNTERS))}{w.matchers()}{w.pick(_INFO_SELECTORS)})"),
    ("info of a value", lambda w: f"info(rate({w.pick(COUNTERS)}[{w.pick(RANGES)}]){w.pick(_INFO_SELECTORS)})"),
    (
        "histogram_quantiles",
        lambda w: f'histogram_quantiles({_buckets(w)}, "q", {w.pick(_QUANTILES)}, {w.pick(("0.77", "1e-7", "1/3"))})',
    ),
    # Of selectors and functions only: the real server keeps no order behind operators and aggregations.
    ("limitk", lambda w: f"limitk{_grouping(w)} ({w.pick('123')}, {w.selector()})"),
    ("limitk of a function", lambda w: f"limitk{_grouping(w)} ({w.pick('123')}, rate({w.ranged(COUNTERS)}))"),
    _with_param("limit_ratio", ("0.3", "-0.7", "0.5", "1", "-0.2", "(time() % 17) / 17")),
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


ALL: tuple[Feature, ...] = (*FEATURES, *_EXPERIMENTAL)
"""All features on their own."""
COMPOSED: tuple[Feature, ...] = (("composed", _composed),)
"""Combinations of two features."""
EXPERIMENTAL: tuple[Feature, ...] = _EXPERIMENTAL
"""Features that Prometheus has only behind promql-experimental-functions."""
