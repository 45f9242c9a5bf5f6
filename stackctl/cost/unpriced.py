"""Which calls have no price, why, and what in `stackctl.toml` would give them one."""

import datetime
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.clients.paging import every_span
from stackctl.cost import sums
from stackctl.cost.metrics import from_metrics, increase
from stackctl.cost.reports import PriceBookReport, PriceCheckReport, UnpricedReport
from stackctl.genai import pricebook
from stackctl.genai.prices import CELL, PROVIDERS, Price, PriceBook, provider_of, tier_of
from stackctl.stack import host_of

_HOST: Final = re.compile(r"[a-z0-9._:%\[\]-]+")  # what stands in quotes in stackctl.toml as it is
_NAMES: Final = (
    semconv.SERVER_ADDRESS,
    semconv.SERVER_PORT,
    semconv.PROVIDER,
    semconv.RESPONSE_MODEL,
    semconv.REQUEST_MODEL,
    semconv.RESPONSE_TIER,
    semconv.REQUEST_TIER,
)


@dataclass(frozen=True, order=True)
class _Asked:
    """What a call was priced by, as it was sent. Empty: it was not sent.

    Attributes:
        host: server address, with its port where there is one.
        tier: the service tier that is billed, empty for the list price's.
    """

    host: str
    sent: str
    answered: str
    asked: str
    tier: str = ""

    @property
    def model(self) -> str:
        """The model that answered, else the one asked for."""
        return self.answered or self.asked


@dataclass(frozen=True)
class Prices:
    """The prices of the settings: the book in force and whose prices an address bills."""

    book: PriceBook
    hosts: Mapping[str, str] = field(default_factory=dict)


def check(
    prometheus: PrometheusClient,
    tempo: TempoClient | None,
    prices: Prices,
    window_seconds: float,
    now: float,
    file: str | None = None,
) -> PriceCheckReport:
    """Return the calls of a window that have no price, and what would price them.

    Args:
        tempo: the stored spans, which know every model's name; without them metrics tell what they know.
        now: the end of the window, seconds since the epoch.
        file: the price book's own, None for the shipped one.

    Raises:
        QueryUnsupported: there are more spans than can be read.
    """
    total = from_metrics(prometheus, (), window_seconds, now).total
    if tempo is None:
        counts, source = _in_metrics(prometheus, window_seconds, now), "metrics"
    else:
        counts, source = _in_spans(tempo, now - window_seconds, now, total.unpriced), "stored spans"
    rows = [_row(asked, calls, prices) for asked, calls in sorted(counts.items())]
    rows.sort(key=lambda row: (row.priced_now, -row.calls, row.model))
    return PriceCheckReport(
        book=book_report(prices.book, file, datetime.datetime.fromtimestamp(now, datetime.UTC).date()),
        window_seconds=window_seconds,
        source=source,
        total=total,
        models=tuple(rows),
        toml=_toml([row for row in rows if not row.priced_now], prices.book),
        not_stored=max(total.unpriced - counts.total(), 0) if tempo else 0,
    )


def book_report(book: PriceBook, file: str | None, today: datetime.date) -> PriceBookReport:
    """Return what a price book says of itself.

    Args:
        file: where it comes from, None for the shipped one.
    """
    return PriceBookReport(
        file=file,
        source=book.source,
        date=book.date,
        age_days=pricebook.age_days(book, today),
        old=pricebook.is_old(book, today),
        rows=len(book.by_key),
        own_rows=len(book.own),
        providers=len({provider for provider, _ in book.by_key}),
    )


def _in_spans(tempo: TempoClient, start: float, end: float, expected: int) -> Counter[_Asked]:
    status = f"span.{semconv.COST_STATUS} = `{semconv.STATUS_UNPRICED}`"
    selected = ", ".join(f"span.{key}" for key in _NAMES)
    query = f"{{ span.{semconv.ACCOUNTED} = true && {status} }} | select({selected})"
    counts: Counter[_Asked] = Counter()
    for span in every_span(tempo, query, start, end, expected):
        address, port, *others = (span.attributes.get(key) for key in _NAMES)
        host = _host(str(address or ""), sums.count(port))
        sent, answered, asked, *tiers = (str(value or "") for value in others)
        counts[_Asked(host, sent, answered, asked, tier_of(*tiers))] += 1
    return counts


