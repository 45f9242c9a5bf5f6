"""Query text to syntax tree: promql-parser reads it, this module checks and converts.

Raises errors that name the place, and refuses by name what Prometheus has and this engine does not.
"""

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

import promql_parser

from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import tokens, tree
from stackctl.promql.values import NAME, Matcher

_MILLISECOND = timedelta(milliseconds=1)
_LONGEST = timedelta(microseconds=2**63 / 1000)
"""Prometheus holds durations as 64 bit nanoseconds."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_OPS: dict[str, Literal["=", "!=", "=~", "!~"]] = {"Equal": "=", "NotEqual": "!=", "Re": "=~", "NotRe": "!~"}
_NO_REASON = "invalid promql query"
_FILLS = "the fill modifiers of binary operators"
# promql-parser's words for an arithmetic in brackets or behind offset, which Prometheus calls a duration expression.
_DURATION_EXPRESSION = re.compile(
    r"unexpected character inside brackets: '[-+*/%^(]'|unexpected character in duration expression"
)
_DURATION_OPERAND = re.compile(r"(?<![\w:])offset\s*[-+]?\s*\(")
_NEW_OPERATORS = re.compile(r"(?<![\w:])(trim_upper|trim_lower)(?![\w:])|[<>]/")


def parse(query: str) -> tree.Node:
    """Parse a query.

    Raises:
        QueryInvalid: syntax or types are wrong; `position` is the offset in characters where known.
        QueryUnsupported: the query uses what this engine does not have.
    """
    stripped = tokens.strip(query)
    try:
        expression = promql_parser.parse(stripped.text)
    except ValueError as error:
        raise _refusal(query, str(error)) from error
    except OverflowError as error:
        raise _out_of_range("duration") from error
    return _Converter(stripped).convert(expression)


def metric_names(query: str) -> set[str]:
    """Return the metric names a query selects by equality.

    Raises:
        QueryInvalid, QueryUnsupported: as `parse` does.
    """
    return {
        matcher.value
        for selector in selectors(parse(query))
        for matcher in selector.matchers
        if matcher.name == NAME and matcher.op == "="
    }


def selectors(node: tree.Node) -> Iterator[tree.Selector]:
    """Yield all selectors of a tree in reading order."""
    if isinstance(node, tree.Selector):
        yield node
    for child in tree.children(node):
        yield from selectors(child)


def _refusal(query: str, reason: str) -> QueryInvalid | QueryUnsupported:
    """Turn promql-parser's reason into an error with a position, or into a refusal where the query is valid."""
    unquoted = "".join(token.text if token.kind != "string" else '""' for token in tokens.tokens(query))
    if _DURATION_EXPRESSION.search(reason) or _DURATION_OPERAND.search(unquoted):
        return _unsupported("duration expressions")
    if _NEW_OPERATORS.search(unquoted):
        return _unsupported("the native histogram operators </ and >/")
    position = _position(query, reason)
    if reason == _NO_REASON:
        unexpected = next((token.text for token in tokens.tokens(query) if token.at == position), None)
        reason = "unexpected end of input" if unexpected is None else f"unexpected {unexpected}"
    line = query.count("\n", 0, position) + 1
    column = position - (query.rfind("\n", 0, position) + 1) + 1
    return QueryInvalid(
        f"{line}:{column}: parse error: {_in_prometheus_words(reason)}",
        next_step="Correct the query at that place.",
        position=position,
    )


def _in_prometheus_words(reason: str) -> str:
    """Quote with double quotes, and name types as Prometheus does."""
    reason = re.sub(r"'([^']*)'", r'"\1"', reason)
    for theirs, known in (("matrix", "range vector"), ("vector", "instant vector")):
        reason = re.sub(rf"\b(expected type|got|allowed on) {theirs}\b", rf"\1 {known}", reason)
    return reason


def _position(query: str, reason: str) -> int:
    """Find the offset that an error is about: the thing it quotes, the bracket left open, or where parsing stops."""
    quote = next((token.at for token in tokens.tokens(query) if token.kind == "mark" and token.text in "'\"`"), None)
    if quote is not None:
        return quote
    odd = _unbalanced(query)
    if odd is not None and re.search("unclosed|unexpected end|unexpected right", reason):
        return odd
    quoted = re.search(r"'([^']+)'", reason)
    if quoted and quoted.group(1) in query:
        return query.index(quoted.group(1))
    return _longest_prefix(query)


def _unbalanced(query: str) -> int | None:
    """Return the offset of the first bracket that closes nothing, else of the last one left open."""
    stack = []
    for token in tokens.tokens(query):
        if token.kind == "mark" and token.text in "([{":
            stack.append(token.at)
        elif token.kind == "mark" and token.text in ")]}":
            if not stack:
                return token.at
            stack.pop()
    return stack[-1] if stack else None


def _longest_prefix(query: str) -> int:
    """Return where the token after the longest parsable prefix starts: the one that was not expected."""
    if any(_parses(query + operand) for operand in (" x", " 1", "(x)")):
        return len(query)
    found = [token for token in tokens.tokens(query) if token.kind != "space"]
    for count in range(len(found), 0, -1):
        end = found[count - 1].at + len(found[count - 1].text)
        if _parses(query[:end]):
            return found[count].at if count < len(found) else end
    return found[0].at if found else 0


