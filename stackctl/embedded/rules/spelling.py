"""How Prometheus spells a query when it prints a rule: blanks where its parser's printer puts them."""

import re
from collections.abc import Iterator
from typing import Final

from stackctl.embedded.series.family import number

_TOKEN: Final = re.compile(
    r"""\s+|\#[^\n]*
      | (?P<kept>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*'|`[^`]*` | [\w.:]+ | [=!<>]=|=~|!~ | .)""",
    re.VERBOSE | re.DOTALL,
)
_NUMBER: Final = re.compile(r"\d+(\.\d*)?([eE]\d+)?|\.\d+", re.ASCII)
# A double quote that no backslash escapes.
_BARE_QUOTE: Final = re.compile(r'(?<!\\)((?:\\\\)*)"')
_ESCAPED: Final = r'\1\\"'
_OPERATORS: Final = frozenset(("+", "-", "*", "/", "%", "^", "==", "!=", ">", "<", ">=", "<=", "@"))
_WORDS: Final = frozenset(("and", "or", "unless", "atan2", "bool", "offset", "by", "without")) | {
    "on",
    "ignoring",
    "group_left",
    "group_right",
}
_INSIDE: Final = {"{": "}", "[": "]"}


def canonical(query: str) -> str:
    """Return a query in one line, with the blanks of Prometheus' own spelling; words and brackets stay."""
    return "".join(_spaced(query))


def _spaced(query: str) -> Iterator[str]:
    before, closing = "(", ""
    signed = False
    for found in _TOKEN.finditer(query):
        token = found["kept"]
        if token is None:
            continue
        if not closing and not signed and _blank(before, token):
            yield " "
        yield _spelt(token)
        signed = token in ("+", "-") and (before in ("(", ",") or _operator(before))
        if closing:
            closing = "" if token == closing else closing
        else:
            closing = _INSIDE.get(token, "")
        before = token


def _spelt(token: str) -> str:
    """A string in double quotes, a number without an exponent, anything else as it is."""
    if _NUMBER.fullmatch(token):
        return number(float(token))
    if token[0] not in "'`":
        return token
    body = token[1:-1].replace("\\'", "'") if token[0] == "'" else token[1:-1].replace("\\", "\\\\")
    return f'"{_BARE_QUOTE.sub(_ESCAPED, body)}"'


def _operator(token: str) -> bool:
    return token in _OPERATORS or token.lower() in _WORDS


def _blank(before: str, token: str) -> bool:
    """Whether a blank stands between two tokens outside of braces and brackets."""
    if before == "(" or token in (")", ",", "["):
        return False
    if token == "{":
        return _operator(before) or before == ","
    if token == "(":
        return _operator(before) or before in (")", ",")
    return True
