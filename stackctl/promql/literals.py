"""Values of literals: strings with Go's escapes, numbers, durations.

Rules of Prometheus 3 (util/strutil, promql/parser/parse.go) and of prometheus/common's model.ParseDuration.
"""

import math
import re

_ESCAPE = re.compile(
    r"\\(?:([abfnrtv\\'\"])|x([0-9a-fA-F]{2})|([0-7]{3})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|(.?))", re.DOTALL
)
_SIMPLE = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_LAST_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_OCTAL = re.compile(r"0_?[0-7]+(_[0-7]+)*")
_INTEGER = re.compile(r"0[xX][0-9a-fA-F_]+|\d[\d_]*")
_LARGEST_INTEGER = 2**63
_MS = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_PARTS = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?")
LONGEST_SECONDS = 2**63 / 1e9
"""Prometheus holds durations as 64 bit nanoseconds."""


def unquoted(text: str) -> str:
    """Return the value of a string literal.

    Raises:
        ValueError: an escape sequence is not valid; the message says which.
    """
    quote, body = text[0], text[1:-1]
    if quote == "`" or "\\" not in body:
        return body
    # Escapes give bytes, which together must be text: "\xc3\xa9" is one letter.
    parts: list[bytes] = []
    last = 0
    for found in _ESCAPE.finditer(body):
        parts += [body[last : found.start()].encode(), _escaped(found, quote)]
        last = found.end()
    parts.append(body[last:].encode())
    return b"".join(parts).decode(errors="replace")


def _escaped(found: re.Match[str], quote: str) -> bytes:
    simple, two, octal, four, eight, unknown = found.groups()
    if simple is not None:
        if simple in "'\"" and simple != quote:
            raise ValueError(f"unknown escape sequence {_point(simple)}")
        return _SIMPLE.get(simple, simple).encode()
    if two or octal:
        value = int(two, 16) if two else int(octal, 8)
        if value > 255:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return bytes((value,))
    if four or eight:
        value = int(four or eight, 16)
        if value > _LAST_POINT or value in _SURROGATES:
            raise ValueError("escape sequence is an invalid Unicode code point")
        return chr(value).encode()
    if not unknown:
        raise ValueError("escape sequence not terminated")
    raise ValueError(f"unknown escape sequence {_point(unknown)}")


def _point(char: str) -> str:
    return f"U+{ord(char):04X} '{char}'"


def number(text: str) -> float:
    """Return the value of a number literal: decimal, hexadecimal, octal (a leading 0), Inf or NaN.

    Raises:
        ValueError: it is none.
    """
    if _OCTAL.fullmatch(text):
        return float(int(text.replace("_", ""), 8))
    if _INTEGER.fullmatch(text):
        whole = int(text.replace("_", ""), 16 if text[:2] in ("0x", "0X") else 10)
        if whole < _LARGEST_INTEGER:
            return float(whole)
    value = math.inf if text[:2] in ("0x", "0X") else float(text.replace("_", ""))
    if math.isinf(value) and text[-1].isdecimal():
        raise ValueError(f'strconv.ParseFloat: parsing "{text}": value out of range')
    return value


def duration(text: str) -> float:
    """Return a duration such as `1h30m` in seconds.

    Raises:
        ValueError: its units are unknown, doubled or in the wrong order, or it is too long.
    """
    found = _PARTS.fullmatch(text)
    if found is None and "." in text:
        raise ValueError(f'unknown unit "." in duration "{text}"')
    if found is None:
        raise ValueError(f'not a valid duration string: "{text}"')
    total = sum(int(part) * ms for part, ms in zip(found.groups(), _MS.values(), strict=True) if part)
    if total / 1000 >= LONGEST_SECONDS:
        raise ValueError("duration out of range")
    return total / 1000
