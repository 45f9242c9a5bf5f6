"""Results as Prometheus writes them in JSON (util/jsonutil, web/api/v1/json_codec.go): values as text."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
import orjson

from stackctl.embedded.series.family import number
from stackctl.promql import Result, Series
from stackctl.promql.select import too_much
from stackctl.promql.values import Floats, Times

Json: TypeAlias = Any

# Most numbers are in between: Python and orjson write these as Go does.
_PLAIN_FROM: Final = 1e-4
_PLAIN_BELOW: Final = 1e16
# About 150 MB of answer.
MAX_RESULT_POINTS: Final = 5_000_000
# So many points are written at a time.
PIECE_POINTS: Final = 4096
T = TypeVar("T")


def value_text(value: float) -> str:
    """Return a sample's value: the fewest digits, an exponent below 1e-6 and from 1e21 on. Scalars never have one."""
    if _PLAIN_FROM <= abs(value) < _PLAIN_BELOW:
        text = repr(value)
        return text[:-2] if text.endswith(".0") else text
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text and 1e-6 <= abs(value) < 1e21:
        text = format(Decimal(text), "f")
    elif "e" not in text and value != 0 and abs(value) < 1e-6:
        text = f"{value:e}"
    return text.removesuffix(".0")


def go_exponent(value: float) -> str:
    """Return a number as Prometheus writes an alert's value: Go's `FormatFloat(v, 'e', -1, 64)`."""
    if not math.isfinite(value):
        return value_text(value)
    digits = Decimal(repr(value))
    mantissa, _, exponent = f"{digits.normalize():e}".partition("e")
    if value == 0:
        exponent = "0"
    return f"{mantissa}e{int(exponent):+03d}"


def seconds(time_ms: int) -> float | int:
    """Return a time as Prometheus writes it: seconds, with milliseconds only where there are any."""
    return time_ms / 1000 if time_ms % 1000 else time_ms // 1000


def data(result: Result, at_ms: int, limit: int | None = None) -> tuple[Json, list[str]]:
    """Return a query's `data` and the warnings to send with it.

    Args:
        at_ms: the moment asked for, which a string is stamped with.
        limit: most series to return.

    Raises:
        ExecutionFailed: the answer would need more memory than a query may have.
    """
    if result.kind == "string":
        return {"resultType": "string", "result": [seconds(at_ms), result.text]}, []
    if result.kind == "scalar":
        return {"resultType": "scalar", "result": [seconds(at_ms), number(float(result.series[0].v[0]))]}, []
    wanted = result.series if limit is None else result.series[:limit]
    if sum(len(one.t_ms) for one in wanted) > MAX_RESULT_POINTS:
        raise too_much()
    warnings = ["results truncated due to limit"] if len(wanted) < len(result.series) else []
    write = _samples if result.kind == "vector" else _lines
    return {"resultType": result.kind, "result": in_pieces(wanted, lambda one: len(one.t_ms), write)}, warnings


def in_pieces(items: Sequence[T], size: Callable[[T], int], write: Callable[[Sequence[T]], Json]) -> Json:
    """Return a JSON array as text already: as objects, a large answer would take ten times the memory.

    Some items at a time: orjson takes 4 KB for each text that it begins, which the C library keeps in pieces.

    Args:
        size: how much an item writes, in points.
        write: gives the JSON of some items.
    """
    pieces, begin, points = list[bytes](), 0, 0
    for end, item in enumerate(items, 1):
        points += size(item)
        if points >= PIECE_POINTS or end == len(items):
            pieces.append(orjson.dumps(write(items[begin:end]))[1:-1])
            begin, points = end, 0
    return orjson.Fragment(b"[%b]" % b",".join(pieces))


def ordered(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels in the order of their names, as Prometheus keeps them."""
    return dict(sorted(labels.items()))


def exemplars_json(
    labels: Mapping[str, str], times_ms: Sequence[int], values: Floats, trace_ids: Sequence[str]
) -> Json:
    """Return the exemplars of a series."""
    rows = [
        f'{{"labels":{{"trace_id":{trace_id}}},"value":"{value}","timestamp":{time}}}'
        for time, value, trace_id in zip(_seconds(times_ms), _texts(values), _quoted(trace_ids), strict=True)
    ]
    return {"seriesLabels": ordered(labels), "exemplars": orjson.Fragment(f"[{','.join(rows)}]")}


def _quoted(texts: Sequence[str]) -> list[str]:
    """Return texts as JSON; all at once where they have nothing in them that JSON writes otherwise, as ids have not."""
    joined = orjson.dumps(list(texts)).decode()
    if "\\" in joined or not texts:
        return [orjson.dumps(text).decode() for text in texts]
    return [f'"{text}"' for text in joined[2:-2].split('","')]


def _seconds(times_ms: Sequence[int] | Times) -> list[str]:
    """Return many times as `seconds` does, written."""
    return _texts(np.array(times_ms, np.float64) / 1000)


def _samples(series: Sequence[Series]) -> Json:
    values = _texts(np.array([one.v[0] for one in series]))
    return [
        {"metric": ordered(one.labels), "value": [seconds(int(one.t_ms[0])), value]}
        for one, value in zip(series, values, strict=True)
    ]


def _lines(series: Sequence[Series]) -> Json:
    values, end = _texts(np.concatenate([one.v for one in series])), 0
    written, last, times = list[Json](), series[0], list[str]()
    for one in series:
        begin, end = end, end + len(one.v)
        if not times or one.t_ms is not last.t_ms:  # most have the same
            last, times = one, [f'[{time},"' for time in _seconds(one.t_ms)]
        points = ",".join([f'{time}{value}"]' for time, value in zip(times, values[begin:end], strict=True)])
        written.append({"metric": ordered(one.labels), "values": orjson.Fragment(f"[{points}]")})
    return written


def _texts(values: Floats) -> list[str]:
    """Return many values as `value_text` does: all at once, then those anew that orjson writes otherwise."""
    if not len(values):
        return []
    written = orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode()[1:-1]
    texts = f"{written},".replace(".0,", ",").split(",")[:-1]
    size = np.abs(values)
    plain = (size >= _PLAIN_FROM) & (size < _PLAIN_BELOW) | (values == 0) & ~np.signbit(values)
    for place in np.flatnonzero(~plain).tolist():
        texts[place] = value_text(float(values[place]))
    return texts
