"""One query here and there: our answer compared with the real Prometheus'."""

import math
from dataclasses import dataclass
from typing import Any

from corpus import Query
from realstack import Answer, RealPrometheus
from samples import Samples

from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import Result, instant, range_

# The real server's answer may differ by this much of the value.
TOLERANCE = 1e-9


@dataclass(frozen=True)
class Verdict:
    """The outcome of one comparison.

    Attributes:
        difference: what differs, None where the answers agree.
        refused: we refused by name.
        empty: both answered nothing (or both an error).
    """

    difference: str | None = None
    refused: bool = False
    empty: bool = False


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
        return Verdict(f"we refuse: {error.message}" if expected.error is None else None, empty=True)
    if expected.error is not None:
        return Verdict(f"they refuse: {expected.error}")
    if expected.kind != result.kind:
        return Verdict(f"kind {result.kind}, not {expected.kind}")
    if result.kind == "string":
        return Verdict(None if expected.result[1] == result.text else "text differs")
    mine, real = lines(result), server_lines(expected.kind, expected.result)
    in_order = "sort" in query.text and query.end_ms is None
    return Verdict(_difference(mine, real, in_order), empty=not real)


Points = list[tuple[int, float]]
Lines = list[tuple[tuple[tuple[str, str], ...], Points]]


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


def _difference(mine: Lines, real: Lines, in_order: bool) -> str | None:
    if in_order and [labels for labels, _ in mine] != [labels for labels, _ in real]:
        return "order differs"
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