def _host(address: str, port: int | None) -> str:
    """Return a server as `prices.hosts` may name it: with its port, an IPv6 address before a port in brackets."""
    name, own_port = host_of(address)
    port_text = own_port or (f":{port}" if port else "")
    host = f"[{name}]" if port_text and ":" in name else name
    return f"{host}{port_text}" if name else address


def _in_metrics(prometheus: PrometheusClient, window_seconds: float, now: float) -> Counter[_Asked]:
    selector = f'{semconv.LLM_COST_REQUESTS}{{{semconv.LABEL_COST_STATUS}="{semconv.STATUS_UNPRICED}"}}'
    labels = (semconv.LABEL_PROVIDER, semconv.LABEL_RESPONSE_MODEL, semconv.LABEL_REQUEST_MODEL)
    counts: Counter[_Asked] = Counter()
    for row, value in increase(prometheus, selector, labels, window_seconds, now)[0]:
        if round(value):
            counts[_Asked("", *(row.get(label, "") for label in labels))] += round(value)
    return counts


def _row(asked: _Asked, calls: int, prices: Prices) -> UnpricedReport:
    provider = provider_of(asked.host or None, asked.sent or None, prices.hosts)
    found = prices.book.find(provider, asked.answered, asked.asked, tier=asked.tier)
    nearest = _nearest(prices.book, asked.model, provider, asked.tier) if found is None else ()
    if provider is not None:
        reason = f"{provider} has no price for {f'its service tier {asked.tier}' if asked.tier else 'it'}"
    elif asked.host:
        reason = f"nothing says whose prices {asked.host} bills"
    else:
        reason = "neither a server's address nor a provider was sent"
    return UnpricedReport(
        host=asked.host,
        sent_provider=asked.sent,
        provider=provider,
        model=asked.model,
        tier=asked.tier,
        calls=calls,
        reason=reason,
        priced_now=found is not None,
        nearest=tuple(f"{price.provider} {price.model}" for price in nearest),
    )


def _nearest(book: PriceBook, model: str, provider: str | None, tier: str, count: int = 3) -> tuple[Price, ...]:
    """Return the known rows that come nearest: of a model in a tier without a price its own at the list price."""
    of_model = book.find(provider, model) if tier else None
    return (of_model,) if of_model else pricebook.nearest(book, model, provider, count)


def _toml(rows: Sequence[UnpricedReport], book: PriceBook) -> tuple[str, ...]:
    """Return the lines that price what is unpriced; a name that no row can hold is left out."""
    hosts: dict[str, str] = {}
    own: dict[tuple[str, str], tuple[str, ...]] = {}
    for row in rows:
        provider = row.provider
        if provider is None and _HOST.fullmatch(row.host):
            provider = hosts.setdefault(row.host, _biller(row, book))
        if provider is None or not row.model or row.model == semconv.OTHER_MODEL or not CELL.fullmatch(row.priced_as):
            continue
        if book.find(provider, row.model, tier=row.tier) is None:
            near = _nearest(book, row.model, provider, row.tier, count=1)
            lines = pricebook.toml_lines(provider, row.priced_as, near[0] if near else None)
            own[provider, row.priced_as.lower()] = lines
    blocks = [pricebook.host_lines(hosts.items())] if hosts else []
    return tuple(line for block in (*blocks, *own.values()) for line in block)


def _biller(row: UnpricedReport, book: PriceBook) -> str:
    """Return whose prices an unknown server may bill: the provider it was taken for if that one knows the model."""
    sent = PROVIDERS.get(row.sent_provider, row.sent_provider)
    if book.find(sent, row.model) is not None:
        return sent
    # An IPv6 address has colons of its own, and no price row may name a provider with brackets.
    return row.host.partition(":")[0] if row.host.count(":") == 1 else re.sub(r"[^a-z0-9.:]", "", row.host)
