"""Costs from metrics: exact where Prometheus knows `anchored`, and it is said where it does not."""

from collections import defaultdict
from collections.abc import Mapping

from stackctl import semconv
from stackctl.clients import PrometheusClient
from stackctl.cost import sums
from stackctl.cost.dimensions import Dimension
from stackctl.errors import QueryInvalid
from stackctl.reports import CostReport


def from_metrics(
    prometheus: PrometheusClient, cuts: tuple[Dimension, ...], window_seconds: float, now: float
) -> CostReport:
    """Return the report of dimensions that are labels.

    Args:
        now: the end of the window, seconds since the epoch.
    """
    names = tuple(cut.label for cut in cuts if cut.label)
    tallies: dict[sums.Key, sums.Tally] = defaultdict(sums.Tally)
    source = "metrics"
    for metric, extra in (
        (semconv.LLM_COST_REQUESTS, semconv.LABEL_COST_STATUS),
        (semconv.LLM_TOKENS, semconv.LABEL_TOKEN_TYPE),
        (semconv.LLM_COST, None),
    ):
        rows, how = increase(prometheus, metric, (*names, *([extra] if extra else [])), window_seconds, now)
        source = f"metrics ({how})"
        for row, value in rows:
            tallies[tuple(row.get(name, "") for name in names)].add(row.get(extra) if extra else None, value)
    return sums.report(tallies, cuts, window_seconds, source)


def increase(
    prometheus: PrometheusClient, metric: str, labels: tuple[str, ...], window_seconds: float, now: float
) -> tuple[list[tuple[Mapping[str, str], float]], str]:
    """Return how much a counter grew, by labels, and how exact that is.

    Args:
        metric: a counter's name, or a selector of it.
    """
    by = f"by ({', '.join(labels)}) " if labels else ""
    window = f"{round(window_seconds * 1000)}ms"
    try:
        found, how = prometheus.instant(f"sum {by}(increase({metric}[{window}] anchored))", now), "exact"
    except QueryInvalid:
        # A Prometheus without the feature promql-extended-range-selectors does not know the word.
        found = prometheus.instant(f"sum {by}(increase({metric}[{window}]))", now)
        how = "extrapolated: this Prometheus has no promql-extended-range-selectors"
    return [(sample.labels, sample.value) for sample in found], how
