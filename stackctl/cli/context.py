"""What every command knows: where the stack's data is, and whether a machine or a person reads the answer."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from stackctl.settings import Loaded, load


@dataclass(frozen=True)
class Flags:
    """The global options as they stand before a command; the root callback stores them."""

    data_dir: Path | None
    json: bool


@dataclass(frozen=True)
class Options:
    """The global options of one invocation, with the settings looked up.

    Attributes:
        data_dir: flag, STACKCTL_DATA_DIR, stackctl.toml or the platform's directory.
    """

    data_dir: Path
    json: bool
    loaded: Loaded


# The global options stand behind a command as well as before it: `stackctl demo --json` is `stackctl --json demo`.
JsonFlag = Annotated[bool, typer.Option("--json", help="Answer as JSON on stdout.")]
DataDirFlag = Annotated[Path | None, typer.Option("--data-dir", help="Where the stack keeps its data.")]


def options(
    ctx: typer.Context, data_dir: Path | None = None, json: bool = False, settings: Mapping[str, Any] | None = None
) -> Options:
    """Return the global options, those behind the command before those in front of it, and the settings in force.

    Args:
        settings: setting key to the value of the command's own flag, None where it was not given.

    Raises:
        SettingsInvalid: a setting cannot be used.
    """
    before = ctx.find_object(Flags)
    assert before is not None, "the root callback stores Flags before any command runs"
    loaded = load({**(settings or {}), "data_dir": data_dir or before.data_dir})
    return Options(loaded.settings.data_dir, json or before.json, loaded)


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


class StepLine:
    """The one line on stderr that says what is going on and is written over; nothing where that is unwanted."""

    def __init__(self) -> None:
        self._shown = False

    def at(self, step: str) -> None:
        """Show a step."""
        if not plain():
            sys.stderr.write(f"\r\x1b[K{step} ...")
            sys.stderr.flush()
            self._shown = True

    def clear(self) -> None:
        """Take the line away."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            self._shown = False

    def say(self, text: str) -> None:
        """Talk to the person on a line of its own."""
        self.clear()
        say(text)


def plain() -> bool:
    """True where colour and redrawing are unwanted: NO_COLOR is set or stderr is no terminal."""
    return bool(os.environ.get("NO_COLOR")) or not sys.stderr.isatty()
