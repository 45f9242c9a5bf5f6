"""The command line before it does anything: quick, complete, and the same in both spellings."""

import resource
import subprocess

from stackctl import __version__
from stackctl.cli.app import GROUPS
from tests.conftest import COMMAND


def test_help_is_quick():
    """`stackctl --help` costs at most 0.25 s of CPU: nothing heavy is imported to say what there is."""

    def cpu_seconds() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([COMMAND, "--help"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(cpu_seconds() for _ in range(4)) <= 0.25


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
