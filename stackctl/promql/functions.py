"""The table of functions: name, and how it is evaluated on its evaluated arguments.

Three kinds: over windows (`OVER_WINDOWS`), of values one by one (`OF_VALUES`), and the rest (`OTHERS`). What is in
none of them is refused by name (`signatures.REFUSED`).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stackctl.promql import histograms, over_time, rates, relabel
from stackctl.promql.rates import Answer
from stackctl.promql.select import Block, Context
from stackctl.promql.values import Floats, ScalarValue, TextValue, Value, Vector


@dataclass(frozen=True)
class OverWindows:
    """A function of a range vector.

    Attributes:
        evaluate: from a block, the evaluated other arguments and the context to values and mask.
        keeps_name: whether the result keeps the metric name.
        extended: same for blocks of `anchored` or `smoothed` selectors, by the word, where allowed.
        range_at: which argument the range vector is.
    """

    evaluate: Callable[..., Answer]
    keeps_name: bool = False
    extended: tuple[str, ...] = ()
    range_at: int = 0


def _rate(counter: bool, per_second: bool) -> Callable[..., Answer]:
    def evaluate(block: Block, word: str | None = None) -> Answer:
        if word is None:
            return rates.extrapolated(block, counter, per_second)
        return (rates.smoothed if word == "smoothed" else rates.anchored)(block, counter, per_second)

    return evaluate


def _count(differs: Callable[[Floats, Floats], Any]) -> Callable[..., Answer]:
    return lambda block, word=None: rates.count_between(block, differs, anchored=word == "anchored")


_BOTH = ("anchored", "smoothed")

OVER_WINDOWS: dict[str, OverWindows] = {
    "rate": OverWindows(_rate(counter=True, per_second=True), extended=_BOTH),
    "increase": OverWindows(_rate(counter=True, per_second=False), extended=_BOTH),
    "delta": OverWindows(_rate(counter=False, per_second=False), extended=_BOTH),
    "irate": OverWindows(lambda block: rates.last_two(block, counter=True)),
    "idelta": OverWindows(lambda block: rates.last_two(block, counter=False)),
    "resets": OverWindows(_count(rates.is_reset), extended=("anchored",)),
    "changes": OverWindows(_count(rates.is_change), extended=("anchored",)),
    "deriv": OverWindows(over_time.deriv),
    "predict_linear": OverWindows(over_time.predict_linear),
    "double_exponential_smoothing": OverWindows(over_time.double_exponential_smoothing),
    "sum_over_time": OverWindows(over_time.sum_over_time),
    "avg_over_time": OverWindows(over_time.avg_over_time),
    "min_over_time": OverWindows(over_time.min_over_time),
    "max_over_time": OverWindows(over_time.max_over_time),
    "count_over_time": OverWindows(over_time.count_over_time),
    "present_over_time": OverWindows(over_time.present_over_time),
    "last_over_time": OverWindows(over_time.last_over_time, keeps_name=True),
    "first_over_time": OverWindows(over_time.first_over_time, keeps_name=True),
    "stddev_over_time": OverWindows(over_time.deviation_over_time),
    "stdvar_over_time": OverWindows(over_time.variance_over_time),
    "mad_over_time": OverWindows(over_time.mad_over_time),
    "quantile_over_time": OverWindows(over_time.quantile_over_time, range_at=1),
    "ts_of_first_over_time": OverWindows(over_time.ts_of_first_over_time),
    "ts_of_last_over_time": OverWindows(over_time.ts_of_last_over_time),
    "ts_of_max_over_time": OverWindows(over_time.ts_of_max_over_time),
    "ts_of_min_over_time": OverWindows(over_time.ts_of_min_over_time),
}

_FAR = 21.0  # beyond it e^-x is too small to count


def _sinh(v: Floats) -> Floats:
    """Return the hyperbolic sine with Go's overflow: half of e^x is infinite where e^x is."""
    return np.where(np.abs(v) > _FAR, np.copysign(np.exp(np.abs(v)) * 0.5, v), np.sinh(v))


def _cosh(v: Floats) -> Floats:
    """Return the hyperbolic cosine, as `_sinh`."""
    return np.where(np.abs(v) > _FAR, np.exp(np.abs(v)) * 0.5, np.cosh(v))


OF_VALUES: dict[str, Callable[[Floats], Floats]] = {
    "abs": np.abs,
    "ceil": np.ceil,
    "floor": np.floor,
    "exp": np.exp,
    "sqrt": np.sqrt,
    "ln": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "sgn": np.sign,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "sinh": _sinh,
    "cosh": _cosh,
    "tanh": np.tanh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "deg": lambda v: v * 180 / math.pi,
    "rad": lambda v: v * math.pi / 180,
}


def _calendar(part: Callable[[Any], Any], unrepresentable: int) -> Callable[[Floats], Floats]:
    """Make a function of seconds since the epoch from one of numpy's dates (UTC).

    Args:
        unrepresentable: what Prometheus on amd64 answers for NaN, infinities and what exceeds 64 bit: Go makes the
            smallest integer of them, and dates from it.
    """

    def evaluate(v: Floats) -> Floats:
        usable = np.abs(v) < 2.0**63
        moments = np.trunc(np.where(usable, v, 0.0)).astype(np.int64).astype("datetime64[s]")
        return np.where(usable, part(moments).astype(float), float(unrepresentable))

    return evaluate


def _number(moments: Any, unit: str) -> Any:
    return moments.astype(f"datetime64[{unit}]").astype(np.int64)


def _day_in(unit: str) -> Callable[[Any], Any]:
    return lambda moments: _number(moments, "D") - _number(moments.astype(f"datetime64[{unit}]"), "D") + 1


