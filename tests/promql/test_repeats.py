"""What stands in a query twice is evaluated once, and nothing else takes its place."""

from collections.abc import Sequence

import numpy as np
import pytest

from stackctl.promql import Matcher, Series, repeats
from stackctl.promql.evaluate import instant, range_


class Counting:
    """A storage of two counters that counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        self.asked += 1
        times = np.arange(0, 600_001, 15_000)
        counters = [Series({"__name__": "m", "n": n}, times, times * float(n)) for n in ("1", "2")]
        return [one for one in counters if all(m.value in ("m", one.labels.get(m.name)) for m in matchers)]


@pytest.mark.parametrize(
    ("query", "asked"),
    [
        ("rate(m[1m]) / rate(m[1m])", 1),
        ("rate(m[1m]) / ((rate(m{}[60s])))", 1),
        ("rate(m[1m]) / rate(m[1m] offset 1m)", 2),
        ("rate(m[1m]) / increase(m[1m])", 2),
        ('rate(m{n="1"}[1m]) / rate(m{n="2"}[1m])', 2),
        ("sum(rate(m[1m])) / max_over_time(rate(m[1m])[1m:15s])", 2),
        ("m / m", 2),
    ],
)
def test_equal_parts_are_evaluated_once(monkeypatch: pytest.MonkeyPatch, query: str, asked: int) -> None:
    """Wherever they stand, at an instant and over steps, with the answers of each evaluated for itself."""
    storage = Counting()
    found = instant(query, 600_000, storage), range_(query, 300_000, 600_000, 15_000, storage)
    assert storage.asked == 2 * asked
    monkeypatch.setattr(repeats, "_MOST_VALUES", 0)
    again = instant(query, 600_000, storage), range_(query, 300_000, 600_000, 15_000, storage)
    for one, other in zip(found, again, strict=True):
        assert [series.labels for series in one.series] == [series.labels for series in other.series]
        for series, same in zip(one.series, other.series, strict=True):
            assert series.v.tobytes() == same.v.tobytes()