def _parses(query: str) -> bool:
    try:
        promql_parser.parse(query)
    except ValueError:
        return False
    return True


def _unsupported(what: str) -> QueryUnsupported:
    return QueryUnsupported(
        f"unsupported: {what}", next_step="Rewrite the query without it, or use the docker runtime's Prometheus."
    )


def _out_of_range(what: str) -> QueryInvalid:
    return QueryInvalid(f"parse error: {what} out of range", next_step=f"Use a smaller {what}.")


def _ms(duration: timedelta | None) -> int:
    if duration is None:
        return 0
    if abs(duration) > _LONGEST:
        raise _out_of_range("duration")
    return duration // _MILLISECOND


class _Converter:
    """Walks promql-parser's tree in reading order, giving each selector the word taken off behind it."""

    def __init__(self, stripped: tokens.Stripped) -> None:
        self.stripped = stripped
        self.ordinal = 0

    def convert(self, expression: Any) -> tree.Node:
        node = self.node(expression)
        if self.stripped.extended and self.ordinal != self.stripped.selectors:
            # The token pass and the parser disagree about what is a selector: better no answer than a wrong one.
            raise _unsupported("anchored or smoothed in a query this complex")
        return node

    def node(self, expression: Any) -> tree.Node:
        match type(expression).__name__:
            case "ParenExpr":
                return self.node(expression.expr)
            case "NumberLiteral":
                return tree.Number(float(expression.val))
            case "StringLiteral":
                return tree.Text(expression.val)
            case "VectorSelector":
                return self.selector(expression, None)
            case "MatrixSelector":
                return self.selector(expression.vector_selector, _ms(expression.range))
            case "SubqueryExpr":
                return self.subquery(expression)
            case "UnaryExpr":
                return tree.Negation(self.node(expression.expr))
            case "Call":
                return tree.Call(expression.func.name, tuple(self.node(arg) for arg in expression.args))
            case "AggregateExpr":
                return self.aggregation(expression)
            case "BinaryExpr":
                return self.binary(expression)
            case other:
                raise _unsupported(f"{other} expressions")

    def selector(self, selector: Any, range_ms: int | None) -> tree.Selector:
        word = self.stripped.extended.get(self.ordinal)
        self.ordinal += 1
        named = (Matcher(NAME, "=", selector.name),) if selector.name else ()
        if selector.matchers.or_matchers:  # that parser takes it from another dialect
            raise QueryInvalid(
                'parse error: unexpected identifier "or" in label matching, expected "," or "}"',
                next_step="Combine two selectors with the operator or.",
            )
        matchers = named + tuple(_matcher(matcher) for matcher in selector.matchers.matchers)
        return tree.Selector(matchers, _ms(selector.offset), _at(selector.at), range_ms, word)

    def subquery(self, subquery: Any) -> tree.Subquery:
        step = None if subquery.step is None else _ms(subquery.step)
        return tree.Subquery(
            self.node(subquery.expr), _ms(subquery.range), step, _ms(subquery.offset), _at(subquery.at)
        )

    def aggregation(self, aggregation: Any) -> tree.Aggregation:
        param = None if aggregation.param is None else self.node(aggregation.param)
        labels: tuple[str, ...] = ()
        without = False
        if aggregation.modifier is not None:
            labels = tuple(aggregation.modifier.labels)
            without = _variant(aggregation.modifier.type) == "Without"
        return tree.Aggregation(str(aggregation.op), self.node(aggregation.expr), param, labels, without)

    def binary(self, binary: Any) -> tree.Binary:
        modifier = binary.modifier
        left, right = self.node(binary.lhs), self.node(binary.rhs)
        if modifier is None:
            return tree.Binary(str(binary.op), left, right)
        fill = modifier.fill_values
        if fill is not None and (fill.lhs is not None or fill.rhs is not None):
            raise _unsupported(_FILLS)
        return tree.Binary(str(binary.op), left, right, bool(modifier.return_bool), _matching(modifier))


def _matching(modifier: Any) -> tree.Matching:
    many: dict[str, Literal["left", "right"]] = {"ManyToOne": "left", "OneToMany": "right"}
    labels = modifier.matching
    return tree.Matching(
        on=labels is not None and _variant(labels.type) == "Include",
        labels=tuple(labels.labels) if labels is not None else (),
        many=many.get(_variant(modifier.card)),
        include=tuple(modifier.group_labels or ()),
    )


def _matcher(matcher: Any) -> Matcher:
    return Matcher(matcher.name, _OPS[_variant(matcher.op)], matcher.value)


def _at(at: Any) -> tree.At:
    if at is None:
        return None
    kind = _variant(at.type)
    if kind != "At":
        return "start" if kind == "Start" else "end"
    try:
        moment: datetime = at.at if at.at.tzinfo else at.at.replace(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise _out_of_range("timestamp for @ modifier") from error
    return math.floor((moment - _EPOCH) / _MILLISECOND + 0.5)


def _variant(enum: Any) -> str:
    """Return the bare name of one of the parser's enum values, such as `Equal` of `MatchOp.Equal`."""
    return str(enum).rsplit(".", 1)[-1]
