"""Reading a query token by token: what comes next, what was expected, and faults in Prometheus' words."""

from collections.abc import Iterator
from contextlib import contextmanager

from stackctl.errors import QueryInvalid
from stackctl.promql import lexer, literals
from stackctl.promql.lexer import Token

_MOST_NESTED = 80
"""Brackets, calls and signs inside each other: keeps the descent inside Python's stack. Prometheus has no bound."""


def fault(query: str, at: int, reason: str) -> QueryInvalid:
    """Return the error for a fault in a query's text, at an offset in characters."""
    line = query.count("\n", 0, at) + 1
    column = at - query.rfind("\n", 0, at)
    return QueryInvalid(
        f"{line}:{column}: parse error: {reason}", next_step="Correct the query at that place.", position=at
    )


class Reader:
    """Reads tokens left to right; each method leaves `index` behind what it has read."""

    def __init__(self, query: str) -> None:
        self.text = query
        self.tokens = lexer.tokens(query)
        self.index = 0
        self._depth = 0
        # What is being read, for messages about what does not belong there; innermost last.
        self._contexts: list[tuple[str, str]] = []

    @property
    def token(self) -> Token:
        """The next token."""
        return self.tokens[self.index]

    @property
    def last_stop(self) -> int:
        """The offset behind the last token that was taken."""
        return self.tokens[self.index - 1].stop

    def following(self) -> str:
        """Return the text of the token behind the next one."""
        return self.tokens[min(self.index + 1, len(self.tokens) - 1)].text

    def at_end(self) -> bool:
        """Say whether nothing is left."""
        return self.token.kind == "end"

    def at_mark(self, *texts: str) -> bool:
        """Say whether the next token is one of some signs."""
        return self.token.kind == "mark" and self.token.text in texts

    def at_word(self, *words: str) -> bool:
        """Say whether the next token is one of some keywords, in any case."""
        return self.token.kind == "keyword" and self.token.lower in words

    def take(self) -> Token:
        """Return the next token and go on."""
        token = self.token
        if token.kind == "error":
            raise self.fault(token.at, token.text)
        self.index += 1
        return token

    def expect(self, mark: str) -> Token:
        """Take a sign that must come next."""
        if not self.at_mark(mark):
            raise self.unexpected()
        return self.take()

    def fault(self, at: int, reason: str) -> QueryInvalid:
        """Return the error for a fault at an offset."""
        return fault(self.text, at, reason)

    def unexpected(self) -> QueryInvalid:
        """Return the fault that the next token does not belong here."""
        if self.token.kind == "error":
            return self.fault(self.token.at, self.token.text)
        context, expected = self._contexts[-1] if self._contexts else ("", "")
        reason = f"unexpected {self.token.described()}"
        reason += f" in {context}" if context else ""
        return self.fault(self.token.at, reason + (f", expected {expected}" if expected else ""))

    @contextmanager
    def reading(self, context: str, expected: str = "") -> Iterator[None]:
        """Name what is being read, for faults in it."""
        self._contexts.append((context, expected))
        yield
        self._contexts.pop()

    @contextmanager
    def deeper(self) -> Iterator[None]:
        """Read an expression inside another; refuse what goes too deep."""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise self.fault(self.token.at, f"more than {_MOST_NESTED} expressions inside each other")
        yield
        self._depth -= 1

    def number(self) -> float:
        """Read a number or a duration, in seconds."""
        token = self.token
        if token.kind not in ("number", "duration"):
            raise self.unexpected()
        self.take()
        try:
            return literals.number(token.text) if token.kind == "number" else literals.duration(token.text)
        except ValueError as error:
            reason = f"error parsing number: {error}" if token.kind == "number" else str(error)
            raise self.fault(token.at, reason) from error

    def signed_number(self) -> float:
        """Read a number with or without a sign."""
        if self.at_mark("+", "-"):
            return -self.number() if self.take().text == "-" else self.number()
        return self.number()

    def unquoted(self, token: Token) -> str:
        """Return the value of a string."""
        try:
            return literals.unquoted(token.text)
        except ValueError as error:
            raise self.fault(token.at, str(error)) from error
