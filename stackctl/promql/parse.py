"""Query text to syntax tree: the grammar of Prometheus 3.15 (promql/parser/generated_parser.y), by descent.

Faults are reported in Prometheus' words, at its places. What the text means is checked afterwards, in `check`.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

from stackctl.promql import check, lexer, tree
from stackctl.promql.duration_syntax import DurationReader
from stackctl.promql.lexer import Token
from stackctl.promql.regex import compiled
from stackctl.promql.signatures import SIGNATURES
from stackctl.promql.tree import Place
from stackctl.promql.values import NAME, Matcher
from stackctl.remembering import remembers

_COMPARISON, _ADDITION, _PRODUCT, _POWER = 3, 4, 5, 6
_PRECEDENCE = {
    "or": 1,
    **dict.fromkeys(("and", "unless"), 2),
    **dict.fromkeys(("==", "!=", "<", ">", "<=", ">=", "</", ">/"), _COMPARISON),
    **dict.fromkeys(("+", "-"), _ADDITION),
    **dict.fromkeys(("*", "/", "%", "atan2"), _PRODUCT),
    "^": _POWER,
}
_WITH_PARAM = frozenset(("topk", "bottomk", "count_values", "quantile", "limitk", "limit_ratio"))
# Keywords that are no metric names where an expression is expected.
_NEVER_NAMES = frozenset(("bool", "on", "ignoring", "group_left", "group_right", "atan2"))
_CALLED = frozenset(("start", "end", "step", "range", "min_of", "max_of"))
_MATCH_OPS: dict[str, Literal["=", "!=", "=~", "!~"]] = {"=": "=", "!=": "!=", "=~": "=~", "!~": "!~"}
_DEEPEST = 300
"""Levels of the tree, to which operators in a row add as well: keeps all walks over it inside Python's stack."""
_OFFSET = ("offset", "number, duration, step(), or range()")
_IN_BRACKETS = ("subquery or range selector", "number, duration, step(), or range()")
_BEHIND_COLON = ("subquery selector", 'number, duration, step(), range(), or "]"')
_SELECTABLE = "must be preceded by an instant vector selector or range vector selector or a subquery"


@remembers(512, longest=4096)
def parse(query: str) -> tree.Node:
    """Parse a query.

    Raises:
        QueryInvalid: syntax or types are wrong; `position` is the offset in characters.
        QueryUnsupported: the query uses what this engine does not have.
    """
    node = _Parser(query).query()
    check.check(query, node)
    return node


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
    return (found for found in tree.walk(node) if isinstance(found, tree.Selector))


