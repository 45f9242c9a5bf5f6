"""Results as Prometheus writes them in JSON (util/jsonutil, web/api/v1/json_codec.go): values as text."""

import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias

import numpy as np
import orjson

from stackctl.embedded.series.family import number
from stackctl.promql import ExecutionFailed, Result, Series
from stackctl.promql.values import Floats

Json: TypeAlias = Any

# Most numbers are in between: Python and orjson write these as Go does.
_PLAIN_FROM: Final = 1e-4
_PLAIN_BELOW: Final = 1e16
# About 150 MB of answer.
MAX_RESULT_POINTS: Final = 5_000_000


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
        raise ExecutionFailed(
            "query processing would load too many samples into memory in query execution",
            next_step="Ask for a shorter range, a longer step or fewer series.",
        )
    warnings = ["results truncated due to limit"] if len(wanted) < len(result.series) else []
    write: Callable[[Series], Json] = _sample if result.kind == "vector" else _line
    # Text at once: as objects, a large answer would take ten times the memory.
    written = [orjson.Fragment(orjson.dumps(write(one))) for one in wanted]
    return {"resultType": result.kind, "result": written}, warnings


def ordered(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels in the order of their names, as Prometheus keeps them."""
    return dict(sorted(labels.items()))


def exemplars_json(
    labels: Mapping[str, str], times_ms: Sequence[int], values: Floats, trace_ids: Sequence[str]
) -> Json:
    """Return the exemplars of a series."""
    quoted = (orjson.dumps(one).decode() for one in trace_ids)
    rows = [
        f'{{"labels":{{"trace_id":{trace_id}}},"value":"{value}","timestamp":{seconds(time)}}}'
        for time, value, trace_id in zip(times_ms, _texts(values), quoted, strict=True)
    ]
    return {"seriesLabels": ordered(labels), "exemplars": orjson.Fragment(f"[{','.join(rows)}]")}


def _sample(series: Series) -> Json:
    return {"metric": ordered(series.labels), "value": [seconds(int(series.t_ms[0])), value_text(float(series.v[0]))]}


def _line(series: Series) -> Json:
    pairs = zip(series.t_ms.tolist(), _texts(series.v), strict=True)
    points = ",".join([f'[{seconds(time)},"{text}"]' for time, text in pairs])
    return {"metric": ordered(series.labels), "values": orjson.Fragment(f"[{points}]")}


def _texts(values: Floats) -> list[str]:
    """Return many values as `value_text` does, all at once where that is possible."""
    size = np.abs(values)
    plain = (size >= _PLAIN_FROM) & (size < _PLAIN_BELOW) | (size == 0)
    if not len(values) or not plain.all():
        return [value_text(value) for value in values.tolist()]
    texts = orjson.dumps(values.tolist()).decode()[1:-1].split(",")
    return [text[:-2] if text.endswith(".0") else text for text in texts]
