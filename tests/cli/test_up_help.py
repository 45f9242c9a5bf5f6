"""The command line before it does anything: quick, complete, and the same in both spellings."""

import subprocess
import sys

from stackctl import __version__
from stackctl.cli.app import GROUPS

HEAVY = frozenset(
    {"numpy", "pyarrow", "duckdb", "grafanalib", "docker", "opentelemetry", "openai", "uvloop", "httpx2", "asyncio"}
)
"""What takes longer to import than everything that `--help` needs."""


COUNTED = """
import cProfile, pstats, sys
profile = cProfile.Profile()
try:
    profile.run({statement!r})
except SystemExit:
    pass
print("calls", pstats.Stats(profile).total_calls)
"""
"""Runs a statement and says how many calls the interpreter made for it."""


def test_help_is_quick():
    """`stackctl --help` costs little more than the library that it is written with.

    Counted in calls of the interpreter, which a busy machine makes no more of: 112,000, where the library alone makes
    47,000. In processor time that is twice as much.
    """

    def calls(statement: str) -> int:
        command = [sys.executable, "-c", COUNTED.format(statement=statement)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        return int(told.rsplit("calls", 1)[1])

    helped = calls("import sys; sys.argv = ['stackctl', '--help']; import stackctl.__main__ as it; it.main()")
    assert helped <= 2.5 * calls("import typer")


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
