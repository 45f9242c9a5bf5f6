"""What a process does first that another one made to work for it."""

import ctypes
import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)

WORK_NICE: Final = 5  # a third of the share of an ordinary thread that wants the same core


def dies_with(parent: int) -> bool:
    """Ask for SIGKILL when the parent dies, however that happens; False when it has died already.

    Args:
        parent: its process id. The thread that made this process must live as long.
    """
    with suppress(OSError, AttributeError):  # elsewhere than on Linux a closed socket ends the process
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


def leave_signals() -> None:
    """Leave the signals of a terminal and of `down` to the parent."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def give_way(nice: int) -> None:
    """Let the calling thread run when others do not: what nobody waits for must not hold up who waits.

    Linux gives each thread a priority of its own, and lets none back. One that gives way more than that already, as all
    do below `nice stackctl up`, is left as it is.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, max(nice, os.getpriority(os.PRIO_PROCESS, thread)))


def be_called(name: str) -> None:
    """Show in lists of processes what this one is for: a copy has the command line of what it was copied from."""
    with suppress(OSError):  # there is no such file elsewhere than on Linux
        Path("/proc/self/comm").write_text(name)
