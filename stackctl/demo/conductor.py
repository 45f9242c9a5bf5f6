"""One run of the demo's processes: starts the simulator and the application, follows them, and stops them in order."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from importlib.util import find_spec
from tempfile import TemporaryFile
from typing import IO

import orjson

from stackctl.demo.job import Job, Outcome
from stackctl.demo.model import Behaviour
from stackctl.errors import PackageMissing, ProblemFound
from stackctl.launch import Telemetry, environment
from stackctl.runtime.begun import interrupt_deferred, stop

SERVICE = "stackctl-demo"
_STOP_SECONDS = 5.0

# All that the demo's processes see of the user's environment: no proxy, no OTEL_*, no OPENAI_*.
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "SYSTEMROOT")


def clean(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the few variables of an environment that say where things are on this machine."""
    return {name: environ[name] for name in _KEPT if name in environ}


@dataclass(frozen=True)
class Target:
    """The stack that a run talks to."""

    otlp_grpc: str
    otlp_http: str
    token: str | None = None
    capture_content: bool = False


def perform(job: Job, target: Target, answered: Callable[[int], None]) -> Outcome:
    """Run the application until its last answer is handed to the stack.

    Args:
        job: without a port where `base_url` is given; else the simulator is started for it.
        answered: told how many answers there are.

    Raises:
        PackageMissing: the extra `demo` is not installed.
        ProblemFound: the application failed, or could not hand over its telemetry.
    """
    require_packages()
    telemetry = Telemetry(
        target.otlp_grpc, target.otlp_http, SERVICE, token=target.token, capture_content=target.capture_content
    )
    base = clean(os.environ) | {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo"}
    variables = environment(base, telemetry, checked=True)
    with TemporaryFile() as said, started([sys.executable, "-m", "stackctl.demo.app"], variables, said) as process:
        assert process.stdin is not None
        process.stdin.write(orjson.dumps(asdict(job)))
        process.stdin.close()
        outcome = _followed(process, answered)
        if outcome is None:
            raise ProblemFound(
                f"the demo's application ended with exit code {process.returncode}: {_last_line(said)}",
                next_step="see whether the stack is well: stackctl status",
            )
    if not outcome.flushed:
        raise ProblemFound("the stack did not take all of the demo's telemetry", next_step="see why: stackctl logs")
    return outcome


def require_packages() -> None:
    """Require the extra `demo`.

    Raises:
        PackageMissing: with the line that installs it.
    """
    missing = [name for name in ("openai", "opentelemetry.instrumentation.genai.openai") if not _importable(name)]
    if missing:
        raise PackageMissing(
            f"the demo needs {' and '.join(missing)}, which are not installed here",
            next_step=f"{sys.executable} -m pip install 'stackctl[demo]'",
        )


def _importable(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _last_line(said: IO[bytes]) -> str:
    """Return the last line that a process wrote to stderr."""
    said.seek(0)
    lines = said.read().decode("utf-8", "replace").split("\n")
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")


def _followed(process: subprocess.Popen[bytes], answered: Callable[[int], None]) -> Outcome | None:
    """Read the application's lines until it ends."""
    assert process.stdout is not None
    outcome = None
    for line in process.stdout:
        said = orjson.loads(line)
        if "outcome" in said:
            outcome = Outcome.read(said["outcome"])
        else:
            answered(said["answered"])
    process.wait()
    return outcome if process.returncode == 0 else None


@contextmanager
def simulator(behaviour: Behaviour) -> Iterator[int]:
    """Run the simulator and yield its port."""
    options = [f"--{field.name.replace('_', '-')}={getattr(behaviour, field.name)}" for field in fields(behaviour)]
    command = [sys.executable, "-m", "stackctl.demo.simulator", *options]
    with TemporaryFile() as said, started(command, clean(os.environ), said) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ProblemFound(
                f"the demo's simulator did not start: {_last_line(said)}", next_step="try again: stackctl demo"
            )
        yield int(line)


@contextmanager
def started(command: list[str], env: Mapping[str, str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process, and stop it on the way out, whatever the way.

    It has a session of its own: an interrupt at the terminal reaches us, and we end it in order.

    Args:
        said: takes its stderr.
    """
    process: subprocess.Popen[bytes] | None = None
    try:
        with interrupt_deferred():
            process = subprocess.Popen(
                command,
                env=dict(env),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                start_new_session=True,
            )
        yield process
    finally:
        if process is not None:
            stop(process, _STOP_SECONDS)
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()
