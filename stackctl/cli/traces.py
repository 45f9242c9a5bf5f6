"""`stackctl traces`: traces in the terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, emit, options

if TYPE_CHECKING:
    from stackctl.clients import PrometheusClient, TempoClient

TempoFlag = Annotated[str | None, typer.Option("--tempo", help="URL of a Tempo API; the running stack's if not said.")]
PrometheusFlag = Annotated[
    str | None, typer.Option("--prometheus", help="URL of a Prometheus API; the running stack's if not said.")
]

group = typer.Typer(help="Traces in the terminal.", no_args_is_help=True, rich_markup_mode=None)


@group.command("list")
def list_traces(
    ctx: typer.Context,
    q: Annotated[str | None, typer.Option("--q", help="TraceQL, e.g. '{ status = error }'.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many traces.")] = 20,
    since: Annotated[str, typer.Option(help="How far back, e.g. 30m, 24h, 7d.")] = "24h",
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,  # noqa: ARG001 - every reading command takes both
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """List the newest traces, or those that a TraceQL query finds."""
    import time

    from stackctl.cli import render
    from stackctl.clients.calls import trace_row
    from stackctl.reports import TraceListReport

    opts = options(ctx, data_dir, json)
    window = window_seconds("--since", since)
    now = time.time()
    with tempo_client(opts, tempo) as client:
        with caret(q):
            found = client.search(q, now - window, now, limit)
        rows = tuple(trace_row(client.trace(summary.trace_id)) for summary in found)
    emit(TraceListReport(rows), opts, render.traces)


@group.command("show")
def show(
    ctx: typer.Context,
    trace_id: Annotated[str | None, typer.Argument(help="Trace id; the newest trace if not said.")] = None,
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,  # noqa: ARG001 - every reading command takes both
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Show one trace from question to answer: a waterfall with models, tokens, cost, first token and judgements."""
    from stackctl.cli import render
    from stackctl.clients.calls import trace_report
    from stackctl.errors import NotFound

    opts = options(ctx, data_dir, json)
    with tempo_client(opts, tempo) as client:
        if trace_id is None:
            newest = client.search(None, limit=1)
            if not newest:
                raise NotFound("no trace is stored", next_step="send some traffic: stackctl demo")
            trace_id = newest[0].trace_id
        found = client.trace(trace_id)
    emit(trace_report(found), opts, render.trace)


@group.command("diff")
def diff(
    ctx: typer.Context,
    a: Annotated[str, typer.Argument(help="Trace id.")],
    b: Annotated[str, typer.Argument(help="Trace id of the one to compare with it.")],
    tempo: TempoFlag = None,
    prometheus: PrometheusFlag = None,  # noqa: ARG001 - every reading command takes both
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Compare two traces span by span: duration, model, tokens, cost, first token, status and judgements."""
    from stackctl.cli.render_diff import trace_diff as render
    from stackctl.clients.tracediff import trace_diff

    opts = options(ctx, data_dir, json)
    with tempo_client(opts, tempo) as client:
        found = trace_diff(client.trace(a), client.trace(b))
    emit(found, opts, render)


def tempo_client(opts: Options, url: str | None) -> "TempoClient":
    """Return a client of the Tempo endpoint that was said, else of the running stack's.

    Raises:
        StackNotRunning: neither is there.
    """
    from stackctl.clients import TempoClient

    return TempoClient(*_endpoint(opts, "tempo", url))


def prometheus_client(opts: Options, url: str | None) -> "PrometheusClient":
    """Return a client of the Prometheus endpoint that was said, else the stack's. Raises as `tempo_client`."""
    from stackctl.clients import PrometheusClient

    return PrometheusClient(*_endpoint(opts, "prometheus", url))


def _endpoint(opts: Options, name: str, url: str | None) -> tuple[str, str | None]:
    if url is not None:
        return url, None
    from stackctl.runtime.state import find

    stack = find(opts.data_dir)
    return stack.url(name), stack.token()


def window_seconds(flag: str, text: str) -> float:
    """Return a time window in seconds.

    Raises:
        Misuse: the text is no duration, or one that leads to before 1970; the message names the flag.
    """
    import time

    from stackctl.errors import Misuse
    from stackctl.setting_values import seconds

    try:
        window = seconds(text)
    except ValueError as error:
        raise Misuse(f"{flag} cannot be {text!r}", next_step=f"use a number with s, m, h or d: {flag} 24h") from error
    if window > time.time():  # no server takes a time before its epoch
        raise Misuse(f"{flag} cannot be {text!r}: it leads to before 1970", next_step=f"use a shorter one: {flag} 7d")
    return float(window)


@contextmanager
def caret(query: str | None) -> Iterator[None]:
    """Show where a query is wrong: within, the message of an invalid query gets the query and a caret below it.

    Args:
        query: the text that was sent; None for one that nobody wrote.
    """
    from stackctl.errors import QueryInvalid

    try:
        yield
    except QueryInvalid as error:
        if query is None or error.position is None:
            raise
        picture = _picture(query, error.position)
        raise QueryInvalid(f"{error.message}\n{picture}", next_step=error.next_step, position=error.position) from error


def _picture(query: str, position: int) -> str:
    """Return the line of the query that holds a position, and a caret under it."""
    start = query.rfind("\n", 0, position) + 1
    line = query[start:].split("\n", 1)[0]
    return f"  {line}\n  {' ' * (position - start)}^"


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.add_typer(group, name="traces")
