"""The command table and the one place where errors are printed."""

import errno
import io
import os
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Annotated, Final, NoReturn

import typer

from stackctl import __version__
from stackctl.cli.context import Flags, say
from stackctl.errors import EnvironmentLacks, StackctlError

# One module per group of commands; the order is the order of `stackctl --help`.
GROUPS = ("up", "demo", "run", "dashboards", "traces", "cost", "console", "prices", "bench")

# What the system says where nothing is wrong with the command, and what to do about it.
_REFUSED: Final = {
    errno.ENOSPC: "make room on the disk of the answer, or of the files that the command writes",
    errno.EDQUOT: "make room within your quota on that disk",
    errno.EROFS: "choose a place that can be written to",
    errno.EIO: "look at the health of that disk or terminal",
    errno.EMFILE: "raise the limit of open files: ulimit -n",
    errno.ENFILE: "close other programs: the system has no open file left",
    errno.ENOMEM: "close other programs: the system has no memory left",
}

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
    _write_what_can_be_written()
    try:
        code = typer.main.get_command(root)(prog_name="stackctl", standalone_mode=False)
        _flush()
        sys.exit(code if isinstance(code, int) else 0)
    except StackctlError as error:
        _end(error.message, error.next_step, error.exit_code)
    except OSError as error:
        if error.errno not in _REFUSED:
            _report_bug()
        what = error.filename or "nothing more can be written"  # the system says which file only of those it opens
        _end(f"{what}: {error.strerror}", _REFUSED[error.errno], EnvironmentLacks.exit_code)
    except typer.TyperException as error:  # a flag or an argument is wrong
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "stackctl"
        _end(error.format_message(), f"{command} --help", error.exit_code)
    except typer.Abort as error:
        raise KeyboardInterrupt from error
    except Exception:  # noqa: BLE001 - the last place: what arrives here is a defect of ours, kept for a report
        _report_bug()


def _write_what_can_be_written() -> None:
    """Let a character that the terminal's encoding lacks come out as a question mark, instead of ending the command."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # None where it is closed
            stream.reconfigure(errors="replace")


def _flush() -> None:
    """Write what is left of the answer, as long as somebody can be told that it does not go out."""
    if sys.stdout is not None:
        sys.stdout.flush()


def _end(message: str, next_step: str, code: int) -> NoReturn:
    say(f"error: {message}\n  next: {next_step}")
    _let_go_of_the_answer()
    sys.exit(code)


def _let_go_of_the_answer() -> None:
    """Write what is left of an answer, or drop it: Python tries again as it ends, says so itself and ends with 120."""
    try:
        _flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _report_bug() -> NoReturn:
    _end("this is a bug in stackctl", f"report it with the traceback in {_keep_traceback()}", 1)


def _keep_traceback() -> str:
    import tempfile

    with tempfile.NamedTemporaryFile("w", prefix="stackctl-", suffix=".traceback", delete=False) as file:
        traceback.print_exc(file=file)
    return file.name
