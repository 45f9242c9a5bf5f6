"""One query here and there: our answer compared with the real Prometheus'."""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

from stackctl.bench.promql_corpus import Query
from stackctl.bench.promql_noise import variations
from stackctl.bench.promql_series import Samples
from stackctl.bench.promql_server import Answer, RealPrometheus
from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import Result, instant, range_

# The real server's answer may differ by this much of the value.
TOLERANCE = 1e-9

# Of equal values these choose the first ones, so the order of series counts.
_BY_ORDER = ("limitk", "topk", "bottomk")

LabelSet: TypeAlias = tuple[tuple[str, str], ...]
Lines: TypeAlias = list[tuple[LabelSet, list[tuple[int, float]]]]
"""Label sets with their points: milliseconds and value."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison.

    Attributes:
        difference: what differs, None where the answers agree.
        refused: we refused by name.
        empty: both answered nothing (or both an error).
        rounding: the answers differ by no more than the last bits of intermediate results decide.
    """

    difference: str | None = None
    refused: bool = False
    empty: bool = False
    rounding: bool = False


def ours(query: Query, storage: Samples) -> Result:
    """Evaluate a query with our engine."""
    if query.end_ms is None:
        return instant(query.text, query.start_ms, storage)
    return range_(query.text, query.start_ms, query.end_ms, query.step_ms, storage)


def theirs(query: Query, server: RealPrometheus) -> Answer:
    """Evaluate a query with the real server."""
    if query.end_ms is None:
        return server.instant(query.text, query.start_ms)
    return server.range(query.text, query.start_ms, query.end_ms, query.step_ms)


def compare(query: Query, storage: Samples, server: RealPrometheus) -> Verdict:
    """Evaluate a query here and there, and compare."""
    expected = theirs(query, server)
    try:
        result = ours(query, storage)
    except QueryUnsupported:
        return Verdict(refused=True)
    except QueryInvalid as error:
        if expected.error is not None:
            return Verdict(empty=True)
        return _unless_rounding(f"we refuse: {error.message}", query, storage, expected)
    if expected.error is not None:
        return Verdict(f"they refuse: {expected.error}")
    if expected.kind != result.kind:
        return Verdict(f"kind {result.kind}, not {expected.kind}")
    if result.kind == "string":
        return Verdict(None if expected.result[1] == result.text else "text differs")
    mine, real = lines(result), server_lines(expected.kind, expected.result)
    if query.end_ms is None and query.text.startswith("sort") and [one for one, _ in mine] != [one for one, _ in real]:
        return Verdict("order differs")
    difference = _difference(mine, real)
    return _unless_rounding(difference, query, storage, expected) if difference else Verdict(empty=not real)


def lines(result: Result) -> Lines:
    """Return our result as label sets with points."""
    return [
        (tuple(sorted(one.labels.items())), list(zip(one.t_ms.tolist(), one.v.tolist(), strict=True)))
        for one in result.series
    ]


def server_lines(kind: str, result: Any) -> Lines:
    """Return the real server's JSON result as label sets with points."""
    if kind == "scalar":
        return [((), [(round(result[0] * 1000), float(result[1]))])]
    return [
        (
            tuple(sorted(one["metric"].items())),
            [(round(t * 1000), float(v)) for t, v in one.get("values", [one.get("value")])],
        )
        for one in result
    ]


def _difference(mine: Lines, real: Lines) -> str | None:
    ours_by, theirs_by = dict(mine), dict(real)
    if len(ours_by) != len(mine):
        return "we answer one label set twice"
    if ours_by.keys() != theirs_by.keys():
        extra, missing = ours_by.keys() - theirs_by.keys(), theirs_by.keys() - ours_by.keys()
        return f"series: extra {sorted(extra)[:2]}, missing {sorted(missing)[:2]}"
    for labels, points in ours_by.items():
        other = theirs_by[labels]
        if [t for t, _ in points] != [t for t, _ in other]:
            return f"times of {labels}: {points[:3]} {other[:3]}"
        for (t, a), (_, b) in zip(points, other, strict=True):
            if not same(a, b):
                return f"{labels} at {t}: {a!r}, not {b!r}"
    return None


def same(a: float, b: float) -> bool:
    """Say whether two values agree to the tolerance; NaN agrees with NaN."""
    if math.isnan(a) or math.isnan(b):
        return math.isnan(a) and math.isnan(b)
    return a == b or math.isclose(a, b, rel_tol=TOLERANCE, abs_tol=0.0)


def _unless_rounding(difference: str, query: Query, storage: Samples, expected: Answer) -> Verdict:
    """Return the difference, or that it is one of rounding."""
    any_order = not any(word in query.text for word in _BY_ORDER)
    answers = variations(lambda samples: _answer(query, samples), storage, any_order)
    known = [_by_point(answer) for answer in (_answer(query, storage), *answers) if answer is not None]
    real = _by_point(server_lines(expected.kind, expected.result))
    return Verdict(rounding=True) if _within(real, known) else Verdict(difference)


def _answer(query: Query, storage: Samples) -> Lines | None:
    try:
        return lines(ours(query, storage))
    except QueryInvalid:  # rounding may also decide whether series meet
        return None


Points: TypeAlias = dict[tuple[LabelSet, int], float]


def _by_point(answer: Lines) -> Points:
    return {
        (tuple((name, _rounded(text)) for name, text in labels), t): value
        for labels, points in answer
        for t, value in points
    }


def _rounded(text: str) -> str:
    """Return a number's text with ten digits, another text as it is: `count_values` writes all of them into a label."""
    try:
        return f"{float(text):.10g}"
    except ValueError:
        return text


def _within(real: Points, known: list[Points]) -> bool:
    """Say whether an answer lies where other last bits move ours, or as far beside as they move it.

    Points that are not there on both sides must be missing with some last bits as well.
    """
    alike = [points for points in known if points.keys() == real.keys()]
    if not alike:
        return False
    for point, value in real.items():
        values = [points[point] for points in alike]
        low, high = min(values), max(values)
        width = high - low
        if not (any(same(one, value) for one in values) or low - width <= value <= high + width):
            return False
    return True
