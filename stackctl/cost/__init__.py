"""The cost report: totals from metrics, finer cuts and other prices from stored spans, coverage beside every sum.

Metrics are exact and know the labels of the catalogue. What they do not know (users, sessions, conversations, another
price book) is added up from stored spans, where all of them are stored; else it is refused by name.
"""

from collections.abc import Sequence

from stackctl.clients import PrometheusClient, TempoClient
from stackctl.cost.dimensions import DIMENSIONS, dimensions, needs_spans
from stackctl.cost.metrics import from_metrics
from stackctl.cost.reprice import Repricing, reprice
from stackctl.cost.spans import Stored, from_spans
from stackctl.cost.unpriced import Prices, check
from stackctl.errors import Misuse
from stackctl.reports import CostReport

__all__ = ["DIMENSIONS", "Prices", "Repricing", "check", "cost", "dimensions", "needs_spans", "reprice"]


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
        QueryUnsupported: a cut that needs spans which are not all stored, or are more than can be read.
    """
    cuts = dimensions(by)
    if not needs_spans(by):
        return from_metrics(prometheus, cuts, window_seconds, now)
    if tempo is None:
        raise Misuse(f"--by {','.join(by)} needs stored spans", next_step="say where they are: --tempo URL")
    total = from_metrics(prometheus, (), window_seconds, now).total
    return from_spans(Stored(tempo, f"--by {cuts[0].name}", window_seconds, now, total), cuts)
