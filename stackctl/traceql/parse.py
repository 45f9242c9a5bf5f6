"""TraceQL text to syntax tree."""

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from importlib.resources import files
from typing import Any, NoReturn, cast

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from stackctl.errors import QueryInvalid
from stackctl.traceql import ast

# Readers of the tree are recursive: what nests deeper would end in Python's recursion limit instead of an answer.
MAX_DEPTH = 150
MAX_CHARACTERS = 65_536

_UNIT_NS = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86_400 * 10**9,
    "w": 7 * 86_400 * 10**9,
    "y": 365 * 86_400 * 10**9,
}
_KEYWORDS: dict[str, tuple[bool | int | None, ast.Kind]] = {
    "true": (True, ast.Kind.BOOL),
    "false": (False, ast.Kind.BOOL),
    "nil": (None, ast.Kind.NIL),
    **{name: (number, kind) for kind, names in ast.ENUM_NAMES.items() for number, name in enumerate(names)},
}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v", "\\": "\\", '"': '"'}
_ESCAPE = re.compile(r'\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|([abfnrtv\\"])|(.))', re.S)


def parse(text: str) -> ast.Query:
    """Parse a query.

    Raises:
        QueryInvalid: the text is not TraceQL; the message carries line and column as Tempo's does.
    """
    if len(text) > MAX_CHARACTERS:
        raise QueryInvalid(
            f"the query has {len(text)} characters, more than {MAX_CHARACTERS}", next_step="ask a shorter query"
        )
    try:
        # With an embedded transformer lark's types do not say what `parse` returns.
        query = cast(ast.Query, _parser().parse(text))
    except UnexpectedInput as error:
        raise _syntax_error(text, error) from None
    _check_depth(text, query)
    return query


def invalid(text: str, at: int, reason: str) -> QueryInvalid:
    """Return the error for a place in a query, worded as Tempo words it."""
    line = text.count("\n", 0, at) + 1
    column = at - (text.rfind("\n", 0, at) + 1) + 1
    return QueryInvalid(
        f"parse error at line {line}, col {column}: {reason}",
        next_step="correct the query there; the language: https://grafana.com/docs/tempo/latest/traceql/",
        position=at,
    )


@cache
def _parser() -> Lark:
    grammar = files("stackctl.traceql").joinpath("traceql.lark").read_text(encoding="utf-8")
    return Lark(grammar, start="query", parser="lalr", transformer=_Build(), maybe_placeholders=True)


def _check_depth(text: str, query: ast.Query) -> None:
    pending: list[tuple[ast.Node, int]] = [(query, 1)]
    while pending:
        node, depth = pending.pop()
        if depth > MAX_DEPTH:
            raise invalid(text, node.at, f"nested deeper than {MAX_DEPTH}")
        pending += [(child, depth + 1) for child in children(node)]


def children(node: ast.Node) -> Iterator[ast.Node]:
    """Yield the nodes directly below one."""
    for part in fields(node):
        value = getattr(node, part.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, ast.Node):
                yield item


def _syntax_error(text: str, error: UnexpectedInput) -> QueryInvalid:
    at = error.pos_in_stream if error.pos_in_stream is not None else len(text)
    if isinstance(error, UnexpectedToken):
        if error.token.type == "$END":
            return invalid(text, len(text), "syntax error: unexpected end of the query")
        return invalid(text, at, f"syntax error: unexpected {str(error.token)!r}")
    if isinstance(error, UnexpectedCharacters):
        return invalid(text, at, f"syntax error: unexpected {_word_at(text, at)!r}")
    return invalid(text, at, "syntax error")


def _word_at(text: str, at: int) -> str:
    found = re.compile(r"[\w.:]+|.", re.S).match(text, at)
    return found[0] if found else ""


def _unquote(token: Token) -> str:
    """Return what a double-quoted string means, by Go's escapes."""

    def character(found: re.Match[str]) -> str:
        hexadecimal = found[1] or found[2] or found[3]
        if found[6] is not None or (hexadecimal and int(hexadecimal, 16) > 0x10FFFF):
            _fail(token, "invalid escape sequence in a string")
        if hexadecimal:
            return chr(int(hexadecimal, 16))
        return chr(int(found[4], 8)) if found[4] else _ESCAPES[found[5]]

    return _ESCAPE.sub(character, token[1:-1])


def _fail(token: Token, reason: str) -> NoReturn:
    raise QueryInvalid(
        f"parse error at line {token.line}, col {token.column}: {reason}",
        next_step="correct the query there; the language: https://grafana.com/docs/tempo/latest/traceql/",
        position=token.start_pos,
    )


def _duration_ns(text: str) -> int:
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ns|us|µs|ms|s|m|h|d|w|y)", text)
    return sum(
        int(number) * _UNIT_NS[unit] if number.isdigit() else round(float(number) * _UNIT_NS[unit])
        for number, unit in parts
    )


def _at(token: Token) -> int:
    assert token.start_pos is not None, "tokens of a parsed text know where they stand"
    return token.start_pos


def _measures(pipeline: ast.Pipeline) -> bool:
    return any(isinstance(stage, ast.Metrics) for stage in pipeline.stages)


