"""Regular expressions of queries: RE2, as in Prometheus, so that no query can hang the process."""

import functools
from typing import Any

import re2

_REMEMBERED_LENGTH = 1024
"""A longer pattern is compiled each time: one may take 8 MB."""


def compiled(pattern: str) -> Any:
    """Return an expression that matches a whole text; `.` matches line ends too.

    Raises:
        ValueError: the pattern is not valid RE2 syntax; the message says why.
    """
    if len(pattern) <= _REMEMBERED_LENGTH:
        return _compiled(pattern)
    try:
        return _compiled.__wrapped__(pattern)
    finally:
        re2.purge()  # the library remembers 128 of them


@functools.lru_cache(maxsize=64)
def _compiled(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False  # else it writes the query's text to stderr
    try:
        re2.compile(pattern, options)  # on its own: `a)|(b` is not valid, though in parentheses it would be
        return re2.compile(f"^(?s:{pattern})$", options)
    except re2.error as error:
        reason = error.args[0] if error.args else "invalid"
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error


def matches(pattern: str, text: str) -> bool:
    """Say whether a pattern matches all of a text."""
    return compiled(pattern).match(text) is not None
