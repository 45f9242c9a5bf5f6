"""`stackctl cost`: what the calls cost, split as asked, with coverage."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, StepLine, emit, options
from stackctl.cli.traces import PrometheusFlag, TempoFlag, prometheus_client, tempo_client, window_seconds

if TYPE_CHECKING:
    from stackctl.cost import Repricing


def cost(
    ctx: typer.Context,
    by: Annotated[
        str, typer.Option(help="Split by: model, provider, service, environment, operation, user, session, ...")
    ] = "model",
    window: Annotated[str, typer.Option(help="How far back, e.g. 30m, 24h, 7d.")] = "24h",
    prices: Annotated[
        Path | None, typer.Option(help="Calculate stored calls with this price book too; your own rows still win.")
    ] = None,
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Show what calls to models cost, and of how many calls that is known."""
    import time

    from stackctl import cost as costs
    from stackctl.cli import render_cost

    opts = options(ctx, data_dir, json)
    names = [name.strip() for name in by.split(",") if name.strip()]
    costs.dimensions(names)
    seconds = window_seconds("--window", window)
    with prometheus_client(opts, prometheus) as metrics:
        metrics.settle()
        if prices is not None:
            with tempo_client(opts, tempo) as spans, _progress() as progress:
                repriced = costs.reprice(
                    metrics, spans, names, seconds, time.time(), _repricing(opts, prices), progress
                )
            emit(repriced, opts, render_cost.reprice)
            return
        # Totals need the metrics alone: a Prometheus without a Tempo beside it is enough for them.
        source = tempo_client(opts, tempo) if costs.needs_spans(names) else None
        report = costs.cost(metrics, source, names, seconds, time.time())
    emit(report, opts, render_cost.cost)


def _repricing(opts: Options, file: Path) -> "Repricing":
    """Return the prices of a book file, with the user's own rows before it."""
    from stackctl.cli.prices import price_hosts
    from stackctl.cost import Repricing
    from stackctl.genai.pricebook import in_force

    return Repricing(in_force(file, opts.loaded.settings.price_rows), str(file), price_hosts(opts))


@contextmanager
def _progress() -> Iterator[Callable[[float], None]]:
    """Yield what shows the share of the window that was read."""
    line = StepLine()
    try:
        yield lambda share: line.at(f"reading stored calls: {share:.0%}")
    finally:
        line.clear()


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.command()(cost)
