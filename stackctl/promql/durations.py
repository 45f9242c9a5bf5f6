"""Duration expressions: arithmetic in ranges, steps and offsets, such as `rate(x[4 * step()])`.

Rules of Prometheus 3's promql/durations.go. Their value follows from the query's own range and step, so it is known
before anything is evaluated: `resolve` puts milliseconds in their place.
"""

import math
from dataclasses import dataclass, replace

from stackctl.errors import QueryInvalid
from stackctl.promql import tree
from stackctl.promql.literals import LONGEST_SECONDS


@dataclass(frozen=True)
class Window:
    """What a query asks for, milliseconds; an instant query has neither range nor step."""

    range_ms: int = 0
    step_ms: int = 0


def resolve(node: tree.Node, window: Window) -> tree.Node:
    """Return the tree with milliseconds for all duration expressions.

    Raises:
        QueryInvalid: one divides by zero, is too long, or is not positive where it must be.
    """
    match node:
        case tree.Selector():
            within = None if node.range is None else _positive(node.range, window)
            return replace(node, offset=_milliseconds(node.offset, window), range=within)
        case tree.Subquery():
            return replace(
                node,
                expr=resolve(node.expr, window),
                range=_positive(node.range, window),
                step=None if node.step is None else _positive(node.step, window),
                offset=_milliseconds(node.offset, window),
            )
        case tree.Unary():
            return replace(node, expr=resolve(node.expr, window))
        case tree.Call():
            return replace(node, args=tuple(resolve(arg, window) for arg in node.args))
        case tree.Aggregation():
            param = None if node.param is None else resolve(node.param, window)
            return replace(node, expr=resolve(node.expr, window), param=param)
        case tree.Binary():
            return replace(node, left=resolve(node.left, window), right=resolve(node.right, window))
        case _:
            return node


def _positive(duration: tree.Duration, window: Window) -> int:
    value = _milliseconds(duration, window)
    if value <= 0 and isinstance(duration, tree.DurationExpr):
        raise QueryInvalid("duration must be greater than 0", next_step="Use a longer duration.")
    return value


def _milliseconds(duration: tree.Duration, window: Window) -> int:
    if isinstance(duration, int):
        return duration
    seconds = _seconds(duration, window)
    if not abs(seconds) < LONGEST_SECONDS:
        raise QueryInvalid("duration is out of range", next_step="Use a shorter duration.")
    return math.trunc(seconds * 1000)


def _seconds(value: float | tree.DurationExpr, window: Window) -> float:
    if not isinstance(value, tree.DurationExpr):
        return value
    if value.op in ("step", "range"):
        return (window.step_ms if value.op == "step" else window.range_ms) / 1000
    numbers = [_seconds(arg, window) for arg in value.args]
    if value.op == "-" and len(numbers) == 1:
        return -numbers[0]
    return _combined(value.op, *numbers)


def _combined(op: str, left: float, right: float) -> float:
    if op in ("/", "%") and right == 0:
        raise QueryInvalid(
            f"{'division' if op == '/' else 'modulo'} by zero", next_step="Divide by something that is not zero."
        )
    match op:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/":
            return left / right
        case "%":
            return math.fmod(left, right)
        case "^":
            return _power(left, right)
        case "min_of":
            return min(left, right)
        case _:
            return max(left, right)


def _power(left: float, right: float) -> float:
    try:
        return math.pow(left, right)
    except OverflowError:
        return math.inf
    except ValueError:  # a root of a negative number, or zero to a negative power
        return math.nan