class _Parser(DurationReader):
    """Reads expressions by descent."""

    # --- expressions --------------------------------------------------------------------------------------------------
    def query(self) -> tree.Node:
        if self.at_end():
            raise self.fault(0, "no expression found in input")
        node = self.expression()
        if not self.at_end():
            raise self.unexpected()
        if _levels(node) > _DEEPEST:
            raise self.fault(0, f"more than {_DEEPEST} operators in a row or inside each other")
        return node

    def expression(self, weakest: int = 1) -> tree.Node:
        """Read an expression whose operators bind at least as tight as `weakest`."""
        with self.deeper():
            left = self.signed() if self.at_mark("+", "-") else self.postfixed()
            while True:
                op = self.operator()
                precedence = _PRECEDENCE.get(op, 0)
                if precedence < weakest:
                    return left
                left = self.binary(left, op, precedence)

    def begins_expression(self) -> bool:
        if self.token.kind == "mark":
            return self.token.text in ("(", "{", "+", "-")
        return not self.at_end() and not self.at_word(*_NEVER_NAMES)

    def operator(self) -> str:
        return self.token.lower if self.token.kind in ("mark", "keyword") else ""

    def signed(self) -> tree.Node:
        sign = self.take()
        expr = self.expression(_POWER)
        place = Place(sign.at, expr.place.stop)
        if isinstance(expr, tree.Number):
            return tree.Number(-expr.value if sign.text == "-" else expr.value, place)
        return tree.Unary("-" if sign.text == "-" else "+", expr, place)

    def binary(self, left: tree.Node, op: str, precedence: int) -> tree.Node:
        self.take()
        returns_bool = self.at_word("bool")
        if returns_bool:
            self.take()
        matching = self.matching()
        # Powers bind to the right, everything else to the left.
        right = self.expression(precedence if op == "^" else precedence + 1)
        return tree.Binary(op, left, right, returns_bool, matching, Place(left.place.start, right.place.stop))

    def matching(self) -> tree.Matching:
        if not self.at_word("on", "ignoring"):
            return self.filled(tree.Matching())
        on = self.take().lower == "on"
        labels = self.labels()
        many: Literal["left", "right"] | None = None
        include: tuple[str, ...] = ()
        if self.at_word("group_left", "group_right"):
            many = "left" if self.take().lower == "group_left" else "right"
            include = self.labels() if self.at_mark("(") else ()
        return self.filled(tree.Matching(on, labels, many, include))

    def filled(self, matching: tree.Matching) -> tree.Matching:
        """Read the fill modifiers: both sides at once, or each by its own."""
        left, right = None, None
        if self.at_word("fill") and self.following() == "(":
            left = right = self.fill_value()
        else:
            while self.following() == "(":
                if self.at_word("fill_left") and left is None:
                    left = self.fill_value()
                elif self.at_word("fill_right") and right is None:
                    right = self.fill_value()
                else:
                    break
        return replace(matching, fill_left=left, fill_right=right)

    def fill_value(self) -> float:
        self.take()
        self.expect("(")
        value = self.signed_number()
        self.expect(")")
        return value

    def labels(self) -> tuple[str, ...]:
        """Read a list of labels in parentheses."""
        with self.reading("grouping opts", '"("'):
            self.expect("(")
        found: list[str] = []
        while not self.at_mark(")"):
            with self.reading("grouping opts", "label"):
                found.append(self.label())
            if not self.at_mark(")"):
                with self.reading("grouping opts", '"," or ")"'):
                    self.expect(",")
        self.take()
        return tuple(found)

    def label(self) -> str:
        token = self.token
        if token.kind == "string":
            self.take()
            name = self.unquoted(token)
        elif token.kind in ("word", "metric", "keyword") and token.lower != "without":
            name = self.take().text
        else:
            raise self.unexpected()
        if not name:
            raise self.fault(token.at, f'invalid label name for grouping: "{name}"')
        return name

    # --- selectors and their modifiers --------------------------------------------------------------------------------
    def postfixed(self) -> tree.Node:
        # Modifiers belong to selectors and subqueries themselves, not to what stands in parentheses.
        bare = not self.at_mark("(")
        node = self.primary()
        while True:
            if self.at_mark("["):
                node, bare = self.bracketed(node, bare), True
            elif self.at_word("offset"):
                node = self.offset(node, bare)
            elif self.at_mark("@"):
                node = self.moment(node, bare)
            elif self.at_word("anchored", "smoothed"):
                node = self.extended(node, bare)
            else:
                return node

    def bracketed(self, node: tree.Node, bare: bool) -> tree.Node:
        bracket = self.take()
        with self.reading(*_IN_BRACKETS):
            within = self.positive_duration()
        if self.at_mark(":"):
            return self.subquery(node, within)
        if not self.at_mark("]"):
            with self.reading("subquery or range", '":" or "]"'):
                raise self.unexpected()
        self.take()
        if not isinstance(node, tree.Selector) or not bare or node.range is not None:
            raise self.fault(bracket.at, "ranges only allowed for vector selectors")
        if node.offset != 0:
            raise self.fault(bracket.at, "no offset modifiers allowed before range")
        if node.at is not None:
            raise self.fault(bracket.at, "no @ modifiers allowed before range")
        return replace(node, range=within, place=Place(node.place.start, self.last_stop))

    def subquery(self, node: tree.Node, within: tree.Duration) -> tree.Subquery:
        self.take()
        step = None
        if not self.at_mark("]"):
            with self.reading(*_BEHIND_COLON):
                step = self.positive_duration()
        if not self.at_mark("]"):
            with self.reading("subquery selector", '"]"'):
                raise self.unexpected()
        self.take()
        return tree.Subquery(node, within, step, place=Place(node.place.start, self.last_stop))

    def offset(self, node: tree.Node, bare: bool) -> tree.Node:
        self.take()
        with self.reading(*_OFFSET):
            offset = self.offset_duration()
        if not bare or not isinstance(node, tree.Selector | tree.Subquery):
            raise self.fault(node.place.start, f"offset modifier {_SELECTABLE}")
        if node.offset != 0:
            raise self.fault(node.place.start, "offset may not be set multiple times")
        return replace(node, offset=offset, place=Place(node.place.start, self.last_stop))

    def moment(self, node: tree.Node, bare: bool) -> tree.Node:
        self.take()
        at: tree.At
        with self.reading("@", "timestamp"):
            if self.at_word("start", "end"):
                at = "start" if self.take().lower == "start" else "end"
                self.expect("(")
                self.expect(")")
            else:
                at = self.timestamp(self.signed_number(), node)
        if not bare or not isinstance(node, tree.Selector | tree.Subquery):
            raise self.fault(node.place.start, f"@ modifier {_SELECTABLE}")
        if node.at is not None:
            raise self.fault(node.place.start, "@ <timestamp> may not be set multiple times")
        return replace(node, at=at, place=Place(node.place.start, self.last_stop))

    def timestamp(self, seconds: float, node: tree.Node) -> int:
        if not abs(seconds) < 2**63 / 1000:
            written = "NaN" if math.isnan(seconds) else f"{seconds:f}".replace("inf", "Inf")
            raise self.fault(node.place.start, f"timestamp out of bounds for @ modifier: {written}")
        return math.floor(seconds * 1000 + 0.5)

    def extended(self, node: tree.Node, bare: bool) -> tree.Node:
        word: tree.Extended = "anchored" if self.take().lower == "anchored" else "smoothed"
        if isinstance(node, tree.Subquery) and bare:
            raise self.fault(node.place.start, f"{word} modifier is not supported for subqueries")
        if not isinstance(node, tree.Selector) or not bare:
            raise self.fault(node.place.start, f"{word} modifier not implemented")
        if node.extended not in (None, word):
            raise self.fault(node.place.start, "anchored and smoothed modifiers cannot be used together")
        return replace(node, extended=word)

    # --- what expressions are made of ---------------------------------------------------------------------------------
    def primary(self) -> tree.Node:
        token = self.token
        match token.kind:
            case "number" | "duration":
                return tree.Number(self.number(), Place(token.at, token.stop))
            case "string":
                self.take()
                return tree.Text(self.unquoted(token), Place(token.at, token.stop))
            case "word" | "metric":
                if token.kind == "word" and self.following() == "(":
                    return self.call()
                return self.selector()
            case "keyword":
                return self.keyword()
        if self.at_mark("("):
            return self.parenthesised()
        if self.at_mark("{"):
            return self.selector()
        raise self.unexpected()

    def keyword(self) -> tree.Node:
        word, following = self.token.lower, self.following().lower()
        if word in lexer.AGGREGATIONS and (following in ("(", "by", "without")):
            return self.aggregation()
        if word in _CALLED and following == "(":
            return self.call()
        if word in _NEVER_NAMES:
            raise self.unexpected()
        return self.selector()

    def parenthesised(self) -> tree.Node:
        opening = self.take()
        node = self.expression()
        closing = self.expect(")")
        return replace(node, place=Place(opening.at, closing.stop))

    def call(self) -> tree.Node:
        name = self.take()
        args = self.arguments()
        # Keywords among the functions may be written in any case, names may not.
        called = name.lower if name.kind == "keyword" else name.text
        if called not in SIGNATURES:
            raise self.fault(name.at, f'unknown function with name "{called}"')
        return tree.Call(called, args, Place(name.at, self.last_stop))

    def arguments(self) -> tuple[tree.Node, ...]:
        self.expect("(")
        found: list[tree.Node] = []
        while not self.at_mark(")"):
            found.append(self.expression())
            if self.at_mark(","):
                comma = self.take()
                if not self.begins_expression():
                    raise self.fault(comma.at, "trailing commas not allowed in function call args")
            elif not self.at_mark(")"):
                raise self.unexpected()
        self.take()
        return tuple(found)

    def aggregation(self) -> tree.Node:
        op = self.take()
        with self.reading("aggregation"):
            grouping = self.grouping() if self.at_word("by", "without") else None
            args = self.arguments()
        if grouping is None and self.at_word("by", "without"):
            grouping = self.grouping()
        without, labels = grouping or (False, ())
        return self.aggregated(op, args, without, labels, Place(op.at, self.last_stop))

    def grouping(self) -> tuple[bool, tuple[str, ...]]:
        return self.take().lower == "without", self.labels()

    def aggregated(
        self, op: Token, args: Sequence[tree.Node], without: bool, labels: tuple[str, ...], place: Place
    ) -> tree.Aggregation:
        wanted = 2 if op.lower in _WITH_PARAM else 1
        if not args:
            raise self.fault(place.start, "no arguments for aggregate expression provided")
        if len(args) != wanted:
            reason = f"wrong number of arguments for aggregate expression provided, expected {wanted}, got {len(args)}"
            raise self.fault(place.start, reason)
        return tree.Aggregation(op.lower, args[-1], args[0] if wanted == 2 else None, labels, without, place)

    def selector(self) -> tree.Selector:
        first = self.token
        name: tuple[Matcher, ...] = ()
        if not self.at_mark("{"):
            name = (Matcher(NAME, "=", self.take().text),)
        matchers = self.matchers() if self.at_mark("{") else ()
        return tree.Selector((*matchers, *name), named=bool(name), place=Place(first.at, self.last_stop))

    def matchers(self) -> tuple[Matcher, ...]:
        self.take()
        found: list[Matcher] = []
        while not self.at_mark("}"):
            found.append(self.matcher())
            if not self.at_mark("}"):
                with self.reading("label matching", '"," or "}"'):
                    self.expect(",")
        self.take()
        return tuple(found)

    def matcher(self) -> Matcher:
        name = self.token
        if name.kind not in ("word", "string"):
            with self.reading("label matching", 'identifier or "}"'):
                raise self.unexpected()
        self.take()
        label = self.unquoted(name) if name.kind == "string" else name.text
        if name.kind == "string" and self.at_mark(",", "}"):
            return Matcher(NAME, "=", label)
        if not self.at_mark(*_MATCH_OPS):
            expected = '"," or "}"' if name.kind == "string" else "label matching operator"
            with self.reading("label matching", expected):
                raise self.unexpected()
        op = _MATCH_OPS[self.take().text]
        if self.token.kind != "string":
            with self.reading("label matching", "string"):
                raise self.unexpected()
        value = self.unquoted(self.take())
        if op in ("=~", "!~"):
            self.check_pattern(value, name.at)
        return Matcher(label, op, value)

    def check_pattern(self, pattern: str, at: int) -> None:
        try:
            compiled(pattern)
        except ValueError as error:
            raise self.fault(at, f"error parsing regexp: {error}") from error


def _levels(node: tree.Node) -> int:
    levels, waiting = 0, [node]
    while waiting:
        levels += 1
        waiting = [child for found in waiting for child in tree.children(found)]
    return levels
