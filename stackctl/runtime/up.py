"""`stackctl up`: from settings to a stack that was seen to work, as a list of named steps.

Nothing half started is left behind: until the last step the supervisor hangs on a pipe of this process, and ends when
the pipe does, whether by an error, by Ctrl-C or by kill -9.
"""

import hashlib
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from pathlib import Path
from secrets import token_urlsafe

from stackctl.errors import (
    ComponentUnhealthy,
    EngineAbsent,
    EnvironmentLacks,
    Misuse,
    PackageMissing,
    StackctlError,
)
from stackctl.runtime import console, engine, ports, state
from stackctl.runtime.child import child_environment
from stackctl.runtime.lock import exclusive
from stackctl.runtime.logs import SUPERVISOR, log_path, open_log, tail, timestamp
from stackctl.runtime.ready import is_loopback
from stackctl.runtime.supervisor import KEEP, config_path, digest
from stackctl.settings import AUTO, DEFAULT, Loaded
from stackctl.stack import EngineConfig

READY_SECONDS = 60.0
STOP_SECONDS = 15.0
SERVED = ("otlp_grpc", "otlp_http", "prometheus", "tempo")  # by the embedded engine
_PAUSE_SECONDS = 0.02
_SHOWN_LINES = 10
_NEEDS_ENGINE_EXIT = 3  # what the engine's programs end with when the machine lacks something
# Import names of the extra `embedded`; finding them is enough here, importing is for the processes that use them.
ENGINE_PACKAGES = (
    "ptars",
    "pyarrow",
    "duckdb",
    "grpc",
    "opentelemetry.proto",
    "re2",
    "yaml",
    "starlette",
    "uvicorn",
    "uvloop",
    "httptools",
    "python_multipart",
)


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
    """

    loaded: Loaded
    foreground: bool
    tell: Callable[[str], None]
    at_step: Callable[[str], None]
    config: EngineConfig | None = None
    supervisor: subprocess.Popen[bytes] | None = None
    applied: list[str] = field(default_factory=list)
    began: float = field(default_factory=time.time)

    @property
    def data_dir(self) -> Path:
        """Where the stack lives."""
        return self.loaded.settings.data_dir


def choose_runtime(start: Start) -> None:
    """Settle on the embedded runtime, and say why where another could be expected."""
    wanted = start.loaded.settings.runtime
    if wanted == state.DOCKER:
        if not engine.answers():
            raise EngineAbsent(
                f"no Docker engine answers at {engine.address()}",
                next_step="start one, or run without: stackctl up --runtime embedded",
            )
        raise EngineAbsent(
            "the docker runtime is not built yet", next_step="run without Docker: stackctl up --runtime embedded"
        )
    if wanted == AUTO and engine.answers():
        start.tell("a Docker engine answers, but the docker runtime is not built yet: taking the embedded one")


def check_packages(_: Start) -> None:
    """Make sure that the engine's packages are installed."""
    missing = [name for name in ENGINE_PACKAGES if not _importable(name)]
    if missing:
        raise PackageMissing(
            f"the embedded runtime needs packages that are not installed: {', '.join(missing)}",
            next_step=f"install them: {sys.executable} -m pip install 'stackctl[embedded]'",
        )


def check_ports(start: Start) -> None:
    """Choose the ports and make sure that they are free, once what is left of a dead stack is gone."""
    _end_leftovers(start)
    settings = start.loaded.settings
    served = (*SERVED, console.ENDPOINT) if console.wanted(settings, start.tell) else SERVED
    if settings.ports is None:
        chosen = ports.free(served, settings.host)
    else:
        chosen = ports.default(served, settings.ports)
        ports.check(chosen, settings.host)
    start.config = engine_config(start.loaded, chosen)


