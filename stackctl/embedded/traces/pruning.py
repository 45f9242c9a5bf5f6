"""Which segments may hold a span that meets a filter, told from what is known of them without reading them.

Never wrong by leaving out: where a rule below does not know, the segment is opened. The meaning of a comparison is that
of `fields`: what is absent compares to nothing but `nil`.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final

from stackctl.embedded.traces.schema import JSON_TEXT_ARRAYS, SCOPE_PREFIX
from stackctl.embedded.traces.segments import Part
from stackctl.traceql import ast
from stackctl.traceql.ast import Kind
from stackctl.traceql.check import ARITHMETIC, LOGICAL

# Intrinsics that stand in a column as a query writes them.
_COLUMNS: Final = {
    "span:name": "name",
    "span:status": "status",
    "span:kind": "kind",
    "span:duration": "dur_ns",
    "span:statusMessage": "status_msg",
    "instrumentation:name": "scope",
    "instrumentation:version": "scope_version",
}
_ABOVE: Final = frozenset({">", ">="})
_BELOW: Final = frozenset({"<", "<="})
_TURNED: Final = {">": "<", ">=": "<=", "<": ">", "<=": ">="}


def may_match(part: Part, condition: ast.Expression | None) -> bool:
    """False where no span of a part can meet a filter's condition."""
    match condition:
        case ast.Literal(kind=Kind.BOOL, value=value):
            return bool(value)
        case ast.Attribute():
            return _present(part, condition, "b")
        case ast.Binary(op=op) if op in LOGICAL:
            left = may_match(part, condition.left)
            decided = left == (op == "||")
            return left if decided else may_match(part, condition.right)
        case ast.Binary(op=op) if op not in ARITHMETIC:
            return _may_compare(part, condition)
    return True


def looked_for(condition: ast.Expression | None) -> Iterator[tuple[str, str]]:
    """Yield the texts that a condition looks for, and the columns that may have them."""
    match condition:
        case ast.Binary(op=op) if op in LOGICAL:
            yield from looked_for(condition.left)
            yield from looked_for(condition.right)
        case ast.Binary(
            op="=", left=ast.Attribute() as field, right=ast.Literal(kind=Kind.STRING, value=str() as text)
        ):
            if not field.parent and field.scope in ("", *SCOPE_PREFIX):
                yield from ((column, text) for column in _attribute_columns(field, "s"))


def pinned(part: Part, condition: ast.Expression | None) -> tuple[str, str] | None:
    """Return a column and the text that it is in every span of a part that meets a condition; None for no such."""
    match condition:
        case ast.Binary(op="&&"):
            return pinned(part, condition.left) or pinned(part, condition.right)
        case ast.Binary(
            op="=", left=ast.Attribute() as field, right=ast.Literal(kind=Kind.STRING, value=str() as text)
        ):
            column = _only_column(part, field)
            return None if column is None else (column, text)
    return None


def weakened(condition: ast.Expression | None, beyond: Callable[[ast.Node], bool]) -> ast.Expression | None:
    """Return a condition that holds wherever another does, without the comparisons that look beyond the span itself.

    Args:
        beyond: true for a part that looks beyond the span.
    """
    match condition:
        case ast.Binary(op="&&"):
            left, right = weakened(condition.left, beyond), weakened(condition.right, beyond)
            if left is None or right is None:
                return left or right
            return ast.Binary(condition.at, "&&", left, right)
        case ast.Binary(op="||"):
            left, right = weakened(condition.left, beyond), weakened(condition.right, beyond)
            return None if left is None or right is None else ast.Binary(condition.at, "||", left, right)
    return None if condition is None or beyond(condition) else condition


def _may_compare(part: Part, comparison: ast.Binary) -> bool:
    left, right, op = comparison.left, comparison.right, comparison.op
    if any(isinstance(side, ast.Literal) and side.kind == Kind.NIL for side in (left, right)):
        return True
    if not all(_present(part, field) for field in (*_operands(left), *_operands(right))):
        return False
    if isinstance(right, ast.Literal):
        return _may_be(part, left, op, right)
    if isinstance(left, ast.Literal):
        return _may_be(part, right, _TURNED.get(op, op), left)
    return True


