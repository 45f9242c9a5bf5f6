"""`stackctl up`: choose the runtime, run its steps, or bring what runs to the settings; ends with a proven stack."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from stackctl.errors import EnvironmentLacks, Misuse, StackctlError
from stackctl.runtime import embedded_up, engine, state
from stackctl.runtime.lock import exclusive
from stackctl.runtime.start import Start, stop_supervisor
from stackctl.runtime.supervisor import config_path
from stackctl.setting_values import AUTO
from stackctl.settings import DEFAULT, Loaded
from stackctl.stack import EngineConfig

if TYPE_CHECKING:
    from stackctl.runtime.docker_up import DockerUp

__all__ = ["Start", "stop_supervisor", "up"]


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
    with exclusive(start.data_dir, tell), start.held:
        stack = state.running(start.data_dir)
        if stack is not None:
            _refuse_fixed(start, stack, EngineConfig.read(config_path(start.data_dir)))
        if stack is not None and stack.runtime == state.EMBEDDED:
            _refuse_sampling(start)
            embedded_up.bring_to(start, stack)
            return start
        at_step("choosing the runtime")
        docker = choose_docker(start, stack)
        _run(start, docker)
    return start


def choose_docker(start: Start, running: state.RunningStack | None = None) -> "DockerUp | None":
    """Return the docker runtime's run when that is to be taken, None for the embedded one, and say why.

    Raises:
        EnvironmentLacks: docker was asked for, or runs, and the machine cannot.
        Misuse: docker was asked for with what it does not do.
    """
    settings = start.loaded.settings
    wanted = running.runtime if running else settings.runtime
    if wanted == state.EMBEDDED:
        _refuse_sampling(start)
        return None
    try:
        if (absent := engine.trouble()) is not None:
            raise absent
        from stackctl.runtime.docker_up import DockerUp  # heavy, and of no use without an engine

        docker = DockerUp(start, running)
        docker.check()
    except (EnvironmentLacks, Misuse) as lack:  # the other runtime may do what this one refuses
        if wanted == state.DOCKER:
            raise
        _refuse_sampling(start)
        start.tell(f"{lack.message}: taking the embedded runtime")
        return None
    return docker


def _run(start: Start, docker: "DockerUp | None") -> None:
    """Run the steps of a runtime; what they had started is gone when one fails."""
    try:
        if docker is None:
            for name, embedded_step in embedded_up.STEPS:
                start.at_step(name)
                embedded_step(start)
        else:
            for name, step in docker.steps():
                start.at_step(name)
                step()
    except BaseException:  # Ctrl-C too must leave nothing half started
        if docker is None:
            stop_supervisor(start)
        else:
            _undo(start, docker)
        raise


def _undo(start: Start, docker: "DockerUp") -> None:
    try:
        docker.undo()
    except StackctlError as error:  # the one that made us stop is the one to raise
        start.tell(f"could not take down what was started: {error.message}")


def _refuse_sampling(start: Start) -> None:
    if start.loaded.settings.sample_percent is not None:
        raise Misuse(
            "the embedded runtime stores every trace and does not sample",
            next_step="leave sample out, or take the docker runtime: stackctl up --runtime docker",
        )


def _refuse_fixed(start: Start, stack: state.RunningStack, current: EngineConfig) -> None:
    """Refuse a runtime, host or port that was asked for and is not the running one; what was not said is no wish."""
    if start.foreground:
        raise Misuse("the stack runs already, in the background", next_step="stop it first: stackctl down")
    loaded, settings = start.loaded, start.loaded.settings
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
