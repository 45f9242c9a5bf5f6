"""Evaluation with other last bits: how far an answer depends on the noise of its intermediate results.

Two right evaluators may add in different order, and their libraries' sine may differ in the last bit. Where numbers
nearly cancel, such as in the variance of equal values, the last bit decides over the whole answer, and no tolerance is
wide enough. So the same query on the same samples is evaluated again: with the processor rounding up, down or towards
zero, with series in another order, and with the last bit of transcendental functions drawn by lot. What then moves is
noise. The samples are not touched: what does not come of rounding does not move, and a real difference stays one.
"""

import ctypes
import ctypes.util
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from unittest.mock import patch

import numpy as np

from stackctl.bench.promql_series import Samples
from stackctl.promql import binary, functions
from stackctl.promql.values import Floats

T = TypeVar("T")

TIMES: Final = 12
# fenv.h: to nearest, upward, downward, toward zero.
_DIRECTIONS: Final = {
    "x86_64": (0, 0x800, 0x400, 0xC00),
    "aarch64": (0, 0x400000, 0x800000, 0xC00000),
}
_EXACT: Final = frozenset(("abs", "ceil", "floor", "sgn", "sqrt"))
"""Functions whose last bit IEEE 754 fixes."""
_TRANSCENDENTAL_OPERATORS: Final = ("^", "atan2")


def variations(evaluate: Callable[[Samples], T], samples: Samples, any_order: bool) -> list[T]:
    """Return what an evaluation gives with other last bits.

    Args:
        any_order: whether the answer must not depend on the order of series.
    """
    rng = np.random.default_rng(1)
    directions = _DIRECTIONS.get(platform.machine(), (0,))
    found = []
    for number in range(TIMES):
        order = rng.permutation(len(samples.series)) if any_order else range(len(samples.series))
        shuffled = Samples([samples.series[i] for i in order])
        with _rounding(directions[number % len(directions)]), _last_bits(rng):
            found.append(evaluate(shuffled))
    return found


@contextmanager
def _rounding(direction: int) -> Iterator[None]:
    library = ctypes.CDLL(ctypes.util.find_library("m"))
    if library.fesetround(direction):
        raise OSError(f"this processor has no rounding direction {direction:#x}")
    try:
        yield
    finally:
        library.fesetround(0)


@contextmanager
def _last_bits(rng: np.random.Generator) -> Iterator[None]:
    """Let transcendental functions err by one unit in the last place, up or down or not at all."""

    def noisy(function: Callable[..., Floats]) -> Callable[..., Floats]:
        def evaluate(*args: Any) -> Floats:
            exact = function(*args)
            toward = rng.choice((-np.inf, np.nan, np.inf), exact.shape)
            return np.where(np.isnan(toward) | ~np.isfinite(exact), exact, np.nextafter(exact, toward))

        return evaluate

    of_values = {name: noisy(function) for name, function in functions.OF_VALUES.items() if name not in _EXACT}
    operators = {name: noisy(binary.ARITHMETIC[name]) for name in _TRANSCENDENTAL_OPERATORS}
    with patch.dict(functions.OF_VALUES, of_values), patch.dict(binary.ARITHMETIC, operators):
        yield
