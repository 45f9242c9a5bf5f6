"""Judging the conditions of rows over a batch."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any

import numpy as np
import pyarrow as pa
import re2

from stackctl.errors import SettingsInvalid
from stackctl.genai import rows
from stackctl.genai.rows import Scalar, When
from stackctl.remembering import remembers

from .arrow import FALSE, Column, pc
from .batch import Batch, Mask


def holds(when: When, batch: Batch) -> Mask:
    """Return for each span whether the condition holds. Judged once a batch as long as no column changes."""
    known = batch.memo.get(id(when))
    if known is None:
        known = batch.memo[id(when)] = when, _judge(when, batch)
    return known[1]


def scope_holds(pattern: str, batch: Batch) -> Mask | None:
    """Return which spans' instrumentation scope matches; None where none does, and for "" all do."""
    if pattern not in batch.in_scope:
        every = np.ones(batch.rows, np.bool_)
        mask = _on_scopes(batch, partial(text_matches, pattern)) if pattern else every
        batch.in_scope[pattern] = mask if mask.any() else None
    return batch.in_scope[pattern]


def _on_scopes(batch: Batch, fits: Callable[[str], bool]) -> Mask:
    """Judge each distinct scope once; a batch has few."""
    names, places = batch.scopes()
    return np.array([name is not None and fits(name) for name in names], np.bool_)[places]


def _judge(when: When, batch: Batch) -> Mask:
    match when:
        case rows.Equals(rows.Field("scope"), values):
            return _on_scopes(batch, lambda name: name in values)
        case rows.Matches(rows.Field("scope"), pattern):
            return _on_scopes(batch, partial(text_matches, pattern))
        case rows.Has(source):
            return _union([_mask(column.is_valid()) for column in batch.read(source)], batch.rows)
        case rows.Equals(source, values):
            return _union([_equal(column, values, batch) for column in batch.read(source)], batch.rows)
        case rows.Matches(source, pattern):
            texts = (column for column in batch.read(source) if pa.types.is_string(column.type))
            return _union([_matching(column, pattern, batch) for column in texts], batch.rows)
        case rows.Not(of):
            return ~holds(of, batch)
        case rows.All(parts):
            every = np.ones(batch.rows, np.bool_)
            for part in parts:
                if every.any():
                    every = every & holds(part, batch)
            return every
        case rows.Any(parts):
            return _union([holds(part, batch) for part in parts], batch.rows)


def _union(masks: Sequence[Mask], count: int) -> Mask:
    union = np.zeros(count, np.bool_)
    for mask in masks:
        union = union | mask
    return union


def _mask(column: Any) -> Mask:
    if column.null_count:
        column = pc.fill_null(column, FALSE)
    return column.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _equal(column: Column, values: tuple[Scalar, ...], batch: Batch) -> Mask:
    """Compare within one type only: a number is never equal to a text or a bool."""
    same = [value for value in values if _same_type(value, column.type)]
    if not same:
        return np.zeros(len(column), np.bool_)
    if pa.types.is_string(column.type):
        coded = batch.coded(column)
        return np.array([value in same for value in coded.values], np.bool_)[coded.codes]
    if len(same) == 1:
        return _mask(pc.equal(column, pa.scalar(same[0], column.type)))
    return _mask(pc.is_in(column, pa.array(same, column.type)))


def _same_type(value: Scalar, kind: pa.DataType) -> bool:
    match value:
        case bool():
            return bool(pa.types.is_boolean(kind))
        case int() | float():
            return bool(pa.types.is_floating(kind) or (pa.types.is_integer(kind) and value == int(value)))
        case str():
            return bool(pa.types.is_string(kind))


def _matching(column: Column, pattern: str, batch: Batch) -> Mask:
    """Match each distinct text once."""
    coded = batch.coded(column)
    return np.array([text is not None and text_matches(pattern, text) for text in coded.values], np.bool_)[coded.codes]


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
