"""Powers with the bits that Prometheus gives them, which its `count_values` shows: it has them from Go's `math.Pow`.

That squares its way to whole exponents where C's `pow` rounds once, so that the two differ by some units in the last
place. Fractional exponents go through both libraries' own exp and log, and may differ in the last bit.
Source: https://go.dev/src/math/pow.go
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from stackctl.promql.values import Floats

_PIECE: Final = 65_536
_MOST_SCALE: Final = 4096
"""Beyond this power of two a result is 0 or infinite, whatever is left to multiply."""


def power(base: Floats, exponent: Floats) -> Floats:
    """Return each base to its exponent; a shape of both is that of the result."""
    bases, exponents = np.broadcast_arrays(np.asarray(base, np.float64), np.asarray(exponent, np.float64))
    found = np.empty(bases.size)
    for start in range(0, found.size, _PIECE):  # what it works with would be ten times a large result
        piece = slice(start, start + _PIECE)
        found[piece] = _powers(bases.flat[piece], exponents.flat[piece])
    return found.reshape(bases.shape)


def _powers(bases: Floats, exponents: Floats) -> Floats:
    if (exponents == 2).all():
        return np.square(bases)
    found = np.power(bases, exponents)
    ordinary = np.isfinite(bases) & (bases != 0)
    whole = ordinary & (np.abs(exponents) < 2.0**63) & (exponents == np.trunc(exponents))
    found[whole] = _by_squaring(bases[whole], exponents[whole])
    for half in (0.5, -0.5):
        roots = ordinary & (exponents == half)
        found[roots] = np.sqrt(bases[roots]) if half > 0 else 1 / np.sqrt(bases[roots])
    return found


def _by_squaring(bases: Floats, exponents: Floats) -> Floats:
    """Return powers of ordinary numbers: mantissas and powers of two apart, so that nothing overflows on the way."""
    rest = np.abs(exponents).astype(np.int64)
    square, square_scale = _split(bases)
    result, scale = np.ones_like(bases), np.zeros(bases.shape, np.int64)
    while rest.any():
        beyond = (rest != 0) & (np.abs(square_scale) > _MOST_SCALE)
        scale[beyond] += square_scale[beyond]
        rest[beyond] = 0
        odd = rest & 1 == 1
        result[odd] *= square[odd]
        scale[odd] += square_scale[odd]
        square, more = _split(square * square)
        square_scale = np.where(rest != 0, 2 * square_scale + more, 0)
        rest >>= 1
    negative = exponents < 0
    result[negative] = 1 / result[negative]
    scale[negative] *= -1
    return np.ldexp(result, np.clip(scale, -(2**20), 2**20).astype(np.int32))


def _split(numbers: Floats) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Return mantissas of at least one half and below one, with their powers of two."""
    mantissas, scales = np.frexp(numbers)
    return mantissas, scales.astype(np.int64)
