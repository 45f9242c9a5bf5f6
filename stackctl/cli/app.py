"""The command table and the one place where errors are printed."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from stackctl.cli.context import Options, say
from stackctl.errors import StackctlError

# One module per group of commands; the order is the order of `stackctl --help`.
GROUPS = ("up", "demo", "run", "dashboards", "traces", "cost", "bench")

root = typer.Typer(name="stackctl", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@root.callback()
def stackctl(
    ctx: typer.Context,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where the stack keeps its data.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")] = False,
) -> None:
    """OpenTelemetry and Grafana for LLM applications: one command, self-hosted."""
    ctx.obj = Options(data_dir or Path("."), json)


for group in GROUPS:
    import_module(f"stackctl.cli.{group}").register(root)


def main() -> None:
    """Run the command line and turn every error into one message, one next step and its exit code."""
    try:
        root()
    except StackctlError as error:
        say(f"error: {error.message}\n  next: {error.next_step}")
        sys.exit(error.exit_code)
