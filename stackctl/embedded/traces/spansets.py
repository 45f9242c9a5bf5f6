"""TraceQL pipelines to SQL: each stage is one common table expression over the spansets of the stage before it.

A spanset relation has the columns of KEYS: trace id, group (what `by()` splits a trace into), span id, parent, start.
"""

from dataclasses import dataclass, field
from typing import Final

from stackctl import semconv
from stackctl.embedded.traces.fields import TRACE_FACTS, FieldCompiler, Parameters, unsupported
from stackctl.embedded.traces.schema import Schema
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import ast
from stackctl.traceql.check import mentions

KEYS: Final = "tid_hi, tid_lo, grp, span_id, parent_id, start_ns"
NO_ROOT: Final = "<root span not yet received>"  # Tempo's own words

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


@dataclass(frozen=True)
class Bounds:
    """Which spans a search looks at.

    Attributes:
        start_ns: spans that end before are left out; nanoseconds since the epoch, None for no bound.
        end_ns: spans that start after are left out.
        min_duration_ns: shortest duration of the whole trace, as `max_duration_ns` is its longest.
    """

    start_ns: int | None = None
    end_ns: int | None = None
    min_duration_ns: int | None = None
    max_duration_ns: int | None = None


@dataclass
class SpansetCompiler:
    """Compiles the pipeline of one query.

    Args:
        schema: the columns of the relation `stored`, which holds every span.
        parameters: receives the values.
        bounds: time range and duration of traces.
    """

    schema: Schema
    parameters: Parameters
    bounds: Bounds = field(default_factory=Bounds)

    def __post_init__(self) -> None:
        self.fields = FieldCompiler(self.schema, self.parameters)
        self._expressions: list[tuple[str, str]] = []

    def compile(self, pipeline: ast.Pipeline) -> str:
        """Compile a pipeline.

        Returns:
            the name of the relation with its spansets; `with_clause` defines it.

        Raises:
            QueryUnsupported: a stage or value that the engine does not run.
        """
        facts = any(isinstance(node, ast.Intrinsic) and node.name in TRACE_FACTS for node in mentions(pipeline))
        self._define_spans(facts)
        return self._pipeline(pipeline, None)

    def with_clause(self) -> str:
        """Return the WITH clause that defines every relation compiled so far."""
        return "WITH RECURSIVE " + ",\n".join(f"{name} AS {sql}" for name, sql in self._expressions)

    def _next_name(self) -> str:
        return f"q{len(self._expressions)}"

    def _define(self, sql: str) -> str:
        name = self._next_name()
        self._expressions.append((name, f"({sql})"))
        return name

    def _define_spans(self, facts: bool) -> None:
        """Define `spans`: what a query can find. The probe's own spans are not among them."""
        bind, bounds = self.parameters.bind, self.bounds
        limits = [(">=", bounds.min_duration_ns), ("<=", bounds.max_duration_ns)]
        durations = [f"trace_dur_ns {op} {bind(limit)}" for op, limit in limits if limit is not None]
        service = self.schema.typed("resource", semconv.SERVICE_NAME).get("s")
        conditions = [f"{service} IS DISTINCT FROM {bind(PROBE_SERVICE)}"] if service else []
        source = "stored"
        if facts or durations:
            source += f" JOIN ({trace_facts(self.schema)}) USING (tid_hi, tid_lo)"
        where = " AND ".join(conditions + durations) or "TRUE"
        # Not materialized: DuckDB then reads only the columns that a stage uses.
        self._expressions.append(("spans", f"NOT MATERIALIZED (SELECT * FROM {source} WHERE {where})"))

    def _in_time(self) -> str:
        bind, bounds = self.parameters.bind, self.bounds
        conditions = []
        if bounds.start_ns is not None:
            conditions.append(f"start_ns + dur_ns >= {bind(bounds.start_ns)}")
        if bounds.end_ns is not None:
            conditions.append(f"start_ns <= {bind(bounds.end_ns)}")
        return " AND ".join(conditions) or "TRUE"

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
                return self._scalar_filter(stage, source or self._filter(None, None))
            case ast.GroupBy():
                return self._group_by(stage.expression, source or self._filter(None, None))
            case ast.Coalesce():
                return self._coalesce(source or self._filter(None, None))
        raise unsupported(f"{stage.function}() in a search")

    def _filter(self, condition: ast.Expression | None, source: str | None) -> str:
        sql = "TRUE" if condition is None else self.fields.condition(condition)
        if source is None:
            columns = KEYS.replace("grp", "'' AS grp")
            return self._define(f"SELECT {columns} FROM spans WHERE {self._in_time()} AND {sql}")
        found = f"SELECT tid_hi, tid_lo, span_id FROM spans WHERE {sql}"
        return self._define(f"SELECT * FROM {source} WHERE (tid_hi, tid_lo, span_id) IN ({found})")

    def _coalesce(self, source: str) -> str:
        return self._define(f"SELECT DISTINCT {KEYS.replace('grp', chr(39) * 2 + ' AS grp')} FROM {source}")

    def _group_by(self, expression: ast.Expression, source: str) -> str:
        texts = ", ".join(f"({sql})::VARCHAR" for sql in self.fields.values(expression))
        value = f"COALESCE({texts}, 'nil')" if texts else "'nil'"
        keyed = f"SELECT tid_hi, tid_lo, span_id, {value} AS value FROM spans"
        # chr(31), the unit separator, parts the values of one by() after another.
        columns = KEYS.replace("grp", "concat_ws(chr(31), nullif(grp, ''), value) AS grp")
        return self._define(f"SELECT {columns} FROM {source} JOIN ({keyed}) USING (tid_hi, tid_lo, span_id)")

    def _scalar_filter(self, stage: ast.ScalarFilter, source: str) -> str:
        values: list[str] = []
        left, right = self._scalar(stage.left, values), self._scalar(stage.right, values)
        op = "<>" if stage.op == "!=" else stage.op
        measured = source
        if values:
            columns = ", ".join(f"{sql} AS v{i}" for i, sql in enumerate(values))
            measured += f" JOIN (SELECT tid_hi, tid_lo, span_id, {columns} FROM spans) USING (tid_hi, tid_lo, span_id)"
        groups = f"SELECT tid_hi, tid_lo, grp FROM {measured} GROUP BY ALL HAVING {left} {op} {right}"
        return self._define(f"SELECT * FROM {source} WHERE (tid_hi, tid_lo, grp) IN ({groups})")

    def _scalar(self, scalar: ast.Scalar, values: list[str]) -> str:
        match scalar:
            case ast.Literal():
                return self.parameters.bind(scalar.value)
            case ast.ScalarPipeline():
                raise unsupported("comparing the numbers of two pipelines")
            case ast.ScalarOperation():
                left, right = self._scalar(scalar.left, values), self._scalar(scalar.right, values)
                return f"pow({left}, {right})" if scalar.op == "^" else f"({left} {scalar.op} {right})"
            case ast.Aggregate(operand=operand):
                if operand is None:
                    return _AGGREGATES["count"]
                values.append(self.fields.number(operand))
                return _AGGREGATES[scalar.function].format(f"v{len(values) - 1}")

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
        return start, self._define(f"SELECT tid_hi, tid_lo, span_id, parent_id FROM spans WHERE {shared}")

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


def trace_facts(schema: Schema) -> str:
    """Return SQL of one row for each stored trace: its duration, and its root's name and service."""
    service = schema.typed("resource", semconv.SERVICE_NAME).get("s", "NULL::VARCHAR")
    return f"""SELECT tid_hi, tid_lo, max(start_ns + dur_ns) - min(start_ns) AS trace_dur_ns,
        coalesce(arg_min(name, start_ns) FILTER (parent_id = 0), '{NO_ROOT}') AS root_name,
        coalesce(arg_min({service}, start_ns) FILTER (parent_id = 0), '') AS root_service
        FROM stored GROUP BY tid_hi, tid_lo"""
