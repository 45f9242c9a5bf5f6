"""Expressions and values as Tempo writes them: `String` in its pkg/traceql, by which its answers name groups."""

import re
from typing import Final

from stackctl.traceql import ast
from stackctl.traceql.ast import Kind

# Tempo's old bare names, where the canonical one is another.
_BARE: Final = {
    "trace:rootName": "rootName",
    "trace:rootService": "rootServiceName",
    "trace:duration": "traceDuration",
    **{f"span:{name}": name for name in ("name", "duration", "status", "statusMessage", "kind")},
}
_QUOTED: Final = re.compile(r'[\s{}()=~!<>&|^,"]')
_SMALL_UNITS: Final = ((10**6, "ms"), (10**3, "µs"), (1, "ns"))


def spelled(node: ast.Expression | ast.Aggregate) -> str:
    """Return an expression or an aggregate as Tempo writes it."""
    match node:
        case ast.Aggregate():
            return f"{node.function}({'' if node.operand is None else spelled(node.operand)})"
        case ast.Literal():
            return _literal(node)
        case ast.Intrinsic():
            return _BARE.get(node.name, node.name)
        case ast.Attribute():
            name = f'"{node.name}"' if _QUOTED.search(node.name) else node.name
            scopes = ("parent" if node.parent else "", node.scope)
            return ".".join([scope for scope in scopes if scope] or [""]) + f".{name}"
        case ast.Variable():
            return node.name
        case ast.Unary():
            return node.op + _wrapped(node.operand)
        case ast.Binary():
            return f"{_wrapped(node.left)} {node.op} {_wrapped(node.right)}"


def duration_text(ns: float) -> str:
    """Return nanoseconds as Go writes a duration: `1h0m0s`, `1.5s`, `10ms`, `0s`."""
    whole = abs(int(ns))
    sign = "-" if ns < 0 and whole else ""
    if 0 < whole < 10**9:
        size, unit = next(pair for pair in _SMALL_UNITS if whole >= pair[0])
        return f"{sign}{_decimal(whole, size)}{unit}"
    minutes, rest = divmod(whole, 60 * 10**9)
    seconds = f"{_decimal(rest, 10**9)}s"
    if minutes >= 60:
        return f"{sign}{minutes // 60}h{minutes % 60}m{seconds}"
    return f"{sign}{minutes}m{seconds}" if minutes else sign + seconds


def _decimal(number: int, size: int) -> str:
    """Return number / size, exactly; size is a power of ten."""
    whole, fraction = divmod(number, size)
    digits = f"{fraction:0{len(str(size)) - 1}d}".rstrip("0") if fraction else ""
    return f"{whole}.{digits}" if digits else str(whole)


def _wrapped(node: ast.Expression) -> str:
    plain = isinstance(node, ast.Literal | ast.Attribute | ast.Intrinsic)
    return spelled(node) if plain else f"({spelled(node)})"


def _literal(literal: ast.Literal) -> str:
    value = literal.value
    match literal.kind:
        case Kind.NIL:
            return "nil"
        case Kind.STRING:
            return f"`{value}`"
        case Kind.BOOL:
            return str(value).lower()
        case Kind.STATUS | Kind.SPAN_KIND if isinstance(value, int):
            return ast.ENUM_NAMES[literal.kind][value]
        case Kind.DURATION if isinstance(value, int):
            return duration_text(value)
    return repr(value)
