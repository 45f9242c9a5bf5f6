"""What an answer tells of a spanset beside its spans: the values that by() split by, and what was measured of it.

Tempo's rules: both are added where the pipeline comes to them and stay what they were then; coalesce() forgets them.
"""

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.fields import FieldCompiler
from stackctl.embedded.traces.session import Session, TraceKey
from stackctl.embedded.traces.spansets import GROUP_SEPARATOR, Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters
from stackctl.traceql import ast, children
from stackctl.traceql.ast import Kind
from stackctl.traceql.check import kind_of
from stackctl.traceql.spelling import duration_text, spelled

_FUNCTIONS: Final = {"avg": "sum", "sum": "sum", "min": "min", "max": "max"}
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class _Value:
    """A value of by(): its place among those of the group."""

    name: str
    kind: Kind
    place: int


@dataclass(frozen=True)
class _Number:
    """What an aggregate gave.

    Attributes:
        before: the stages whose spansets it measured.
        places: how many values of by() these were split by.
        last: no later stage takes spans away, so that the answer's spansets are those that were measured.
    """

    name: str
    aggregate: ast.Aggregate
    before: tuple[ast.Stage, ...]
    places: int
    last: bool


class GroupFacts:
    """The attributes of the spansets that a pipeline finds.

    Args:
        session: where the spans are.
        pipeline: what finds them.
        bounds: which spans it looks at.
    """

    def __init__(self, session: Session, pipeline: ast.Pipeline, bounds: Bounds) -> None:
        self._session, self._bounds = session, bounds
        self._facts = _facts(list(_flat(pipeline)))
        self._earlier: dict[str, dict[tuple[int, int, str], _Row]] = {}

    def columns(self, compiler: SpansetCompiler) -> dict[str, str]:
        """Return what to ask over the spans of each group of an answer: SQL by the name of its column.

        Args:
            compiler: of the pipeline, which it has not compiled yet.
        """
        found: dict[str, str] = {}
        for number, fact in enumerate(self._facts):
            if isinstance(fact, _Number) and fact.last and fact.aggregate.operand is not None:
                found |= _measures(compiler, fact.aggregate, number)
        return found

    def look_up(self, traces: Sequence[TraceKey]) -> None:
        """Ask for what was measured of other spansets than those of the answer, in the traces of the answer.

        Raises:
            UpstreamFailed: all of it together took too long.
        """
        began = time.monotonic()
        for number, fact in enumerate(self._facts):
            if isinstance(fact, _Number) and not fact.last and traces:
                self._session.check_time(began)
                self._earlier[f"m{number}"] = self._measured_before(fact, number, traces)

    def attributes(self, trace: TraceKey, spanset: _Row) -> list[dict[str, Any]]:
        """Return the attributes of a spanset in the JSON of the API.

        Args:
            spanset: `grp`, `matched`, and the columns that were asked for.
        """
        values = spanset["grp"].split(GROUP_SEPARATOR) if spanset["grp"] else []
        found = []
        for number, fact in enumerate(self._facts):
            if isinstance(fact, _Value):
                if fact.place < len(values):
                    found.append(otlp.key_value_json(fact.name, shown(fact.kind, json.loads(values[fact.place]))))
                continue
            row: _Row | None = spanset
            if not fact.last:
                group = GROUP_SEPARATOR.join(values[: fact.places])
                row = self._earlier[f"m{number}"].get((*trace, group))
            value = None if row is None else _number(fact.aggregate, row, number)
            if value is not None:
                found.append(otlp.key_value_json(fact.name, value))
        return found

    def _measured_before(
        self, fact: _Number, number: int, traces: Sequence[TraceKey]
    ) -> dict[tuple[int, int, str], _Row]:
        parameters = Parameters()
        compiler = SpansetCompiler(self._session, parameters, self._bounds)
        columns = {} if fact.aggregate.operand is None else _measures(compiler, fact.aggregate, number)
        found = compiler.compile(ast.Pipeline(fact.aggregate.at, fact.before or (ast.Filter(0, None),)))
        asked = "".join(f", {sql} AS {name}" for name, sql in columns.items())
        highs = ", ".join(str(int(high)) for high in {high for high, _ in traces})
        sql = f"""SELECT tid_hi, tid_lo, grp, count(*) AS matched{asked} FROM {found}
            WHERE tid_hi IN ({highs}) GROUP BY ALL"""
        rows = self._session.rows(compiler.statement(sql), parameters.values)
        return {(row["tid_hi"], row["tid_lo"], row["grp"]): row for row in rows}


