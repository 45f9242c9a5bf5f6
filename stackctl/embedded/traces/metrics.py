"""TraceQL metrics: how many spans a pipeline finds, or what they measured, over time.

Intervals are Tempo's: left-open, right-closed, named by their end. Durations are measured in seconds. Quantiles are
exact, where Tempo's come out of a histogram.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.groupfacts import shown
from stackctl.embedded.traces.measuring import COUNTING, FUNCTIONS, HISTOGRAM, QUANTILES, Found, Steps, Value, measured
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.values import HOLDS, unsupported
from stackctl.traceql import ast
from stackctl.traceql.check import kind_of
from stackctl.traceql.spelling import spelled

MAX_SERIES: Final = 1000
_NAME: Final = "__name__"  # of the function, where a series has no labels
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
        labels: names as the query writes them, and values.
        points: interval number to value; an interval without one has no value.
    """

    labels: tuple[tuple[str, Any], ...]
    points: Mapping[int, float]


def measure(session: Session, body: ast.Pipeline | ast.MetricsMath, steps: Steps) -> list[MetricSeries]:
    """Run a pipeline that ends in a metrics function, or arithmetic between such.

    Raises:
        QueryUnsupported: the query uses what the engine does not run, or gives more than MAX_SERIES series.
    """
    return [one for one in _series_of(session, body, steps) if one.points]


def _series_of(session: Session, body: ast.Pipeline | ast.MetricsMath, steps: Steps) -> list[MetricSeries]:
    """Return the series of a query or of a part of it, those without points too: to calculations they are 0."""
    if isinstance(body, ast.MetricsMath):
        left = _series_of(session, body.left, steps)
        if isinstance(body.right, ast.Literal):
            series = [_calculated(body.op, one, float(body.right.value or 0)) for one in left]
        else:
            series = _combined(body.op, left, _series_of(session, body.right, steps), steps)
        return _after(series, body.after, steps)
    place = next(i for i, stage in enumerate(body.stages) if isinstance(stage, ast.Metrics))
    stage = body.stages[place]
    assert isinstance(stage, ast.Metrics), "found by its type"
    if stage.function not in FUNCTIONS:
        raise unsupported(f"{stage.function}()")
    before = ast.Pipeline(body.at, body.stages[:place] or (ast.Filter(0, None),))
    series = list(_series(measured(session, before, stage, steps), stage, steps))
    series = _after(series, body.stages[place + 1 :], steps)
    if sum(1 for one in series if one.points) > MAX_SERIES:
        raise unsupported(f"more than {MAX_SERIES} series")
    return series


def _after(series: list[MetricSeries], stages: Sequence[ast.Stage], steps: Steps) -> list[MetricSeries]:
    """Run what stands behind a metrics function or a calculation: it takes points away."""
    for stage in stages:
        if isinstance(stage, ast.Rank):
            series = _ranked(series, stage, steps)
        else:
            assert isinstance(stage, ast.Threshold), "nothing else may follow, says the check"
            series = [MetricSeries(one.labels, _above(stage, one.points)) for one in series]
    return series


def series_json(series: MetricSeries) -> dict[str, Any]:
    """Return what range and instant answers have in common: a series' labels."""
    labels = [otlp.key_value_json(name, value) for name, value in series.labels]
    texts = (f"{_label_name(name)}={json.dumps(_text(v), ensure_ascii=False)}" for name, v in series.labels)
    return {"labels": labels, "promLabels": "{" + ", ".join(texts) + "}"}


