"""Query text to tokens, by the rules of Prometheus 3's promql/parser/lex.go.

What a character means depends on where it stands: in braces there are no keywords, in brackets only durations and
their arithmetic. A fault becomes a token of its own, so that the parser reports what it meets first.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Kind = Literal["word", "metric", "keyword", "string", "number", "duration", "mark", "error", "end"]

AGGREGATIONS = frozenset(
    ("sum", "avg", "count", "min", "max", "group", "stddev", "stdvar", "topk", "bottomk", "count_values", "quantile")
) | {"limitk", "limit_ratio"}
WORD_OPERATORS = frozenset(("and", "or", "unless", "atan2"))
# Said in error messages between < and >.
_MODIFIERS = frozenset(
    ("offset", "smoothed", "anchored", "by", "without", "on", "ignoring", "group_left", "group_right", "bool")
) | {"fill", "fill_left", "fill_right"}
OF_DURATIONS = frozenset(("step", "range", "min_of", "max_of"))
KEYWORDS = AGGREGATIONS | WORD_OPERATORS | _MODIFIERS | OF_DURATIONS | {"start", "end"}
_NUMBERS = frozenset(("inf", "nan"))

_SPACE = re.compile(r"(?:[ \t\n\r]|#[^\r\n]*)+")
_BLANKS = re.compile(r"[ \t\n\r]+")
_WORD = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LETTERS = re.compile(r"[A-Za-z_]*")
_NUMBER = re.compile(
    r"(?:0[xX]_?[0-9a-fA-F](?:_?[0-9a-fA-F])*|(?:\d(?:_?\d)*(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.])"
)
_DURATION = re.compile(r"[\d.]+[smhdwy]s?(?:\d+[smhdw]s?)*(?![A-Za-z0-9_])")
_NO_NUMBER = re.compile(r"[\d.][A-Za-z0-9_.]*")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"' + r"|'(?:\\.|[^'\\\n])*'", re.DOTALL)
_MARKS = re.compile(r"==|!=|<=|>=|</|>/|[-+*/%^=<>(){}\[\],@]")
_IN_BRACES = re.compile(r"=~|!~|!=|=|,|\}")
_IN_BRACKETS = re.compile(r"[-+*/%^(),\]]")
_OPERATOR_MARKS = frozenset(("==", "!=", "<=", ">=", "</", ">/", "<", ">", "-", "+", "*", "/", "%", "^", "@"))


@dataclass(frozen=True)
class Token:
    """A piece of query text.

    Attributes:
        kind: `word` is a name, `metric` one with a colon in it, `keyword` a name with a meaning of its own.
        text: as written, quotes included; for `error` what is wrong.
        at: offset in characters.
    """

    kind: Kind
    text: str
    at: int

    @property
    def stop(self) -> int:
        """The offset behind its last character."""
        return self.at + len(self.text)

    @property
    def lower(self) -> str:
        """The text in lower case: keywords may be written in any."""
        return self.text.lower()

    def described(self) -> str:
        """Return the token as error messages name it."""
        if self.kind == "end":
            return "end of input"
        if self.kind in ("word", "metric"):
            return f"{'metric identifier' if self.kind == 'metric' else 'identifier'} {_quoted(self.text)}"
        if self.kind == "keyword":
            return self._keyword()
        if self.text in _OPERATOR_MARKS or self.text in ("=~", "!~"):
            return f"<op:{self.text}>"
        short = f"{_quoted(self.text[:10])}..." if len(self.text) > 10 else _quoted(self.text)
        return short if self.kind == "mark" else f"{self.kind} {short}"

    def _keyword(self) -> str:
        if self.lower in _MODIFIERS:
            return f"<{self.text}>"
        if self.lower in AGGREGATIONS:
            return f"<aggr:{self.text}>"
        return f"<op:{self.text}>" if self.lower in WORD_OPERATORS else _quoted(self.text)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def tokens(query: str) -> list[Token]:
    """Return the tokens of a query, without blanks and comments; the last one is `end` or `error`."""
    return list(_Lexer(query).run())


class _Fault(Exception):
    """What cannot be a token: where, and why."""

    def __init__(self, at: int, reason: str) -> None:
        super().__init__(reason)
        self.token = Token("error", reason, at)


class _Lexer:
    """One pass over the text, knowing which bracket it is in."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.at = 0
        self.parentheses = 0
        self.in_braces = False
        self.in_brackets = False
        # In brackets until the first number, and from then on; Prometheus' lexer words its faults differently.
        self.before_number = False
        self.seen_colon = False

    def run(self) -> Iterator[Token]:
        try:
            while True:
                # There are no comments behind a bracket, until the first number.
                space = (_BLANKS if self.in_brackets and self.before_number else _SPACE).match(self.query, self.at)
                self.at = space.end() if space else self.at
                if self.at >= len(self.query):
                    yield self.end()
                    return
                token = self.next()
                self.at = token.stop
                yield token
        except _Fault as fault:
            yield fault.token

    def end(self) -> Token:
        if self.in_braces:
            raise _Fault(self.at, "unexpected end of input inside braces")
        if self.in_brackets and self.before_number:
            raise _Fault(self.at, "unexpected end of input in duration expression")
        if self.parentheses:
            raise _Fault(self.at, "unclosed left parenthesis")
        if self.in_brackets:
            raise _Fault(self.at, "unclosed left bracket")
        return Token("end", "", self.at)

    def next(self) -> Token:
        if self.in_braces:
            return self.inside_braces()
        if self.in_brackets:
            return self.inside_brackets()
        return self.outside()

    def outside(self) -> Token:
        char = self.query[self.at]
        if char in "\"'`":
            return self.string(char)
        if char in "0123456789" or (char == "." and self.query[self.at + 1 : self.at + 2].isdecimal()):
            return self.number()
        word = _WORD.match(self.query, self.at)
        if word:
            return self.word(word.group())
        mark = _MARKS.match(self.query, self.at)
        if mark is None:
            if char == "!":
                raise _Fault(self.at, f"unexpected character after '!': {self.shown(self.at + 1)}")
            raise _Fault(self.at, f"unexpected character: {self.shown(self.at)}")
        return self.mark(mark.group())

    def mark(self, text: str) -> Token:
        if text == "=" and self.query[self.at + 1 : self.at + 2] == "~":
            raise _Fault(self.at, "unexpected character after '=': '~'")
        if text == "{":
            self.in_braces = True
        elif text == "}":
            raise _Fault(self.at, "unexpected character: '}'")
        elif text == "[":
            self.in_brackets, self.before_number, self.seen_colon = True, True, False
        elif text == "]":
            raise _Fault(self.at, "unexpected right bracket ']'")
        else:
            self.count(text)
        return Token("mark", text, self.at)

    def count(self, text: str) -> None:
        self.parentheses += {"(": 1, ")": -1}.get(text, 0)
        if self.parentheses < 0:
            raise _Fault(self.at + 1, "unexpected right parenthesis ')'")

    def word(self, text: str) -> Token:
        lower = text.lower()
        if lower in _NUMBERS:
            return Token("number", text, self.at)
        if lower in KEYWORDS:
            return Token("keyword", text, self.at)
        return Token("metric" if ":" in text else "word", text, self.at)

    def number(self) -> Token:
        number = _NUMBER.match(self.query, self.at)
        if number:
            return Token("number", number.group(), self.at)
        duration = _DURATION.match(self.query, self.at)
        if duration:
            return Token("duration", duration.group(), self.at)
        wrong = _NO_NUMBER.match(self.query, self.at)
        assert wrong is not None
        raise _Fault(self.at, f"bad number or duration syntax: {_quoted(wrong.group())}")

    def string(self, quote: str) -> Token:
        if quote == "`":
            stop = self.query.find("`", self.at + 1)
            if stop < 0:
                raise _Fault(self.at, "unterminated raw string")
            return Token("string", self.query[self.at : stop + 1], self.at)
        found = _STRING.match(self.query, self.at)
        if found is None:
            raise _Fault(self.at, "unterminated quoted string")
        return Token("string", found.group(), self.at)

    def inside_braces(self) -> Token:
        char = self.query[self.at]
        if char in "\"'`":
            return self.string(char)
        label = _LABEL.match(self.query, self.at)
        if label:
            return Token("word", label.group(), self.at)
        mark = _IN_BRACES.match(self.query, self.at)
        if mark is None:
            raise _Fault(self.at, self._fault_in_braces(char))
        self.in_braces = mark.group() != "}"
        return Token("mark", mark.group(), self.at)

    def _fault_in_braces(self, char: str) -> str:
        if char == "!":
            return f"unexpected character after '!' inside braces: {self.shown(self.at + 1)}"
        if char == "{":
            return "unexpected left brace '{'"
        return f"unexpected character inside braces: {self.shown(self.at)}"

    def inside_brackets(self) -> Token:
        char = self.query[self.at]
        if char == ":":
            return self.colon()
        if char in "0123456789" or (char == "." and self.query[self.at + 1 : self.at + 2].isdecimal()):
            self.before_number = False
            return self.number()
        mark = _IN_BRACKETS.match(self.query, self.at)
        if mark:
            self.count(mark.group())
            self.in_brackets = char != "]"
            return Token("mark", char, self.at)
        letters = _LETTERS.match(self.query, self.at)
        assert letters is not None
        if letters.group().lower() in OF_DURATIONS:
            return Token("keyword", letters.group(), self.at)
        if self.before_number:
            raise _Fault(self.at, f"unexpected character in duration expression: {self.shown(self.at)}")
        return self.behind_number(char, letters.group())

    def behind_number(self, char: str, letters: str) -> Token:
        if letters:
            raise _Fault(self.at, f"unexpected character: {self.shown(self.at)}, expected ':'")
        if char == "[":
            raise _Fault(self.at, "unexpected left bracket '['")
        return self.outside()

    def colon(self) -> Token:
        if self.before_number:
            raise _Fault(self.at + 1, "unexpected colon before duration in duration expression")
        if self.seen_colon:
            raise _Fault(self.at, "unexpected colon ':'")
        self.seen_colon = True
        return Token("mark", ":", self.at)

    def shown(self, at: int) -> str:
        return f"'{self.query[at]}'" if at < len(self.query) else "end of input"