def _days_in_month(moments: Any) -> Any:
    month = moments.astype("datetime64[M]")
    return _number(month + 1, "D") - _number(month, "D")


CALENDAR: dict[str, Callable[[Floats], Floats]] = {
    "minute": _calendar(lambda moments: _number(moments, "m") % 60, 30),
    "hour": _calendar(lambda moments: _number(moments, "h") % 24, 15),
    "day_of_week": _calendar(lambda moments: (_number(moments, "D") + 4) % 7, 0),
    "day_of_month": _calendar(_day_in("M"), 4),
    "day_of_year": _calendar(_day_in("Y"), 339),
    "days_in_month": _calendar(_days_in_month, 31),
    "month": _calendar(lambda moments: _number(moments, "M") % 12 + 1, 12),
    "year": _calendar(lambda moments: _number(moments, "Y") + 1970, 292_277_026_596),
}


def _vector(value: Value) -> Vector:
    assert isinstance(value, Vector)
    return value


def _numbers(value: Value) -> Floats:
    assert isinstance(value, ScalarValue)
    return value.v


def _text(value: Value) -> str:
    assert isinstance(value, TextValue)
    return value.text


def _smaller(a: Floats, b: Floats) -> Floats:
    # Go's Min lets an infinity win over NaN; numpy's does not.
    return np.where((a == -math.inf) | (b == -math.inf), -math.inf, np.minimum(a, b))


def _clamped(vector: Vector, low: Floats | float, high: Floats | float) -> Vector:
    # Go's Min and Max let an infinity win over NaN; numpy's do not.
    below = np.where((vector.v == -math.inf) | np.equal(high, -math.inf), -math.inf, np.minimum(high, vector.v))
    v = np.where((below == math.inf) | np.equal(low, math.inf), math.inf, np.maximum(low, below))
    return vector.with_values(v, vector.ok & ~np.less(high, low)).present().without_name()


def _round(args: Sequence[Value]) -> Vector:
    vector = _vector(args[0])
    # Multiplied by the inverse, as Prometheus does: fewer surprises with 0.1 and the like.
    inverse = 1.0 / _numbers(args[1]) if len(args) > 1 else 1.0
    return vector.with_values(np.floor(vector.v * inverse + 0.5) / inverse).without_name()


def _scalar(vector: Vector) -> ScalarValue:
    lone = vector.ok.sum(axis=0) == 1
    return ScalarValue(np.where(lone, np.where(vector.ok, vector.v, 0.0).sum(axis=0), math.nan))


OTHERS: dict[str, Callable[[Context, Sequence[Value]], Value]] = {
    "time": lambda context, _: ScalarValue(context.times / 1000.0),
    "start": lambda context, _: ScalarValue(np.full(context.steps, context.start_ms / 1000.0)),
    "end": lambda context, _: ScalarValue(np.full(context.steps, context.end_ms / 1000.0)),
    "step": lambda context, _: ScalarValue(np.full(context.steps, context.step_ms / 1000.0)),
    "range": lambda context, _: ScalarValue(np.full(context.steps, (context.end_ms - context.start_ms) / 1000.0)),
    "min_of": lambda _, args: ScalarValue(_smaller(_numbers(args[0]), _numbers(args[1]))),
    "max_of": lambda _, args: ScalarValue(-_smaller(-_numbers(args[0]), -_numbers(args[1]))),
    "pi": lambda context, _: ScalarValue(np.full(context.steps, math.pi)),
    "vector": lambda _, args: Vector.single(_numbers(args[0])),
    "scalar": lambda _, args: _scalar(_vector(args[0])),
    "round": lambda _, args: _round(args),
    "clamp": lambda _, args: _clamped(_vector(args[0]), _numbers(args[1]), _numbers(args[2])),
    "clamp_min": lambda _, args: _clamped(_vector(args[0]), _numbers(args[1]), math.inf),
    "clamp_max": lambda _, args: _clamped(_vector(args[0]), -math.inf, _numbers(args[1])),
    "histogram_quantile": lambda _, args: histograms.quantile(_numbers(args[0]), _vector(args[1])),
    "histogram_quantiles": lambda _, args: histograms.quantiles(
        _vector(args[0]), _text(args[1]), [_numbers(arg) for arg in args[2:]]
    ),
    "histogram_fraction": lambda _, args: histograms.fraction(_numbers(args[0]), _numbers(args[1]), _vector(args[2])),
    "label_replace": lambda _, args: relabel.replace(_vector(args[0]), *map(_text, args[1:])),
    "label_join": lambda _, args: relabel.join(
        _vector(args[0]), _text(args[1]), _text(args[2]), [_text(arg) for arg in args[3:]]
    ),
    "sort": lambda _, args: relabel.sort(_vector(args[0]), descending=False),
    "sort_desc": lambda _, args: relabel.sort(_vector(args[0]), descending=True),
    "sort_by_label": lambda _, args: relabel.sort_by_label(
        _vector(args[0]), [_text(arg) for arg in args[1:]], descending=False
    ),
    "sort_by_label_desc": lambda _, args: relabel.sort_by_label(
        _vector(args[0]), [_text(arg) for arg in args[1:]], descending=True
    ),
}

# These look at their argument's syntax as well, so the evaluator has them itself.
OF_SYNTAX = frozenset(("absent", "absent_over_time", "info", "timestamp"))

NAMES = frozenset((*OVER_WINDOWS, *OF_VALUES, *CALENDAR, *OTHERS, *OF_SYNTAX))
"""Every function this engine has."""
