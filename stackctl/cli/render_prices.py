"""Reports about prices as text for people."""

from collections.abc import Iterable
from decimal import Decimal

from rich import box
from rich.table import Table
from rich.text import Text

from stackctl.cli.render import console
from stackctl.cost.reports import (
    PriceBookReport,
    PriceCheckReport,
    PriceDiffReport,
    PriceRowReport,
    PriceShowReport,
    PriceUpdateReport,
    RatesReport,
)

_PER = "USD per million tokens"
# Metrics do not tell the service tier, by which a known model can be unpriced.
_NOW = {"metrics": "priced from now on, unless in another service tier"}


def show(report: PriceShowReport) -> None:
    """Write `prices show`."""
    out = console()
    if report.prices:
        table = _table(("provider", "model"), ("input", "output", "cache read", "cache write", "window"))
        for row in report.prices:
            name = Text(row.model).append("  yours" if row.own else "", style="green")
            table.add_row(Text(row.provider), name, *_rates(row), _count(row.context_window))
            for start, rates in row.tiers:
                table.add_row("", Text(f"  beyond {start:,} input tokens", style="dim"), *_rates(rates), "")
        out.print(table)
        out.print(Text(_PER, style="dim"))
        for row in report.prices:
            _say_aliases(row)
    _say_book(report.book)


def check(report: PriceCheckReport) -> None:
    """Write `prices check`."""
    out = console()
    if report.models:
        table = _table(("model", "server", "why", "nearest known"), ("calls",))
        for row in report.models:
            why = _NOW.get(report.source, "priced from now on") if row.priced_now else row.reason
            cells = (row.priced_as or "(no model)", row.host or row.sent_provider, why, ", ".join(row.nearest))
            table.add_row(*map(Text, cells), f"{row.calls:,}", style="dim" if row.priced_now else "")
        out.print(table)
    total = report.total
    covered = f"{total.priced:,} of {total.calls:,} calls are priced, {total.unpriced:,} unpriced"
    out.print(Text(f"{covered}, {total.no_usage:,} without usage (models from {report.source})"))
    if report.not_stored:
        text = (
            f"{report.not_stored:,} of the unpriced are not listed: no span that began in this window is stored of them"
        )
        out.print(Text(text, style="yellow"))
    if report.toml:
        out.print(Text("\nthese lines in stackctl.toml would price them, then: stackctl up\n", style="bold"))
        out.print(Text("\n".join(report.toml)), soft_wrap=True)
        out.print()
    _say_book(report.book)


def diff(report: PriceDiffReport) -> None:
    """Write `prices diff`: a line for each row."""
    out = console()
    lines = [
        *(Text(f"- {provider} {model}", style="red") for provider, model in report.removed),
        *(Text(f"+ {provider} {model}", style="green") for provider, model in report.added),
    ]
    for change in report.changed:
        cells = ", ".join(f"{name} {old or '-'} -> {new or '-'}" for name, (old, new) in change.cells.items())
        lines.append(Text(f"~ {change.provider} {change.model}: {cells}", style="yellow"))
    for line in lines:
        out.print(line, soft_wrap=True)
    out.print(Text(f"{len(report.added)} added, {len(report.removed)} removed, {len(report.changed)} changed"))


def update(report: PriceUpdateReport) -> None:
    """Write `prices update`."""
    out = console()
    out.print(Text(f"wrote {report.file}: {report.book.rows:,} prices of {report.book.source}"), soft_wrap=True)
    against = f"{report.added} added, {report.removed} removed, {report.changed} changed"
    out.print(Text(f"against the book in force: {against}"))
    for reason, count in sorted(report.refused.items()):
        out.print(Text(f"left out {count} rows of the source: {reason}", style="dim"))


def _say_book(book: PriceBookReport) -> None:
    out = console()
    origin = book.file or "shipped with stackctl"
    own = f", {book.own_rows} of them yours" if book.own_rows else ""
    age = "of unknown age" if book.age_days is None else f"{book.age_days} days old"
    out.print(Text(f"price book: {book.source or origin}"), soft_wrap=True)
    out.print(Text(f"  {origin}, of {book.date or 'an unknown day'} ({age})"), soft_wrap=True)
    out.print(Text(f"  {book.rows:,} prices of {book.providers} providers{own}"))
    if book.old:
        renewal = "pip install -U genai-prices, then stackctl prices update FILE"
        out.print(
            Text(f"warning: old prices are likely wrong; for fresh ones: {renewal}", style="yellow"), soft_wrap=True
        )


def _say_aliases(row: PriceRowReport) -> None:
    if row.aliases:
        names = f"{row.provider} {row.model} is also called {', '.join(row.aliases)}"
        console().print(Text(names, style="dim"), soft_wrap=True)


def _table(left: Iterable[str], right: Iterable[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in left:
        table.add_column(name)
    for name in right:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _rates(rates: RatesReport) -> list[str]:
    return [_price(value) for value in (rates.input, rates.output, rates.cache_read, rates.cache_write)]


def _price(value: Decimal | None) -> str:
    return "-" if value is None else format(value.normalize(), "f")


def _count(value: int | None) -> str:
    return "-" if value is None else f"{value:,}"
