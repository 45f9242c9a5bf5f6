"""What stored calls would have cost with other prices."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.cost import sums
from stackctl.cost.dimensions import dimensions
from stackctl.cost.metrics import from_metrics
from stackctl.cost.spans import Stored
from stackctl.genai.prices import PriceBook, Usage, priced, provider_of, tier_of
from stackctl.reports import RepriceGroupReport, RepriceReport

# What a stored call is priced by, in the order of `Usage`, then of `provider_of` and `PriceBook.find`.
_USAGE: Final = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS)
_NAMES: Final = (
    semconv.SERVER_ADDRESS,
    semconv.PROVIDER,
    semconv.RESPONSE_MODEL,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_TIER,
    semconv.REQUEST_TIER,
)
_KEYS: Final = (
    semconv.COST_STATUS,
    semconv.COST_USD,
    semconv.OPERATION,
    semconv.SERVER_PORT,
    *_USAGE,
    *_NAMES,
)


@dataclass(frozen=True)
class Repricing:
    """Prices to calculate with in place of those that held when the calls came in.

    Attributes:
        book: the rows.
        name: the book as its user knows it.
        hosts: the user's own rows of server address to provider.
    """

    book: PriceBook
    name: str
    hosts: Mapping[str, str] = field(default_factory=dict)

    def price(self, call: sums.Attributes) -> tuple[str, Decimal | None]:
        """Return a stored call's cost status and cost in USD with these prices."""
        usage = Usage(*(sums.count(call.get(key)) for key in _USAGE))
        address, sent, answered, asked, *tiers = (None if call.get(key) is None else str(call[key]) for key in _NAMES)
        provider = provider_of(address, sent, self.hosts, sums.count(call.get(semconv.SERVER_PORT)))
        price = self.book.find(provider, answered, asked, tier=tier_of(*tiers))
        status, parts = priced(usage, price, call.get(semconv.OPERATION) == "embeddings")
        return status, None if parts is None else parts.total


def reprice(
    prometheus: PrometheusClient,
    tempo: TempoClient,
    by: Sequence[str],
    window_seconds: float,
    now: float,
    prices: Repricing,
    progress: Callable[[float], None] = lambda _: None,
) -> RepriceReport:
    """Add up what stored calls cost, and what they would have cost with other prices, exactly.

    Args:
        by: names of dimensions; none for the total alone.
        now: the end of the window, seconds since the epoch.
        progress: told the share of the window that was read.

    Raises:
        Misuse: an unknown dimension.
        QueryUnsupported: not all calls of the window are stored as spans, or they are more than can be read.
    """
    cuts = dimensions(by)
    counted = from_metrics(prometheus, (), window_seconds, now).total
    stored = Stored(tempo, "--prices", window_seconds, now, counted, progress)
    old: dict[sums.Key, sums.Tally] = defaultdict(sums.Tally)
    new: dict[sums.Key, sums.Tally] = defaultdict(sums.Tally)
    for call in stored.calls(cuts, _KEYS):
        key = sums.key_of(call, cuts)
        old[key].add_call(call, str(call.get(semconv.COST_STATUS)), sums.number(call.get(semconv.COST_USD)))
        new[key].add_call(call, *prices.price(call))
    before, after = sums.total(old), sums.total(new)
    not_stored = stored.lacking(before)
    groups = [RepriceGroupReport(old[key].spend(), new[key].spend(), sums.labels(cuts, key)) for key in old if cuts]
    groups.sort(key=lambda group: (-(group.new.cost_usd or 0), -group.new.calls, tuple(group.labels.values())))
    return RepriceReport(
        window_seconds=window_seconds,
        by=tuple(cut.name for cut in cuts),
        source="stored spans",
        prices=prices.name,
        prices_date=prices.book.date,
        old=before,
        new=after,
        groups=tuple(groups),
        not_stored=not_stored,
    )
