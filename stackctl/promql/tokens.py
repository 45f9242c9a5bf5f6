"""Words that promql-parser 0.12 does not know, taken off the text before it parses.

Prometheus' feature promql-extended-range-selectors adds `anchored` and `smoothed` behind a selector. They are
replaced by spaces (positions stay), and remembered by the ordinal of the selector they belong to. Strings in
backticks are rewritten as quoted ones, because that parser takes their backslashes for escapes; so are numbers with
underscores, which it does not read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from stackctl.errors import QueryInvalid
from stackctl.promql.tree import Extended

# One alternative per kind of token; what none matches (operators, brackets) is a token of one character.
_TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*`)
      | (?P<number>(?:0[xX][0-9a-fA-F]+|\d[\w.]*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?))
      | (?P<word>[A-Za-z_][\w:.]*|:[A-Za-z_:][\w:]*)
      | (?P<mark>.)""",
    re.VERBOSE | re.DOTALL,
)
_AGGREGATIONS = frozenset(
    ("sum", "avg", "min", "max", "count", "group", "stddev", "stdvar", "topk", "bottomk", "quantile")
) | {"count_values", "limitk", "limit_ratio"}
_BEFORE_LABELS = frozenset(("by", "without", "on", "ignoring", "group_left", "group_right"))
_OPERATORS = frozenset(("and", "or", "unless", "atan2", "bool", "offset", "inf", "nan")) | {
    "fill",
    "fill_left",
    "fill_right",
}
_GROUPED = re.compile(r"\d+(_\d+)+")
_EXTENDED: dict[str, Extended] = {"anchored": "anchored", "smoothed": "smoothed"}


@dataclass(frozen=True)
class Token:
    """A piece of query text: its kind (a group name of the token expression), text and offset in characters."""

    kind: str
    text: str
    at: int


@dataclass(frozen=True)
class Stripped:
    """A query text that promql-parser can read.

    Attributes:
        text: the rewritten query.
        extended: the word behind the selector of each ordinal that has one, counted in reading order.
        selectors: how many selectors the text has, to be compared with the tree.
    """

    text: str
    extended: dict[int, Extended]
    selectors: int


def tokens(query: str) -> Iterator[Token]:
    """Yield all tokens of a query, blanks and comments included."""
    for found in _TOKEN.finditer(query):
        yield Token(str(found.lastgroup), found.group(), found.start())


def strip(query: str) -> Stripped:
    """Take `anchored` and `smoothed` off a query.

    Raises:
        QueryInvalid: such a word stands where no selector precedes it.
    """
    walk = _Walk([token for token in tokens(query) if token.kind != "space"])
    walk.run()
    text = "".join(_rewritten(token, walk.removed) for token in tokens(query))
    return Stripped(text, walk.extended, walk.selectors)


def _rewritten(token: Token, removed: set[int]) -> str:
    if token.at in removed:
        return " " * len(token.text)
    if token.kind == "string" and token.text[0] == "`":
        body = token.text[1:-1].replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{body}"'
    if token.kind == "number" and _GROUPED.fullmatch(token.text):
        return token.text.replace("_", "").ljust(len(token.text))
    return token.text


class _Walk:
    """One pass over the tokens that counts selectors in reading order."""

    def __init__(self, found: list[Token]) -> None:
        self.found = found
        self.position = 0
        self.selectors = 0
        self.extended: dict[int, Extended] = {}
        self.removed: set[int] = set()
        # The selector that a modifier word at this point would belong to; a subquery or bracket ends it.
        self.current: int | None = None

    def text(self, ahead: int = 0) -> str:
        index = self.position + ahead
        return self.found[index].text if 0 <= index < len(self.found) else ""

    def run(self) -> None:
        while self.position < len(self.found):
            token = self.found[self.position]
            if token.kind == "word":
                self.word(token)
            elif token.text == "{":
                self.braces(named=self.current is not None and self.found[self.position - 1].kind == "word")
            elif token.text == "[":
                self.brackets()
            elif token.text == "@" or self.text(-1).lower() in ("@", "offset"):
                pass  # the time of @ or offset, or its sign, still belongs to the selector
            elif token.kind == "mark":
                self.current = None
            self.position += 1

    def word(self, token: Token) -> None:
        lower = token.text.lower()
        if self.text(1) != "{" and self.current is not None and lower in _EXTENDED:
            self.mark(token, _EXTENDED[lower])
        elif lower in _EXTENDED and self.text(-1) == "]":
            raise QueryInvalid(
                f"parse error: {lower} modifier is not supported for subqueries",
                next_step="Put it behind a range selector.",
                position=token.at,
            )
        elif lower == "offset":
            pass
        elif lower in _BEFORE_LABELS and self.text(1) == "(":
            self.skip_to(")")
            self.current = None
        elif lower in ("start", "end") and self.text(-1) == "@":
            self.skip_to(")")
        elif lower in _OPERATORS or self.text(1) == "(" or self.aggregation(lower):
            self.current = None
        else:
            self.open()

    def aggregation(self, word: str) -> bool:
        return word in _AGGREGATIONS and self.text(1).lower() in ("by", "without")

    def mark(self, token: Token, word: Extended) -> None:
        assert self.current is not None
        if self.extended.get(self.current, word) != word:
            raise QueryInvalid(
                "parse error: anchored and smoothed modifiers cannot be used together",
                next_step="Keep one of the two words.",
                position=token.at,
            )
        self.extended[self.current] = word
        self.removed.add(token.at)

    def open(self) -> None:
        self.current = self.selectors
        self.selectors += 1

    def braces(self, named: bool) -> None:
        if not named:
            self.open()
        self.skip_to("}")

    def brackets(self) -> None:
        start = self.position
        self.skip_to("]")
        if any(":" in token.text for token in self.found[start : self.position]):
            self.current = None

    def skip_to(self, closing: str) -> None:
        while self.position < len(self.found) - 1 and self.text() != closing:
            self.position += 1
