"""One run of `up`, whichever runtime it is for: what is asked, what it has found, and the supervisor on its leash."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_urlsafe

from stackctl.errors import ComponentUnhealthy, EnvironmentLacks, StackctlError
from stackctl.runtime import state
from stackctl.runtime.begun import interrupt_deferred, stop
from stackctl.runtime.child import child_environment
from stackctl.runtime.logs import SUPERVISOR, log_path, open_log, tail, timestamp
from stackctl.runtime.ready import is_loopback
from stackctl.runtime.supervisor import KEEP
from stackctl.settings import Loaded
from stackctl.stack import EngineConfig

STOP_SECONDS = 15.0
_SHOWN_LINES = 10
_NEEDS_ENGINE_EXIT = 3  # what the engine's programs end with when the machine lacks something


@dataclass
class Start:
    """One run of `up`: what is asked, and what its steps have found so far.

    Attributes:
        tell: called with each line that a person should read.
        at_step: called with the name of each step as it begins.
        config: what the engine is to be told; written by a step.
        supervisor: the process that was started, with the leash in its standard input; None when one runs already.
        applied: what changed for a stack that ran already, in words.
        began: seconds since the epoch; older log lines are no news.
        held: what keeps the chosen ports from others until the stack listens there.
    """

    loaded: Loaded
    foreground: bool
    tell: Callable[[str], None]
    at_step: Callable[[str], None]
    config: EngineConfig | None = None
    supervisor: subprocess.Popen[bytes] | None = None
    applied: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)
    held: ExitStack = field(default_factory=ExitStack)

    @property
    def data_dir(self) -> Path:
        """Where the stack lives."""
        return self.loaded.settings.data_dir


def spawn_supervisor(start: Start, *flags: str) -> None:
    """Start the supervisor, away from this terminal but on a leash."""
    (start.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    command = [sys.executable, "-P", "-m", "stackctl.runtime.supervisor", str(start.data_dir), *flags]
    with open_log(log_path(start.data_dir, SUPERVISOR)) as log, interrupt_deferred():
        start.supervisor = subprocess.Popen(
            [*command, "--echo"] if start.foreground else command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=None if start.foreground else log,
            cwd=start.data_dir,
            env=child_environment(),
            start_new_session=True,
        )


def prove(start: Start, deadline_seconds: float | None = None) -> None:
    """Send a span and a sample in and read them back."""
    from stackctl.runtime import probe

    probe.prove(state.find(start.data_dir), deadline_seconds or probe.DEADLINE_SECONDS)


def let_go(start: Start) -> None:
    """Take the leash off, so that the stack outlives this command."""
    if start.supervisor is not None and not start.foreground:
        assert start.supervisor.stdin is not None, "its stdin is the leash"
        start.supervisor.stdin.write(KEEP)
        start.supervisor.stdin.close()


def stop_supervisor(start: Start) -> None:
    """Let the leash go and wait until the supervisor and what it started are gone."""
    process = start.supervisor
    if process is None:
        return
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    stop(process, STOP_SECONDS)


def engine_config(loaded: Loaded, chosen: Mapping[str, int]) -> EngineConfig:
    """Return what the engine is told, from the settings and the chosen ports.

    Raises:
        SettingsInvalid: the price book of the settings is none.
    """
    settings = loaded.settings
    return EngineConfig(
        data_dir=str(settings.data_dir),
        host=settings.host,
        ports=dict(chosen),
        retention_seconds=settings.retention_seconds,
        retention_bytes=settings.retention_bytes,
        capture_content=settings.capture_content,
        allow_keys=settings.allow_keys,
        extra_models=settings.extra_models,
        price_hosts=dict(settings.price_hosts),
        price_book=_price_book(settings.price_book, settings.data_dir),
        price_rows=settings.price_rows,
        exclude_scopes=settings.exclude_scopes,
        token_file=None if is_loopback(settings.host) else str(_token_file(settings.data_dir)),
    )


def _price_book(path: Path | None, data_dir: Path) -> str | None:
    """Check a price book and keep a copy under the name of its content.

    So an engine that is started again prices as before, and a changed file is a changed setting.
    """
    if path is None:
        return None
    from stackctl.genai import pricebook

    pricebook.read(path)
    content = path.read_bytes()
    kept = data_dir / "run" / f"prices-{hashlib.sha256(content).hexdigest()[:12]}.csv"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(content)
    return str(kept)


def _token_file(data_dir: Path) -> Path:
    """Return the file with the bearer token that a stack on the network asks for, made once."""
    path = data_dir / "run" / "token"
    if not path.exists():
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(token_urlsafe(32) + "\n")
    return path


def end(process: state.Process) -> None:
    """Stop a process: asked first, then not."""
    process.signal(signal.SIGTERM)
    if not process.wait(STOP_SECONDS):
        process.signal(signal.SIGKILL)
        process.wait(STOP_SECONDS)


def watch_supervisor(start: Start) -> None:
    """Raise when the supervisor that this run started is dead."""
    if start.supervisor is not None and start.supervisor.poll() is not None:
        raise _death(start, SUPERVISOR, start.supervisor.returncode)


def watch_components(start: Start, stack: state.RunningStack) -> None:
    """Raise when a process of the stack died instead of getting ready."""
    for component in stack.components:
        if component.state == state.UNHEALTHY and component.last_exit is not None:
            raise _death(start, component.name, component.last_exit)


def _death(start: Start, name: str, code: int) -> StackctlError:
    """Return the error for a component that died, after telling its last words."""
    since = timestamp(start.began) if name != SUPERVISOR else None  # a dying supervisor's own words bear no time
    entries = tail(start.data_dir, [name], _SHOWN_LINES, since)
    for entry in entries:
        start.tell(f"  {name}: {entry.text}")
    if code == _NEEDS_ENGINE_EXIT and entries:
        return EnvironmentLacks(f"{name}: {entries[-1].text}", next_step="mend that, then: stackctl up")
    return ComponentUnhealthy(
        f"{name} ended with code {code} instead of getting ready", next_step="see the lines above"
    )
