"""Regular expressions of queries: RE2, as in Prometheus, so that no query can hang the process."""

import functools
from typing import Any

import re2

_SHORT = 1024
"""A longer pattern may take 8 MB compiled: few are remembered, since a query asks for its own several times."""


def compiled(pattern: str) -> Any:
    """Return an expression that matches a whole text; `.` matches line ends too.

    Raises:
        ValueError: the pattern is not valid RE2 syntax; the message says why.
    """
    if len(pattern) <= _SHORT:
        return _short(pattern)
    try:
        return _long(pattern)
    finally:
        re2.purge()  # the library remembers 128 of them


def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # else it writes the query's text to stderr
    try:
        re2.compile(pattern, options)  # on its own: `a)|(b` is not valid, though in parentheses it would be
        return re2.compile(f"^(?s:{pattern})$", options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error


_short = functools.lru_cache(maxsize=64)(_compiled)
_long = functools.lru_cache(maxsize=4)(_compiled)


def matches(pattern: str, text: str) -> bool:
    """Say whether a pattern matches all of a text."""
    return compiled(pattern).match(text) is not None
