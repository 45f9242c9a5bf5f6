"""`stackctl down`: stop what runs; the data stays unless told otherwise."""

from collections.abc import Callable
from pathlib import Path

from stackctl.runtime import state
from stackctl.runtime.lock import exclusive
from stackctl.runtime.up import end


def down(data_dir: Path, *, delete: bool, tell: Callable[[str], None]) -> bool:
    """Stop the stack of a data directory, and delete its data when asked to; return whether one ran.

    Raises:
        StoreUnusable: the directory cannot be used, or another command does not let go of it.
    """
    if not data_dir.is_dir():
        return False
    with exclusive(data_dir, tell):
        stack = state.read(data_dir)
        ran = stack is not None and stack.supervisor.running()
        if stack is not None:
            end(stack.supervisor)
            for component in stack.components:
                if component.process:
                    end(component.process)
        state.forget(data_dir)
        if delete:
            state.delete_data(data_dir)
    return ran
