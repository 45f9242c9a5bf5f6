"""What every command knows: where the stack's data is, and whether a machine or a person reads the answer."""

import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import typer


@dataclass(frozen=True)
class Options:
    """The global options of one invocation."""

    data_dir: Path
    json: bool


def options(ctx: typer.Context) -> Options:
    """Return the global options that the root callback stored."""
    found = ctx.find_object(Options)
    assert found is not None, "the root callback stores Options before any command runs"
    return found


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
