"""TraceQL metrics: how many spans a pipeline finds, or what they measured, over time.

Intervals are Tempo's: left-open, right-closed, named by their end. Durations are measured in seconds. Quantiles are
exact, where Tempo's come out of a histogram.
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.embedded.traces.values import HOLDS, Parameters, unsupported
from stackctl.traceql import ast
from stackctl.traceql.check import kind_of

MAX_SERIES: Final = 1000
_HISTOGRAM: Final = "histogram_over_time"
_QUANTILES: Final = "quantile_over_time"
_AGGREGATE: Final = {
    "rate": "count(*)::DOUBLE",
    "count_over_time": "count(*)::DOUBLE",
    _HISTOGRAM: "count(*)::DOUBLE",
    "min_over_time": "min(measured)",
    "max_over_time": "max(measured)",
    "avg_over_time": "avg(measured)",
    "sum_over_time": "sum(measured)",
    _QUANTILES: "quantile_cont(measured, {})",
}
_COUNTING: Final = frozenset({"rate", "count_over_time"})
# Buckets are powers of two, named by their upper bound, as Tempo's are.
_BUCKET: Final = "pow(2, ceil(log2(measured)))"
_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
    "%": lambda a, b: math.fmod(a, b) if b else math.nan,
}


@dataclass(frozen=True)
class Steps:
    """The intervals of a range query: `count` of `step_ns` each, the first ending at `start_ns`."""

    start_ns: int
    step_ns: int
    count: int

    @property
    def end_ns(self) -> int:
        """Return when the last interval ends, in nanoseconds since the epoch."""
        return self.start_ns + (self.count - 1) * self.step_ns

    def end_ms(self, index: int) -> int:
        """Return when an interval ends, in milliseconds since the epoch."""
        return (self.start_ns + index * self.step_ns) // 1_000_000


@dataclass(frozen=True)
class MetricSeries:
    """One series.

    Attributes:
        labels: names as the query writes them, values None where spans lack them.
        points: interval number to value; an interval without one has no value.
    """

    labels: tuple[tuple[str, Any], ...]
    points: Mapping[int, float]


def measure(session: Session, body: ast.Pipeline | ast.MetricsMath, steps: Steps) -> list[MetricSeries]:
    """Run a pipeline that ends in a metrics function, or arithmetic between such.

    Raises:
        QueryUnsupported: the query uses what the engine does not run, or gives more than MAX_SERIES series.
    """
    if isinstance(body, ast.MetricsMath):
        left = measure(session, body.left, steps)
        if isinstance(body.right, ast.Literal):
            return [_combined(body.op, one, float(body.right.value or 0)) for one in left]
        right = {_matched(one.labels): one for one in measure(session, body.right, steps)}
        pairs = ((one, right.get(_matched(one.labels))) for one in left)
        return [_combined(body.op, one, other) for one, other in pairs if other is not None]
    place = next(i for i, stage in enumerate(body.stages) if isinstance(stage, ast.Metrics))
    stage = body.stages[place]
    assert isinstance(stage, ast.Metrics), "found by its type"
    if stage.function not in _AGGREGATE:
        raise unsupported(f"{stage.function}()")
    before = ast.Pipeline(body.at, body.stages[:place] or (ast.Filter(0, None),))
    series = list(_series(_rows(session, before, stage, steps), stage, steps))
    if len(series) > MAX_SERIES:
        raise unsupported(f"more than {MAX_SERIES} series")
    for rank in body.stages[place + 1 :]:
        assert isinstance(rank, ast.Rank), "nothing else may follow, says the check"
        series = _ranked(series, rank, steps)
    return series


def series_json(series: MetricSeries) -> dict[str, Any]:
    """Return what range and instant answers have in common: a series' labels."""
    labels = [otlp.key_value_json(name, "<nil>" if value is None else value) for name, value in series.labels]
    texts = (f"{_label_name(name)}={json.dumps('<nil>' if v is None else str(v))}" for name, v in series.labels)
    return {"labels": labels, "promLabels": "{" + ", ".join(texts) + "}"}


def _rows(session: Session, before: ast.Pipeline, stage: ast.Metrics, steps: Steps) -> list[dict[str, Any]]:
    """Return the values of a metrics function by interval and group: `g<by>_<type>`, `bucket`, `step`, `value`."""
    parameters = Parameters()
    begin = steps.start_ns - steps.step_ns
    # Spans count by their start.
    compiler = SpansetCompiler(session, parameters, Bounds(Window(begin, steps.end_ns, by_start=True)))
    groups = [
        f"{column} AS g{i}_{j}"
        for i, expression in enumerate(stage.by)
        for j, column in enumerate(compiler.carry_values(expression))
    ]
    measured = "NULL" if stage.function in _COUNTING else compiler.carry_number(stage.arguments[0])
    found = compiler.compile(before)
    step = f"(start_ns - {begin} + {steps.step_ns} - 1) // {steps.step_ns} - 1" if steps.count > 1 else "0"
    quantiles = [parameter.value for parameter in stage.arguments[1:] if isinstance(parameter, ast.Literal)]
    aggregate = _AGGREGATE[stage.function].format(parameters.bind(quantiles))
    keys = [group.split(" AS ")[1] for group in groups] + ["step"]
    keys += [f"{_BUCKET} AS bucket"] if stage.function == _HISTOGRAM else []
    seen = f"SELECT {', '.join([*groups, f'{measured} AS measured', f'{step} AS step'])} FROM {found}"
    where = "WHERE measured > 0" if stage.function == _HISTOGRAM else ""
    sql = f"SELECT {', '.join(keys)}, {aggregate} AS value FROM ({seen}) {where} GROUP BY ALL ORDER BY ALL"
    return [row for row in session.rows(compiler.statement(sql), parameters.values) if row["value"] is not None]


