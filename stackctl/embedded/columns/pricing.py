"""Account and price as columns: which spans count, what each cost, and how far its window was filled.

Whom and what to look up is decided once for each distinct combination of address, provider and models; the sums run
over whole columns in float64, which agree with `genai.prices.cost_of` to 1e-12.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.genai.prices import Price, PriceBook, Rates, provider_of
from stackctl.genai.rows import Equals, SpanAttr

from .arrow import Column
from .batch import Batch, Mask, floats, or_zero
from .conditions import holds

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
_Key = tuple[str | None, int | None, str | None, str | None, str | None]

_UNPRICED: Final = -1
_KEY_COLUMNS: Final = (
    f"s:{semconv.SERVER_ADDRESS}:s",
    f"s:{semconv.SERVER_PORT}:i",
    f"s:{semconv.PROVIDER}:s",
    f"s:{semconv.RESPONSE_MODEL}:s",
    f"s:{semconv.REQUEST_MODEL}:s",
)
_STATUSES: Final = pa.array([semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE], pa.string())
_PRICED, _UNKNOWN_MODEL, _NO_USAGE = range(3)
# Distinct combinations remembered; addresses and models are what senders choose, so the memory is emptied when full.
_REMEMBERED: Final = 20_000
_REMEMBERED_LENGTH: Final = 1024


@dataclass(frozen=True)
class _Book:
    """The price book as arrays: a row for each price, a column for each tier and one before them; NaN is no price."""

    starts: Floats
    rates: Floats  # price x tier x (input, cache read, cache write, output), USD per token
    windows: Floats

    @classmethod
    def of(cls, prices: list[Price]) -> "_Book":
        most = max((len(price.tiers) for price in prices), default=0)
        starts = np.full((len(prices), most), np.inf)
        rates = np.full((len(prices), most + 1, 4), np.nan)
        for row, price in enumerate(prices):
            rates[row, 0] = _per_token(price.rates)
            for tier, (start, tier_rates) in enumerate(price.tiers):
                starts[row, tier] = start
                rates[row, tier + 1] = _per_token(tier_rates)
        windows = np.array([price.context_window or np.nan for price in prices], np.float64)
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
        self._prices = list(book.by_key.values())
        self._row_of = {id(price): row for row, price in enumerate(self._prices)}
        self._arrays = _Book.of(self._prices)
        self._known: dict[_Key, int] = {}
        self._providers = pa.array([price.provider for price in self._prices], pa.string())
        self._models = pa.array([price.model for price in self._prices], pa.string())

    def price(self, batch: Batch, accounted: Mask) -> None:
        """Price the accounted spans, in place."""
        rows = np.flatnonzero(accounted)
        if not len(rows):
            return
        found = self._lookup(batch, rows)
        usage = [floats(batch.span(key, "i"), batch.rows)[rows] for key in _USAGE]
        embedded = holds(_EMBEDDINGS, batch)[rows]
        rates = self._rates(found, usage[0])
        needs_output = ~np.isnan(rates[:, 3]) & ~embedded
        no_usage = np.isnan(usage[0]) | (np.isnan(usage[1]) & (needs_output | (found == _UNPRICED) & ~embedded))
        status = np.where(no_usage, _NO_USAGE, np.where(found == _UNPRICED, _UNKNOWN_MODEL, _PRICED))
        _put_texts(batch, semconv.COST_STATUS, rows, _STATUSES, status)
        self._put_costs(batch, rows[status == _PRICED], *_chosen(status == _PRICED, rates, *usage))
        self._put_price(batch, rows, found, usage[0])

    def _rates(self, found: Ints, input_tokens: Floats) -> Floats:
        book = self._arrays
        if not len(self._prices):
            return np.full((len(found), 4), np.nan)
        tier = (or_zero(input_tokens)[:, None] > book.starts[found]).sum(axis=1)
        rates: Floats = book.rates[found, tier]
        rates[found == _UNPRICED] = np.nan
        return rates

    def _put_costs(self, batch: Batch, rows: Ints, rates: Floats, *usage: Floats) -> None:
        """The same sums as `genai.prices.cost_of`, on columns."""
        tokens, output, read, written = usage
        billed_read = np.where(np.isnan(rates[:, 1]), 0.0, or_zero(read))
        billed_write = np.where(np.isnan(rates[:, 2]), 0.0, or_zero(written))
        ordinary = np.maximum(0.0, tokens - billed_read - billed_write)
        counts = np.stack([ordinary, billed_read, billed_write, or_zero(output)], axis=1)
        parts = counts * or_zero(rates) / 1e6
        _put_numbers(batch, semconv.COST_USD, rows, parts.sum(axis=1))
        _put_numbers(batch, semconv.COST_INPUT_USD, rows, parts[:, 0])
        # A part whose tokens were never sent, or are billed as ordinary ones, is no part of this call.
        for column, key, sent in (
            (1, semconv.COST_CACHE_READ_USD, read),
            (2, semconv.COST_CACHE_WRITE_USD, written),
            (3, semconv.COST_OUTPUT_USD, output),
        ):
            absent = np.isnan(sent) | np.isnan(rates[:, column])
            _put_numbers(batch, key, rows, np.where(absent, np.nan, parts[:, column]))

    def _put_price(self, batch: Batch, rows: Ints, found: Ints, input_tokens: Floats) -> None:
        _put_texts(batch, semconv.PRICED_PROVIDER, rows, self._providers, found)
        _put_texts(batch, semconv.PRICED_MODEL, rows, self._models, found)
        if len(self._prices):
            windows = np.where(found == _UNPRICED, np.nan, self._arrays.windows[found])
            _put_numbers(batch, semconv.CONTEXT_UTILIZATION, rows, input_tokens / windows)

    def _lookup(self, batch: Batch, rows: Ints) -> Ints:
        """Return for each accounted span the row of its price, or `_UNPRICED`."""
        code = np.zeros(len(rows), np.int64)
        dictionaries: list[list[str | int | None]] = []
        for name in _KEY_COLUMNS:
            column = batch.columns.get(name)
            if column is None:
                dictionaries.append([None])
                continue
            coded = batch.coded(column)
            code = code * len(coded.values) + coded.codes[rows]
            dictionaries.append(coded.values)
        distinct, inverse = np.unique(code, return_inverse=True)
        found = np.fromiter((self._row(_key(int(one), dictionaries)) for one in distinct), np.int64, len(distinct))
        return found[inverse]

    def _row(self, key: _Key) -> int:
        known = self._known.get(key)
        if known is None:
            address, port, sent, response_model, request_model = key
            price = self._find(provider_of(address, sent, self._hosts, port), response_model, request_model)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            known = _UNPRICED if price is None else self._row_of[id(price)]
            if sum(len(part) for part in key if isinstance(part, str)) <= _REMEMBERED_LENGTH:
                self._known[key] = known
        return known


_EMBEDDINGS: Final = Equals(SpanAttr(semconv.OPERATION), ("embeddings",))
_USAGE: Final = (
    semconv.INPUT_TOKENS,
    semconv.OUTPUT_TOKENS,
    semconv.CACHE_READ_TOKENS,
    semconv.CACHE_WRITE_TOKENS,
)


def _key(code: int, dictionaries: list[list[str | int | None]]) -> _Key:
    values: list[str | int | None] = []
    for dictionary in reversed(dictionaries):
        code, place = divmod(code, len(dictionary))
        values.append(dictionary[place])
    return tuple(reversed(values))  # type: ignore[return-value]


def _chosen(mask: Mask, *arrays: Floats) -> tuple[Floats, ...]:
    return tuple(array[mask] for array in arrays)


def _put_numbers(batch: Batch, key: str, rows: Ints, values: Floats) -> None:
    """Set a number on some rows; NaN, and the other rows, have none."""
    spread = np.full(batch.rows, np.nan)
    spread[rows] = values
    batch.put(f"s:{key}:d", pa.array(spread, mask=np.isnan(spread)))


def _put_texts(batch: Batch, key: str, rows: Ints, texts: Column, places: Ints) -> None:
    """Set a text on some rows by its place among `texts`; place -1, and the other rows, have none."""
    spread = np.full(batch.rows, -1, np.int64)
    spread[rows] = places
    batch.put(f"s:{key}:s", texts.take(pa.array(spread, mask=spread < 0)))
