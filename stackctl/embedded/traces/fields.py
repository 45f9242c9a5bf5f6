"""TraceQL field expressions to SQL over one span, its parent, its trace, and its events and links one by one.

An absent attribute compares to nothing but `nil`; `!` turns a condition's two values; arithmetic is that of
`arithmetic`. A condition on events or links holds where it holds for one of them; a value of theirs is that of the
first that has one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from stackctl.embedded.traces.arithmetic import calculated, negated
from stackctl.embedded.traces.schema import JSON_TEXT_ARRAYS, REST_COLUMN, SCOPE_PREFIX, Schema, identifier
from stackctl.embedded.traces.values import (
    HOLDS,
    Number,
    Operand,
    Parameters,
    Typed,
    any_of,
    coalesced_number,
    comparison,
    guarded,
    guarded_value,
    json_pointer,
    json_text_values,
    json_values,
    unsupported,
)
from stackctl.traceql import ast
from stackctl.traceql.ast import NUMERIC, Kind
from stackctl.traceql.check import ARITHMETIC, LOGICAL, mentions

# Where an intrinsic is found: columns that it needs, and its SQL.
_INTRINSIC_SQL: Final[dict[str, tuple[tuple[str, ...], str]]] = {
    "span:name": (("name",), "name"),
    "span:duration": (("dur_ns",), "dur_ns"),
    "span:status": (("status",), "status"),
    "span:statusMessage": (("status_msg",), "status_msg"),
    "span:kind": (("kind",), "kind"),
    "span:id": ((), "lpad(lower(to_hex(span_id)), 16, '0')"),
    "span:parentID": ((), "CASE WHEN parent_id = 0 THEN '' ELSE lpad(lower(to_hex(parent_id)), 16, '0') END"),
    "span:childCount": ((), "child_count"),
    "trace:id": ((), "lpad(lower(to_hex(tid_hi)), 16, '0') || lpad(lower(to_hex(tid_lo)), 16, '0')"),
    "trace:duration": ((), "trace_dur_ns"),
    "trace:rootName": ((), "root_name"),
    "trace:rootService": ((), "root_service"),
    "instrumentation:name": (("scope",), "scope"),
    "instrumentation:version": (("scope_version",), "scope_version"),
    "event:name": (("events",), "(event ->> '$.name')"),
    "event:timeSinceStart": (("events",), "(TRY_CAST(event ->> '$.time_ns' AS BIGINT) - start_ns)"),
    "link:traceID": (("links",), "(link ->> '$.trace_id')"),
    "link:spanID": (("links",), "(link ->> '$.span_id')"),
}
TRACE_FACTS: Final = frozenset({"trace:duration", "trace:rootName", "trace:rootService"})
CHILD_COUNT: Final = "span:childCount"
# Numbers of Tempo's nested set model, which tells a span's place in its tree.
NESTED_SETS: Final = frozenset({"nestedSetLeft", "nestedSetRight", "nestedSetParent"})
_ROOT, _BELOW_ROOT = -1, 1  # nestedSetParent of a root; of other spans at least the second
# Scopes of which a span has several: to the column that holds them as a JSON array.
LISTS: Final = {"event": "events", "link": "links"}
PARENT_PREFIX: Final = "parent."
_NUMBER_COLUMNS: Final = (("i", Kind.INT), ("d", Kind.FLOAT))


@dataclass
class Needs:
    """What expressions read, gathered while they are compiled.

    Attributes:
        columns: columns of the span.
        parent_columns: columns of its parent.
        facts: facts about its trace.
        children: how many children it has.
    """

    columns: set[str] = field(default_factory=set)
    parent_columns: set[str] = field(default_factory=set)
    facts: bool = False
    children: bool = False


class FieldCompiler:
    """Compiles field expressions of one query.

    Args:
        schema: the columns there are; an attribute without a column is absent from every span.
        parameters: receives the values.
        needs: receives what the expressions read.
    """

    def __init__(self, schema: Schema, parameters: Parameters, needs: Needs | None = None) -> None:
        self.schema = schema
        self.parameters = parameters
        self.needs = needs or Needs()

    def condition(self, expression: ast.Expression) -> str:
        """Return SQL that is TRUE for the spans that meet a condition, FALSE or NULL for the others."""
        match expression:
            case ast.Binary(op=op) if op in LOGICAL:
                joint = "AND" if op == "&&" else "OR"
                return f"({self.condition(expression.left)} {joint} {self.condition(expression.right)})"
            case ast.Binary(op=op) if op not in ARITHMETIC:
                return self._comparison(expression)
            case ast.Unary(op="!") if not isinstance(expression.operand, ast.Attribute):
                return f"(NOT COALESCE({self.condition(expression.operand)}, FALSE))"
            case ast.Unary(op="!"):
                # Only a stored `false` becomes true: what is absent is no bool.
                turned = self.operand(expression.operand)
                bools = (guarded(place.guard, f"NOT {sql}") for place in turned for sql in place.bools)
                return _for_some(expression, any_of(bools))
        places = self.operand(expression)
        return _for_some(expression, any_of(guarded(place.guard, sql) for place in places for sql in place.bools))

    def number(self, expression: ast.Expression) -> str:
        """Return SQL of an expression's value as a double, NULL where it has none."""
        return _of_first(expression, coalesced_number(self.operand(expression)))

    def values(self, expression: ast.Expression) -> tuple[str, ...]:
        """Return SQL of an expression's value, one for each type that it may have; at most one of them is not NULL."""
        return tuple(
            _of_first(expression, guarded_value(place.guard, sql))
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
            case ast.Unary(op="-", operand=ast.Literal(value=int() | float() as value, kind=kind) as literal):
                return (self._literal(replace(literal, value=-value)),) if kind in NUMERIC else (Typed(),)
            case ast.Unary(op="-"):
                return (negated(self.operand(expression.operand)),)
            case ast.Binary(op=op) if op in ARITHMETIC:
                return (calculated(op, self.operand(expression.left), self.operand(expression.right)),)
        return (Typed(bools=(f"COALESCE({self.condition(expression)}, FALSE)",)),)

    def _comparison(self, expression: ast.Binary) -> str:
        left, right, op = expression.left, expression.right, expression.op
        for side, other in ((left, right), (right, left)):
            if isinstance(side, ast.Literal) and side.kind == Kind.NIL and op in ("=", "!="):
                return self._nil_comparison(op, other)
            if isinstance(side, ast.Intrinsic) and side.name in NESTED_SETS:
                return _nested(side, expression)
        return _for_some(expression, comparison(op, self.operand(left), self.operand(right)))

    def _nil_comparison(self, op: str, other: ast.Expression) -> str:
        if isinstance(other, ast.Literal):
            return "TRUE" if (other.kind == Kind.NIL) == (op == "=") else "FALSE"
        if isinstance(other, ast.Intrinsic) and other.name == "parent":
            return f"parent_id {'=' if op == '=' else '<>'} 0"
        exists = any_of(f"{sql} IS NOT NULL" for place in self.operand(other) for sql in place.present())
        # Of several events none may have it.
        return f"(NOT {_for_some(other, exists)})" if op == "=" else _for_some(other, exists)

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
        return Typed(numbers=(Number(place, literal.kind, literal=True),))

    def _intrinsic(self, intrinsic: ast.Intrinsic) -> Typed:
        if intrinsic.name not in _INTRINSIC_SQL:
            raise unsupported(f"the intrinsic {intrinsic.name}")
        columns, sql = _INTRINSIC_SQL[intrinsic.name]
        self.needs.columns.update(columns)
        self.needs.facts |= intrinsic.name in TRACE_FACTS
        self.needs.children |= intrinsic.name == CHILD_COUNT
        match intrinsic.kind:
            case Kind.STRING:
                return Typed(strings=(sql,))
            case Kind.STATUS | Kind.SPAN_KIND:
                return Typed(enums=((intrinsic.kind, sql),))
        return Typed(numbers=(Number(sql, intrinsic.kind),))

    def _attribute(self, attribute: ast.Attribute) -> Operand:
        if attribute.scope == "instrumentation":
            raise unsupported(f"attributes of instrumentation scopes ({attribute})")
        if attribute.scope in LISTS:
            self.needs.columns.add(LISTS[attribute.scope])
            pointer = self.parameters.bind(json_pointer("attributes", attribute.name))
            return (Typed(None, *json_values(f"json_extract({attribute.scope}, {pointer})")),)
        if attribute.scope:
            return (self._scoped(attribute, attribute.scope, None),)
        span = self._scoped(attribute, "span", None)
        absent = " AND ".join(f"{sql} IS NULL" for sql in span.present())
        resource = self._scoped(attribute, "resource", absent or None)
        return tuple(place for place in (span, resource) if place.present())

    def _scoped(self, attribute: ast.Attribute, scope: str, guard: str | None) -> Typed:
        key, columns = attribute.name, self._columns(attribute, scope)
        strings, numbers, bools, arrays = [], [], [], []
        if "s" in columns and key in JSON_TEXT_ARRAYS:
            string, array = json_text_values(columns["s"])
            strings.append(string)
            arrays.append(array)
        elif "s" in columns:
            strings.append(columns["s"])
        numbers += [Number(columns[letter], kind) for letter, kind in _NUMBER_COLUMNS if letter in columns]
        if "b" in columns:
            bools.append(columns["b"])
        if self.schema.in_rest(scope, key):
            rest = self._column(REST_COLUMN[scope], attribute.parent)
            found = json_values(f"json_extract({rest}, {self.parameters.bind(json_pointer(key))})")
            for kept, more in zip((strings, numbers, bools, arrays), found, strict=True):
                kept.extend(more)  # type: ignore[attr-defined]  # the same types in the same order
        return Typed(guard, tuple(strings), tuple(numbers), tuple(bools), tuple(arrays))

    def _columns(self, attribute: ast.Attribute, scope: str) -> dict[str, str]:
        """Return the columns that hold an attribute, by type letter, as SQL."""
        names = {kind: f"{SCOPE_PREFIX[scope]}:{attribute.name}:{kind}" for kind in "sidb"}
        return {
            kind: self._column(name, attribute.parent) for kind, name in names.items() if name in self.schema.columns
        }

    def _column(self, name: str, of_parent: bool) -> str:
        (self.needs.parent_columns if of_parent else self.needs.columns).add(name)
        return identifier(PARENT_PREFIX + name if of_parent else name)


def looks_beyond(node: ast.Node) -> bool:
    """True for an expression that needs more than the row of its span: its trace, its parent or its children."""
    return any(
        found.parent if isinstance(found, ast.Attribute) else found.name in TRACE_FACTS or found.name == CHILD_COUNT
        for found in mentions(node)
    )


def _lists(node: ast.Node) -> Sequence[str]:
    """Return which of a span's lists an expression looks into."""
    found = {node.scope if isinstance(node, ast.Attribute) else node.name.split(":")[0] for node in mentions(node)}
    return [scope for scope in LISTS if scope in found]


def _for_some(node: ast.Node, condition: str) -> str:
    """Return a condition that holds where it holds for one of the events or links that an expression mentions."""
    for scope in _lists(node):
        items = f"json_extract({LISTS[scope]}, '$[*]')"
        condition = f"COALESCE(list_bool_or(list_transform({items}, lambda {scope}: {condition})), FALSE)"
    return condition


def _of_first(node: ast.Node, value: str) -> str:
    """Return a value of the first event or link that has it."""
    for scope in _lists(node):
        items = f"json_extract({LISTS[scope]}, '$[*]')"
        value = f"list_filter(list_transform({items}, lambda {scope}: {value}), lambda v: v IS NOT NULL)[1]"
    return value


def _nested(field_: ast.Intrinsic, expression: ast.Binary) -> str:
    """Return SQL of a comparison of nestedSetParent that tells roots from the rest, which is what it is asked for."""
    other = expression.right if expression.left is field_ else expression.left
    literal = other.operand if isinstance(other, ast.Unary) and other.op == "-" else other
    if field_.name != "nestedSetParent" or not isinstance(literal, ast.Literal):
        raise unsupported(f"comparing the intrinsic {field_.name}")
    value = float(literal.value or 0) * (1 if literal is other else -1)
    turned = expression.left is not field_
    results = [
        HOLDS[expression.op](*((value, parent) if turned else (parent, value)))
        for parent in (_ROOT, _BELOW_ROOT, 2**62)
    ]
    if results[1] != results[2] or (value > _BELOW_ROOT - 1 and expression.op in ("=", "!=")):
        raise unsupported(f"comparing the intrinsic {field_.name} with {value:g}")
    conditions = {(True, True): "TRUE", (True, False): "parent_id = 0", (False, True): "parent_id <> 0"}
    return conditions.get((results[0], results[1]), "FALSE")
