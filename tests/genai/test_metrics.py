"""The metric catalogue keeps its own rules."""

import itertools

from stackctl import semconv
from stackctl.genai.metrics import BY_NAME, CATALOGUE, SECONDS


def test_every_metric_name_of_semconv_has_a_row() -> None:
    """A name that boards may use is always filled by some row, and no row invents a name."""
    prefixes = ("LLM_", "RAG_")
    names = {value for name, value in vars(semconv).items() if name.startswith(prefixes)}
    assert set(BY_NAME) == names


def test_rows_of_one_name_agree() -> None:
    """Rows that share a name are one metric: kind, unit, help, labels and bounds are the same, constants differ."""
    for rows in BY_NAME.values():
        assert len({(row.kind, row.of, row.unit, row.help, row.bounds) for row in rows}) == 1
        assert len({tuple(label.name for label in row.labels) for row in rows}) == 1
        assert len({row.constants for row in rows}) == len(rows)


def test_names_follow_prometheus() -> None:
    """Counters end in _total and have no buckets; histograms have buckets and do not."""
    for row in CATALOGUE:
        assert row.name.endswith("_total") == (row.kind == "counter"), row.name
        assert bool(row.bounds) == (row.kind == "histogram"), row.name
        assert row.help.endswith("."), row.name


def test_bounds_ascend() -> None:
    """Bucket bounds are strictly ascending."""
    for row in CATALOGUE:
        assert all(low < high for low, high in itertools.pairwise(row.bounds)), row.name


def test_latency_buckets_are_fine_enough() -> None:
    """From 5 ms to 120 s no bucket is wider than a factor of 1.5, so that a p95 out of them means something."""
    assert SECONDS[0] <= 0.005
    assert SECONDS[-1] >= 120
    assert all(high / low <= 1.5 + 1e-9 for low, high in itertools.pairwise(SECONDS))


def test_labels_stand_once_in_a_row() -> None:
    """No row sets one label twice."""
    for row in CATALOGUE:
        names = [label.name for label in row.labels] + [name for name, _ in row.constants]
        assert len(names) == len(set(names)), row.name
