"""Running the conversions of rows: one Arrow column in, one column of the canonical key's type out."""

import datetime
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import orjson
import pyarrow as pa

from stackctl.embedded.arrays import Coded
from stackctl.genai import rows
from stackctl.genai.rows import Convert, ValueType
from stackctl.remembering import remembers

from .arrow import ARROW_TYPES, FALSE, NULLS, Column, pc
from .batch import Batch
from .conditions import compiled, text_matches

T = TypeVar("T", str, int)
# What Arrow reads, so no plus sign. Of a whole number with a point it reads what stands before that.
_WHOLE = r"^-?([0-9]{1,18}|[0-9]{1,15}\.0+)$"
_POINT = r"\.0+$"
_NUMBER = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
_LARGEST_EXACT = pa.scalar(2.0**53, pa.float64())
_TRUTHS = pa.array(["true", "false"], pa.string())
_TRUE = pa.scalar("true", pa.string())
_NANOSECONDS = pa.scalar(1e9, pa.float64())


def convert(how: Convert, column: Column, to: ValueType, batch: Batch) -> Column:
    """Return the converted column. A value that cannot be converted becomes null, never a guess."""
    match how:
        case rows.Copy():
            return typed(column, to)
        case rows.Scale(factor):
            return typed(pc.multiply(typed(column, "d"), pa.scalar(factor, pa.float64())), to)
        case rows.Const(value):
            return pc.if_else(column.is_valid(), pa.scalar(value, ARROW_TYPES[to]), NULLS[ARROW_TYPES[to]])
        case rows.EventOffset():
            return typed(_seconds_since_start(typed(column, "i"), batch), to)
        case rows.IsoOffset():
            times = _by_text(column, _iso_nanoseconds, batch)
            moments: Column = pa.array(times.values, pa.int64())
            return typed(_seconds_since_start(moments.take(pa.array(times.codes)), batch), to)
        case rows.MapValue(pairs, closed):
            return typed(batch.texts(_by_text(column, partial(_mapped, pairs, closed), batch)), to)
        case rows.JsonField(path):
            return typed(batch.texts(_by_text(column, partial(_json_member, path), batch)), to)
        case rows.JsonList():
            return typed(batch.texts(_by_text(column, _json_list, batch)), to)
        case rows.Less(part):
            return typed(_less(typed(column, "i"), batch.span(part.key, "i")), to)
        case rows.Extract(pattern):
            return typed(batch.texts(_by_text(column, partial(_first_group, pattern), batch)), to)


def typed(column: Column, to: ValueType) -> Column:
    """Return a scalar column in another value type; what has no exact reading there becomes null."""
    target = ARROW_TYPES[to]
    if column.type.equals(target):
        return column
    if pa.types.is_string(column.type):
        return _from_text(column, to)
    if to == "s":
        return column.cast(target)
    if to == "b":
        return _from_text(pa.nulls(len(column), pa.string()), to)
    if pa.types.is_boolean(column.type):
        return pa.array([None] * len(column), target)
    if to == "i" and pa.types.is_floating(column.type):
        whole = pc.and_(pc.equal(pc.floor(column), column), pc.less_equal(pc.abs(column), _LARGEST_EXACT))
        return pc.if_else(pc.fill_null(whole, FALSE), column, NULLS[column.type]).cast(target)
    return column.cast(target, safe=False)


def _from_text(column: Column, to: ValueType) -> Column:
    if to == "b":
        lower = pc.utf8_lower(column)
        return pc.if_else(pc.is_in(lower, _TRUTHS), pc.equal(lower, _TRUE), NULLS[pa.bool_()])
    fits = pc.match_substring_regex(column, _WHOLE if to == "i" else _NUMBER)
    numbers = pc.if_else(fits, column, NULLS[column.type])
    if to == "i":
        numbers = pc.replace_substring_regex(numbers, _POINT, "")
    return numbers.cast(ARROW_TYPES[to])


def _seconds_since_start(times: Column, batch: Batch) -> Column:
    elapsed = pc.subtract(times, batch.columns["start_ns"])
    return pc.divide(elapsed.cast(pa.float64(), safe=False), _NANOSECONDS)


def _less(whole: Column, part: Column | None) -> Column:
    if part is None:
        return pa.nulls(len(whole), whole.type)
    sane = pc.and_(pc.greater_equal(part, pa.scalar(0, part.type)), pc.less_equal(part, whole))
    return pc.subtract(pc.if_else(pc.fill_null(sane, FALSE), whole, NULLS[whole.type]), part)


def _by_text(column: Column, reading: Callable[[str], T | None], batch: Batch) -> Coded:
    """Apply a function once to each distinct text of the column."""
    coded = batch.coded(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    return Coded(coded.codes, [None if text is None else reading(text) for text in coded.values])


def _mapped(pairs: tuple[tuple[str, str], ...], closed: bool, text: str) -> str | None:
    return dict(pairs).get(text, None if closed else text)


@remembers(4096, longest=1024)
def _json_member(path: tuple[str, ...], text: str) -> str | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return None  # not JSON: the rule finds nothing here
    for step in path:
        if isinstance(value, dict):
            value = value.get(step)
        elif isinstance(value, list) and step.isdecimal() and int(step) < len(value):
            value = value[int(step)]
        else:
            return None
    match value:
        case None:
            return None
        case str():
            return value
        case bool() | int() | float() | list() | dict():
            return orjson.dumps(value).decode()
    return None


def _json_list(text: str) -> str | None:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        # A bare word, such as stop, or words as Python shows them.
        value = orjson.loads(text.replace("'", '"')) if text_matches(rows.PYTHON_LIST, text) else text
    if isinstance(value, str):
        value = [value] if value else None
    return orjson.dumps(value).decode() if isinstance(value, list) else None


@remembers(4096, longest=1024)
def _first_group(pattern: str, text: str) -> str | None:
    found = compiled(pattern).search(text)
    return found.group(1) if found else None


def _iso_nanoseconds(text: str) -> int | None:
    try:
        moment = datetime.datetime.fromisoformat(text.strip('"'))
    except ValueError:
        return None  # not a time: the rule finds nothing here
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return round((moment - _EPOCH) / datetime.timedelta(microseconds=1)) * 1000
