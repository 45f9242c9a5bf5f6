"""Generated queries over generated samples: our answers against the real Prometheus'."""

from collections import Counter
from contextlib import suppress
from pathlib import Path

import comparison
import corpus
import pytest
import realstack
import samples

from stackctl.promql import ExecutionFailed

SEED = 4
PER_FEATURE = 5


def test_corpus_uses_every_feature_often_enough() -> None:
    """The generator goes through all features in turn and the same seed gives the same queries."""
    count = PER_FEATURE * len(corpus.FEATURES)
    queries = list(corpus.queries(SEED, count))
    assert queries == list(corpus.queries(SEED, count))
    assert min(Counter(query.feature for query in queries).values()) == PER_FEATURE


def test_generated_queries_evaluate() -> None:
    """No generated query is refused or fails inside, and nine of ten have an answer, real server or not."""
    storage = samples.make(SEED)
    count = 2 * len(corpus.FEATURES)
    answered = 0
    for query in corpus.queries(SEED, count):
        with suppress(ExecutionFailed):  # valid queries, but these series cannot be matched
            answered += bool(comparison.ours(query, storage).series)
    assert answered >= 0.9 * count


@pytest.mark.realstack
@pytest.mark.parametrize(
    ("features", "count"),
    [
        (corpus.FEATURES, PER_FEATURE * len(corpus.FEATURES)),
        (corpus.EXPERIMENTAL, PER_FEATURE * len(corpus.EXPERIMENTAL)),
        (corpus.COMPOSED, 200),
    ],
    ids=["single", "experimental", "composed"],
)
def test_answers_agree_with_the_real_prometheus(
    features: tuple[corpus.Feature, ...], count: int, tmp_path: Path
) -> None:
    """Values agree to 1e-9 of their size, label sets and steps exactly; at most one query in a hundred is refused."""
    storage = samples.make(SEED)
    switches = (*realstack.FEATURES, realstack.EXPERIMENTAL)
    with realstack.prometheus(tmp_path / "p", storage.open_metrics(), switches) as server:
        verdicts = [
            (query, comparison.compare(query, storage, server)) for query in corpus.queries(SEED, count, features)
        ]
    differing = [f"{query}: {verdict.difference}" for query, verdict in verdicts if verdict.difference]
    assert not differing, "\n".join(differing)
    assert sum(verdict.refused for _, verdict in verdicts) <= 0.01 * count
    if features is not corpus.COMPOSED:
        assert sum(verdict.empty for _, verdict in verdicts) <= 0.1 * count
