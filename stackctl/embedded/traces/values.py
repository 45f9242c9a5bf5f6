"""Values of TraceQL as SQL, by type, and their comparison.

Values of a query never stand in the SQL: each becomes a bound parameter. Tempo's rules hold: a comparison of values of
different types is false, also with `!=`; regular expressions match the whole value, on RE2, with `.` for newlines too.
An array stands in a relation to a value where one of its elements does; with `!=` and `!~` where all do, so that these
hold for an empty one. Two arrays compare to nothing.
"""

import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from stackctl.errors import QueryUnsupported
from stackctl.traceql.ast import Kind
from stackctl.traceql.check import EQUALITY, REGEX

# What comparison operators do where numbers are compared outside of SQL.
HOLDS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}
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
    """SQL of a numeric value. Doubles may be NaN, which DuckDB puts above every number and IEEE 754 beside them.

    Attributes:
        kind: INT, FLOAT or DURATION.
        literal: it stands in the query, and is no NaN.
    """

    sql: str
    kind: Kind
    literal: bool = False


@dataclass(frozen=True)
class Typed:
    """One place where a value may be, as SQL by type; NULL where the span does not have it there.

    Attributes:
        guard: condition under which this place is the one that counts; None for always.
        arrays: SQL of JSON arrays.
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
        # Of elements as JSON, which tells 1 from "1": `plain` reads them.
        arrays = tuple(f"TRY_CAST({array} AS JSON[])" for array in self.arrays)
        return self.strings + numbers + self.bools + arrays + tuple(sql for _, sql in self.enums)


Operand = tuple[Typed, ...]


def plain(value: Any) -> Any:
    """Return a value of `Typed.present` as Python has it: an array's elements in the types that they were sent in."""
    return [None if one is None else orjson.loads(one) for one in value] if isinstance(value, list) else value


def unsupported(what: str) -> QueryUnsupported:
    """Return the error for a part of TraceQL that this engine does not run."""
    return QueryUnsupported(
        f"{what}: valid TraceQL, but not supported by the embedded engine", next_step="write the query without it"
    )


def any_of(conditions: Iterable[str]) -> str:
    """Return SQL that is true where one of some conditions is."""
    joined = " OR ".join(conditions)
    return f"({joined})" if joined else "FALSE"


def guarded(guard: str | None, sql: str) -> str:
    """Return a condition that counts only under a guard."""
    return sql if guard is None else f"({guard} AND {sql})"


def guarded_value(guard: str | None, sql: str) -> str:
    """Return a value that counts only under a guard."""
    return sql if guard is None else f"CASE WHEN {guard} THEN {sql} END"


def comparison(op: str, left: Operand, right: Operand) -> str:
    """Return SQL of a comparison: true where it holds for a pair of values of one type."""
    return any_of(guarded(a.guard, guarded(b.guard, sql)) for a in left for b in right for sql in _pairs(op, a, b))


def coalesced_number(operand: Operand) -> str:
    """Return SQL of a value as a double, NULL where it is no number."""
    places = [guarded_value(place.guard, f"{number.sql}::DOUBLE") for place in operand for number in place.numbers]
    if len(places) < 2:
        return places[0] if places else "NULL::DOUBLE"
    return f"COALESCE({', '.join(places)})"


def json_values(value: str) -> tuple[tuple[str, ...], tuple[Number, ...], tuple[str, ...], tuple[str, ...]]:
    """Return SQL of what a JSON value is: as strings, numbers, bools and arrays."""
    return (
        (_of_json(value, "VARCHAR", f"({value} ->> '$')"),),
        (
            Number(_of_json(value, "DOUBLE", f"TRY_CAST({value} AS DOUBLE)"), Kind.FLOAT),
            Number(_of_json(value, "BIGINT", f"TRY_CAST({value} AS BIGINT)"), Kind.INT),
        ),
        (_of_json(value, "BOOLEAN", f"TRY_CAST({value} AS BOOLEAN)"),),
        (_of_json(value, "ARRAY", value),),
    )


def json_text_values(text: str) -> tuple[str, str]:
    """Return SQL of what a text is that may be that of a JSON array: a string, and an array."""
    value = f"TRY_CAST({text} AS JSON)"
    array = _of_json(value, "ARRAY", value)
    return f"CASE WHEN {array} IS NULL THEN {text} END", array


def json_pointer(*keys: str) -> str:
    """Return the JSON pointer (RFC 6901) of a place in an object."""
    return "".join("/" + key.replace("~", "~0").replace("/", "~1") for key in keys)


def compare_numbers(op: str, left: Number, right: Number) -> str:
    """Return SQL of a comparison of two numbers as IEEE 754 has it: NaN is not equal to, above or below anything."""
    sql = _SQL_OPERATOR[op]
    doubtful = [side.sql for side in (left, right) if side.kind == Kind.FLOAT and not side.literal]
    if op == "!=":
        both = f" OR (isnan({left.sql}) AND isnan({right.sql}))" if len(doubtful) == 2 else ""
        return f"({left.sql} <> {right.sql}{both})"
    return " AND ".join([f"{left.sql} {sql} {right.sql}", *(f"NOT isnan({side})" for side in doubtful)])


def _pairs(op: str, left: Typed, right: Typed) -> list[str]:
    """Return SQL for every pair of types that can be compared."""
    found = _scalar_pairs(op, left, right)
    element = Typed(None, *json_values("element")[:3])
    found += [_of_elements(op, array, _scalar_pairs(op, element, right)) for array in left.arrays]
    return found + [_of_elements(op, array, _scalar_pairs(op, left, element)) for array in right.arrays]


def _scalar_pairs(op: str, left: Typed, right: Typed) -> list[str]:
    if op in REGEX:
        negated = "NOT " if op == "!~" else ""
        # `s` lets `.` match a newline.
        return [f"{negated}regexp_full_match({a}, {b}, 's')" for a in left.strings for b in right.strings]
    sql = _SQL_OPERATOR[op]
    found = [f"{a} {sql} {b}" for a in left.strings for b in right.strings]
    found += [compare_numbers(op, a, b) for a in left.numbers for b in right.numbers]
    if op not in EQUALITY:
        return found  # the others have no order
    found += [f"{a} {sql} {b}" for a in left.bools for b in right.bools]
    return found + [f"{a} {sql} {b}" for kind, a in left.enums for other, b in right.enums if kind == other]


def _of_elements(op: str, array: str, pairs: Iterable[str]) -> str:
    """Return SQL of a comparison of an array, from those of its `element`."""
    holds, elements = any_of(pairs), f"json_extract({array}, '$[*]')"
    if op in ("!=", "!~"):
        return f"len(list_filter({elements}, lambda element: NOT COALESCE({holds}, FALSE))) = 0"
    return f"len(list_filter({elements}, lambda element: {holds})) > 0"


def _of_json(value: str, json_type: str, sql: str) -> str:
    names = {"BIGINT": "('BIGINT', 'UBIGINT')"}.get(json_type, f"('{json_type}')")
    return f"CASE WHEN json_type({value}) IN {names} THEN {sql} END"