def _flat(pipeline: ast.Pipeline) -> Iterator[ast.Stage]:
    for stage in pipeline.stages:
        if isinstance(stage, ast.Pipeline):
            yield from _flat(stage)
        else:
            yield stage


def _facts(stages: Sequence[ast.Stage]) -> list[_Value | _Number]:
    found: list[_Value | _Number] = []
    places = 0
    for at, stage in enumerate(stages):
        match stage:
            case ast.GroupBy():
                for expression in stage.expressions:
                    found.append(_Value(f"by({spelled(expression)})", kind_of(expression), places))
                    places += 1
            case ast.Coalesce():
                found, places = [], 0
            case ast.ScalarFilter(left=ast.Aggregate() as aggregate, right=ast.Literal()):
                last = all(map(_keeps_spans, stages[at + 1 :]))
                found.append(_Number(spelled(aggregate), aggregate, tuple(stages[:at]), places, last))
    return found


def _keeps_spans(stage: ast.Stage) -> bool:
    """True where a stage leaves the groups that it keeps as they are."""
    if isinstance(stage, ast.ScalarFilter):
        return not any(isinstance(node, ast.ScalarPipeline) for node in _below(stage))
    return isinstance(stage, ast.Select)


def _below(node: ast.Node) -> Iterator[ast.Node]:
    for child in children(node):
        yield child
        yield from _below(child)


def _measures(compiler: SpansetCompiler, aggregate: ast.Aggregate, number: int) -> dict[str, str]:
    """Return SQL of an aggregate, for each type of number that its operand may be: Tempo keeps integers integers."""
    assert aggregate.operand is not None, "count() has no column"
    names = compiler.carry_values(aggregate.operand)
    function = _FUNCTIONS[aggregate.function]
    return {
        f"m{number}_{i}": f"{{'value': {function}({name}), 'count': count({name})}}"
        for i, (name, numeric) in enumerate(zip(names, _numeric(compiler, aggregate.operand), strict=True))
        if numeric
    }


def _numeric(compiler: SpansetCompiler, expression: ast.Expression) -> Iterable[bool]:
    """Yield for each place of a value, in their order, whether it is a number's."""
    for place in FieldCompiler(compiler.session.schema, Parameters()).operand(expression):
        numbers = {number.sql for number in place.numbers}
        yield from (sql in numbers for sql in place.present())


def _number(aggregate: ast.Aggregate, row: _Row, number: int) -> Any:
    """Return what an aggregate gave of a group, None where the group has no number."""
    if aggregate.operand is None:
        return row["matched"]
    parts = [one for name, one in row.items() if name.startswith(f"m{number}_") and one["count"]]
    if not parts:
        return None
    values = [one["value"] for one in parts]
    kind = kind_of(aggregate.operand)
    match aggregate.function:
        case "max":
            return shown(kind, max(values))
        case "min":
            return shown(kind, min(values))
        case "sum":
            return shown(kind, sum(values))
    return shown(kind, sum(values) / sum(one["count"] for one in parts))


def shown(kind: Kind, value: Any) -> Any:
    """Return a value as attributes show it: durations and names of enums are texts."""
    if value is None:
        return "nil"
    if kind in ast.ENUM_NAMES:
        return ast.ENUM_NAMES[kind][value]
    return duration_text(value) if kind == Kind.DURATION else value
