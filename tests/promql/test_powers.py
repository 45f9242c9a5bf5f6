"""Powers have the bits that Prometheus 3.15 answers with; where it runs, `test_api_prometheus.py` asks it for more."""

import tracemalloc

import numpy as np
import pytest

from stackctl.promql.powers import power


@pytest.mark.parametrize(
    ("base", "exponent", "told"),
    [
        (3.7, 41, 1.978202228385547e23),
        (1.0001, 123_457, 229827.14368277),
        (0.3, -57, 6.369252716499954e29),
        (-7.3, 33, -3.087837121861055e28),
        (2, -0.5, 0.7071067811865475),
        (1e-170, 2, 0.0),
        (1.1, 2, 1.2100000000000002),
    ],
)
def test_whole_powers_are_squared_together(base: float, exponent: float, told: float) -> None:
    """What `pow` of C rounds once is multiplied from squares, a root's inverse is rounded twice."""
    assert power(np.array([base]), np.array(exponent)).tolist() == [told]


def test_powers_take_the_shape_of_both_sides() -> None:
    """A column of bases and a row of exponents are a table, neither is changed."""
    bases, exponents = np.array([[2.0], [-3.0]]), np.array([0.0, 1.0, 2.0, np.nan])
    expected = [[1.0, 2.0, 4.0, np.nan], [1.0, -3.0, 9.0, np.nan]]
    np.testing.assert_array_equal(power(bases, exponents), expected)
    assert bases.tolist() == [[2.0], [-3.0]]


def test_a_large_result_needs_little_beside_it() -> None:
    """A row to the power of a column, a million values: in pieces, and the same as one by one."""
    bases, exponents = np.linspace(-3, 3, 4096)[None, :], np.arange(-128.0, 128.0)[:, None]
    tracemalloc.start()
    with np.errstate(all="ignore"):
        found = power(bases, exponents)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * found.nbytes
    assert found[200, 77] == power(bases[0, 77:78], exponents[200])[0]