@v_args(inline=True)
class _Build(Transformer[Token, Any]):
    """One method for each rule of the grammar."""

    def query(self, body: ast.Pipeline | ast.MetricsMath, *hints: tuple[tuple[str, ast.Literal], ...]) -> ast.Query:
        return ast.Query(body.at, body, tuple(pair for group in hints for pair in group))

    def hints(self, *pairs: tuple[str, ast.Literal]) -> tuple[tuple[str, ast.Literal], ...]:
        return pairs

    def hint(self, name: Token, value: ast.Literal) -> tuple[str, ast.Literal]:
        return str(name), value

    def pipeline(self, *stages: ast.Stage) -> ast.Pipeline:
        first, *rest = stages
        if isinstance(first, ast.Pipeline) and _measures(first):
            return ast.Pipeline(first.at, (*first.stages, *rest))  # parentheses around metrics mean nothing
        return ast.Pipeline(first.at, stages)

    def group(self, pipeline: ast.Pipeline) -> ast.Spanset:
        only = pipeline.stages[0]
        alone = len(pipeline.stages) == 1 and isinstance(only, ast.Filter | ast.SpansetOperation | ast.Pipeline)
        return only if alone else pipeline  # type: ignore[return-value]  # the line above makes sure

    def group_by(self, word: Token, *expressions: ast.Expression) -> ast.GroupBy:
        return ast.GroupBy(_at(word), expressions)

    def coalesce(self, word: Token) -> ast.Coalesce:
        return ast.Coalesce(_at(word))

    def select(self, word: Token, *expressions: ast.Expression) -> ast.Select:
        return ast.Select(_at(word), expressions)

    def filter(self, brace: Token, condition: ast.Expression | None = None) -> ast.Filter:
        return ast.Filter(_at(brace), condition)

    def spanset_operation(self, left: ast.Spanset, op: Token, right: ast.Spanset) -> ast.SpansetOperation:
        return ast.SpansetOperation(_at(op), str(op), left, right)

    structural_operation = spanset_operation

    def scalar_filter(self, left: ast.Scalar, op: Token, right: ast.Scalar) -> ast.ScalarFilter:
        return ast.ScalarFilter(left.at, str(op), left, right)

    def scalar_operation(self, left: ast.Scalar, op: Token, right: ast.Scalar) -> ast.ScalarOperation:
        return ast.ScalarOperation(_at(op), str(op), left, right)

    def scalar_pipeline(self, *parts: Any) -> ast.ScalarPipeline:
        return ast.ScalarPipeline(parts[0].at, parts[:-1], parts[-1])

    def aggregate(self, function: Token, operand: ast.Expression | None = None) -> ast.Aggregate:
        return ast.Aggregate(_at(function), str(function), operand)

    def number(self, *tokens: Token) -> ast.Literal:
        value = self.literal(tokens[-1])
        signed = -value.value if tokens[0].type == "MINUS" else value.value  # type: ignore[operator]  # a number token
        return ast.Literal(_at(tokens[0]), signed, value.kind)

    def metrics(self, function: Token, *parts: Any) -> ast.Metrics:
        *arguments, by = parts
        given = tuple(argument for argument in arguments if argument is not None)
        return ast.Metrics(_at(function), str(function), given, by or ())

    def compare(self, function: Token, selected: ast.Filter, *parameters: ast.Literal) -> ast.Metrics:
        return ast.Metrics(_at(function), str(function), parameters, (), selected)

    def by(self, _: Token, *expressions: ast.Expression) -> tuple[ast.Expression, ...]:
        return expressions

    def threshold(self, op: Token, number: ast.Literal) -> ast.Threshold:
        return ast.Threshold(_at(op), str(op), number)

    def rank(self, function: Token, count: Token) -> ast.Rank:
        return ast.Rank(_at(function), str(function), int(count))

    def metrics_math(self, left: Any, op: Token, right: Any) -> ast.MetricsMath:
        return ast.MetricsMath(_at(op), str(op), left, right)

    def metrics_chain(self, math: ast.MetricsMath, *after: ast.Ranking) -> ast.MetricsMath:
        return replace(math, after=after)

    def binary(self, left: ast.Expression, op: Token, right: ast.Expression) -> ast.Binary:
        return ast.Binary(_at(op), str(op), left, right)

    def unary(self, op: Token, operand: ast.Expression) -> ast.Unary:
        return ast.Unary(_at(op), str(op), operand)

    def attribute(self, token: Token) -> ast.Attribute:
        rest, parent = token.removeprefix("parent."), token.startswith("parent.")
        scope, name = "", rest.removeprefix(".")
        found = re.match(r"(span|resource)\.(.+)" if parent else r"(\w*)\.(.+)", rest, re.S)
        if found:
            scope, name = found[1], found[2]
        plain = re.sub(r'"((?:\\[\\"]|[^"\\])*)"', lambda part: re.sub(r"\\(.)", r"\1", part[1]), name)
        return ast.Attribute(_at(token), scope, plain, parent)

    def intrinsic(self, token: Token) -> ast.Intrinsic:
        if token not in ast.INTRINSICS:
            _fail(token, f"unknown intrinsic {str(token)!r}")
        return ast.Intrinsic(_at(token), *ast.INTRINSICS[str(token)])

    def variable(self, token: Token) -> ast.Variable:
        return ast.Variable(_at(token), str(token))

    def literal(self, token: Token) -> ast.Literal:
        at = _at(token)
        match token.type:
            case "STRING":
                return ast.Literal(at, _unquote(token), ast.Kind.STRING)
            case "RAW_STRING":
                return ast.Literal(at, token[1:-1], ast.Kind.STRING)
            case "DURATION":
                return ast.Literal(at, _duration_ns(token), ast.Kind.DURATION)
            case "FLOAT":
                return ast.Literal(at, float(token), ast.Kind.FLOAT)
            case "INTEGER":
                if int(token) >= 2**63:
                    _fail(token, "the number does not fit into 64 bits")
                return ast.Literal(at, int(token), ast.Kind.INT)
        return ast.Literal(at, *_KEYWORDS[str(token)])
