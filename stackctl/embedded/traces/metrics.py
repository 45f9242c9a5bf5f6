"""TraceQL metrics: how many spans a pipeline finds, or what they measured, over time.

Intervals are Tempo's: left-open, right-closed, named by their end. Durations are measured in seconds. Quantiles are
exact, where Tempo's come out of a histogram.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.measuring import COUNTING, FUNCTIONS, HISTOGRAM, QUANTILES, Found, Steps, measured
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.values import HOLDS, unsupported
from stackctl.traceql import ast
from stackctl.traceql.check import kind_of

MAX_SERIES: Final = 1000
_ARITHMETIC: Final[Mapping[str, Callable[[float, float], float]]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b if b else math.nan,
    "%": lambda a, b: math.fmod(a, b) if b else math.nan,
}


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
    if stage.function not in FUNCTIONS:
        raise unsupported(f"{stage.function}()")
    before = ast.Pipeline(body.at, body.stages[:place] or (ast.Filter(0, None),))
    series = list(_series(measured(session, before, stage, steps), stage, steps))
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


def _series(found: Found, stage: ast.Metrics, steps: Steps) -> Iterator[MetricSeries]:
    # Durations are nanoseconds in the store and seconds in answers.
    unit = 1e9 if stage.arguments and kind_of(stage.arguments[0]) == ast.Kind.DURATION else 1.0
    for (*values, bucket), points in found.items():
        labels = tuple(
            (_name(expression), _enum(expression, value)) for expression, value in zip(stage.by, values, strict=True)
        )
        labels += () if bucket is None else (("__bucket", bucket / unit),)
        for extra, split in _split(stage, points, steps, unit):
            named = labels + extra or (("__name__", stage.function),)
            yield MetricSeries(named, _above(stage.threshold, split))


def _split(
    stage: ast.Metrics, points: Mapping[int, Any], steps: Steps, unit: float
) -> Iterator[tuple[tuple[Any, ...], dict[int, float]]]:
    """Yield the series of one group: one for each quantile, else one. Counts are 0 where nothing was found."""
    if stage.function == QUANTILES:
        for place, quantile in enumerate(stage.arguments[1:]):
            assert isinstance(quantile, ast.Literal), "parameters are numbers, says the check"
            found = {step: float(values[place]) / unit for step, values in points.items()}  # numpy's are no JSON
            yield (("p", float(quantile.value or 0)),), found
    elif stage.function in COUNTING:
        divisor = steps.step_ns / 1e9 if stage.function == "rate" else 1.0
        yield (), {step: points.get(step, 0.0) / divisor for step in range(steps.count)}
    elif stage.function == HISTOGRAM:
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