def _series(rows: Sequence[Mapping[str, Any]], stage: ast.Metrics, steps: Steps) -> Iterator[MetricSeries]:
    # Durations are nanoseconds in the store and seconds in answers.
    unit = 1e9 if stage.arguments and kind_of(stage.arguments[0]) == ast.Kind.DURATION else 1.0
    groups: dict[tuple[Any, ...], dict[int, Any]] = defaultdict(dict)
    for row in rows:
        key = tuple(_first_typed(row, f"g{i}_") for i in range(len(stage.by)))
        bucket = (("__bucket", row["bucket"] / unit),) if stage.function == _HISTOGRAM else ()
        groups[(*key, bucket)][row["step"]] = row["value"]
    for (*values, bucket), points in groups.items():
        labels = tuple(
            (_name(expression), _enum(expression, value)) for expression, value in zip(stage.by, values, strict=True)
        )
        for extra, found in _split(stage, points, steps, unit):
            named = labels + bucket + extra or (("__name__", stage.function),)
            yield MetricSeries(named, _above(stage.threshold, found))


def _first_typed(row: Mapping[str, Any], prefix: str) -> Any:
    """Return a value that stands in one of several columns, by its type."""
    value = next((row[name] for name in row if name.startswith(prefix) and row[name] is not None), None)
    return json.dumps(value) if isinstance(value, list) else value


def _split(
    stage: ast.Metrics, points: Mapping[int, Any], steps: Steps, unit: float
) -> Iterator[tuple[tuple[Any, ...], dict[int, float]]]:
    """Yield the series of one group: one for each quantile, else one. Counts are 0 where nothing was found."""
    if stage.function == _QUANTILES:
        for place, quantile in enumerate(stage.arguments[1:]):
            assert isinstance(quantile, ast.Literal), "parameters are numbers, says the check"
            found = {step: values[place] / unit for step, values in points.items()}
            yield (("p", float(quantile.value or 0)),), found
    elif stage.function in _COUNTING:
        divisor = steps.step_ns / 1e9 if stage.function == "rate" else 1.0
        yield (), {step: points.get(step, 0.0) / divisor for step in range(steps.count)}
    elif stage.function == _HISTOGRAM:
        yield (), dict(points)
    else:
        yield (), {step: value / unit for step, value in points.items()}


def _matched(labels: tuple[tuple[str, Any], ...]) -> frozenset[tuple[str, Any]]:
    """Return the labels by which series are paired: all but the name of the function."""
    return frozenset(label for label in labels if label[0] != "__name__")


def _combined(op: str, left: MetricSeries, right: MetricSeries | float) -> MetricSeries:
    """Calculate with two series of equal labels, or one and a number. Division by 0 has no value."""
    others = right.points if isinstance(right, MetricSeries) else dict.fromkeys(left.points, right)
    values = {step: _ARITHMETIC[op](value, others[step]) for step, value in left.points.items() if step in others}
    labels = tuple(label for label in left.labels if label[0] != "__name__")
    return MetricSeries(labels, {step: value for step, value in values.items() if math.isfinite(value)})


def _above(threshold: tuple[str, ast.Literal] | None, values: dict[int, float]) -> dict[int, float]:
    if threshold is None:
        return values
    holds, limit = HOLDS[threshold[0]], threshold[1].value
    return {step: value for step, value in values.items() if holds(value, limit)}


def _ranked(series: list[MetricSeries], rank: ast.Rank, steps: Steps) -> list[MetricSeries]:
    """Keep the n highest (or lowest) values of each interval."""
    kept: list[dict[int, float]] = [{} for _ in series]
    for step in range(steps.count):
        present = [i for i, one in enumerate(series) if not math.isnan(one.points.get(step, math.nan))]
        present.sort(key=lambda i: series[i].points[step], reverse=rank.function == "topk")
        for i in present[: rank.count]:
            kept[i][step] = series[i].points[step]
    return [MetricSeries(one.labels, points) for one, points in zip(series, kept, strict=True) if points]


def _name(expression: ast.Expression) -> str:
    if isinstance(expression, ast.Attribute):
        return str(expression)
    return expression.name.removeprefix("span:") if isinstance(expression, ast.Intrinsic) else "value"


def _enum(expression: ast.Expression, value: Any) -> Any:
    names = ast.ENUM_NAMES.get(expression.kind) if isinstance(expression, ast.Intrinsic) else None
    return names[value] if names and value is not None else value


def _label_name(name: str) -> str:
    return name if name.replace("_", "a").isalnum() else json.dumps(name)
