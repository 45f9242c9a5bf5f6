"""Where the real servers are that a benchmark measures, or compares with."""

import os
from pathlib import Path
from typing import Final

from stackctl.errors import EnvironmentLacks

REALSTACK: Final = "STACKCTL_REALSTACK"
"""The environment variable that names a directory of their programs."""


def program(name: str, told: Path | None, flag: str) -> Path:
    """Return a real server's program.

    Args:
        name: of the program, as it lies in the directory.
        told: where it was said to be; None for the directory that the environment variable names.
        flag: the option of `bench` that says so.

    Raises:
        EnvironmentLacks: there is none.
    """
    directory = os.environ.get(REALSTACK, "")
    found = told or (Path(directory, name) if directory else None)
    if found is None or not found.is_file():
        raise EnvironmentLacks(
            f"there is no real {name}{'' if found is None else f' at {found}'}",
            next_step=f"name the program ({flag}), or its directory ({REALSTACK})",
        )
    return found
