"""Generated queries over generated samples: our answers against the real Prometheus'."""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import realstack

from stackctl.bench import promql, promql_compare, promql_corpus, promql_features, promql_series
from stackctl.bench.promql_corpus import Query
from stackctl.bench.promql_series import START_MS, Samples
from stackctl.bench.promql_server import Answer, running
from stackctl.bench.realstack import REALSTACK
from stackctl.errors import EnvironmentLacks
from stackctl.promql import ExecutionFailed, Series
from stackctl.promql.aggregate import NAMES as AGGREGATIONS
from stackctl.promql.functions import NAMES as FUNCTIONS
from stackctl.promql.parse import parse
from stackctl.promql.tree import Aggregation, Call, walk
from stackctl.promql.values import is_stale

SEED = 4
PER_FEATURE = 5


def test_the_corpus_uses_everything_often_enough() -> None:
    """A full run uses each feature twenty times, each function and aggregation too; a seed gives the same queries."""
    count = int(promql.QUERIES * 0.9)
    queries = list(promql_corpus.queries(SEED, count, promql_features.ALL))
    assert queries == list(promql_corpus.queries(SEED, count, promql_features.ALL))
    assert min(Counter(query.feature for query in queries).values()) >= promql.LEAST_OF_EACH
    used = Counter(
        name
        for query in queries
        for name in {
            found.name if isinstance(found, Call) else found.op
            for found in walk(parse(query.text))
            if isinstance(found, Call | Aggregation)
        }
    )
    assert {name for name, times in used.items() if times >= promql.LEAST_OF_EACH} == FUNCTIONS | AGGREGATIONS


def test_the_series_have_gaps_resets_and_markers() -> None:
    """The generated series hold what is hard: counter resets, gaps, staleness markers, times off the grid."""
    series = promql_series.make(SEED).series
    counters = [one for one in series if one.labels["__name__"].endswith("_total")]
    assert any((np.diff(one.v[~np.isnan(one.v)]) < 0).any() for one in counters)
    assert any((np.diff(one.t_ms) > 2 * promql_series.SCRAPE_MS).any() for one in series)
    assert sum(bool(is_stale(one.v).any()) for one in series) > 20
    assert any((one.t_ms % 1000).any() for one in series)


def test_generated_queries_evaluate() -> None:
    """No generated query is refused or fails inside, and nine of ten have an answer, real server or not."""
    storage = promql_series.make(SEED)
    count = 2 * len(promql_features.ALL)
    answered = 0
    for query in promql_corpus.queries(SEED, count, promql_features.ALL):
        with suppress(ExecutionFailed):  # valid queries, but these series cannot be matched
            answered += bool(promql_compare.ours(query, storage).series)
    assert answered >= promql.LEAST_ANSWERED * count


@pytest.mark.realstack
@pytest.mark.parametrize(
    ("features", "count"),
    [(promql_features.ALL, PER_FEATURE * len(promql_features.ALL)), (promql_features.COMPOSED, 300)],
    ids=["single", "composed"],
)
def test_answers_agree_with_the_real_prometheus(
    features: tuple[promql_features.Feature, ...], count: int, tmp_path: Path
) -> None:
    """Values agree to 1e-9 of their size, label sets and steps exactly; at most one query in a hundred is refused."""
    storage, tally = promql_series.make(SEED), promql.Tally()
    with running(realstack.program("prometheus"), tmp_path) as server:
        server.write(storage.series)
        for query in promql_corpus.queries(SEED, count, features):
            tally.add(query, promql_compare.compare(query, storage, server))
    assert not tally.differing, "\n".join(tally.differing)
    assert tally.refused <= promql.MOST_REFUSED * count
    assert tally.rounding <= promql.MOST_ROUNDING * count
    if features is not promql_features.COMPOSED:
        assert tally.empty <= (1 - promql.LEAST_ANSWERED) * count


@pytest.mark.realstack
def test_the_bench_compares_and_tells_its_seed() -> None:
    """The bench makes new queries from a seed it tells, and the same ones from a seed it is given."""
    told: list[str] = []
    first = promql.measure(realstack.program("prometheus"), None, 60, told.append)
    assert told[0] == f"seed {first.seed}"
    assert not promql.problems(first)
    assert first.queries == 60
    again = promql.measure(realstack.program("prometheus"), first.seed, 60, told.append)
    assert (again.empty, again.rarest_feature, again.differing) == (first.empty, first.rarest_feature, ())


def test_a_run_without_a_real_prometheus_says_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to compare with unless somebody names a program."""
    monkeypatch.delenv(REALSTACK, raising=False)
    for path in (None, tmp_path / "prometheus"):
        with pytest.raises(EnvironmentLacks) as caught:
            promql.measure(path, None, 1, lambda _: None)
        assert "--prometheus-program" in caught.value.next_step


def test_differences_refusals_and_emptiness_break_the_promise() -> None:
    """Each bar is checked: agreement, refusals, emptiness, use of every feature."""
    tally = promql.Tally()
    for number in range(promql.QUERIES):
        verdict = promql_compare.Verdict(
            "differs" if number == 7 else None, number < 51, number < 501, 60 <= number < 86
        )
        tally.add(Query("often" if number else "once", "m", START_MS), verdict)
    found = promql.problems(promql._report(1, tally, promql.Tally()))
    assert [problem.split(" ")[0] for problem in found] == ["1", "51", "26", "501", "once"]


@dataclass(frozen=True)
class _Saying:
    """A server with one answer."""

    document: dict[str, Any]

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        return Answer(200, self.document)


def _verdict(text: str, held: float, value: float, **labels: str) -> promql_compare.Verdict:
    """Compare a query over one series of a single value with a server that answers another value."""
    t = START_MS + 15_000 * np.arange(20, dtype=np.int64)
    storage = Samples([Series({"__name__": "m"}, t, np.full(20, held))])
    at = START_MS + 290_000
    result = [{"metric": labels, "values": [[at / 1000, repr(value)]]}]
    server: Any = _Saying({"data": {"resultType": "matrix", "result": result}})
    return promql_compare.compare(Query("", text, at, at, 15_000), storage, server)


def test_only_what_rounding_moves_is_excused() -> None:
    """Noise of numbers that cancel is rounding; the same difference where nothing cancels is a difference."""
    assert _verdict("rate(m[5m]) + m / 3 * 3 - m", 0.1, 2.0**-56).rounding
    assert _verdict("rate(m[5m]) + m / 3 * 3 - m", 0.1, 1e-12).difference is not None
    assert _verdict("sum_over_time(m[5m])", 0.1, 2.0 + 1e-8).difference is not None
    assert _verdict("changes(m[5m])", 0.1, 1e-16).difference is not None
    assert _verdict("stddev_over_time(m[5m])", 1.0, 1e-17).difference is not None
    assert _verdict("sum_over_time(m[5m])", 0.1, 2.0) == promql_compare.Verdict()


def test_a_last_bit_in_a_label_is_excused_as_in_a_value() -> None:
    """count_values writes a number into a label: one that is beside by more, or counted otherwise, is a difference."""
    asked = 'count_values("v", exp(m))'  # e^44 = 12851600114359308275.8
    assert _verdict(asked, 44.0, 1.0, v="12851600114359308000") == promql_compare.Verdict()
    assert _verdict(asked, 44.0, 1.0, v="12851600114359310000").rounding
    assert _verdict(asked, 44.0, 1.0, v="12851600124359308000").difference is not None
    assert _verdict(asked, 44.0, 2.0, v="12851600114359310000").difference is not None
    assert _verdict(asked, 44.0, 1.0, w="12851600114359310000").difference is not None
