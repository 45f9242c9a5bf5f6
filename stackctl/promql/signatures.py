"""What each function takes and gives: the table of Prometheus 3's promql/parser/functions.go, as rows."""

from dataclasses import dataclass
from typing import Final, Literal

Kind = Literal["scalar", "vector", "matrix", "string"]

WORDS: Final[dict[Kind, str]] = {
    "scalar": "scalar",
    "vector": "instant vector",
    "matrix": "range vector",
    "string": "string",
}
"""The kinds as messages name them."""


@dataclass(frozen=True)
class Signature:
    """A function's arguments and result.

    Attributes:
        takes: kinds of the arguments; the last one repeats where `more` says so.
        more: how many arguments may follow the last but one; 0 for just those of `takes`, -1 for any number.
    """

    takes: tuple[Kind, ...]
    gives: Kind = "vector"
    more: int = 0


_VALUES: Final = Signature(("vector",))
_WINDOWS: Final = Signature(("matrix",))
_DATE: Final = Signature(("vector",), more=1)
_MOMENT: Final = Signature((), "scalar")
_WITH_SCALAR: Final = Signature(("vector", "scalar"))

SIGNATURES: Final[dict[str, Signature]] = {
    **dict.fromkeys(
        (
            "abs", "absent", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "cos", "cosh", "deg", "exp",
            "floor", "ln", "log10", "log2", "rad", "sgn", "sin", "sinh", "sort", "sort_desc", "sqrt", "tan", "tanh",
            "timestamp",
            "histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum",
            "start_timestamp",
        ),
        _VALUES,
    ),
    **dict.fromkeys(
        (
            "absent_over_time", "avg_over_time", "changes", "count_over_time", "delta", "deriv", "first_over_time",
            "idelta", "increase", "irate", "last_over_time", "mad_over_time", "max_over_time", "min_over_time",
            "present_over_time", "rate", "resets", "stddev_over_time", "stdvar_over_time", "sum_over_time",
            "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time", "ts_of_min_over_time",
        ),
        _WINDOWS,
    ),
    **dict.fromkeys(
        ("day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"), _DATE
    ),
    **dict.fromkeys(("end", "pi", "range", "start", "step", "time"), _MOMENT),
    **dict.fromkeys(("max_of", "min_of"), Signature(("scalar", "scalar"), "scalar")),
    **dict.fromkeys(("clamp_max", "clamp_min"), _WITH_SCALAR),
    **dict.fromkeys(("sort_by_label", "sort_by_label_desc"), Signature(("vector", "string"), more=-1)),
    "clamp": Signature(("vector", "scalar", "scalar")),
    "double_exponential_smoothing": Signature(("matrix", "scalar", "scalar")),
    "histogram_fraction": Signature(("scalar", "scalar", "vector")),
    "histogram_quantile": Signature(("scalar", "vector")),
    "histogram_quantiles": Signature(("vector", "string", "scalar", "scalar"), more=9),
    "info": Signature(("vector", "vector"), more=1),
    "label_join": Signature(("vector", "string", "string", "string"), more=-1),
    "label_replace": Signature(("vector", "string", "string", "string", "string")),
    "predict_linear": Signature(("matrix", "scalar")),
    "quantile_over_time": Signature(("scalar", "matrix")),
    "round": Signature(("vector", "scalar"), more=1),
    "scalar": Signature(("vector",), "scalar"),
    "vector": Signature(("scalar",)),
}  # fmt: skip

EXPERIMENTAL: Final = frozenset(
    (
        "double_exponential_smoothing", "end", "histogram_quantiles", "info", "limit_ratio",
        "limitk", "mad_over_time", "max_of", "min_of", "range", "sort_by_label", "sort_by_label_desc", "start",
        "start_timestamp", "step", "ts_of_first_over_time", "ts_of_last_over_time", "ts_of_max_over_time",
        "ts_of_min_over_time",
    )
)  # fmt: skip
"""Functions and aggregations that Prometheus has only with --enable-feature=promql-experimental-functions, which the
docker runtime does not switch on: boards and rules leave them alone."""

EXPERIMENTAL_MODIFIERS: Final = frozenset(("fill", "fill_left", "fill_right"))
"""Modifiers behind --enable-feature=promql-binop-fill-modifiers, likewise."""

REFUSED: Final[dict[str, str]] = {
    **dict.fromkeys(
        ("histogram_avg", "histogram_count", "histogram_stddev", "histogram_stdvar", "histogram_sum"),
        "native histograms are not stored",
    ),
    "start_timestamp": "start timestamps are not stored",
}
"""Functions this engine refuses by name, and why; there is no float sample they could be applied to."""