def start_processes(start: Start) -> None:
    """Write the engine's configuration and start the supervisor, away from this terminal but on a leash."""
    assert start.config is not None, "check_ports made it"
    (start.data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
    start.config.write(config_path(start.data_dir))
    command = [sys.executable, "-P", "-m", "stackctl.runtime.supervisor", str(start.data_dir)]
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
    import_module("stackctl.runtime.probe")  # needed later, and the engine takes its time just now


def wait_ready(start: Start) -> None:
    """Wait until every component answers; give up at once when one dies."""
    wanted = digest(start.data_dir)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        _watch_supervisor(start)
        stack = state.running(start.data_dir)
        if stack is not None and stack.config == wanted:
            if stack.healthy():
                return
            _watch_components(start, stack)
        time.sleep(_PAUSE_SECONDS)
    raise ComponentUnhealthy(
        f"the stack did not get ready within {READY_SECONDS:.0f} s", next_step="look at the logs: stackctl logs"
    )


def prove(start: Start) -> None:
    """Send a span and a sample in and read them back."""
    from stackctl.runtime import probe

    probe.prove(state.find(start.data_dir))


def let_go(start: Start) -> None:
    """Take the leash off, so that the stack outlives this command."""
    if start.supervisor is not None and not start.foreground:
        assert start.supervisor.stdin is not None, "its stdin is the leash"
        start.supervisor.stdin.write(KEEP)
        start.supervisor.stdin.close()


STEPS: tuple[tuple[str, Callable[[Start], None]], ...] = (
    ("choosing the runtime", choose_runtime),
    ("checking the packages", check_packages),
    ("checking the ports", check_ports),
    ("starting the engine", start_processes),
    ("waiting until it is ready", wait_ready),
    ("sending a probe and reading it back", prove),
    ("letting it run", let_go),
)


def up(
    loaded: Loaded, *, foreground: bool = False, tell: Callable[[str], None], at_step: Callable[[str], None]
) -> Start:
    """Start the stack, or bring the one that runs to these settings; return once it is proven.

    Args:
        foreground: keep the supervisor on the leash; the caller waits for it and ends it with `stop_supervisor`.
        tell: called with each line that a person should read.
        at_step: called with the name of each step as it begins.

    Raises:
        StackctlError: a step failed; nothing that this call started still runs then.
    """
    start = Start(loaded, foreground, tell, at_step)
    with exclusive(start.data_dir, tell):
        if (stack := state.running(start.data_dir)) is not None:
            bring_to(start, stack)
            return start
        try:
            for name, step in STEPS:
                at_step(name)
                step(start)
        except BaseException:  # Ctrl-C too must leave nothing half started
            stop_supervisor(start)
            raise
    return start


def bring_to(start: Start, stack: state.RunningStack) -> None:
    """Apply changed settings to a running stack; prove it again either way.

    Raises:
        Misuse: what cannot change while it runs was asked to.
    """
    if start.foreground:
        raise Misuse("the stack runs already, in the background", next_step="stop it first: stackctl down")
    current = EngineConfig.read(config_path(start.data_dir))
    _refuse_fixed(start.loaded, stack, current)
    wanted = replace(
        engine_config(start.loaded, _ports(start, current)), host=current.host, token_file=current.token_file
    )
    before, after = asdict(current), asdict(wanted)
    start.applied = [f"{key}: {before[key]} -> {after[key]}" for key in after if before[key] != after[key]]
    start.config = wanted
    if start.applied:
        wanted.write(config_path(start.data_dir))
        stack.supervisor.signal(signal.SIGUSR1)
    wait_ready(start)
    prove(start)


def _ports(start: Start, current: EngineConfig) -> Mapping[str, int]:
    """Return the ports of a running stack, with or without one for the console as the settings now say.

    Raises:
        PortTaken: the console is new, and its port is another program's.
    """
    name, settings = console.ENDPOINT, start.loaded.settings
    kept = {endpoint: port for endpoint, port in current.ports.items() if endpoint != name}
    if not console.wanted(settings, start.tell):
        return kept
    if name in current.ports:
        return current.ports
    if settings.ports is None:
        return kept | ports.free((name,), current.host)
    new = {name: ports.default((*SERVED, name), settings.ports)[name]}
    ports.check(new, current.host)
    return kept | new


def stop_supervisor(start: Start) -> None:
    """Let the leash go and wait until the supervisor and what it started are gone."""
    process = start.supervisor
    if process is None:
        return
    if process.stdin is not None and not process.stdin.closed:
        process.stdin.close()
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block: a process must not be started and then not be known of."""
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


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


def _refuse_fixed(loaded: Loaded, stack: state.RunningStack, current: EngineConfig) -> None:
    """Refuse a runtime, host or port that was asked for and is not the running one; what was not said is no wish."""
    settings = loaded.settings
    clashes = []
    if settings.runtime not in (AUTO, stack.runtime):
        clashes.append(f"runtime {settings.runtime} (it runs on {stack.runtime})")
    if loaded.origins["host"] != DEFAULT and settings.host != current.host:
        clashes.append(f"host {settings.host} (it listens on {current.host})")
    for name, port in (settings.ports or {}).items():
        if current.ports.get(name) != port:
            clashes.append(f"{name} on port {port} (it is on {current.ports.get(name)})")
    if clashes:
        raise Misuse(
            f"the stack runs already and cannot change to {'; '.join(clashes)}",
            next_step="stop it first, the data stays: stackctl down",
        )


def _end_leftovers(start: Start) -> None:
    """End what a killed supervisor left: its programs were told to stop and may still be flushing."""
    stale = state.read(start.data_dir)
    for component in stale.components if stale else ():
        if component.process and component.process.running():
            start.tell(f"waiting for {component.name} of an earlier stack to end")
            end(component.process)
    state.forget(start.data_dir)


def end(process: state.Process) -> None:
    """Stop a process: asked first, then not."""
    process.signal(signal.SIGTERM)
    if not process.wait(STOP_SECONDS):
        process.signal(signal.SIGKILL)
        process.wait(STOP_SECONDS)


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False


def _watch_supervisor(start: Start) -> None:
    if start.supervisor is not None and start.supervisor.poll() is not None:
        raise _death(start, SUPERVISOR, start.supervisor.returncode)


def _watch_components(start: Start, stack: state.RunningStack) -> None:
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
