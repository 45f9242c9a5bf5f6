"""The grammar of durations: in ranges, steps and offsets, where arithmetic may stand since Prometheus 3.15."""

from typing import TypeAlias

from stackctl.promql import literals, tree
from stackctl.promql.reading import Reader
from stackctl.promql.tree import DurationExpr

Term: TypeAlias = float | DurationExpr
"""Seconds, or an expression for them."""

_SUM, _PRODUCT, _POWER = 1, 2, 3
_PRECEDENCE = {"+": _SUM, "-": _SUM, "*": _PRODUCT, "/": _PRODUCT, "%": _PRODUCT, "^": _POWER}


class DurationReader(Reader):
    """Reads durations."""

    def positive_duration(self) -> tree.Duration:
        """Read the duration of a range or step."""
        first = self.token
        found = self._sum()
        if isinstance(found, float) and found <= 0:
            raise self.fault(first.at, "duration must be greater than 0")
        return _duration(found)

    def offset_duration(self) -> tree.Duration:
        """Read the duration behind `offset`: a lone term, as arithmetic behind it is that of the expression.

        Only parentheses without a sign begin arithmetic: `x offset (1m) * 2` is `x offset 2m`.
        """
        if self.at_mark("("):
            return _duration(self._sum())
        if self.at_mark("+", "-") and self.following() not in ("+", "-"):
            negative = self.take().text == "-"
            term = self._term()
            return _duration(_negative(term) if negative else term)
        return _duration(self._sum() if self.at_mark("+", "-") else self._term())

    def _sum(self, weakest: int = _SUM) -> Term:
        with self.deeper():
            left = self._signed()
            while True:
                op = self.token.text if self.token.kind == "mark" else ""
                precedence = _PRECEDENCE.get(op, 0)
                if precedence < weakest:
                    return left
                sign = self.take()
                right = self._sum(precedence if op == "^" else precedence + 1)
                if op in ("/", "%") and right == 0:
                    raise self.fault(sign.at, "division by zero" if op == "/" else "modulo by zero")
                left = DurationExpr(op, (left, right))

    def _signed(self) -> Term:
        if not self.at_mark("+", "-"):
            return self._term()
        negative = self.take().text == "-"
        operand = self._sum(_POWER)
        return _negative(operand) if negative else operand

    def _term(self) -> Term:
        if self.at_mark("("):
            self.take()
            found = self._sum()
            self.expect(")")
            return found if isinstance(found, DurationExpr) else DurationExpr("+", (found, 0.0))
        if self.at_word("min_of", "max_of"):
            return self._choice()
        if self.at_word("step", "range"):
            word = self.take().lower
            self.expect("(")
            self.expect(")")
            return DurationExpr(word)
        token = self.token
        seconds = self.number()
        if not abs(seconds) < literals.LONGEST_SECONDS:
            raise self.fault(token.at, "duration out of range")
        return seconds

    def _choice(self) -> DurationExpr:
        word = self.take().lower
        self.expect("(")
        left = self._sum()
        self.expect(",")
        right = self._sum()
        self.expect(")")
        return DurationExpr(word, (left, right))


def _negative(term: Term) -> Term:
    return DurationExpr("-", (term,)) if isinstance(term, DurationExpr) else -term


def _duration(found: Term) -> tree.Duration:
    """Return a duration in milliseconds where it is a number already."""
    return found if isinstance(found, DurationExpr) else int(round(found * 1e9) / 1_000_000)
