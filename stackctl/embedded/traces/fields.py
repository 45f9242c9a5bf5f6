"""TraceQL field expressions to SQL over the columns of one span.

Values never stand in the SQL: each becomes a bound parameter. Tempo's rules of evaluation hold: a comparison of values
of different types is false, also with `!=`; an absent attribute compares to nothing but `nil`; `!` turns a condition's
two values; arithmetic is on doubles; regular expressions match the whole value, on RE2.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from stackctl.embedded.traces.schema import JSON_TEXT_ARRAYS, REST_COLUMN, Schema
from stackctl.errors import QueryUnsupported
from stackctl.traceql import ast
from stackctl.traceql.ast import Kind
from stackctl.traceql.check import ARITHMETIC, EQUALITY, LOGICAL

# Where an intrinsic is found in the spans relation. Those of TRACE_FACTS need it joined with facts about its trace.
_INTRINSIC_SQL: Final = {
    "span:name": "name",
    "span:duration": "dur_ns",
    "span:status": "status",
    "span:statusMessage": "status_msg",
    "span:kind": "kind",
    "span:id": "lpad(lower(to_hex(span_id)), 16, '0')",
    "span:parentID": "CASE WHEN parent_id = 0 THEN '' ELSE lpad(lower(to_hex(parent_id)), 16, '0') END",
    "trace:id": "lpad(lower(to_hex(tid_hi)), 16, '0') || lpad(lower(to_hex(tid_lo)), 16, '0')",
    "trace:duration": "trace_dur_ns",
    "trace:rootName": "root_name",
    "trace:rootService": "root_service",
    "instrumentation:name": "scope",
    "instrumentation:version": "scope_version",
}
TRACE_FACTS: Final = frozenset({"trace:duration", "trace:rootName", "trace:rootService"})
_SQL_OPERATOR: Final = {"=": "=", "!=": "<>", ">": ">", ">=": ">=", "<": "<", "<=": "<="}


@dataclass
class Parameters:
    """The values of one statement, by name."""

    values: dict[str, Any] = field(default_factory=dict)

    def bind(self, value: Any) -> str:
        """Keep a value and return its place in the SQL."""
        name = f"p{len(self.values)}"
        self.values[name] = value
        return f"${name}"


@dataclass(frozen=True)
class Number:
    """SQL of a numeric value. Doubles may be NaN, which DuckDB puts above every number and IEEE 754 beside them."""

    sql: str
    double: bool
    literal: bool = False


@dataclass(frozen=True)
class Typed:
    """One place where a value may be, as SQL by type; NULL where the span does not have it there.

    Attributes:
        guard: condition under which this place is the one that counts; None for always.
        arrays: SQL of lists of strings.
        enums: a status' or span kind's number, by which of the two it is.
    """

    guard: str | None = None
    strings: tuple[str, ...] = ()
    numbers: tuple[Number, ...] = ()
    bools: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()
    enums: tuple[tuple[Kind, str], ...] = ()

    def present(self) -> tuple[str, ...]:
        """Return each SQL value that is not NULL when the value is here."""
        numbers = tuple(number.sql for number in self.numbers)
        return self.strings + numbers + self.bools + self.arrays + tuple(sql for _, sql in self.enums)


Operand = tuple[Typed, ...]


class FieldCompiler:
    """Compiles field expressions of one query.

    Args:
        schema: the columns there are; an attribute without a column is absent from every span.
        parameters: receives the values.
    """

    def __init__(self, schema: Schema, parameters: Parameters) -> None:
        self.schema = schema
        self.parameters = parameters

    def condition(self, expression: ast.Expression) -> str:
        """Return SQL that is TRUE for the spans that meet a condition, FALSE or NULL for the others."""
        match expression:
            case ast.Binary(op=op) if op in LOGICAL:
                joint = "AND" if op == "&&" else "OR"
                return f"({self.condition(expression.left)} {joint} {self.condition(expression.right)})"
            case ast.Binary(op="=" | "!=") if _nil_side(expression) is not None:
                return self._nil_comparison(expression)
            case ast.Binary(op=op) if op not in ARITHMETIC:
                return self._comparison(op, self.operand(expression.left), self.operand(expression.right))
            case ast.Unary(op="!"):
                return self._negation(expression.operand)
        return _any(_guarded(place.guard, sql) for place in self.operand(expression) for sql in place.bools)

    def number(self, expression: ast.Expression) -> str:
        """Return SQL of an expression's value as a double, NULL where it has none."""
        return _coalesced_number(self.operand(expression))

    def values(self, expression: ast.Expression) -> tuple[str, ...]:
        """Return SQL of an expression's value, one for each type that it may have; at most one of them is not NULL."""
        return tuple(
            sql if place.guard is None else f"CASE WHEN {place.guard} THEN {sql} END"
            for place in self.operand(expression)
            for sql in place.present()
        )

    def operand(self, expression: ast.Expression) -> Operand:
        """Return where an expression's value may be.

        Raises:
            QueryUnsupported: a part of the language that the engine does not have.
        """
        match expression:
            case ast.Literal():
                return (self._literal(expression),)
            case ast.Intrinsic():
                return (self._intrinsic(expression),)
            case ast.Attribute():
                return self._attribute(expression)
            case ast.Unary(op="-"):
                return (Typed(numbers=(Number(f"(-{self.number(expression.operand)})", double=True),)),)
            case ast.Binary(op=op) if op in ARITHMETIC:
                left, right = self.number(expression.left), self.number(expression.right)
                sql = f"pow({left}, {right})" if op == "^" else f"({left} {op} {right})"
                return (Typed(numbers=(Number(sql, double=True),)),)
        return (Typed(bools=(f"COALESCE({self.condition(expression)}, FALSE)",)),)

    def _negation(self, operand: ast.Expression) -> str:
        if isinstance(operand, ast.Attribute):
            # Only a stored `false` becomes true: what is absent is no bool.
            return _any(_guarded(place.guard, f"NOT {sql}") for place in self.operand(operand) for sql in place.bools)
        return f"(NOT COALESCE({self.condition(operand)}, FALSE))"

    def _nil_comparison(self, expression: ast.Binary) -> str:
        other = _nil_side(expression)
        assert other is not None, "called for comparisons with nil only"
        if isinstance(other, ast.Literal):
            same = other.kind == Kind.NIL
            return "TRUE" if same == (expression.op == "=") else "FALSE"
        exists = _any(f"{sql} IS NOT NULL" for place in self.operand(other) for sql in place.present())
        return f"(NOT {exists})" if expression.op == "=" else exists

    def _comparison(self, op: str, left: Operand, right: Operand) -> str:
        return _any(
            _guarded(a.guard, _guarded(b.guard, sql)) for a in left for b in right for sql in self._pairs(op, a, b)
        )

    def _pairs(self, op: str, left: Typed, right: Typed) -> list[str]:
        """Return SQL for every pair of types that can be compared."""
        if op in ("=~", "!~"):
            return _regex(op, left, right)
        sql = _SQL_OPERATOR[op]
        found = [f"{a} {sql} {b}" for a in left.strings for b in right.strings]
        found += [_compare_numbers(sql, a, b) for a in left.numbers for b in right.numbers]
        if op not in EQUALITY:
            return found  # the others have no order
        found += [f"{a} {sql} {b}" for a in left.bools for b in right.bools]
        found += [f"{a} {sql} {b}" for kind, a in left.enums for other, b in right.enums if kind == other]
        found += [_array_contains(op, a, b) for a in left.arrays for b in right.strings]
        return found + [_array_contains(op, b, a) for a in left.strings for b in right.arrays]

    def _literal(self, literal: ast.Literal) -> Typed:
        if literal.kind == Kind.NIL:
            return Typed()
        place = self.parameters.bind(literal.value)
        match literal.kind:
            case Kind.STRING:
                return Typed(strings=(place,))
            case Kind.BOOL:
                return Typed(bools=(place,))
            case Kind.STATUS | Kind.SPAN_KIND:
                return Typed(enums=((literal.kind, place),))
        return Typed(numbers=(Number(place, double=False, literal=True),))

    def _intrinsic(self, intrinsic: ast.Intrinsic) -> Typed:
        sql = _INTRINSIC_SQL.get(intrinsic.name)
        if sql is None:
            raise unsupported(f"the intrinsic {intrinsic.name}")
        match intrinsic.kind:
            case Kind.STRING:
                return Typed(strings=(sql,))
            case Kind.STATUS | Kind.SPAN_KIND:
                return Typed(enums=((intrinsic.kind, sql),))
        return Typed(numbers=(Number(sql, double=False),))

    def _attribute(self, attribute: ast.Attribute) -> Operand:
        if attribute.parent or attribute.scope not in ("", "span", "resource"):
            raise unsupported(f"{'parent' if attribute.parent else attribute.scope}. attributes ({attribute})")
        if attribute.scope:
            return (self._scoped(attribute.scope, attribute.name, None),)
        span = self._scoped("span", attribute.name, None)
        absent = " AND ".join(f"{sql} IS NULL" for sql in span.present())
        resource = self._scoped("resource", attribute.name, absent or None)
        return tuple(place for place in (span, resource) if place.present())

    def _scoped(self, scope: str, key: str, guard: str | None) -> Typed:
        columns = self.schema.typed(scope, key)
        strings, numbers, bools, arrays = [], [], [], []
        if "s" in columns:
            strings.append(columns["s"])
        if "s" in columns and key in JSON_TEXT_ARRAYS:
            arrays.append(f"TRY_CAST({columns['s']}::JSON AS VARCHAR[])")
        numbers += [Number(columns[kind], double=kind == "d") for kind in "id" if kind in columns]
        if "b" in columns:
            bools.append(columns["b"])
        if self.schema.in_rest(scope, key):
            rest = f"json_extract({REST_COLUMN[scope]}, {self.parameters.bind(_json_pointer(key))})"
            strings.append(_of_json(rest, "VARCHAR", f"({rest} ->> '$')"))
            numbers.append(Number(_of_json(rest, "DOUBLE", f"TRY_CAST({rest} AS DOUBLE)"), double=True))
            numbers.append(Number(_of_json(rest, "BIGINT", f"TRY_CAST({rest} AS BIGINT)"), double=False))
            bools.append(_of_json(rest, "BOOLEAN", f"TRY_CAST({rest} AS BOOLEAN)"))
            arrays.append(_of_json(rest, "ARRAY", f"TRY_CAST({rest} AS VARCHAR[])"))
        return Typed(guard, tuple(strings), tuple(numbers), tuple(bools), tuple(arrays))


