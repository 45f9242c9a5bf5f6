"""Account and price as columns: which spans count, what each cost, and how far its window was filled.

Whom and what to look up is decided once for each distinct combination of address, provider and models; the sums run
over whole columns in float64, which agree with `genai.prices.cost_of` to 1e-12.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from stackctl import semconv
from stackctl.embedded.arrays import Coded, Codes
from stackctl.genai.prices import Price, PriceBook, Rates, provider_of, tier_of
from stackctl.genai.rows import Equals, SpanAttr

from .arrow import Column
from .batch import Batch, or_zero
from .conditions import both, inverse, judged
from .kinds import NOTHING, combined
from .views import Floats, Mask, Truth

Ints = npt.NDArray[np.int64]
_Key = tuple[str | None, int | None, str | None, str | None, str | None, str | None, str | None]

_UNPRICED: Final = 0
_KEY_COLUMNS: Final = (
    f"s:{semconv.SERVER_ADDRESS}:s",
    f"s:{semconv.SERVER_PORT}:i",
    f"s:{semconv.PROVIDER}:s",
    f"s:{semconv.RESPONSE_MODEL}:s",
    f"s:{semconv.REQUEST_MODEL}:s",
    f"s:{semconv.RESPONSE_TIER}:s",
    f"s:{semconv.REQUEST_TIER}:s",
)
_STATUSES: Final = (None, semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE)
_NONE, _PRICED, _UNKNOWN_MODEL, _NO_USAGE = range(4)
# What is paid for, and where each part of the cost beside the ordinary input is written.
_USAGE: Final = (
    semconv.INPUT_TOKENS,
    semconv.CACHE_READ_TOKENS,
    semconv.CACHE_WRITE_TOKENS,
    semconv.OUTPUT_TOKENS,
)
_PARTS: Final = (semconv.COST_CACHE_READ_USD, semconv.COST_CACHE_WRITE_USD, semconv.COST_OUTPUT_USD)
# Distinct combinations remembered; addresses and models are what senders choose, so the memory is emptied when full.
_REMEMBERED: Final = 20_000
_REMEMBERED_LENGTH: Final = 1024


@dataclass(frozen=True)
class _Book:
    """The price book as arrays: a place for each price behind that of `_UNPRICED`, which has none.

    Attributes:
        starts: of each tier, from how many input tokens on each price has it; infinite where it has none.
        rates: of input, cache read, cache write and output by price and tier: USD per million tokens; NaN is none.
        windows: context windows in tokens.
    """

    starts: Floats
    rates: Floats
    windows: Floats

    @classmethod
    def of(cls, prices: list[Price]) -> "_Book":
        most = max((len(price.tiers) for price in prices), default=0)
        starts = np.full((most, len(prices) + 1), np.inf)
        rates = np.full((4, len(prices) + 1, most + 1), np.nan)
        for row, price in enumerate(prices, _UNPRICED + 1):
            rates[:, row, 0] = _per_token(price.rates)
            for tier, (start, tier_rates) in enumerate(price.tiers):
                starts[tier, row] = start
                rates[:, row, tier + 1] = _per_token(tier_rates)
        windows = np.array([np.nan, *(price.context_window or np.nan for price in prices)], np.float64)
        return cls(starts, rates, windows)


def _per_token(rates: Rates) -> list[float]:
    cells = (rates.input, rates.cache_read, rates.cache_write, rates.output)
    return [np.nan if cell is None else float(cell) for cell in cells]


class Pricer:
    """Writes cost, its parts, its status and the window's utilization on the accounted spans of a batch.

    Args:
        book: the price rows.
        hosts: the user's own addresses, before the shipped ones.
    """

    def __init__(self, book: PriceBook, hosts: Mapping[str, str]) -> None:
        self._find = book.find
        self._hosts = hosts
        prices = list(book.by_key.values())
        self._row_of = {id(price): row for row, price in enumerate(prices, _UNPRICED + 1)}
        self._book = _Book.of(prices)
        # The prices that have each tier.
        self._tiered = [(start, frozenset(np.flatnonzero(np.isfinite(start)).tolist())) for start in self._book.starts]
        self._known: dict[_Key, int] = {}
        self._providers = (None, *(price.provider for price in prices))
        self._models = (None, *(price.model for price in prices))

    def price(self, batch: Batch, accounted: Truth) -> None:
        """Price the accounted spans, in place."""
        if accounted is False:
            return
        kinds, prices = self._lookup(batch, accounted)
        usage = [batch.span(key, "i") for key in _USAGE]
        unknown = np.full(batch.rows, np.nan)
        tokens, *parts, output = (None if column is None else batch.floats(column) for column in usage)
        tokens, output = (unknown if one is None else one for one in (tokens, output))
        rates = self._rates(kinds, prices, tokens)
        missing = _without_usage(batch, accounted, usage, kinds, prices, rates)
        status = _status(kinds, prices, accounted, missing)
        batch.put_texts(f"s:{semconv.COST_STATUS}:s", status)
        for key, texts in ((semconv.PRICED_PROVIDER, self._providers), (semconv.PRICED_MODEL, self._models)):
            batch.put_texts(f"s:{key}:s", Coded(kinds, [texts[row] for row in prices.tolist()]))
        priced = np.array([text == semconv.STATUS_PRICED for text in status.values])[status.codes]
        costs = _costs(priced, rates, tokens, (*parts, output))
        batch.put_floats(costs | {f"s:{semconv.CONTEXT_UTILIZATION}:d": tokens / self._book.windows[prices][kinds]})

    def _rates(self, kinds: Codes, prices: Ints, input_tokens: Floats) -> Floats:
        """Return the rates of each span, in the order of `_USAGE`, by its kind and the prices of all kinds."""
        starts = [start for start, rows in self._tiered if not rows.isdisjoint(prices.tolist())]
        if not starts:
            return self._book.rates[:, prices, 0].take(kinds, axis=1)
        found = prices[kinds]
        tier = sum((input_tokens > start[found] for start in starts), np.zeros(len(found), np.int64))
        rates: Floats = self._book.rates[:, found, tier]
        return rates

    def _lookup(self, batch: Batch, accounted: Truth) -> tuple[Codes, Ints]:
        """Return each span's kind of call, and the row of each kind's price or `_UNPRICED`; the last is of no call."""
        columns = [batch.columns.get(name) for name in _KEY_COLUMNS]
        kinds = combined([NOTHING if column is None else batch.coded(column) for column in columns], batch.rows)
        prices = [self._row(key) for key in kinds.values]
        if accounted is True:
            return kinds.codes, np.array(prices)
        return np.where(accounted, kinds.codes, len(prices)), np.array([*prices, _UNPRICED])

    def _row(self, key: _Key) -> int:
        known = self._known.get(key)
        if known is None:
            address, port, sent, *models, answered, asked = key
            price = self._find(provider_of(address, sent, self._hosts, port), *models, tier=tier_of(answered, asked))
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = _UNPRICED if price is None else self._row_of[id(price)]
            if sum(len(part) for part in key if isinstance(part, str)) <= _REMEMBERED_LENGTH:
                self._known[key] = known
        return known


_EMBEDDINGS: Final = Equals(SpanAttr(semconv.OPERATION), ("embeddings",))


def _status(kinds: Codes, prices: Ints, accounted: Truth, missing: Truth) -> Coded:
    """Return what became of each span: by its kind alone, unless some are `missing` what they used."""
    of_kinds = [_UNKNOWN_MODEL if row == _UNPRICED else _PRICED for row in prices.tolist()]
    if accounted is not True:
        of_kinds[-1] = _NONE
    if missing is False:
        codes, statuses = kinds, of_kinds
    else:
        codes, statuses = np.array(of_kinds)[kinds], list(range(len(_STATUSES)))
        codes[missing] = _NO_USAGE
    counts = np.bincount(codes, minlength=len(statuses)).tolist()
    return Coded(codes, [_STATUSES[one] if count else None for one, count in zip(statuses, counts, strict=True)])


def _without_usage(
    batch: Batch, accounted: Truth, usage: Sequence[Column | None], kinds: Codes, prices: Ints, rates: Floats
) -> Truth:
    """Return which accounted spans do not say what they used, for which a price asks."""
    sent, *_, answered = (False if column is None else batch.valid(column) for column in usage)
    unsent = _less(accounted, sent)
    silent = unsent if answered is sent else _less(accounted, answered)
    if silent is not False:
        silent = both(silent, (prices == _UNPRICED)[kinds] | ~np.isnan(rates[-1]))
    if silent is not False:
        silent = both(silent, inverse(judged(_EMBEDDINGS, batch)))
    return silent if unsent is False else unsent if silent is False else unsent | silent


def _less(some: Truth, others: Truth) -> Truth:
    """Where the one holds and the other does not."""
    return False if others is True else both(some, inverse(others))


def _costs(priced: Mask, rates: Floats, tokens: Floats, others: Sequence[Floats | None]) -> dict[str, Floats]:
    """The same sums as `genai.prices.cost_of`, on columns by name; rates and tokens in the order of `_USAGE`."""
    parts = [_part(sent, rate, priced) for sent, rate in zip(others, rates[1:], strict=True)]
    read, written, output = parts
    ordinary = np.maximum(0.0, np.where(priced, tokens, np.nan) - read.tokens - written.tokens)
    cost = ordinary * or_zero(rates[0]) / 1e6
    costs = {semconv.COST_USD: cost + (read.cost + written.cost + output.cost), semconv.COST_INPUT_USD: cost}
    for key, part in zip(_PARTS, parts, strict=True):
        if part.there is not None:
            costs[key] = np.where(part.there, part.cost, np.nan)
    return {f"s:{key}:d": values for key, values in costs.items()}


class _Part(NamedTuple):
    """What was paid for one kind of tokens beside the ordinary input; zero where there is none, or nobody has any."""

    tokens: Floats | float = 0.0
    cost: Floats | float = 0.0
    there: Mask | None = None


def _part(sent: Floats | None, rate: Floats, priced: Mask) -> _Part:
    """A part whose tokens were never sent, or are billed as ordinary ones, is no part of a call."""
    if sent is None:
        return _Part()
    there = priced & ~(np.isnan(sent) | np.isnan(rate))
    tokens = np.where(there, sent, 0.0)
    return _Part(tokens, tokens * or_zero(rate) / 1e6, there)
