"""What a metrics function measures, by group and interval: a part of the store at a time where that is possible.

A pipeline of filters looks at each span by itself: what it finds in one segment and in another is put together here.
Structure, and what looks beyond the span, is found in one statement over everything.
"""

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final, NamedTuple, TypeAlias

import pyarrow as pa

from stackctl.embedded.traces.fields import looks_beyond
from stackctl.embedded.traces.partials import Partial
from stackctl.embedded.traces.pruning import may_match
from stackctl.embedded.traces.quantiles import Sorted, quantile
from stackctl.embedded.traces.segments import Segment, Window
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters, plain
from stackctl.traceql import ast

HISTOGRAM: Final = "histogram_over_time"
QUANTILES: Final = "quantile_over_time"
COUNTING: Final = frozenset({"rate", "count_over_time"})
# Buckets are powers of two, named by their upper bound, as Tempo's are.
_BUCKET: Final = "pow(2, ceil(log2(measured)))"
# NaN is above every number to DuckDB, and wins in none of these to Tempo.
_NUMBERS: Final = "FILTER (NOT isnan(measured::DOUBLE))"
_GROUP_BYTES: Final = 500  # of a group's values and numbers as Python holds them, about


class Value(NamedTuple):
    """What spans are grouped by: their value of one thing. Absent ones come last, and those of one type together.

    To Python 1, 1.0 and True are equal; to TraceQL they are not.
    """

    absent: bool
    type: str
    value: Any

    @classmethod
    def of(cls, value: Any) -> "Value":
        """Tell a value from those of other types."""
        return cls(value is None, type(value).__name__, value)


# Values by which a series is told from others, and the bucket of a histogram.
Group: TypeAlias = tuple[Value, ...]
Found: TypeAlias = dict[Group, dict[int, Any]]


@dataclass(frozen=True)
class Steps:
    """The intervals of a range query: `count` of `step_ns` each, the first ending at `start_ns`."""

    start_ns: int
    step_ns: int
    count: int

    @property
    def begin_ns(self) -> int:
        """Return when the first interval begins, in nanoseconds since the epoch."""
        return self.start_ns - self.step_ns

    @property
    def end_ns(self) -> int:
        """Return when the last interval ends."""
        return self.start_ns + (self.count - 1) * self.step_ns

    def end_ms(self, index: int) -> int:
        """Return when an interval ends, in milliseconds since the epoch."""
        return (self.start_ns + index * self.step_ns) // 1_000_000


