"""The cost report: totals from metrics, finer cuts from stored spans, coverage beside every sum.

Metrics are exact and know the labels of the catalogue. What they do not know (users, sessions, conversations) is added
up from stored spans, where all of them are stored; else the cut is refused by name.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.errors import Misuse, QueryInvalid, QueryUnsupported
from stackctl.reports import CostGroupReport, CostReport, SpendReport


@dataclass(frozen=True)
class Dimension:
    """Something that costs can be split by.

    Attributes:
        label: the metrics' label, None where only spans know it.
        attribute: the span's or resource's attribute.
    """

    name: str
    label: str | None
    attribute: str


DIMENSIONS: Final = (
    Dimension("model", semconv.LABEL_REQUEST_MODEL, semconv.REQUEST_MODEL),
    Dimension("response_model", semconv.LABEL_RESPONSE_MODEL, semconv.RESPONSE_MODEL),
    Dimension("provider", semconv.LABEL_PROVIDER, semconv.PROVIDER),
    Dimension("service", semconv.LABEL_SERVICE, semconv.SERVICE_NAME),
    Dimension("environment", semconv.LABEL_ENVIRONMENT, semconv.DEPLOYMENT_ENVIRONMENT),
    Dimension("operation", semconv.LABEL_OPERATION, semconv.OPERATION),
    Dimension("user", None, semconv.USER_ID),
    Dimension("session", None, semconv.SESSION_ID),
    Dimension("conversation", None, semconv.CONVERSATION_ID),
    Dimension("agent", None, semconv.AGENT_NAME),
)
# More traces than one search returns cannot be added up truthfully.
MAX_TRACES: Final = 10_000
# Spans and metrics of one window differ by what was under way at its edges; what is missing beyond that was not stored.
_EDGE_SHARE: Final = 0.02
_EDGE_CALLS: Final = 5
_STATUSES: Final = (semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE)
_Key = tuple[str, ...]


def dimensions(names: Sequence[str]) -> tuple[Dimension, ...]:
    """Return the dimensions of some names.

    Raises:
        Misuse: a name is none; the message lists them.
    """
    known = {dimension.name: dimension for dimension in DIMENSIONS}
    for name in names:
        if name not in known:
            raise Misuse(f"costs cannot be split by {name!r}", next_step=f"use --by with any of: {', '.join(known)}")
    return tuple(known[name] for name in names)


def needs_spans(names: Sequence[str]) -> bool:
    """True when the metrics do not know one of these dimensions. Raises as `dimensions` does."""
    return not all(cut.label for cut in dimensions(names))


def cost(
    prometheus: PrometheusClient, tempo: TempoClient | None, by: Sequence[str], window_seconds: float, now: float
) -> CostReport:
    """Add up what inference calls cost.

    Args:
        tempo: read where `needs_spans` says so.
        by: names of dimensions; none for the total alone.
        window_seconds: how far back.
        now: the end of the window, seconds since the epoch.

    Raises:
        Misuse: an unknown dimension.
        QueryUnsupported: a cut that needs spans which are not all stored.
    """
    cuts = dimensions(by)
    if not needs_spans(by):
        return _from_metrics(prometheus, cuts, window_seconds, now)
    if tempo is None:
        raise Misuse(f"--by {','.join(by)} needs stored spans", next_step="say where they are: --tempo URL")
    total = _from_metrics(prometheus, (), window_seconds, now).total
    return _from_spans(tempo, cuts, window_seconds, now, total)


def _from_metrics(
    prometheus: PrometheusClient, cuts: tuple[Dimension, ...], window_seconds: float, now: float
) -> CostReport:
    labels = tuple(cut.label for cut in cuts if cut.label)
    tallies: dict[_Key, _Tally] = defaultdict(_Tally)
    source = "metrics"
    for metric, extra in (
        (semconv.LLM_COST_REQUESTS, semconv.LABEL_COST_STATUS),
        (semconv.LLM_TOKENS, semconv.LABEL_TOKEN_TYPE),
        (semconv.LLM_COST, None),
    ):
        rows, how = _increase(prometheus, metric, (*labels, *([extra] if extra else [])), window_seconds, now)
        source = f"metrics ({how})"
        for row, value in rows:
            tallies[tuple(row.get(label, "") for label in labels)].add(row.get(extra) if extra else None, value)
    return _report(tallies, cuts, window_seconds, source)


def _increase(
    prometheus: PrometheusClient, metric: str, labels: tuple[str, ...], window_seconds: float, now: float
) -> tuple[list[tuple[Mapping[str, str], float]], str]:
    """Return how much a counter grew, by labels, and how exact that is."""
    by = f"by ({', '.join(labels)}) " if labels else ""
    window = f"{round(window_seconds * 1000)}ms"
    try:
        found, how = prometheus.instant(f"sum {by}(increase({metric}[{window}] anchored))", now), "exact"
    except QueryInvalid:
        # A Prometheus without the feature promql-extended-range-selectors does not know the word.
        found = prometheus.instant(f"sum {by}(increase({metric}[{window}]))", now)
        how = "extrapolated: this Prometheus has no promql-extended-range-selectors"
    return [(sample.labels, sample.value) for sample in found], how


def _from_spans(
    tempo: TempoClient, cuts: tuple[Dimension, ...], window_seconds: float, now: float, total: SpendReport
) -> CostReport:
    wanted = (semconv.COST_STATUS, semconv.COST_USD, semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)
    fields = [f"span.{key}" for key in wanted] + [f".{cut.attribute}" for cut in cuts]
    query = f"{{ span.{semconv.ACCOUNTED} = true }} | select({', '.join(fields)})"
    found = tempo.search(query, now - window_seconds, now, MAX_TRACES, spans_per_spanset=0)
    if len(found) == MAX_TRACES:
        raise QueryUnsupported(
            f"--by {cuts[0].name}: there are more than {MAX_TRACES} traces in the window",
            next_step="ask for a shorter --window, or split by what the metrics know: --by model,service",
        )
    tallies: dict[_Key, _Tally] = defaultdict(_Tally)
    for attributes in (span.attributes for trace in found for span in trace.spans):
        tally = tallies[tuple(str(attributes.get(cut.attribute, "")) for cut in cuts)]
        tally.add(str(attributes.get(semconv.COST_STATUS)), 1)
        for token_type, key in ((semconv.TOKEN_INPUT, wanted[2]), (semconv.TOKEN_OUTPUT, wanted[3])):
            tally.add(token_type, _float(attributes.get(key)))
        tally.add(None, _float(attributes.get(semconv.COST_USD)))
    report = _report(tallies, cuts, window_seconds, "stored spans")
    missing = total.calls - report.total.calls
    if missing > max(_EDGE_CALLS, _EDGE_SHARE * total.calls):
        raise QueryUnsupported(
            f"--by {cuts[0].name}: only {report.total.calls} of {total.calls} counted calls are stored as spans",
            next_step="ask for a shorter --window, or split by what the metrics know: --by model,service",
        )
    return report


class _Tally:
    """A running sum of one group, by what was added: a cost status, a token type, or None for money."""

    def __init__(self) -> None:
        self._sums: dict[str | None, Decimal] = defaultdict(Decimal)

    def add(self, what: str | None, value: float) -> None:
        """Add a value. Doubles come as the decimal numbers that they print as."""
        self._sums[what] += Decimal(repr(value))

    def merged(self, other: "_Tally") -> "_Tally":
        """Return the sum of both."""
        result = _Tally()
        for tally in (self, other):
            for what, value in tally._sums.items():
                result._sums[what] += value
        return result

    def spend(self) -> SpendReport:
        """Return the sums as a report; no priced call makes the cost unknown, not nothing."""
        priced, unpriced, no_usage = (round(self._sums[status]) for status in _STATUSES)
        return SpendReport(
            calls=priced + unpriced + no_usage,
            priced=priced,
            unpriced=unpriced,
            no_usage=no_usage,
            input_tokens=round(self._sums[semconv.TOKEN_INPUT]),
            output_tokens=round(self._sums[semconv.TOKEN_OUTPUT]),
            cost_usd=_amount(self._sums[None]) if priced else None,
        )


def _report(
    tallies: Mapping[_Key, _Tally], cuts: tuple[Dimension, ...], window_seconds: float, source: str
) -> CostReport:
    total = _Tally()
    for tally in tallies.values():
        total = total.merged(tally)
    groups = [
        CostGroupReport(**vars(spend), labels=dict(zip((cut.name for cut in cuts), key, strict=True)))
        for key, tally in tallies.items()
        if cuts and (spend := tally.spend()).calls
    ]
    groups.sort(key=lambda group: (-(group.cost_usd or 0), -group.calls, tuple(group.labels.values())))
    return CostReport(window_seconds, tuple(cut.name for cut in cuts), source, total.spend(), tuple(groups))


def _amount(value: Decimal) -> Decimal:
    """Return an amount without the noise that sums of doubles have far behind the point."""
    return Decimal(f"{value:.12f}".rstrip("0").rstrip("."))


def _float(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