def _only_column(part: Part, field: ast.Attribute) -> str | None:
    """Return the column that alone decides whether an attribute is a text; None for no such."""
    if field.parent or field.scope not in ("", *SCOPE_PREFIX) or field.name in JSON_TEXT_ARRAYS:
        return None
    if any(_in_rest(part, scope, field) for scope in _scopes(field)):
        return None
    columns = [column for column in _attribute_columns(field, "sidb") if column in part.columns]
    # A span's own value wins over its resource's, of whatever type it is: it must be the only one, or come first.
    texts = [column for column in columns if column.endswith(":s")]
    return texts[0] if len(texts) == 1 and columns[0].split(":")[0] == texts[0].split(":")[0] else None


def _operands(expression: ast.Expression) -> Iterator[ast.Attribute]:
    """Yield the attributes without which a comparison's side has no value."""
    match expression:
        case ast.Attribute():
            yield expression
        case ast.Unary(op="-"):
            yield from _operands(expression.operand)
        case ast.Binary(op=op) if op in ARITHMETIC:
            yield from _operands(expression.left)
            yield from _operands(expression.right)


def _present(part: Part, attribute: ast.Attribute, kinds: str = "sidb") -> bool:
    if attribute.parent or attribute.scope not in ("", *SCOPE_PREFIX):
        return True
    return any(_in_rest(part, scope, attribute) for scope in _scopes(attribute)) or any(
        column in part.columns for column in _attribute_columns(attribute, kinds)
    )


def _may_be(part: Part, field: ast.Expression, op: str, literal: ast.Literal) -> bool:
    """False where a field never stands in this relation to a literal."""
    if isinstance(field, ast.Intrinsic):
        return _may_hold_trace(part, op, literal) if field.name == "trace:id" else _intrinsic(part, field, op, literal)
    if not isinstance(field, ast.Attribute) or field.parent or field.scope not in ("", *SCOPE_PREFIX):
        return True
    if any(_in_rest(part, scope, field) for scope in _scopes(field)):
        return True
    if field.name in JSON_TEXT_ARRAYS:
        return _present(part, field)  # elements are of any type
    kinds = {Kind.STRING: "s", Kind.BOOL: "b"}.get(literal.kind, "id")
    columns = [column for column in _attribute_columns(field, kinds) if column in part.columns]
    return any(_may_stand(part, column, op, literal.value) for column in columns)


def _intrinsic(part: Part, field: ast.Intrinsic, op: str, literal: ast.Literal) -> bool:
    column = _COLUMNS.get(field.name)
    return column is None or _may_stand(part, column, op, literal.value)


def _may_stand(part: Part, column: str, op: str, value: Any) -> bool:
    facts = part.columns.get(column)
    if op == "=":
        return part.may_hold(column, [value])
    if facts is None or facts.low is None or isinstance(value, str) != isinstance(facts.low, str):
        return facts is not None
    if op in _ABOVE:
        return bool(facts.high > value or (op == ">=" and facts.high == value))
    if op in _BELOW:
        return bool(facts.low < value or (op == "<=" and facts.low == value))
    return True


def _may_hold_trace(part: Part, op: str, literal: ast.Literal) -> bool:
    text = str(literal.value)
    if op != "=" or len(text) != 32 or not all(digit in "0123456789abcdef" for digit in text):
        return True  # what is no id is for the statement to judge
    return part.may_hold("tid_hi", [int.from_bytes(bytes.fromhex(text[:16]), "big", signed=True)])


def _scopes(attribute: ast.Attribute) -> tuple[str, ...]:
    return (attribute.scope,) if attribute.scope else tuple(SCOPE_PREFIX)


def _in_rest(part: Part, scope: str, attribute: ast.Attribute) -> bool:
    return attribute.name in part.rest_keys.get(scope, frozenset())


def _attribute_columns(attribute: ast.Attribute, kinds: str) -> Iterator[str]:
    for scope in _scopes(attribute):
        for kind in kinds:
            yield f"{SCOPE_PREFIX[scope]}:{attribute.name}:{kind}"
