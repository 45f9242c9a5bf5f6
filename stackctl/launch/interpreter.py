"""Which Python interpreter a command runs under, and whether it has the packages that instrument it."""

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from stackctl.errors import Misuse, PackageMissing
from stackctl.launch.environment import GRPC, HTTP_PROTOBUF

_PYTHON = re.compile(r"python(\d+(\.\d+)?)?t?$|pypy\d*(\.\d+)?$")
_PROBE_SECONDS = 30.0

# Packages by the names pip knows, at the versions under which they work together.
DISTRO = "opentelemetry-distro==0.66b2"
EXPORTER = "opentelemetry-exporter-otlp-proto-http==1.45.2"
OPENAI = "opentelemetry-instrumentation-genai-openai==1.3b0"

# Packages that instrument the openai client under OpenTelemetry's entry point; any one of them will do.
OPENAI_INSTRUMENTATIONS = (
    "opentelemetry-instrumentation-genai-openai",
    "opentelemetry-instrumentation-openai-v2",
    "opentelemetry-instrumentation-openai",
    "openinference-instrumentation-openai",
)

_PROBE = """
import importlib.metadata, json, re, sys
names = {re.sub("[-_.]+", "-", d.metadata["Name"] or "").lower(): d.version for d in importlib.metadata.distributions()}
json.dump({"executable": sys.executable, "packages": names}, sys.stdout)
"""


@dataclass(frozen=True)
class Interpreter:
    """An interpreter and the packages that it can import.

    Attributes:
        executable: absolute path, as the interpreter names itself.
        packages: normalised distribution name to version.
    """

    executable: str
    packages: Mapping[str, str] = field(repr=False)

    @property
    def protocol(self) -> str:
        """The OTLP protocol its packages can speak: HTTP where both are there, since gRPC does not survive a fork."""
        return HTTP_PROTOBUF if _name(EXPORTER) in self.packages else GRPC


def interpreter_of(command: Sequence[str], environ: Mapping[str, str]) -> list[str] | None:
    """Return the words that start the command's Python interpreter; None when that cannot be told from the command.

    Args:
        command: the program and its arguments: an interpreter, or a script whose first line names one.

    Raises:
        Misuse: there is no such program.
    """
    path = shutil.which(command[0], path=environ.get("PATH"))
    if path is None:
        raise Misuse(
            f"there is no program {command[0]!r} to run", next_step="give a command that works on its own after `--`"
        )
    if _PYTHON.match(Path(path).name):
        return [path]
    return _from_first_lines(Path(path), environ)


def _from_first_lines(path: Path, environ: Mapping[str, str]) -> list[str] | None:
    """Read a script's interpreter from its `#!` line, or from the shell trick that pip and uv write for long paths."""
    with path.open("rb") as script:
        head = script.read(2048)
    if not head.startswith(b"#!"):
        return None
    lines = head.decode("utf-8", "replace").splitlines()
    words = shlex.split(lines[0][2:])
    if words and Path(words[0]).name == "env":
        words = [word for word in words[1:] if not word.startswith("-") and "=" not in word]
    if words and Path(words[0]).name in ("sh", "bash", "dash") and len(lines) > 1:
        trick = re.match(r"'''exec'\s+(.+?)\s+\"\$0\"", lines[1])
        words = shlex.split(trick.group(1)) if trick else []
    if not words or not _PYTHON.match(Path(words[0]).name):
        return None
    found = shutil.which(words[0], path=environ.get("PATH"))
    return [found, *words[1:]] if found else None


def check(words: Sequence[str], environ: Mapping[str, str]) -> Interpreter:
    """Ask an interpreter for its packages, and require what instruments it.

    Args:
        words: what `interpreter_of` returned.
        environ: the environment the command will see; PYTHONPATH and the like decide what can be imported.

    Raises:
        PackageMissing: with the pip line for this very interpreter.
        Misuse: it is no working Python.
    """
    try:
        answer = subprocess.run(
            [*words, "-c", _PROBE], env=dict(environ), capture_output=True, timeout=_PROBE_SECONDS, check=True
        )
        found = orjson.loads(answer.stdout)
    except (OSError, subprocess.SubprocessError, orjson.JSONDecodeError) as error:
        raise Misuse(
            f"{words[0]} does not run as a Python interpreter: {error}", next_step="check that it starts on its own"
        ) from error
    interpreter = Interpreter(found["executable"] or words[0], found["packages"])
    missing = _missing(interpreter.packages)
    if missing:
        names = ", ".join(_name(requirement) for requirement in missing)
        line = shlex.join([interpreter.executable, "-m", "pip", "install", *missing])
        raise PackageMissing(f"{interpreter.executable} cannot send telemetry: it lacks {names}", next_step=line)
    return interpreter


def _missing(packages: Mapping[str, str]) -> list[str]:
    """Return the requirements that an interpreter with these packages does not meet."""
    missing = [] if _name(DISTRO) in packages else [DISTRO]
    if not any(f"opentelemetry-exporter-otlp-proto-{kind}" in packages for kind in ("http", "grpc")):
        missing.append(EXPORTER)
    if "openai" in packages and not any(name in packages for name in OPENAI_INSTRUMENTATIONS):
        missing.append(OPENAI)
    return missing


def _name(requirement: str) -> str:
    return requirement.partition("==")[0]


def service_name(command: Sequence[str]) -> str:
    """Return a service's name from the command that starts it: the script, the module after `-m`, or the program."""
    arguments = list(command[1:]) if _PYTHON.match(Path(command[0]).name) else []
    while arguments:
        word = arguments.pop(0)
        if word in ("-W", "-X"):
            arguments = arguments[1:]
        elif word == "-m" and arguments:
            return arguments[0]
        elif word.startswith("-m") and len(word) > 2:
            return word[2:]
        elif word == "-c":
            break
        elif not word.startswith("-"):
            return Path(word).stem if word.endswith(".py") else Path(word).resolve().name
    return Path(command[0]).name or os.path.basename(command[0])
