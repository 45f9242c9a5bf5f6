"""`stackctl down`: stop what runs; the data stays unless told otherwise."""

from collections.abc import Callable
from pathlib import Path

from stackctl.runtime import containers, engine, state
from stackctl.runtime.lock import exclusive
from stackctl.runtime.start import end


def down(data_dir: Path, *, delete: bool, tell: Callable[[str], None]) -> bool:
    """Stop the stack of a data directory, and delete its data when asked to; return whether one ran.

    Raises:
        StoreUnusable: the directory cannot be used, or another command does not let go of it.
        EngineAbsent: it has containers, and no Docker engine answers.
    """
    if not data_dir.is_dir():
        return False
    with exclusive(data_dir, tell):
        stack = state.read(data_dir)
        ran = stack is not None and stack.alive()
        if stack is not None:
            _end_processes(stack)
        if state.compose_directory(data_dir).is_dir():
            ran |= _remove_containers(stack.project if stack else None, data_dir, delete=delete, tell=tell)
        state.forget(data_dir)
        if delete:
            state.delete_data(data_dir)
    return ran


def _end_processes(stack: state.RunningStack) -> None:
    if stack.supervisor is not None:
        end(stack.supervisor)
    for component in stack.components:
        if component.process:
            end(component.process)


def _remove_containers(name: str | None, data_dir: Path, *, delete: bool, tell: Callable[[str], None]) -> bool:
    """Remove the containers and the network of a project, with `delete` its volumes too; true when there were any.

    Args:
        name: of the project; None where the state file is lost, and its usual name is looked for.
    """
    if name is None:
        from stackctl.runtime import project  # heavy, and seldom needed

        name = project.name_of(data_dir)
    client = engine.connect()
    containers.refuse_foreign(client, name, state.compose_directory(data_dir))
    found = containers.belongings(client, name)
    volumes = found.volumes if delete else frozenset[str]()
    containers.remove(client, containers.Belongings(found.containers, found.networks, volumes), tell)
    return bool(found.containers)
