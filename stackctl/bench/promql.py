"""How far the embedded PromQL agrees with the real Prometheus: generated queries over generated series.

New queries and series in each run, from the seed that the report names; the same seed gives the same ones.
"""

import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stackctl.bench import promql_compare, promql_corpus, promql_features, promql_series, promql_server
from stackctl.bench.promql_compare import Verdict
from stackctl.bench.promql_corpus import Query
from stackctl.bench.realstack import program
from stackctl.bench.reports import PromqlReport

QUERIES: Final = 5_000
MOST_REFUSED: Final = 0.01
MOST_ROUNDING: Final = 0.005
LEAST_ANSWERED: Final = 0.9
LEAST_OF_EACH: Final = 20
_COMPOSED_SHARE: Final = 0.1
_SHOWN: Final = 20


@dataclass
class Tally:
    """What the comparisons gave so far.

    Attributes:
        features: how many queries used each feature.
        differing: queries whose answers differ, each with how.
        seconds: processor time of our evaluations and the comparisons.
    """

    features: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    empty: int = 0
    rounding: int = 0
    differing: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def add(self, query: Query, verdict: Verdict) -> None:
        """Count one comparison."""
        self.features[query.feature] += 1
        self.refused += verdict.refused
        self.empty += verdict.empty
        self.rounding += verdict.rounding
        if verdict.difference is not None:
            self.differing.append(f"{query.text} from {query.start_ms} to {query.end_ms}: {verdict.difference}")


def measure(prometheus: Path | None, seed: int | None, queries: int, tell: Callable[[str], None]) -> PromqlReport:
    """Compare generated queries' answers with those of a real Prometheus started for it.

    Args:
        prometheus: its program; None for the one in the directory that STACKCTL_REALSTACK names.
        seed: where queries and series follow from; None for a new one.
        queries: how many; a tenth of them combine two others.
        tell: called with the seed, and with each difference.

    Raises:
        EnvironmentLacks: there is no real Prometheus.
        ComponentUnhealthy: it does not start.
    """
    found = program("prometheus", prometheus, "--prometheus-program")
    used = int.from_bytes(os.urandom(4), "big") if seed is None else seed
    tell(f"seed {used}")
    series = promql_series.make(used)
    tally, composed = Tally(), Tally()
    with (
        tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home,
        promql_server.running(found, Path(home)) as server,
    ):
        server.write(series.series)
        of_two = int(queries * _COMPOSED_SHARE)
        for count, features, into in (
            (queries - of_two, promql_features.ALL, tally),
            (of_two, promql_features.COMPOSED, composed),
        ):
            began = time.process_time()
            for query in promql_corpus.queries(used, count, features):
                known = len(into.differing)
                into.add(query, promql_compare.compare(query, series, server))
                for difference in into.differing[known:]:
                    tell(f"differs: {difference}")
            into.seconds = time.process_time() - began
    return _report(used, tally, composed)


def _report(seed: int, tally: Tally, composed: Tally) -> PromqlReport:
    rarest = min(tally.features.items(), key=lambda item: item[1], default=("", 0))
    return PromqlReport(
        seed=seed,
        queries=sum(tally.features.values()) + sum(composed.features.values()),
        features=len(tally.features),
        rarest_feature=rarest[0],
        rarest_feature_queries=rarest[1],
        refused=tally.refused + composed.refused,
        empty=tally.empty + composed.empty,
        rounding=tally.rounding + composed.rounding,
        differing=(*tally.differing, *composed.differing),
        seconds=tally.seconds + composed.seconds,
    )


def problems(report: PromqlReport) -> list[str]:
    """Return what of a report breaks a promise: agreement, few refusals, queries that mean something."""
    found = []
    if report.differing:
        shown = "; ".join(report.differing[:_SHOWN])
        found.append(f"{len(report.differing)} of {report.queries} queries differ (seed {report.seed}): {shown}")
    if report.refused > MOST_REFUSED * report.queries:
        found.append(f"{report.refused} of {report.queries} queries are refused")
    if report.rounding > max(1, MOST_ROUNDING * report.queries):
        found.append(f"{report.rounding} of {report.queries} queries agree but for rounding only")
    if report.queries - report.empty < LEAST_ANSWERED * report.queries:
        found.append(f"{report.empty} of {report.queries} queries have no answer")
    if report.queries >= QUERIES and report.rarest_feature_queries < LEAST_OF_EACH:
        found.append(f"{report.rarest_feature} is used {report.rarest_feature_queries} times only")
    return found
