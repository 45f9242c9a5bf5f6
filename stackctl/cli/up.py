"""The stack itself: `up`, `down`, `status`, `logs`, `config`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, StepLine, emit, options, say

if TYPE_CHECKING:
    from stackctl.reports import ConfigReport, StackReport
    from stackctl.runtime.logs import Entry
    from stackctl.runtime.up import Start


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    for command in (up, down, status, logs, config):
        root.command()(command)


def up(
    ctx: typer.Context,
    runtime: Annotated[str | None, typer.Option(help="auto, docker or embedded.")] = None,
    demo: Annotated[bool, typer.Option("--demo", help="Run the demo once the stack is up.")] = False,
    console: Annotated[str | None, typer.Option(help="auto, builtin, grafana or none.")] = None,
    host: Annotated[str | None, typer.Option(help="Address the endpoints listen on.")] = None,
    ports: Annotated[str | None, typer.Option(help="auto, or ENDPOINT=PORT,...")] = None,
    retention: Annotated[str | None, typer.Option(help="How long telemetry is kept, e.g. 7d.")] = None,
    retention_size: Annotated[str | None, typer.Option(help="How much of it is kept, e.g. 10GiB.")] = None,
    capture_content: Annotated[
        bool | None, typer.Option("--capture-content/--no-capture-content", help="Keep prompts and completions.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="NAME=REF: a component's image in the docker runtime.")
    ] = None,
    sample: Annotated[
        float | None, typer.Option(help="Percent of ordinary traces that the docker runtime stores; all if not said.")
    ] = None,
    foreground: Annotated[bool, typer.Option("--foreground", help="Stay, until Ctrl-C or SIGTERM.")] = False,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Start the stack and wait until it is proven to work."""
    from stackctl.settings import component_images

    said = {
        **component_images(image or ()),
        "sample": sample,
        "runtime": runtime,
        "console": console,
        "host": host,
        "ports": ports,
        "retention": retention,
        "retention_size": retention_size,
        "capture_content": capture_content,
    }
    opts = options(ctx, data_dir, json, said)
    from stackctl.runtime import up as starting
    from stackctl.runtime.state import find
    from stackctl.runtime.status import report

    line = StepLine()
    try:
        start = starting.up(opts.loaded, foreground=foreground, tell=line.say, at_step=line.at)
    finally:
        line.clear()
    try:
        for change in start.applied:
            say(f"applied: {change}")
        _tell(report(find(opts.data_dir)), opts, demo)
        if foreground:
            raise typer.Exit(_stay(start))
    finally:
        if foreground:
            starting.stop_supervisor(start)


def _tell(found: "StackReport", opts: Options, demo: bool) -> None:
    """Show the stack, and the demo's report when there is to be one: in JSON as one document."""
    if not demo:
        emit(found, opts, _show_stack)
        if not opts.json:
            say("next: stackctl demo, or your own program: stackctl run -- python app.py")
        return
    from dataclasses import replace

    from stackctl.cli.demo import demo_report, show_demo

    if opts.json:
        emit(replace(found, demo=demo_report(opts)), opts, _show_stack)
        return
    _show_stack(found)
    sys.stdout.flush()
    show_demo(demo_report(opts), opts)


def _moment(age: str | None) -> str | None:
    """Return the time that lies an age such as `15m` back, as logs write it."""
    import time

    from stackctl.errors import Misuse
    from stackctl.runtime.logs import timestamp
    from stackctl.setting_values import seconds

    if age is None:
        return None
    try:
        return timestamp(time.time() - seconds(age))
    except ValueError as error:
        raise Misuse(f"--since cannot be {age!r}", next_step="use a number with s, m, h, d or w: 15m") from error


def _stay(start: "Start") -> int:
    import signal

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # the usual way to stop a service, so it is no error
    say("running in the foreground; Ctrl-C stops it")
    assert start.supervisor is not None, "started in the foreground"
    return start.supervisor.wait()


def down(
    ctx: typer.Context,
    delete_data: Annotated[bool, typer.Option("--delete-data", help="Also delete what the stack stored.")] = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Stop the stack; its data stays unless told otherwise."""
    opts = options(ctx, data_dir)
    from stackctl.runtime.down import down as stop

    ran = stop(opts.data_dir, delete=delete_data, tell=say)
    say("stopped" if ran else f"no stack runs from {opts.data_dir}")
    if delete_data:
        say(f"deleted the data in {opts.data_dir}")


def status(ctx: typer.Context, json: JsonFlag = False, data_dir: DataDirFlag = None) -> None:
    """Show each component's state; exit 1 when one is not healthy."""
    opts = options(ctx, data_dir, json)
    from stackctl.cli import render_status
    from stackctl.runtime.state import find
    from stackctl.runtime.status import healthy
    from stackctl.runtime.status import status as look

    stack = find(opts.data_dir)
    found = look(stack)
    emit(found, opts, render_status.status)
    if not healthy(found):
        raise typer.Exit(1)


def logs(
    ctx: typer.Context,
    component: Annotated[str | None, typer.Argument(help="A component or the supervisor; all if not said.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as lines are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the newest lines.")] = 100,
    since: Annotated[str | None, typer.Option(help="Only lines of the last 30s, 15m, 2h, ...")] = None,
    data_dir: DataDirFlag = None,
) -> None:
    """Show what the components log."""
    opts = options(ctx, data_dir)
    from stackctl.runtime.log_source import log_source

    source = log_source(opts.data_dir)
    names = source.components(component)
    for entry in source.tail(names, lines, _moment(since)):
        _show_entry(entry)
    if follow:
        for entry in source.follow(names):
            _show_entry(entry)
            sys.stdout.flush()


def config(ctx: typer.Context, json: JsonFlag = False, data_dir: DataDirFlag = None) -> None:
    """Show the settings in force and where each comes from."""
    opts = options(ctx, data_dir, json)
    from stackctl.reports import ConfigReport, SettingReport
    from stackctl.settings import ROWS

    loaded = opts.loaded
    settings = tuple(
        SettingReport(row.key, _plain(loaded.said[row.key]), loaded.origins[row.key], row.env, row.help) for row in ROWS
    )
    emit(ConfigReport(settings), opts, _show_config)


def _show_stack(report: "StackReport") -> None:
    from stackctl.stack import ENDPOINT_BY_NAME

    print(f"stackctl is up ({report.runtime} runtime)")
    for name, address in report.endpoints.items():
        if address:
            print(f"  {name:<11} {address:<24} {ENDPOINT_BY_NAME[name].speaks}")
    print(f"  {'data':<11} {report.data_dir}")
    if report.token_file:
        print(f"  {'token':<11} {report.token_file:<24} bearer token that every endpoint asks for")
    if report.network:
        print(
            f"  {'network':<11} {report.network:<24} for containers of yours: docker run --network {report.network} ..."
        )
    if report.password_file:
        print(f"  {'Grafana':<11} user admin, password: GRAFANA_ADMIN_PASSWORD in {report.password_file}")


def _show_config(report: "ConfigReport") -> None:
    for row in report.settings:
        print(f"{row.key:<26} {_shown(row.value):<32} {row.origin:<16} {row.env}")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if value not in (None, (), {}, []) else "-"


def _plain(value: object) -> object:
    """Return a setting's value as JSON can hold it."""
    return str(value) if isinstance(value, Path) else value


def _show_entry(entry: "Entry") -> None:
    print(f"{entry.time} {entry.component:<10} {entry.text}")
