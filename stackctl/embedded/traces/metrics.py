"""TraceQL metrics: how many spans a pipeline finds, or what they measured, over time.

Intervals are Tempo's: left-open, right-closed, named by their end. Durations are measured in seconds. Quantiles are
exact, where Tempo's come out of a histogram.
"""

import json
import math
import operator
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import Session
from stackctl.embedded.traces.fields import Parameters, unsupported
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.traceql import ast
from stackctl.traceql.check import kind_of

MAX_SERIES: Final = 1000
_AGGREGATE: Final = {
    "rate": "count(*)::DOUBLE",
    "count_over_time": "count(*)::DOUBLE",
    "min_over_time": "min(measured)",
    "max_over_time": "max(measured)",
    "avg_over_time": "avg(measured)",
    "sum_over_time": "sum(measured)",
    "quantile_over_time": "quantile_cont(measured, {})",
}
_COUNTING: Final = frozenset({"rate", "count_over_time"})
_COMPARISONS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


@dataclass(frozen=True)
class Steps:
    """The intervals of a range query: `count` of `step_ns` each, the first ending at `start_ns`."""

    start_ns: int
    step_ns: int
    count: int

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


def measure(session: Session, pipeline: ast.Pipeline, steps: Steps) -> list[MetricSeries]:
    """Run a pipeline that ends in a metrics function.

    Raises:
        QueryUnsupported: the query uses what the engine does not run, or gives more than MAX_SERIES series.
    """
    place = next(i for i, stage in enumerate(pipeline.stages) if isinstance(stage, ast.Metrics))
    stage = pipeline.stages[place]
    assert isinstance(stage, ast.Metrics), "found by its type"
    if stage.function not in _AGGREGATE:
        raise unsupported(f"{stage.function}()")
    before = ast.Pipeline(pipeline.at, pipeline.stages[:place] or (ast.Filter(0, None),))
    series = list(_series(_rows(session, before, stage, steps), stage, steps))
    if len(series) > MAX_SERIES:
        raise unsupported(f"more than {MAX_SERIES} series")
    for rank in pipeline.stages[place + 1 :]:
        assert isinstance(rank, ast.Rank), "nothing else may follow, says the check"
        series = _ranked(series, rank, steps)
    return series


def series_json(series: MetricSeries) -> dict[str, Any]:
    """Return what range and instant answers have in common: a series' labels."""
    labels = [otlp.key_value_json(name, "<nil>" if value is None else value) for name, value in series.labels]
    texts = (f"{_label_name(name)}={json.dumps('<nil>' if v is None else str(v))}" for name, v in series.labels)
    return {"labels": labels, "promLabels": "{" + ", ".join(texts) + "}"}


def _rows(session: Session, before: ast.Pipeline, stage: ast.Metrics, steps: Steps) -> list[dict[str, Any]]:
    parameters = Parameters()
    first = steps.start_ns - steps.step_ns
    # Spans count by their start: what started in time is looked at.
    compiler = SpansetCompiler(session.schema, parameters, Bounds(start_ns=first))
    # The fields of by() and of the argument may need facts about the trace, so the compiler sees them too.
    found = compiler.compile(
        ast.Pipeline(before.at, (*before.stages, ast.Select(0, (*stage.by, *stage.arguments[:1]))))
    )
    groups = [f"{_group(compiler, expression)} AS g{i}" for i, expression in enumerate(stage.by)]
    measured = f"{_measured(compiler, stage)} AS measured"
    keys = ", ".join([f"g{i}" for i in range(len(groups))] + ["step"])
    begin, step, last = (parameters.bind(value) for value in (first, steps.step_ns, steps.count))
    quantiles = [parameter.value for parameter in stage.arguments[1:] if isinstance(parameter, ast.Literal)]
    aggregate = (
        _AGGREGATE[stage.function].format(parameters.bind(quantiles)) if quantiles else _AGGREGATE[stage.function]
    )
    sql = f"""{compiler.with_clause()},
        seen AS (SELECT {", ".join([*groups, measured])},
                 (start_ns - {begin} + {step} - 1) // {step} - 1 AS step FROM spans
                 WHERE (tid_hi, tid_lo, span_id) IN (SELECT tid_hi, tid_lo, span_id FROM {found}))
        SELECT {keys}, {aggregate} AS value
        FROM seen WHERE step >= 0 AND step < {last} {"" if stage.function in _COUNTING else "AND measured IS NOT NULL"}
        GROUP BY ALL ORDER BY ALL"""
    return session.rows(sql, parameters.values)


def _group(compiler: SpansetCompiler, expression: ast.Expression) -> str:
    """Return SQL of a by() value as JSON text, so that values of several types stand in one column."""
    marked = [f"to_json({sql})" for sql in compiler.fields.values(expression)]
    return f"COALESCE({', '.join(marked)}, NULL)" if marked else "NULL"


def _measured(compiler: SpansetCompiler, stage: ast.Metrics) -> str:
    if stage.function in _COUNTING:
        return "1"
    argument = stage.arguments[0]
    value = compiler.fields.number(argument)
    return f"({value} / 1e9)" if kind_of(argument) == ast.Kind.DURATION else value


def _series(rows: Sequence[Mapping[str, Any]], stage: ast.Metrics, steps: Steps) -> Iterator[MetricSeries]:
    groups: dict[tuple[Any, ...], dict[int, Any]] = defaultdict(dict)
    for row in rows:
        groups[tuple(row[f"g{i}"] for i in range(len(stage.by)))][row["step"]] = row["value"]
    for key, points in groups.items():
        labels = tuple(
            (_name(expression), _enum(expression, None if text is None else json.loads(text)))
            for expression, text in zip(stage.by, key, strict=True)
        )
        for extra, values in _split(stage, points, steps):
            named = labels + extra or (("__name__", stage.function),)
            yield MetricSeries(named, _above(stage.threshold, values))


def _split(
    stage: ast.Metrics, points: Mapping[int, Any], steps: Steps
) -> Iterator[tuple[tuple[Any, ...], dict[int, float]]]:
    """Yield the series of one group: one for each quantile, else one. Counts are 0 where nothing was found."""
    if stage.function == "quantile_over_time":
        for place, quantile in enumerate(stage.arguments[1:]):
            assert isinstance(quantile, ast.Literal), "parameters are numbers, says the check"
            yield (("p", float(quantile.value or 0)),), {step: values[place] for step, values in points.items()}
    elif stage.function in _COUNTING:
        divisor = steps.step_ns / 1e9 if stage.function == "rate" else 1.0
        yield (), {step: points.get(step, 0.0) / divisor for step in range(steps.count)}
    else:
        yield (), dict(points)


def _above(threshold: tuple[str, ast.Literal] | None, values: dict[int, float]) -> dict[int, float]:
    if threshold is None:
        return values
    holds, limit = _COMPARISONS[threshold[0]], threshold[1].value
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
