"""Judging the conditions of rows over a batch."""

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import re2

from stackctl.errors import SettingsInvalid
from stackctl.genai import rows
from stackctl.genai.rows import Scalar, When
from stackctl.remembering import remembers

from .arrow import Column
from .batch import Batch
from .views import Mask, Truth, is_text


def holds(when: When, batch: Batch) -> Mask:
    """Return for each span whether the condition holds."""
    truth = judged(when, batch)
    return np.full(batch.rows, truth) if isinstance(truth, bool) else truth


def judged(when: When, batch: Batch) -> Truth:
    """Return which spans the condition holds for. Judged once a batch as long as no column changes."""
    known = batch.memo.get(id(when))
    if known is None:
        known = batch.memo[id(when)] = when, _judge(when, batch)
    return known[1]


def scope_holds(pattern: str, batch: Batch) -> Truth:
    """Return which spans' instrumentation scope matches; for "" all do."""
    if not pattern:
        return True
    if pattern not in batch.in_scope:
        batch.in_scope[pattern] = _by_value(batch.columns["scope"], partial(_matches, pattern), batch)
    return batch.in_scope[pattern]


def inverse(truth: Truth) -> Truth:
    """Where it does not hold."""
    return not truth if isinstance(truth, bool) else ~truth


def both(one: Truth, other: Truth) -> Truth:
    """Where both hold."""
    if isinstance(one, bool):
        return one and other
    if isinstance(other, bool):
        return other and one
    mask = one & other
    return mask if np.count_nonzero(mask) else False


def _judge(when: When, batch: Batch) -> Truth:
    match when:
        case rows.Has(source):
            return _any(map(batch.valid, batch.read(source)))
        case rows.Equals(source, values):
            return _any([_equal(column, values, batch) for column in batch.read(source)])
        case rows.Matches(source, pattern):
            texts = (column for column in batch.read(source) if pa.types.is_string(column.type))
            return _any(_by_value(column, partial(_matches, pattern), batch) for column in texts)
        case rows.Not(of):
            return inverse(judged(of, batch))
        case rows.All(parts):
            every: Truth = True
            for part in parts:
                if every is not False:
                    every = both(every, judged(part, batch))
            return every
        case rows.Any(parts):
            return _any(judged(part, batch) for part in parts)


def _any(truths: Iterable[Truth]) -> Truth:
    """Where one of them holds."""
    some: Truth = False
    for truth in truths:
        if truth is True:
            return True
        if truth is not False:
            some = truth if some is False else some | truth
    return some


def _by_value(column: Column, fits: Callable[[Any], bool], batch: Batch) -> Truth:
    """Judge each distinct value once; a batch has few."""
    coded = batch.coded(column)
    fitting = [fits(value) for value in coded.values]
    if not any(fitting):
        return False
    return True if all(fitting) else np.array(fitting, np.bool_)[coded.codes]


def _equal(column: Column, values: tuple[Scalar, ...], batch: Batch) -> Truth:
    """Compare within one type only: a number is never equal to a text or a bool."""
    if is_text(column):
        return _by_value(column, values.__contains__, batch)
    same = [value for value in values if _same_type(value, column.type)]
    if not same:
        return False
    held, known = batch.numbers(column)
    equal: Mask = held == same[0] if len(same) == 1 else np.isin(held, same)
    if known is not None:
        equal = equal & known
    count = np.count_nonzero(equal)
    return bool(count == len(equal)) or equal if count else False


def _same_type(value: Scalar, kind: pa.DataType) -> bool:
    """Whether a value may be in a column of numbers or bools."""
    match value:
        case bool():
            return bool(pa.types.is_boolean(kind))
        case int() | float():
            return bool(pa.types.is_floating(kind) or (pa.types.is_integer(kind) and value == int(value)))
        case str():
            return False


def _matches(pattern: str, text: str | None) -> bool:
    return text is not None and text_matches(pattern, text)


@remembers(16_384, longest=2048)
def text_matches(pattern: str, text: str) -> bool:
    """Whether the text holds a match of an RE2 pattern."""
    return compiled(pattern).search(text) is not None


def checked_patterns(patterns: tuple[str, ...]) -> tuple[str, ...]:
    """Return the user's patterns if RE2 accepts each.

    Raises:
        SettingsInvalid: names the first that it does not.
    """
    quiet = re2.Options()
    quiet.log_errors = False
    for pattern in patterns:
        try:
            re2.compile(pattern, quiet)
        except re2.error as error:
            raise SettingsInvalid(
                f"content.allow_keys: {pattern!r} is not a regular expression of RE2's syntax",
                next_step="Correct the pattern (https://github.com/google/re2/wiki/Syntax), for example app\\\\..*",
            ) from error
    return patterns


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Any:
    """An RE2 pattern, compiled once."""
    return re2.compile(pattern)