def _text(value: Any) -> str:
    """Return a value as Go writes it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _series(found: Found, stage: ast.Metrics, steps: Steps) -> Iterator[MetricSeries]:
    # Durations are nanoseconds in the store and seconds in answers.
    unit = 1e9 if stage.arguments and kind_of(stage.arguments[0]) == ast.Kind.DURATION else 1.0
    for (*values, bucket), points in found.items():
        pairs = zip(stage.by, values, strict=True)
        labels = tuple((_name(by), shown(kind_of(by), one.value)) for by, one in pairs if not one.absent)
        labels += () if bucket.absent else (("__bucket", bucket.value / unit),)
        if stage.by and not labels:
            labels = ((_name(stage.by[0]), "nil"),)
        for extra, split in _split(stage, points, steps, unit):
            named = labels + extra or ((_NAME, stage.function),)
            yield MetricSeries(named, split)


def _split(
    stage: ast.Metrics, points: Mapping[int, Any], steps: Steps, unit: float
) -> Iterator[tuple[tuple[Any, ...], dict[int, float]]]:
    """Yield the series of one group: one for each quantile, else one. Counts are 0 where nothing was found."""
    if stage.function == QUANTILES:
        for place, quantile in enumerate(stage.arguments[1:]):
            assert isinstance(quantile, ast.Literal), "parameters are numbers, says the check"
            found = {step: float(values[place]) / unit for step, values in points.items()}  # numpy's are no JSON
            yield (("p", float(quantile.value or 0)),), found
    elif stage.function in COUNTING or stage.function == HISTOGRAM:
        divisor = steps.step_ns / 1e9 if stage.function == "rate" else 1.0
        yield (), {step: points.get(step, 0.0) / divisor for step in range(steps.count)}
    else:
        yield (), {step: value / unit for step, value in points.items() if not math.isnan(value)}


def _matched(series: MetricSeries) -> frozenset[tuple[str, Value]]:
    """Return the labels by which series are paired: all but the name of the function."""
    return frozenset((name, Value.of(value)) for name, value in series.labels if name != _NAME)


def _combined(op: str, left: Sequence[MetricSeries], right: Sequence[MetricSeries], steps: Steps) -> list[MetricSeries]:
    """Calculate with the series of two queries: those of equal labels, or with the one that has no labels.

    A series of the side with labels is in the answer as often as it is in that side, as in Tempo's applyBinaryOp.
    """
    lefts, rights = ({_matched(one): one for one in side} for side in (left, right))
    alone: frozenset[tuple[str, Value]] = frozenset()
    found = []
    for key in lefts if alone in rights else rights:
        one, other = lefts.get(key, lefts.get(alone)), rights.get(key, rights.get(alone))
        if one is not None and other is not None:
            values = ((one.points.get(step, 0.0), other.points.get(step, 0.0)) for step in range(steps.count))
            points = {step: _ARITHMETIC[op](*pair) for step, pair in enumerate(values)}
            found.append(MetricSeries(_merged(op, one, other), _finite(points)))
    return found


def _merged(op: str, left: MetricSeries, right: MetricSeries) -> tuple[tuple[str, Any], ...]:
    """Return the labels of both, a name only where both have one."""
    names = [dict(one.labels).get(_NAME) for one in (left, right)]
    labels = {name: value for one in (right, left) for name, value in one.labels if name != _NAME}
    return (*(() if None in names else ((_NAME, f"({names[0]} {op} {names[1]})"),)), *labels.items())


def _calculated(op: str, series: MetricSeries, number: float) -> MetricSeries:
    """Calculate with a series and a number."""
    labels = tuple(label for label in series.labels if label[0] != _NAME)
    return MetricSeries(labels, _finite({step: _ARITHMETIC[op](one, number) for step, one in series.points.items()}))


def _finite(points: Mapping[int, float]) -> dict[int, float]:
    """Leave out what has no value, as after a division by 0."""
    return {step: value for step, value in points.items() if math.isfinite(value)}


def _above(threshold: ast.Threshold, values: Mapping[int, float]) -> dict[int, float]:
    holds, number = HOLDS[threshold.op], threshold.number
    # Answers are in seconds, durations of a query in nanoseconds.
    limit = float(number.value or 0) / (1e9 if number.kind == ast.Kind.DURATION else 1.0)
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
    return spelled(expression) if isinstance(expression, ast.Attribute | ast.Intrinsic) else "value"


def _label_name(name: str) -> str:
    return name if name.replace("_", "a").isalnum() else json.dumps(name)
