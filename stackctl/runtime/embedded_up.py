"""`stackctl up` on the embedded runtime: the steps from settings to the engine's processes.

Nothing half started is left behind: until the last step the supervisor hangs on a pipe of this process, and ends when
the pipe does, whether by an error, by Ctrl-C or by kill -9.
"""

import importlib.util
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from importlib import import_module

from stackctl.errors import ComponentUnhealthy, PackageMissing
from stackctl.runtime import console, ports, state
from stackctl.runtime.start import (
    Start,
    end,
    engine_config,
    let_go,
    prove,
    spawn_supervisor,
    watch_components,
    watch_supervisor,
)
from stackctl.runtime.supervisor import config_path, digest
from stackctl.stack import EngineConfig

READY_SECONDS = 60.0
SERVED = ("otlp_grpc", "otlp_http", "prometheus", "tempo")  # by the embedded engine
_PAUSE_SECONDS = 0.02
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
    "hpack",
    "xxhash",
    "python_multipart",
)


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
        chosen = ports.reserve(served, settings.host, start.held)
    else:
        chosen = ports.default(served, settings.ports)
        ports.check(chosen, settings.host)
    start.config = engine_config(start.loaded, chosen)


def start_processes(start: Start) -> None:
    """Write the engine's configuration and start the supervisor with it."""
    assert start.config is not None, "check_ports made it"
    start.config.write(config_path(start.data_dir))
    spawn_supervisor(start)
    import_module("stackctl.runtime.probe")  # needed later, and the engine takes its time just now


def wait_ready(start: Start) -> None:
    """Wait until every component answers; give up at once when one dies."""
    wanted = digest(start.data_dir)
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline:
        watch_supervisor(start)
        stack = state.running(start.data_dir)
        if stack is not None and stack.config == wanted:
            if stack.healthy():
                return
            watch_components(start, stack)
        time.sleep(_PAUSE_SECONDS)
    raise ComponentUnhealthy(
        f"the stack did not get ready within {READY_SECONDS:.0f} s", next_step="look at the logs: stackctl logs"
    )


STEPS: tuple[tuple[str, Callable[[Start], None]], ...] = (
    ("checking the packages", check_packages),
    ("checking the ports", check_ports),
    ("starting the engine", start_processes),
    ("waiting until it is ready", wait_ready),
    ("sending a probe and reading it back", prove),
    ("letting it run", let_go),
)


def bring_to(start: Start, stack: state.RunningStack) -> None:
    """Apply changed settings to a running stack; prove it again either way."""
    current = EngineConfig.read(config_path(start.data_dir))
    wanted = replace(
        engine_config(start.loaded, _ports(start, current)), host=current.host, token_file=current.token_file
    )
    before, after = asdict(current), asdict(wanted)
    start.applied = [f"{key}: {before[key]} -> {after[key]}" for key in after if before[key] != after[key]]
    start.config = wanted
    if start.applied:
        wanted.write(config_path(start.data_dir))
        assert stack.supervisor is not None, "an embedded stack runs while its supervisor does"
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
        return kept | ports.reserve((name,), current.host, start.held)
    new = {name: ports.default((*SERVED, name), settings.ports)[name]}
    ports.check(new, current.host)
    return kept | new


def _end_leftovers(start: Start) -> None:
    """End what a killed supervisor left: its programs were told to stop and may still be flushing."""
    stale = state.read(start.data_dir)
    for component in stale.components if stale else ():
        if component.process and component.process.running():
            start.tell(f"waiting for {component.name} of an earlier stack to end")
            end(component.process)
    state.forget(start.data_dir)


def _importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:  # the package around it is missing
        return False
