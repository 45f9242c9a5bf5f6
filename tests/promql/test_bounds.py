"""A query holds no more values than it may, whatever it makes of few samples, and says so."""

from collections.abc import Sequence

import numpy as np
import pytest

from stackctl.promql import ExecutionFailed, Matcher, Series, range_, relabel, select
from stackctl.promql.values import STALE_BITS

STEPS = 20
STALE = np.array([STALE_BITS]).view(np.float64)[0]


class Distinct:
    """Ten series of which no two samples are the same number."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        times = np.arange(STEPS, dtype=np.int64) * 1000
        return [Series({"n": str(n)}, times, np.arange(STEPS) + n / 16) for n in range(10)]


@pytest.mark.parametrize(
    "query", ['{n!=""}', 'count_values("v", {n!=""})', 'max_over_time({n!=""}[5s])', "vector(1)[9s:1ms]"]
)
def test_no_operator_makes_more_values_than_a_query_may_hold(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Series times steps, values times steps, and the steps of subqueries are bounded."""
    if "[9s" in query:
        query = f"count_over_time({query})"
    few = range_(query, 0, (STEPS - 1) * 1000, 1000, Distinct())
    assert few.series
    monkeypatch.setattr(select, "_MOST_VALUES", 199)
    with pytest.raises(ExecutionFailed, match="too many samples"):
        range_(query, 0, (STEPS - 1) * 1000, 1000, Distinct())


def test_many_distinct_values_are_counted_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two hundred values at twenty steps each are more than the samples they were counted of."""
    monkeypatch.setattr(select, "_MOST_VALUES", 3999)
    range_("{n!=''}", 0, (STEPS - 1) * 1000, 1000, Distinct())
    with pytest.raises(ExecutionFailed, match="too many samples"):
        range_("count_values('v', {n!=''})", 0, (STEPS - 1) * 1000, 1000, Distinct())


class InTurn:
    """Two hundred series that take turns, a second each, and as many that are always there."""

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        if matchers[0].value == "always":
            return [Series({"n": str(n)}, np.array([0]), np.array([1.0])) for n in range(200)]
        return [Series({"n": str(n)}, np.array([n * 1000, n * 1000 + 1]), np.array([1.0, STALE])) for n in range(200)]


def test_pairs_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of many series meets each of those that took turns at the four steps, though never two at once."""
    query = '{m="always"} + on() group_left() {m="turns"}'
    assert len(range_(query, 0, 3000, 1000, InTurn()).series) == 200
    monkeypatch.setattr(select, "_MOST_VALUES", 200 * 4 * 4 - 1)
    with pytest.raises(ExecutionFailed, match="too many samples"):
        range_(query, 0, 3000, 1000, InTurn())


@pytest.mark.parametrize(
    "query",
    [
        f"label_replace({{n!=''}}, 'l', '{'x' * 100}', 'n', '.*')",
        f"label_join({{n!=''}}, 'l', '{'x' * 100}', 'n', 'n')",
    ],
)
def test_texts_are_bounded(query: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A long template for each of many series is refused before the labels are made."""
    assert len(range_(query, 0, 0, 1000, Distinct()).series) == 10
    monkeypatch.setattr(relabel, "_MOST_CHARACTERS", 999)
    with pytest.raises(ExecutionFailed, match="too many samples"):
        range_(query, 0, 0, 1000, Distinct())
