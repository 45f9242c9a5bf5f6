"""`stackctl prices`: the price book, what it does not price, and how to renew it."""

import contextlib
import datetime
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, emit, options, say
from stackctl.cli.traces import PrometheusFlag, TempoFlag, prometheus_client, tempo_client, window_seconds

if TYPE_CHECKING:
    from stackctl.cost.reports import PriceRowReport, RatesReport
    from stackctl.genai.prices import Price, PriceBook, Rates
    from stackctl.settings import Settings

group = typer.Typer(help="The price book.", no_args_is_help=True, rich_markup_mode=None)


@group.command("show")
def show(
    ctx: typer.Context,
    model: Annotated[str | None, typer.Argument(help="A model; the book alone if not said.")] = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Show the price book in force: its age, and a model's price at every provider."""
    from stackctl.cli import render_prices
    from stackctl.cost.reports import PriceShowReport
    from stackctl.cost.unpriced import book_report
    from stackctl.errors import NotFound
    from stackctl.genai import pricebook

    opts = options(ctx, data_dir, json)
    book, file = _book(opts)
    found = pricebook.rows_of(book, model) if model else []
    if model and not found:
        near = ", ".join(f"{price.model} ({price.provider})" for price in pricebook.nearest(book, model))
        hint = f"nearest names: {near}" if near else "add your own row to stackctl.toml: [[prices.rows]]"
        raise NotFound(f"no provider has a price for {model!r}", next_step=hint)
    rows = tuple(_row_report(book, price) for price in found)
    emit(PriceShowReport(book_report(book, file, _today()), model, rows), opts, render_prices.show)


@group.command("check")
def check(
    ctx: typer.Context,
    window: Annotated[str, typer.Option(help="How far back, e.g. 30m, 24h, 7d.")] = "24h",
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Find calls without a price, and tell what in stackctl.toml would give them one. Exit code 1 if there are any.

    A `--prometheus` without a `--tempo` is read alone: metrics do not know every model's name.
    """
    import time

    from stackctl import cost as costs
    from stackctl.cli import render_prices

    opts = options(ctx, data_dir, json)
    book, file = _book(opts)
    seconds = window_seconds("--window", window)
    prices = costs.Prices(book, price_hosts(opts))
    with prometheus_client(opts, prometheus) as metrics:
        spans = None if prometheus and not tempo else tempo_client(opts, tempo)
        metrics.settle()
        report = costs.check(metrics, spans, prices, seconds, time.time(), file)
    emit(report, opts, render_prices.check)
    if report.not_stored or any(not row.priced_now for row in report.models):
        raise typer.Exit(1)


@group.command("diff")
def diff(
    ctx: typer.Context,
    old: Annotated[Path, typer.Argument(help="A price book.")],
    new: Annotated[Path, typer.Argument(help="Another one.")],
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Show which rows one price book has and another has not, and which prices changed."""
    from stackctl.cli import render_prices
    from stackctl.cost.reports import PriceChangeReport, PriceDiffReport
    from stackctl.genai import pricebook

    opts = options(ctx, data_dir, json)
    found = pricebook.difference(pricebook.read(old), pricebook.read(new))
    report = PriceDiffReport(
        old=str(old),
        new=str(new),
        added=tuple((price.provider, price.model) for price in found.added),
        removed=tuple((price.provider, price.model) for price in found.removed),
        changed=tuple(PriceChangeReport(change.provider, change.model, change.cells) for change in found.changed),
    )
    emit(report, opts, render_prices.diff)


@group.command("update")
def update(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The price book to write.")],
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Write a price book from the installed genai-prices. Nothing is fetched: a newer package has newer prices."""
    from stackctl.cli import render_prices
    from stackctl.cost.reports import PriceUpdateReport
    from stackctl.cost.unpriced import book_report
    from stackctl.genai import pricebook
    from stackctl.genai.prices import PriceBook

    opts = options(ctx, data_dir, json)
    _refuse_other(file)
    text, refused = _generated()
    fresh = PriceBook.parse(text)
    change = pricebook.difference(_book(opts, own=False)[0], fresh)
    _write(file, text)
    report = PriceUpdateReport(
        file=str(file.absolute()),
        book=book_report(fresh, str(file.absolute()), _today()),
        refused=refused,
        added=len(change.added),
        removed=len(change.removed),
        changed=len(change.changed),
    )
    emit(report, opts, render_prices.update)
    if opts.loaded.settings.price_book != file.absolute():
        say(f'to use it: prices.book = "{file.absolute()}" in stackctl.toml, then stackctl up')


def price_hosts(opts: Options) -> dict[str, str]:
    """Return whose prices server addresses bill: as the running stack was told, the settings here before that."""
    from stackctl.runtime.supervisor import config_path
    from stackctl.stack import EngineConfig

    path = config_path(opts.data_dir)
    told = dict(EngineConfig.read(path).price_hosts) if path.exists() else {}
    return told | dict(opts.loaded.settings.price_hosts)


def _book(opts: Options, own: bool = True) -> "tuple[PriceBook, str | None]":
    """Return the price book of the settings, and its file where it is the user's own."""
    from stackctl.genai.pricebook import in_force

    settings: Settings = opts.loaded.settings
    file = settings.price_book
    return in_force(file, settings.price_rows if own else ()), None if file is None else str(file)


def _row_report(book: "PriceBook", price: "Price") -> "PriceRowReport":
    from stackctl.cost.reports import PriceRowReport
    from stackctl.genai.pricebook import aliases

    return PriceRowReport(
        **vars(_rates_report(price.rates)),
        provider=price.provider,
        model=price.model,
        own=(price.provider, price.model.lower()) in book.own,
        tiers=tuple((start, _rates_report(rates)) for start, rates in price.tiers),
        context_window=price.context_window,
        aliases=aliases(book, price),
    )


def _rates_report(rates: "Rates") -> "RatesReport":
    from stackctl.cost.reports import RatesReport

    return RatesReport(rates.input, rates.output, rates.cache_read, rates.cache_write)


def _generated() -> tuple[str, dict[str, int]]:
    """Return a price book's text for today, and how many rows of the source were refused by reason."""
    import sys

    from stackctl.errors import PackageMissing
    from stackctl.genai.generate_prices import render

    try:
        return render(_today())
    except ModuleNotFoundError as error:
        raise PackageMissing(
            "fresh prices are taken from the package genai-prices, which is not installed",
            next_step=f"{sys.executable} -m pip install 'genai-prices>=0.2.3,<0.3'",
        ) from error


def _write(file: Path, text: str) -> None:
    """Write the whole book or nothing: an engine may read it at this moment."""
    from stackctl.errors import Misuse

    # A name of this process's own: another one may write the same file.
    unfinished = file.parent / f"{file.name}.{os.getpid()}.unfinished"
    try:
        unfinished.write_text(text, encoding="ascii")
        unfinished.replace(file)
    except (OSError, ValueError) as error:
        with contextlib.suppress(OSError, ValueError):
            unfinished.unlink()
        why = getattr(error, "strerror", None) or error
        raise Misuse(f"{file} cannot be written: {why}", next_step="give a file in a directory of yours") from error


def _refuse_other(file: Path) -> None:
    """Refuse to replace what is no price book: most likely a file of the user's that was named by mistake.

    Raises:
        Misuse: it is something else.
    """
    from stackctl.errors import Misuse
    from stackctl.genai.pricebook import is_book

    try:
        other = file.is_dir() or (file.exists() and file.stat().st_size > 0 and not is_book(file))
    except (OSError, ValueError):
        return  # what cannot be looked at is told when it is written
    if other:
        kind = "a directory" if file.is_dir() else "no price book"
        raise Misuse(f"{file} is {kind} and is left as it is", next_step="name another file for the price book")


def _today() -> datetime.date:
    return datetime.datetime.now(datetime.UTC).date()


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.add_typer(group, name="prices")