def unsupported(what: str) -> QueryUnsupported:
    """Return the error for a part of TraceQL that this engine does not run."""
    return QueryUnsupported(
        f"{what}: valid TraceQL, but not supported by the embedded engine", next_step="write the query without it"
    )


def _any(conditions: Iterable[str]) -> str:
    joined = " OR ".join(conditions)
    return f"({joined})" if joined else "FALSE"


def _guarded(guard: str | None, sql: str) -> str:
    return sql if guard is None else f"({guard} AND {sql})"


def _compare_numbers(sql: str, left: Number, right: Number) -> str:
    # IEEE 754: NaN is not equal to, above or below anything, itself included.
    doubtful = [side.sql for side in (left, right) if side.double and not side.literal]
    if sql == "<>":
        both = f" OR (isnan({left.sql}) AND isnan({right.sql}))" if len(doubtful) == 2 else ""
        return f"({left.sql} <> {right.sql}{both})"
    return " AND ".join([f"{left.sql} {sql} {right.sql}", *(f"NOT isnan({side})" for side in doubtful)])


def _regex(op: str, left: Typed, right: Typed) -> list[str]:
    negated = "NOT " if op == "!~" else ""
    found = [f"{negated}regexp_full_match({a}, {b})" for a in left.strings for b in right.strings]
    matched = "list_bool_or(list_transform({a}, lambda x: regexp_full_match(x, {b})))"
    return found + [negated + matched.format(a=a, b=b) for a in left.arrays for b in right.strings]


