"""The command table and the one place where errors are printed."""

import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from stackctl import __version__
from stackctl.cli.context import Flags, say
from stackctl.errors import StackctlError

# One module per group of commands; the order is the order of `stackctl --help`.
GROUPS = ("up", "demo", "run", "dashboards", "traces", "cost", "console", "prices", "bench")

# Help without Rich: importing it would double the time of `stackctl --help`.
root = typer.Typer(
    name="stackctl",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@root.callback(invoke_without_command=True)
def stackctl(
    ctx: typer.Context,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where the stack keeps its data.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """OpenTelemetry and Grafana for LLM applications: one command, self-hosted."""
    ctx.obj = Flags(data_dir, json)
    if version:
        sys.stdout.write(f"stackctl {__version__}\n")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        sys.stdout.write(ctx.get_help() + "\n")


for group in GROUPS:
    import_module(f"stackctl.cli.{group}").register(root)


def main() -> None:
    """Run the command line and turn every error into one message, one next step and its exit code."""
    try:
        code = typer.main.get_command(root)(prog_name="stackctl", standalone_mode=False)
        sys.exit(code if isinstance(code, int) else 0)
    except StackctlError as error:
        say(f"error: {error.message}\n  next: {error.next_step}")
        sys.exit(error.exit_code)
    except typer.TyperException as error:  # a flag or an argument is wrong
        context = getattr(error, "ctx", None)
        say(f"error: {error.format_message()}\n  next: {context.command_path if context else 'stackctl'} --help")
        sys.exit(error.exit_code)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except Exception:  # noqa: BLE001 - the last place: what arrives here is a defect of ours, kept for a report
        say(f"error: this is a bug in stackctl\n  next: report it with the traceback in {_keep_traceback()}")
        sys.exit(1)


def _keep_traceback() -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", prefix="stackctl-", suffix=".traceback", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name
