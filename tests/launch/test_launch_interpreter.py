"""Which interpreter a command runs under, and what is said when packages are missing there."""

import os
import sys
import venv
from pathlib import Path

import pytest

from stackctl.errors import Misuse, PackageMissing
from stackctl.launch import Interpreter, check, interpreter_of, service_name
from stackctl.launch.environment import GRPC, HTTP_PROTOBUF

EXPORTER_HTTP = "opentelemetry-exporter-otlp-proto-http"


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


def test_an_interpreter_runs_itself():
    """`python app.py` runs under that python."""
    assert interpreter_of([sys.executable, "app.py"], os.environ) == [sys.executable]


@pytest.mark.parametrize(
    "head",
    [
        "#!{python}\n",
        "#!/usr/bin/env {python}\n",
        "#!/usr/bin/env -S {python}\n",
        "#!/bin/sh\n'''exec' {python} \"$0\" \"$@\"\n' '''\n",
        "#!/bin/sh\n'''exec' \"{python}\" \"$0\" \"$@\"\n' '''\n",
    ],
)
def test_a_script_names_its_interpreter(tmp_path, head):
    """The forms that pip, uv and hand-written scripts have are all understood."""
    command = script(tmp_path / "tool", head.format(python=sys.executable) + "print()\n")
    assert interpreter_of([command], os.environ) == [sys.executable]


@pytest.mark.parametrize("text", ["#!/bin/sh\necho\n", "\x7fELF", ""])
def test_what_is_no_python_script_is_not_guessed_at(tmp_path, text):
    """A shell script or a binary may start any Python: nothing is claimed about it."""
    assert interpreter_of([script(tmp_path / "tool", text)], os.environ) is None


def test_a_program_that_is_not_there_is_misuse():
    """A mistyped command is told from a missing package."""
    with pytest.raises(Misuse, match="no-such-program"):
        interpreter_of(["no-such-program"], os.environ)


def test_missing_packages_come_with_the_line_that_installs_them(tmp_path):
    """An empty environment gives the pip line for its own interpreter."""
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    python = tmp_path / "bare" / "bin" / "python"
    with pytest.raises(PackageMissing) as raised:
        check([str(python)], {"PATH": os.environ["PATH"]})
    assert raised.value.exit_code == 3
    assert raised.value.next_step.startswith(f"{python} -m pip install opentelemetry-distro==")
    assert EXPORTER_HTTP in raised.value.next_step
    assert "genai-openai" not in raised.value.next_step  # without the openai client there is nothing to instrument


def test_the_packages_of_this_environment_are_enough():
    """Nothing is missing where stackctl itself is installed with its demo."""
    assert "openai" in check([sys.executable], os.environ).packages


@pytest.mark.parametrize(("packages", "protocol"), [({EXPORTER_HTTP: "1"}, HTTP_PROTOBUF), ({}, GRPC)])
def test_http_is_preferred_where_it_can_be_spoken(packages, protocol):
    """gRPC does not survive a fork, so it is used only where nothing else is installed."""
    assert Interpreter("python", packages).protocol == protocol


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["python", "app.py"], "app"),
        (["python3.12", "-u", "-X", "dev", "src/shop.py", "x"], "shop"),
        (["./venv/bin/python", "-m", "shop.web", "--port", "1"], "shop.web"),
        (["uvicorn", "shop:app"], "uvicorn"),
        (["python", "-c", "pass"], "python"),
    ],
)
def test_a_service_is_named_after_what_runs(command, name):
    """The default name is the script, the module or the program."""
    assert service_name(command) == name
