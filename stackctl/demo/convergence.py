"""The stack's totals against the tally: the demo is over when they are equal, and not before.

Totals are read as counters before and after the run, so only what this run added is compared.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal

from stackctl import semconv
from stackctl.clients import PrometheusClient, Sample, TempoClient
from stackctl.demo.tally import Tally
from stackctl.errors import NotConverged, NotFound

WAIT_SECONDS = 60.0
_PAUSE_SECONDS = 0.4
_COST_TOLERANCE = 1e-9  # USD: the stack sums floats, the tally decimals
_LOOKUPS = 4  # trace look-ups at a time

# A series nobody added to for a day has no fresh sample, yet goes on from its last value.
_LAST = "sum by ({by}) (last_over_time({metric}{{{label}={service}}}[25h]))"


@dataclass(frozen=True)
class Total:
    """One counter of the demo's service: a metric and the labels it is cut by."""

    metric: str
    by: tuple[str, ...] = ()

    def query(self, service: str) -> str:
        """Return the PromQL of its value now."""
        return _LAST.format(
            by=", ".join(self.by), metric=self.metric, label=semconv.LABEL_SERVICE, service=f'"{service}"'
        )


TOTALS = (
    Total(semconv.LLM_REQUESTS),
    Total(f"{semconv.LLM_REQUEST_DURATION}_count"),
    Total(semconv.LLM_TOKENS, (semconv.LABEL_TOKEN_TYPE,)),
    Total(semconv.LLM_TOKEN_DETAILS, (semconv.LABEL_TOKEN_TYPE,)),
    Total(semconv.LLM_COST, (semconv.LABEL_TOKEN_TYPE,)),
    Total(semconv.LLM_COST_REQUESTS, (semconv.LABEL_COST_STATUS,)),
    Total(semconv.LLM_EVALUATIONS, (semconv.LABEL_EVALUATION, semconv.LABEL_SCORE_LABEL)),
)

# (metric, label values in the order of the total's labels) -> value
Values = Mapping[tuple[str, tuple[str, ...]], float]


def read(prometheus: PrometheusClient, service: str) -> Values:
    """Return every total of a service as it stands; a series that is not there is not in it."""
    values: dict[tuple[str, tuple[str, ...]], float] = {}
    for total in TOTALS:
        for sample in prometheus.instant(total.query(service)):
            values[total.metric, _labels(total, sample)] = sample.value
    return values


def expected(tally: Tally) -> dict[tuple[str, tuple[str, ...]], Decimal]:
    """Return what a run should have added to each total; zeros are left out."""
    parts = (semconv.TOKEN_INPUT, semconv.TOKEN_OUTPUT)
    rows: dict[tuple[str, tuple[str, ...]], int | Decimal] = {
        (semconv.LLM_REQUESTS, ()): tally.calls,
        (f"{semconv.LLM_REQUEST_DURATION}_count", ()): tally.calls,
    }
    for name, number in tally.tokens.items():
        rows[semconv.LLM_TOKENS if name in parts else semconv.LLM_TOKEN_DETAILS, (name,)] = number
    rows |= {(semconv.LLM_COST, (name,)): cost for name, cost in tally.cost.items()}
    rows |= {(semconv.LLM_COST_REQUESTS, (status,)): number for status, number in tally.statuses.items()}
    rows |= {(semconv.LLM_EVALUATIONS, key): number for key, number in tally.evaluations.items()}
    return {key: Decimal(value) for key, value in rows.items() if value}


def differences(tally: Tally, before: Values, after: Values) -> list[str]:
    """Return one line for each total that differs from the tally: metric, expected, got."""
    wanted = expected(tally)
    lines = []
    for key in sorted({*wanted, *after}):
        want = float(wanted.get(key, Decimal(0)))
        got = after.get(key, 0.0) - before.get(key, 0.0)
        tolerance = _COST_TOLERANCE if key[0] == semconv.LLM_COST else 0.0
        if abs(got - want) > tolerance:
            name = f"{key[0]}{{{', '.join(key[1])}}}" if key[1] else key[0]
            lines.append(f"{name}: expected {want:.12g}, got {got:.12g}")
    return lines


def wait_for_totals(
    prometheus: PrometheusClient,
    service: str,
    tally: Tally,
    before: Values,
    clock: Callable[[], float] = time.monotonic,
    wait_seconds: float = WAIT_SECONDS,
) -> None:
    """Wait until every total of the service has grown by the tally.

    Raises:
        NotConverged: naming each total that differs when the time is over.
    """
    deadline = clock() + wait_seconds
    while lines := differences(tally, before, read(prometheus, service)):
        if clock() > deadline:
            raise NotConverged(
                f"after {wait_seconds:.0f} s the stack's totals differ from the demo's tally: " + "; ".join(lines),
                next_step="if another demo ran at the same time, that is why; else look at: stackctl logs",
            )
        time.sleep(_PAUSE_SECONDS)


def wait_for_traces(
    tempo: TempoClient, trace_ids: Sequence[str], deadline: float, clock: Callable[[], float] = time.monotonic
) -> None:
    """Wait until each trace is found by its id.

    Raises:
        NotConverged: with the first that is missing when the time is over.
    """
    missing = list(trace_ids)
    with ThreadPoolExecutor(_LOOKUPS) as threads:
        while missing := list(_not_found(tempo, missing, threads)):
            if clock() > deadline:
                raise NotConverged(
                    f"{len(missing)} of {len(trace_ids)} traces cannot be read back, the first is {missing[0]}",
                    next_step="look at: stackctl logs",
                )
            time.sleep(_PAUSE_SECONDS)


def _not_found(tempo: TempoClient, trace_ids: Sequence[str], threads: ThreadPoolExecutor) -> Iterator[str]:
    def found(trace_id: str) -> bool:
        try:
            tempo.trace(trace_id)
        except NotFound:
            return False
        return True

    for trace_id, there in zip(trace_ids, threads.map(found, trace_ids), strict=True):
        if not there:
            yield trace_id


def _labels(total: Total, sample: Sample) -> tuple[str, ...]:
    return tuple(sample.labels.get(name, "") for name in total.by)
