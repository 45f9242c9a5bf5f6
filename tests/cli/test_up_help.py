"""The command line before it does anything: quick, complete, and the same in both spellings."""

import resource
import subprocess
import sys
from pathlib import Path

from stackctl import __version__
from stackctl.cli.app import GROUPS
from tests.conftest import COMMAND

HEAVY = frozenset(
    {"numpy", "pyarrow", "duckdb", "grafanalib", "docker", "opentelemetry", "openai", "uvloop", "httpx2", "asyncio"}
)
"""What takes longer to import than everything that `--help` needs."""


def test_help_is_quick():
    """`stackctl --help` costs little more processor time than the library that it is written with.

    Measured in turn: where the library takes 0.1 s that is 0.21 s, and on a slow machine both take longer.
    """

    def cpu_seconds(*command: str | Path) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    runs = [(cpu_seconds(COMMAND, "--help"), cpu_seconds(sys.executable, "-c", "import typer")) for _ in range(6)]
    helped, library = map(min, zip(*runs, strict=True))
    assert helped <= 2.1 * library


def test_help_imports_nothing_heavy():
    """What it needs to say what there is are some 170 modules."""
    command = [sys.executable, "-X", "importtime", "-m", "stackctl", "--help"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    imported = {line.rsplit("|", 1)[1].strip() for line in told.splitlines() if line.startswith("import time:")}
    assert "stackctl.cli.app" in imported
    assert {name.split(".")[0] for name in imported}.isdisjoint(HEAVY)
    assert len(imported) <= 200


def test_every_command_explains_itself(stackctl_cli):
    """Each command has a help text that begins with what it does, and none of them fails."""
    listed = stackctl_cli("--help").stdout.split("Commands:")[1]
    commands = [line.split()[0] for line in listed.splitlines() if line.startswith("  ") and line[2] != " "]
    assert len(commands) >= len(GROUPS)
    for command in commands:
        shown = stackctl_cli(command, "--help")
        assert shown.code == 0, shown.stderr
        assert f"stackctl {command}" in shown.stdout


def test_no_command_is_the_help(stackctl_cli):
    """`stackctl` alone says what there is."""
    assert stackctl_cli().stdout == stackctl_cli("--help").stdout


def test_the_version_is_the_packages(stackctl_cli):
    """`stackctl --version` is the version of the installed package."""
    assert stackctl_cli("--version").stdout == f"stackctl {__version__}\n"


def test_global_options_stand_before_and_behind(stackctl_cli, tmp_path):
    """`stackctl --json --data-dir D config` is `stackctl config --json --data-dir D`."""
    flags = ("--json", "--data-dir", tmp_path / "elsewhere")
    before, behind = stackctl_cli(*flags, "config"), stackctl_cli("config", *flags)
    assert before.json() == behind.json()
    assert before.json()["settings"][0]["value"] == str(tmp_path / "elsewhere")
