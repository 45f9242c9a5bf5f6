"""What every command knows: where the stack's data is, and whether a machine or a person reads the answer."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer


@dataclass(frozen=True)
class Options:
    """The global options of one invocation."""

    data_dir: Path
    json: bool


# The global options stand behind a command as well as before it: `stackctl demo --json` is `stackctl --json demo`.
JsonFlag = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
DataDirFlag = Annotated[Path | None, typer.Option("--data-dir", help="Where the stack keeps its data.")]


def options(ctx: typer.Context, data_dir: Path | None = None, json: bool = False) -> Options:
    """Return the global options that the root callback stored, overridden by those that stand behind the command."""
    found = ctx.find_object(Options)
    assert found is not None, "the root callback stores Options before any command runs"
    return Options(data_dir or found.data_dir, json or found.json)


def emit(report: Any, opts: Options, render: Callable[[Any], None]) -> None:
    """Write a report to stdout: as JSON when asked for, else as text through `render`.

    Args:
        report: a frozen dataclass of `stackctl.reports`.
    """
    if opts.json:
        import orjson

        sys.stdout.write(orjson.dumps(asdict(report), option=orjson.OPT_INDENT_2, default=str).decode() + "\n")
    else:
        render(report)


def say(text: str) -> None:
    """Talk to the person: progress and hints go to stderr, so that stdout stays the product."""
    sys.stderr.write(text + "\n")


def plain() -> bool:
    """True where colour and redrawing are unwanted: NO_COLOR is set or stderr is no terminal."""
    return bool(os.environ.get("NO_COLOR")) or not sys.stderr.isatty()