def _array_contains(op: str, array: str, string: str) -> str:
    """Return SQL for an array against a string: one element must be it, or none with `!=`."""
    return f"{'NOT ' if op == '!=' else ''}list_contains({array}, {string})"


def _of_json(value: str, json_type: str, sql: str) -> str:
    names = {"BIGINT": "('BIGINT', 'UBIGINT')"}.get(json_type, f"('{json_type}')")
    return f"CASE WHEN json_type({value}) IN {names} THEN {sql} END"


def _json_pointer(key: str) -> str:
    """Return the JSON pointer (RFC 6901) of a key at the top of an object."""
    return "/" + key.replace("~", "~0").replace("/", "~1")


def _coalesced_number(operand: Operand) -> str:
    places = [
        f"{number.sql}::DOUBLE" if place.guard is None else f"CASE WHEN {place.guard} THEN {number.sql}::DOUBLE END"
        for place in operand
        for number in place.numbers
    ]
    return f"COALESCE({', '.join(places)}, NULL)" if places else "NULL::DOUBLE"


def _nil_side(expression: ast.Binary) -> ast.Expression | None:
    """Return what is compared with `nil`, or None when the comparison has no nil in it."""
    for side, other in ((expression.left, expression.right), (expression.right, expression.left)):
        if isinstance(side, ast.Literal) and side.kind == Kind.NIL:
            return other
    return None
