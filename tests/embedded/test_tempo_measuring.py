"""Metrics put together from segments are those of one statement over everything, and what was found once is kept."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from span_store import BASE_NS, Given, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.measuring import Found, Steps, measured
from stackctl.embedded.traces.partials import Partial, Partials
from stackctl.embedded.traces.quantiles import Numbers, Sorted, quantile
from stackctl.embedded.traces.session import Session
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import ast, compile_query

SECOND = 10**9
FUNCTIONS = (
    "rate()",
    "count_over_time()",
    "histogram_over_time(.cost)",
    "min_over_time(.cost)",
    "max_over_time(.cost)",
    "sum_over_time(duration)",
    "avg_over_time(.cost)",
    "quantile_over_time(duration, 0.95, 0, 1, 0.5)",
)
# One interval over everything, twenty-five of a second, and some that begin and end within segments.
STEPS = (
    Steps(BASE_NS + 100 * SECOND, 101 * SECOND, 1),
    Steps(BASE_NS, SECOND, 26),
    Steps(BASE_NS + 3 * SECOND + 7, 2 * SECOND, 6),
)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    data_dir = tmp_path_factory.mktemp("measuring")
    rng = np.random.default_rng(5)
    for segment in range(5):
        spans = [
            Given(
                segment * 100 + number,
                1,
                start_ms=float(segment * 5000 + rng.integers(5000)),
                duration_ms=float(rng.lognormal(3, 2)),
                attributes={"cost": float(rng.lognormal(0, 1))} | ({"model": "ab"[number % 2]} if number % 3 else {}),
                resource={"service.name": PROBE_SERVICE if number == 7 else "shop"},
            )
            for number in range(60)
        ]
        write_store(data_dir, **{"sealed" if segment < 4 else "hot": spans})
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    with database.session() as session:
        yield session
    database.close()


def ask(session: Session, query: str, steps: Steps) -> Found:
    *before, stage = compile_query(query).body.stages
    assert isinstance(stage, ast.Metrics)
    return measured(session, ast.Pipeline(0, tuple(before)), stage, steps)


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("condition", ["true", ".cost > 1"])
def test_parts_make_the_whole(session: Session, function: str, condition: str, steps: Steps) -> None:
    """Every function, over one interval and many, is the same when a condition beyond the span forbids to part it."""
    parted = ask(session, f"{{ {condition} }} | {function} by (.model)", steps)
    whole = ask(session, f"{{ {condition} && traceDuration >= 0 }} | {function} by (.model)", steps)
    assert {group: set(values) for group, values in parted.items()} == {g: set(values) for g, values in whole.items()}
    assert {group[0].value for group in parted} == {"a", "b", None}
    for group, values in whole.items():
        for step, value in values.items():
            assert parted[group][step] == pytest.approx(value, rel=1e-12), (group, step)


def test_segments_are_asked_once(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Asked again, a question reads what no partial answer holds: segments cut by the window, and hot spans."""
    statements: list[str] = []
    table = Session.table
    monkeypatch.setattr(Session, "table", lambda self, sql, values: statements.append(sql) or table(self, sql, values))
    query = "{ .cost > 0.5 } | quantile_over_time(duration, 0.9)"
    first = ask(session, query, STEPS[0])
    asked = statements[:]
    assert sum(sql.count(".parquet") for sql in asked) == 4
    assert ask(session, query, STEPS[0]) == first
    assert [sql.count(".parquet") for sql in statements[len(asked) :]] == [0]
    asked = statements[:]
    assert ask(session, query.replace("0.9", "0.5, 0.99"), STEPS[0]) != first
    assert [sql.count(".parquet") for sql in statements[len(asked) :]] == [0], "other quantiles of the same numbers"


def test_partial_answers_are_bounded(tmp_path: Path) -> None:
    """The question asked the longest ago goes; one that does not fit keeps what does; gone segments are forgotten."""
    partials, segments = Partials(100), [tmp_path / str(number) for number in range(4)]

    def kept(question: str) -> list[int]:
        return [number for number, path in enumerate(segments) if partials.get(question, path) is not None]

    for path in segments:
        partials.put("large", path, Partial({}, 40))
    assert kept("large") == [0, 1]
    partials.put("small", segments[2], Partial({}, 30))
    assert (kept("small"), kept("large")) == ([2], [])
    partials.put("small", segments[3], Partial({}, 30))
    partials.only([segments[3]])
    assert kept("small") == [3]
    partials.put("more", segments[0], Partial({}, 70))
    assert (kept("small"), kept("more")) == ([3], [0])


def seconds(rng: np.random.Generator, count: int) -> Numbers:
    return rng.integers(0, 60 * SECOND, count) / SECOND


# What is measured: tokens, durations, sums that are no multiples of anything, and what does not fit in four bytes.
KINDS: dict[str, Callable[[np.random.Generator, int], Numbers]] = {
    "whole": lambda rng, count: rng.integers(-9, 9, count).astype(float),
    "seconds": seconds,
    "long": lambda rng, count: np.rint(rng.lognormal(21, 2, count)),
    "any": lambda rng, count: rng.lognormal(0, 2, count),
    "far": lambda rng, count: rng.integers(-(2**53), 2**53, count).astype(float),
    "endless": lambda rng, count: rng.choice([-np.inf, 0.5, np.inf], count),
}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 4000), min_size=1, max_size=40), st.floats(0, 1), st.integers(0, 2**32), st.data())
def test_quantiles_are_those_of_all_numbers(sizes: list[int], q: float, seed: int, data: st.DataObject) -> None:
    """Numbers in many places, with and without repeats, have the quantile that they have together."""
    rng = np.random.default_rng(seed)
    kinds = data.draw(st.lists(st.sampled_from(["whole", "seconds", "long", "any", "far"]), min_size=1))
    places = [KINDS[kinds[place % len(kinds)]](rng, count) for place, count in enumerate((1, *sizes))]
    expected = np.quantile(np.concatenate(places), q)
    assert quantile(list(map(Sorted, places)), q) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [0, 1, 64, 65, 128, 10_000])
def test_numbers_are_kept_as_they_were(kind: str, count: int) -> None:
    """To the last bit, all of them and those between two; NaN comes behind all others."""
    rng = np.random.default_rng(count)
    numbers = KINDS[kind](rng, count)
    place, expected = Sorted(numbers), np.sort(numbers)
    assert len(place) == count
    assert (place.numbers() == expected).all()
    for low, high in np.sort(rng.choice(numbers, (20 if count else 0, 2)), axis=1):
        below, near = place.between(low, high)
        assert below == (numbers < low).sum()
        assert (near == expected[(expected >= low) & (expected <= high)]).all()
    behind = Sorted(np.append(numbers, np.nan)).numbers()
    assert (behind[:-1] == expected).all()
    assert np.isnan(behind[-1])


def test_multiples_take_half() -> None:
    """Durations and tokens take four bytes each and an eighth of one; the few that are far apart, and others, eight."""
    rng = np.random.default_rng(3)
    taken = {kind: Sorted(make(rng, 64_000)).size / 64_000 for kind, make in KINDS.items()}
    assert 4.125 < taken.pop("long") < 4.5
    assert taken == {"whole": 4.125, "seconds": 4.125, "any": 8.125, "far": 8.125, "endless": 8.125}
