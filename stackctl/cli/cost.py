"""`stackctl cost`: what the calls cost, split as asked, with coverage."""

from typing import Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, emit, options
from stackctl.cli.traces import PrometheusFlag, TempoFlag, prometheus_client, tempo_client, window_seconds


def cost(
    ctx: typer.Context,
    by: Annotated[
        str, typer.Option(help="Split by: model, provider, service, environment, operation, user, session, ...")
    ] = "model",
    window: Annotated[str, typer.Option(help="How far back, e.g. 30m, 24h, 7d.")] = "24h",
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Show what calls to models cost, and of how many calls that is known."""
    import time

    from stackctl import cost as costs
    from stackctl.cli import render

    opts = options(ctx, data_dir, json)
    names = [name.strip() for name in by.split(",") if name.strip()]
    costs.dimensions(names)
    seconds = window_seconds("--window", window)
    with prometheus_client(opts, prometheus) as metrics:
        # Totals need the metrics alone: a Prometheus without a Tempo beside it is enough for them.
        spans = tempo_client(opts, tempo) if costs.needs_spans(names) else None
        report = costs.cost(metrics, spans, names, seconds, time.time())
    emit(report, opts, render.cost)


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.command()(cost)
