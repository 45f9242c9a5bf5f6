"""Costs from stored spans, where all calls that metrics counted are stored."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from stackctl import semconv
from stackctl.clients import TempoClient
from stackctl.clients.paging import every_span
from stackctl.cost import sums
from stackctl.cost.dimensions import Dimension
from stackctl.errors import QueryUnsupported
from stackctl.reports import CostReport, SpendReport

# Reading takes minutes for so many calls; beyond that a report is no answer to a question at a prompt.
MAX_CALLS: Final = 1_000_000
# Spans and metrics of one window differ by what was under way at its edges; what is missing beyond that was not stored.
_EDGE_SHARE: Final = 0.02
_EDGE_CALLS: Final = 5


@dataclass(frozen=True)
class Stored:
    """The calls of a window as stored spans.

    Attributes:
        asked: the flag that needs them, for messages.
        now: the end of the window, seconds since the epoch.
        total: what metrics counted in the window.
        progress: told the share of the window that was read.
    """

    tempo: TempoClient
    asked: str
    window_seconds: float
    now: float
    total: SpendReport
    progress: Callable[[float], None] = lambda _: None

    def calls(self, cuts: tuple[Dimension, ...], keys: Sequence[str]) -> Iterator[sums.Attributes]:
        """Yield each call's attributes of these keys and cuts.

        Raises:
            QueryUnsupported: there are more than can be read.
        """
        if self.total.calls > MAX_CALLS:
            raise self._refusal(f"{self.total.calls} calls are more than {MAX_CALLS}")
        fields = [f"span.{key}" for key in keys] + [f".{cut.attribute}" for cut in cuts]
        query = f"{{ span.{semconv.ACCOUNTED} = true }} | select({', '.join(dict.fromkeys(fields))})"
        start = self.now - self.window_seconds
        for span in every_span(self.tempo, query, start, self.now, self.total.calls, self.progress):
            yield span.attributes

    def lacking(self, found: SpendReport) -> int:
        """Return how many counted calls were not found: a few at the edges of a window, which belong beside its sums.

        Raises:
            QueryUnsupported: they are more than that: spans are sampled, deleted already, or older than their arrival.
        """
        missing = self.total.calls - found.calls
        if missing > max(_EDGE_CALLS, _EDGE_SHARE * self.total.calls):
            raise self._refusal(
                f"only {found.calls} of {self.total.calls} counted calls are stored as spans that began in this window"
            )
        return max(missing, 0)

    def _refusal(self, reason: str) -> QueryUnsupported:
        return QueryUnsupported(
            f"{self.asked}: {reason}",
            next_step="ask for another --window, or split by what the metrics know: --by model,service",
        )


def from_spans(stored: Stored, cuts: tuple[Dimension, ...]) -> CostReport:
    """Return the report of any dimensions.

    Raises:
        QueryUnsupported: not all calls are stored, or they are more than can be read.
    """
    tallies: dict[sums.Key, sums.Tally] = defaultdict(sums.Tally)
    keys = (semconv.COST_STATUS, semconv.COST_USD, semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)
    for call in stored.calls(cuts, keys):
        status, cost_usd = str(call.get(semconv.COST_STATUS)), sums.number(call.get(semconv.COST_USD))
        tallies[sums.key_of(call, cuts)].add_call(call, status, cost_usd)
    report = sums.report(tallies, cuts, stored.window_seconds, "stored spans")
    return replace(report, not_stored=stored.lacking(report.total))
