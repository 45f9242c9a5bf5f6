"""TraceQL pipelines to SQL: each stage is one common table expression over the spansets of the stage before it.

A spanset relation has the columns of KEYS: trace id, group (what `by()` splits a trace into), span id, parent, start.
Beside them it carries what later stages ask of its spans, read where the spans are read: once.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from stackctl import semconv
from stackctl.embedded.traces.arithmetic import on_doubles
from stackctl.embedded.traces.fields import PARENT_PREFIX, FieldCompiler, Needs, looks_beyond
from stackctl.embedded.traces.pruning import weakened
from stackctl.embedded.traces.schema import identifier
from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.session import EVERYTHING, Session
from stackctl.embedded.traces.values import Number, Parameters, compare_numbers, unsupported
from stackctl.traceql import ast
from stackctl.traceql.ast import Kind

KEYS: Final = "tid_hi, tid_lo, grp, span_id, parent_id, start_ns"
NO_ROOT: Final = "<root span not yet received>"  # Tempo's own words
GROUP_SEPARATOR: Final = "\x1f"  # parts the values of one by() after another; JSON has no such character
# A trace's other spans are looked for this long before and after the time that is asked for.
AROUND_NS: Final = 3600 * 10**9

# Structural operators that keep spans of the right side: to the relation that one must have to a span of the left side.
_RELATIONS: Final = {">": "child", ">>": "descendant", "<": "parent", "<<": "ancestor", "~": "sibling"}
_INVERSE: Final = {
    "child": "parent",
    "parent": "child",
    "descendant": "ancestor",
    "ancestor": "descendant",
    "sibling": "sibling",
}
_AGGREGATES: Final = {"count": "count(*)", "avg": "avg({})", "max": "max({})", "min": "min({})", "sum": "sum({})"}
# Up to so many relations, written out, DuckDB decides itself which ones it reads twice and which it writes down.
_MOST_WRITTEN_OUT: Final = 64
_SPAN: Final = ("tid_hi", "tid_lo", "span_id", "parent_id", "start_ns")
_SPAN_KEY: Final = "tid_hi, tid_lo, span_id"
_FACTS: Final = (*_SPAN, "dur_ns", "name")
_SERVICE_COLUMN: Final = f"r:{semconv.SERVICE_NAME}:s"


@dataclass(frozen=True)
class Bounds:
    """Which spans a search looks at.

    Attributes:
        window: their time.
        min_duration_ns: shortest duration of the whole trace, as `max_duration_ns` is its longest.
    """

    window: Window = EVERYTHING
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None


@dataclass
class SpansetCompiler:
    """Compiles the pipeline of one query.

    Args:
        session: where the spans are.
        parameters: receives the values.
        bounds: time range and duration of traces.
    """

    session: Session
    parameters: Parameters
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        self._expressions: list[tuple[str, str]] = []
        self._carried: dict[str, Callable[[FieldCompiler], str]] = {}

    def carry_values(self, expression: ast.Expression) -> tuple[str, ...]:
        """Let the spansets carry a value of their spans.

        Returns:
            names of columns, one for each type that the value may have; at most one of them is not NULL.
        """
        count = len(FieldCompiler(self.session.schema, Parameters()).values(expression))

        def value(number: int, fields: FieldCompiler) -> str:
            return fields.values(expression)[number]

        return tuple(self._carry(f"values {id(expression)} {i}", partial(value, i)) for i in range(count))

    def carry_number(self, expression: ast.Expression) -> str:
        """Let the spansets carry a number of their spans; return the name of its column."""
        return self._carry(f"number {id(expression)}", lambda fields: fields.number(expression))

    def compile(self, pipeline: ast.Pipeline) -> str:
        """Compile a pipeline.

        Returns:
            the name of the relation with its spansets; `statement` defines it.

        Raises:
            QueryUnsupported: a stage or value that the engine does not run.
        """
        # The first time shows what later stages ask of the spans, and with that the second time is right.
        self._pipeline(pipeline, None)
        self._expressions.clear()
        return self._pipeline(pipeline, None)

    def statement(self, sql: str) -> str:
        """Return a statement that reads the relations compiled so far, with what defines them."""
        text = sql + "".join(definition for _, definition in self._expressions)
        shared = "MATERIALIZED " if _written_out(self._expressions, sql) > _MOST_WRITTEN_OUT else ""
        defined = []
        for name, definition in self._expressions:
            # DuckDB would write down what it may as well stream, and read all of its columns for that.
            once = len(re.findall(rf"\b{name}\b", text)) == 1
            how = ("NOT MATERIALIZED " if once else shared) if definition.startswith("(") else ""
            defined.append(f"{name} AS {how}{definition}")
        return f"WITH RECURSIVE {', '.join(defined)} {sql}"

    def _carry(self, key: str, sql: Callable[[FieldCompiler], str]) -> str:
        self._carried.setdefault(key, sql)
        return f"x{list(self._carried).index(key)}"

    def _next_name(self) -> str:
        return f"q{len(self._expressions)}"

    def _define(self, sql: str, how: str = "") -> str:
        name = self._next_name()
        self._expressions.append((name, f"{how}({sql})"))
        return name

    def _pipeline(self, pipeline: ast.Pipeline, source: str | None) -> str:
        for stage in pipeline.stages:
            source = self._stage(stage, source)
        assert source is not None, "a pipeline has a stage"
        return source

    def _stage(self, stage: ast.Stage, source: str | None) -> str:
        match stage:
            case ast.Filter():
                return self._filter(stage.condition, source)
            case ast.SpansetOperation():
                return self._operation(stage, source)
            case ast.Pipeline():
                return self._pipeline(stage, source)
            case ast.Select():
                return source or self._filter(None, None)
            case ast.ScalarFilter():
                return self._scalar_filter(stage, source)
            case ast.GroupBy():
                return self._group_by(stage.expressions, source or self._filter(None, None))
            case ast.Coalesce():
                return self._coalesce(source or self._filter(None, None))
        raise unsupported(
            f"{'a comparison' if isinstance(stage, ast.Threshold) else f'{stage.function}()'} in a search"
        )

    def _filter(self, condition: ast.Expression | None, source: str | None) -> str:
        if source is None:
            return self._spans(condition)
        if condition is None:
            return source
        met = self._carry(
            f"condition {id(condition)}", lambda fields: f"COALESCE({fields.condition(condition)}, FALSE)"
        )
        return self._define(f"SELECT * FROM {source} WHERE {met}")

    def _spans(self, condition: ast.Expression | None) -> str:
        """Read the spans that meet a condition, with all that is carried."""
        needs = Needs()
        fields = FieldCompiler(self.session.schema, self.parameters, needs)
        where = "TRUE" if condition is None else fields.condition(condition)
        carried = "".join(f", {sql(fields)} AS x{i}" for i, sql in enumerate(self._carried.values()))
        bounds = [(">=", self.bounds.min_duration_ns), ("<=", self.bounds.max_duration_ns)]
        lengths = [f"trace_dur_ns {op} {self.parameters.bind(limit)}" for op, limit in bounds if limit is not None]
        needs.facts |= bool(lengths)
        window = self._define(
            f"SELECT * FROM {self.session.spans([*_SPAN, *needs.columns], self.bounds.window, condition)}",
            "NOT MATERIALIZED ",  # DuckDB then reads only what is used of it
        )
        source = window + self._beyond(window, condition, fields)
        columns = KEYS.replace("grp", "'' AS grp")
        return self._define(f"SELECT {columns}{carried} FROM {source} WHERE {' AND '.join([where, *lengths])}")

    def _beyond(self, window: str, condition: ast.Expression | None, fields: FieldCompiler) -> str:
        """Return the joins with what fields need beyond the row of a span: facts of its trace, parent, children."""
        needs = fields.needs
        if not (needs.facts or needs.children or needs.parent_columns):
            return ""
        weak = weakened(condition, looks_beyond)
        where = "TRUE" if weak is None else fields.condition(weak)
        # Only traces with a span that may match are looked at as a whole.
        traces = self._define(f"SELECT DISTINCT tid_hi, tid_lo FROM {window} WHERE {where}", "MATERIALIZED ")
        joins = ""
        if needs.facts:
            joins += f" JOIN ({trace_facts(self._all([*_FACTS, _SERVICE_COLUMN]), traces)}) USING (tid_hi, tid_lo)"
        if needs.children:
            joins += f" JOIN ({self._child_counts(window, traces)}) USING ({_SPAN_KEY})"
        if needs.parent_columns:
            names = sorted(needs.parent_columns)
            # A span that was sent twice is one parent all the same.
            kept = ", ".join(f"any_value({identifier(n)}) AS {identifier(PARENT_PREFIX + n)}" for n in names)
            parents = f"SELECT tid_hi, tid_lo, span_id AS parent_id, {kept} FROM {self._all([*_SPAN, *names])}"
            joins += f" LEFT JOIN ({parents} {_among(traces)} GROUP BY ALL) USING (tid_hi, tid_lo, parent_id)"
        return joins

    def _child_counts(self, window: str, traces: str) -> str:
        """Return SQL of how many children each span of a relation has."""
        spans = f"SELECT tid_hi, tid_lo, parent_id AS span_id FROM {self._all(_SPAN)} WHERE parent_id <> 0"
        counted = f"SELECT {_SPAN_KEY}, count(*) AS children FROM ({spans}) {_among(traces)} GROUP BY ALL"
        counts = f"SELECT DISTINCT {_SPAN_KEY}, coalesce(children, 0) AS child_count"
        return f"{counts} FROM {window} LEFT JOIN ({counted}) USING ({_SPAN_KEY})"

    def _all(self, columns: Iterable[str]) -> str:
        """Return SQL of the spans that may belong to the traces of the window."""
        return self.session.spans(columns, self.bounds.window.widened(AROUND_NS))

    def _coalesce(self, source: str) -> str:
        columns = KEYS.replace("grp", "'' AS grp")
        return self._define(f"SELECT DISTINCT {columns}{self._carried_names()} FROM {source}")

    def _carried_names(self) -> str:
        return "".join(f", x{i}" for i in range(len(self._carried)))

    def _group_by(self, expressions: Iterable[ast.Expression], source: str) -> str:
        values = []
        for expression in expressions:
            # As JSON: it tells 1 from 1.0 and "1", and what is absent from all of them; `groupfacts` reads it again.
            texts = "".join(f"to_json({name})::VARCHAR, " for name in self.carry_values(expression))
            values.append(f"COALESCE({texts}'null')")
        group = f"concat_ws(chr({ord(GROUP_SEPARATOR)}), nullif(grp, ''), {', '.join(values)}) AS grp"
        return self._define(f"SELECT {KEYS.replace('grp', group)}{self._carried_names()} FROM {source}")

    def _scalar_filter(self, stage: ast.ScalarFilter, source: str | None) -> str:
        """Keep the groups whose numbers compare; where pipelines of its own are measured, the spans that they found."""
        terms: dict[str, list[str]] = {}
        if source is None and (_measures_source(stage.left) or _measures_source(stage.right)):
            source = self._filter(None, None)
        left, right = self._scalar(stage.left, source, terms), self._scalar(stage.right, source, terms)
        relations = list(terms) or [source or self._filter(None, None)]
        groups = " UNION ".join(f"SELECT tid_hi, tid_lo, grp FROM {name}" for name in relations)
        joins = "".join(
            f" LEFT JOIN (SELECT tid_hi, tid_lo, grp, {', '.join(measured)} FROM {name} GROUP BY ALL)"
            " USING (tid_hi, tid_lo, grp)"
            for name, measured in terms.items()
        )
        kept = f"SELECT tid_hi, tid_lo, grp FROM ({groups}){joins} WHERE {compare_numbers(stage.op, left, right)}"
        spans = " UNION ".join(f"SELECT * FROM {name}" for name in relations)
        return self._define(f"SELECT * FROM ({spans}) WHERE (tid_hi, tid_lo, grp) IN ({kept})")

    def _scalar(self, scalar: ast.Scalar, source: str | None, terms: dict[str, list[str]]) -> Number:
        """Return a number about a group. What is calculated with such is a double: Tempo does not calculate with them.

        Args:
            terms: receives, for each relation, what is measured over the groups of its spans.
        """
        match scalar:
            case ast.ScalarOperation():
                sides = (self._scalar(side, source, terms).sql for side in (scalar.left, scalar.right))
                return Number(on_doubles(scalar.op, *(f"{sql}::DOUBLE" for sql in sides)), Kind.FLOAT)
            case ast.ScalarPipeline():
                found = self._pipeline(ast.Pipeline(scalar.at, scalar.stages), source)
                return self._measured(scalar.aggregate, found, terms)
            case ast.Aggregate():
                assert source is not None, "seen to before"
                return self._measured(scalar, source, terms)
            case ast.Literal():
                return Number(self.parameters.bind(scalar.value), scalar.kind, literal=True)
        raise unsupported("a variable")

    def _measured(self, aggregate: ast.Aggregate, relation: str, terms: dict[str, list[str]]) -> Number:
        name = f"m{sum(map(len, terms.values()))}"
        operand = "" if aggregate.operand is None else self.carry_number(aggregate.operand)
        terms.setdefault(relation, []).append(f"{_AGGREGATES[aggregate.function].format(operand)} AS {name}")
        # Where a pipeline finds nothing there is nothing to measure, but it found none of them.
        counted = aggregate.function == "count"
        return Number(f"coalesce({name}, 0)", Kind.INT) if counted else Number(name, Kind.FLOAT)

    def _operation(self, stage: ast.SpansetOperation, source: str | None) -> str:
        left, right = self._operand(stage.left, source), self._operand(stage.right, source)
        if stage.op == "||":
            return self._define(f"SELECT * FROM {left} UNION SELECT * FROM {right}")
        if stage.op == "&&":
            both = f"SELECT tid_hi, tid_lo, grp FROM {left} INTERSECT SELECT tid_hi, tid_lo, grp FROM {right}"
            union = f"SELECT * FROM {left} UNION SELECT * FROM {right}"
            return self._define(f"SELECT * FROM ({union}) WHERE (tid_hi, tid_lo, grp) IN ({both})")
        relation = _RELATIONS[stage.op.lstrip("!&")]
        if stage.op.startswith("&"):
            kept, partners = self._related(relation, left, right), self._related(_INVERSE[relation], right, left)
            return self._define(f"SELECT * FROM {kept} UNION SELECT * FROM {partners}")
        return self._related(relation, left, right, negated=stage.op.startswith("!"))

    def _operand(self, spanset: ast.Spanset, source: str | None) -> str:
        compiled = self._stage(spanset, source)
        grouped = isinstance(spanset, ast.Pipeline) and any(isinstance(stage, ast.GroupBy) for stage in spanset.stages)
        return self._coalesce(compiled) if grouped else compiled

    def _related(self, relation: str, left: str, right: str, negated: bool = False) -> str:
        """Return the spans of `right` that stand in a relation to one of `left`; those that do not, if negated."""
        spans, parents = "tid_hi, tid_lo, grp, span_id", "tid_hi, tid_lo, grp, parent_id"
        match relation:
            case "child":
                condition = f"({parents}) {{}} (SELECT {spans} FROM {left})"
            case "parent":
                condition = f"({spans}) {{}} (SELECT {parents} FROM {left})"
            case "descendant":
                condition = f"({spans}) {{}} (SELECT {spans} FROM {self._below(left, right)})"
            case "ancestor":
                condition = f"({spans}) {{}} (SELECT {spans} FROM {self._above(left, right)})"
            case _:
                return self._siblings(left, right, negated)
        return self._define(f"SELECT * FROM {right} WHERE {condition.format('NOT IN' if negated else 'IN')}")

    def _siblings(self, left: str, right: str, negated: bool) -> str:
        """Return the spans of `right` that share a parent with another span, of `left`. Roots have no siblings."""
        same = "a.tid_hi = b.tid_hi AND a.tid_lo = b.tid_lo AND a.grp = b.grp AND a.parent_id = b.parent_id"
        exists = f"EXISTS (SELECT 1 FROM {left} a WHERE {same} AND a.span_id <> b.span_id AND b.parent_id <> 0)"
        return self._define(f"SELECT * FROM {right} b WHERE {'NOT ' if negated else ''}{exists}")

    def _walkable(self, left: str, right: str) -> tuple[str, str]:
        """Return `left`, and the edges of the trees, in traces that both sides have: no other trace can match."""
        both = f"SELECT tid_hi, tid_lo FROM {left} INTERSECT SELECT tid_hi, tid_lo FROM {right}"
        shared = f"(tid_hi, tid_lo) IN (SELECT tid_hi, tid_lo FROM {self._define(both)})"
        start = self._define(f"SELECT tid_hi, tid_lo, grp, span_id, parent_id FROM {left} WHERE {shared}")
        edges = f"SELECT tid_hi, tid_lo, span_id, parent_id FROM {self._all(_SPAN)} WHERE {shared}"
        return start, self._define(edges)

    def _below(self, left: str, right: str) -> str:
        (start, tree), name = self._walkable(left, right), self._next_name()
        columns, same = "t.tid_hi, t.tid_lo, u.grp, t.span_id", "t.tid_hi = u.tid_hi AND t.tid_lo = u.tid_lo"
        step = f"SELECT {columns} FROM {tree} t JOIN {{}} u ON {same} AND t.parent_id = u.span_id"
        # UNION, not UNION ALL: a cycle in parent ids, which nothing forbids a sender, ends.
        return self._define(f"{step.format(start)} UNION {step.format(name)}")

    def _above(self, left: str, right: str) -> str:
        (start, tree), name = self._walkable(left, right), self._next_name()
        same = "t.tid_hi = u.tid_hi AND t.tid_lo = u.tid_lo AND t.span_id = u.span_id"
        parents = f"SELECT tid_hi, tid_lo, grp, parent_id AS span_id FROM {start}"
        step = f"SELECT t.tid_hi, t.tid_lo, u.grp, t.parent_id FROM {tree} t JOIN {name} u ON {same}"
        return self._define(f"{parents} UNION {step}")


def _written_out(expressions: Iterable[tuple[str, str]], sql: str) -> int:
    """Return how many relations a statement has where each of them stands at every place that it is used at.

    That is what DuckDB makes of those that promise few rows: stages upon one another double or treble it, and six of
    them are a plan of hundreds of megabytes, which no limit of memory counts.
    """
    sizes: dict[str, int] = {}
    once = 0
    for name, definition in [*expressions, ("", sql)]:
        places = re.findall(r"\bq\d+\b", definition)
        sizes[name] = 1 + sum(sizes.get(place, 0) for place in places)
        if name in places:  # what is about itself is worked out once, whatever reads it
            once, sizes[name] = once + sizes[name], 1
    return once + sizes[""]


def _measures_source(scalar: ast.Scalar) -> bool:
    """True where a number is about the spansets that a stage gets, not only about those of pipelines within it."""
    if isinstance(scalar, ast.ScalarOperation):
        return _measures_source(scalar.left) or _measures_source(scalar.right)
    return isinstance(scalar, ast.Aggregate)


def trace_facts(spans: str, traces: str) -> str:
    """Return SQL of one row for each trace: its duration, and its root's name and service.

    Args:
        spans: SQL of the spans.
        traces: name of the relation of the traces that are asked for.
    """
    return f"""SELECT tid_hi, tid_lo, max(start_ns + greatest(dur_ns, 0)) - min(start_ns) AS trace_dur_ns,
        coalesce(arg_min(name, start_ns) FILTER (parent_id = 0), '{NO_ROOT}') AS root_name,
        coalesce(arg_min({identifier(_SERVICE_COLUMN)}, start_ns) FILTER (parent_id = 0), '') AS root_service
        FROM {spans} {_among(traces)} GROUP BY tid_hi, tid_lo"""


def _among(traces: str) -> str:
    return f"WHERE (tid_hi, tid_lo) IN (SELECT tid_hi, tid_lo FROM {traces})"