def _as_found(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Aggregate:
    """How a function measures.

    Attributes:
        whole: SQL of its value over the numbers of a group; `{}` is where parameters go.
        part: SQL of what is kept of some of these numbers.
        join: the value, from what was kept of all of them: at least one, none of them NULL.
        held: makes what is kept of what the SQL found.
    """

    whole: str
    part: str
    join: Callable[[Sequence[Any]], Any]
    held: Callable[[Any], Any] = _as_found


def _mean(kept: Sequence[Mapping[str, Any]]) -> float | None:
    count = sum(one["count"] for one in kept)
    return sum(one["sum"] for one in kept if one["count"]) / count if count else None


_COUNT: Final = Aggregate("count(*)::DOUBLE", "count(*)::DOUBLE", sum)
_AGGREGATES: Final = {
    "rate": _COUNT,
    "count_over_time": _COUNT,
    HISTOGRAM: _COUNT,
    "min_over_time": Aggregate(f"min(measured) {_NUMBERS}", f"min(measured) {_NUMBERS}", lambda kept: float(min(kept))),
    "max_over_time": Aggregate(f"max(measured) {_NUMBERS}", f"max(measured) {_NUMBERS}", lambda kept: float(max(kept))),
    "sum_over_time": Aggregate("sum(measured)", "sum(measured)", sum),
    "avg_over_time": Aggregate("avg(measured)", "{'sum': sum(measured), 'count': count(measured)}", _mean),
}
FUNCTIONS: Final = frozenset({*_AGGREGATES, QUANTILES})


def measured(session: Session, before: ast.Pipeline, stage: ast.Metrics, steps: Steps) -> Found:
    """Return the values of a metrics function over what a pipeline finds.

    Returns:
        for each group, the number of an interval to its value; lists of them for quantiles.

    Raises:
        QueryUnsupported: the query uses what the engine does not run.
        UpstreamFailed: time or memory ran out.
    """
    question = _Question(before, stage, _aggregate(stage))
    if not _by_itself(before, stage):
        return question.ask(session, steps, whole=True)
    window = _window(steps)
    inside = [part for part in session.segments if window.holds(part)]
    rest = replace(session, segments=tuple(part for part in session.segments if part not in inside))
    parts = [_shifted(found, steps) for found in _kept(session, inside, question, steps)]
    parts.append(question.ask(rest, steps))
    return _joined(parts, question.aggregate.join)


def _aggregate(stage: ast.Metrics) -> Aggregate:
    if stage.function != QUANTILES:
        return _AGGREGATES[stage.function]
    wanted = _quantiles(stage)
    return Aggregate(
        f"quantile_cont(measured, {{}}) {_NUMBERS}",
        f"list(measured) {_NUMBERS}",
        lambda places: [quantile(places, q) for q in wanted],
        Sorted,
    )


def _quantiles(stage: ast.Metrics) -> list[float]:
    return [float(parameter.value or 0) for parameter in stage.arguments[1:] if isinstance(parameter, ast.Literal)]


def _by_itself(before: ast.Pipeline, stage: ast.Metrics) -> bool:
    """True where each span counts by itself, whatever others there are."""
    filters = all(isinstance(found, ast.Filter) for found in before.stages)
    return filters and not any(looks_beyond(node) for node in (before, *stage.arguments, *stage.by))


def _window(steps: Steps) -> Window:
    # Spans count by their start.
    return Window(steps.begin_ns, steps.end_ns, by_start=True)


def _kept(session: Session, segments: Sequence[Segment], question: "_Question", steps: Steps) -> Iterator[Found]:
    """Yield what is found in single segments, with intervals counted from the epoch."""
    counted = _since_epoch(steps)
    key = (repr(question.before), repr(_kept_for(question.stage)), counted)
    filters = (stage.condition for stage in question.before.stages if isinstance(stage, ast.Filter))
    condition = next(filters, None)
    began = time.monotonic()
    for segment in segments:
        if not may_match(segment, condition):
            continue
        partial = session.partials.get(key, segment.path)
        if partial is None:
            session.check_time(began)
            alone = replace(session, segments=(segment,), hot=())
            found = question.ask(alone, counted, Window())
            partial = Partial(found, _size(found))
            session.partials.put(key, segment.path, partial)
        yield partial.found


def _kept_for(stage: ast.Metrics) -> ast.Metrics:
    """Return a function as what is kept for it tells it from others: one quantile needs the numbers of any other."""
    return replace(stage, arguments=stage.arguments[:1]) if stage.function == QUANTILES else stage


def _since_epoch(steps: Steps) -> Steps:
    """Return intervals that begin at the epoch and end where others do; one without an end for a single interval."""
    if steps.count == 1:
        return Steps(0, 0, 1)
    return Steps(steps.start_ns % steps.step_ns, steps.step_ns, 2)


def _shifted(found: Found, steps: Steps) -> Found:
    """Count intervals from the first one of a query instead of from the epoch."""
    if steps.count == 1:
        return found
    shift = (steps.start_ns - steps.start_ns % steps.step_ns) // steps.step_ns
    return {group: {step - shift: value for step, value in values.items()} for group, values in found.items()}


def _joined(parts: Sequence[Found], join: Callable[[Sequence[Any]], Any]) -> Found:
    """Put together what was found in parts of the store, groups in their order."""
    gathered: dict[Group, dict[int, list[Any]]] = defaultdict(lambda: defaultdict(list))
    for part in parts:
        for group, values in part.items():
            for step, value in values.items():
                gathered[group][step].append(value)
    joined: Found = {}
    for group in sorted(gathered):
        values = {step: join(kept) for step, kept in sorted(gathered[group].items())}
        joined[group] = {step: value for step, value in values.items() if value is not None}
    return joined


@dataclass(frozen=True)
class _Question:
    """A metrics function over what a pipeline finds."""

    before: ast.Pipeline
    stage: ast.Metrics
    aggregate: Aggregate

    def ask(self, session: Session, steps: Steps, window: Window | None = None, *, whole: bool = False) -> Found:
        """Measure in one statement.

        Args:
            window: which spans count; those of the steps if None.
            whole: whether to return values, instead of what is kept to make them of.
        """
        parameters = Parameters()
        compiler = SpansetCompiler(session, parameters, Bounds(_window(steps) if window is None else window))
        groups = [compiler.carry_values(expression) for expression in self.stage.by]
        number = "NULL" if self.stage.function in COUNTING else compiler.carry_number(self.stage.arguments[0])
        found = compiler.compile(self.before)
        carried = list(dict.fromkeys(name for names in groups for name in names))
        step = f"(start_ns - {steps.begin_ns} + {steps.step_ns} - 1) // {steps.step_ns} - 1" if steps.count > 1 else "0"
        seen = f"SELECT {', '.join([*carried, f'{number} AS measured', f'{step} AS step'])} FROM {found}"
        histogram = self.stage.function == HISTOGRAM
        keys = [*carried, "step", *([f"{_BUCKET} AS bucket"] if histogram else [])]
        measure = self.aggregate
        value = measure.whole.format(parameters.bind(_quantiles(self.stage))) if whole else measure.part
        sql = f"SELECT {', '.join(keys)}, {value} AS value FROM ({seen}){' WHERE measured > 0' if histogram else ''}"
        table = session.table(f"{compiler.statement(f'{sql} GROUP BY ALL ORDER BY ALL')}", parameters.values)
        return _found(table, groups, _as_found if whole else measure.held)


def _found(table: pa.Table, groups: Sequence[Sequence[str]], held: Callable[[Any], Any]) -> Found:
    """Read the rows of an answer.

    Args:
        groups: for each thing that is grouped by, the columns in one of which its value is.
        held: makes what is kept of a value.
    """
    found: Found = defaultdict(dict)
    rows = table.drop_columns(["value"]).to_pylist()
    for row, value in zip(rows, _values(table["value"]), strict=True):
        if value is not None:
            group = (*(_first(row[name] for name in names) for names in groups), row.get("bucket"))
            found[tuple(map(Value.of, group))][row["step"]] = held(value)
    return dict(found)


def _first(values: Iterable[Any]) -> Any:
    """Return the value that is there, of columns that are NULL where the type is another one."""
    value = next((value for value in values if value is not None), None)
    return json.dumps(plain(value)) if isinstance(value, list) else value


def _values(column: "pa.ChunkedArray[Any]") -> Iterator[Any]:
    """Yield a column's values; lists of numbers as arrays."""
    for chunk in column.chunks:
        if not isinstance(chunk, pa.ListArray):
            yield from chunk.to_pylist()
            continue
        numbers, ends = chunk.values.to_numpy(zero_copy_only=False), chunk.offsets.to_numpy()
        for row, (start, end) in enumerate(pairwise(ends)):
            yield numbers[start:end] if chunk[row].is_valid else None


def _size(found: Found) -> int:
    values = [value for steps in found.values() for value in steps.values()]
    return sum(value.size if isinstance(value, Sorted) else 0 for value in values) + _GROUP_BYTES * len(values)
