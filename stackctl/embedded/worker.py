"""A worker process of ingest: `python -m stackctl.embedded.worker SOCKET_FD PARENT_PID`.

Prepares the groups that its parent sends, one after the other, and holds nothing that could be lost. It ends when the
parent closes the socket or dies; signals of a terminal or of `down` are the parent's to answer.
"""

import ctypes
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from stackctl.embedded.ingest import keep_memory

_PR_SET_PDEATHSIG: Final = 1  # prctl(2)
_NICE: Final = 5  # a third of the share of an ordinary thread that wants the same core


def main(arguments: Sequence[str]) -> int:
    """Work until the parent is gone; return the exit code.

    Args:
        arguments: the number of the inherited socket and the parent's process id.
    """
    handle, parent = map(int, arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if not _dies_with(parent):
        return 1
    keep_memory()
    # Imported after `keep_memory`, see there.
    loading = threading.Thread(target=_load_gently)
    loading.start()
    loading.join()
    from stackctl.embedded.workbench import serve

    with socket.socket(fileno=handle) as channel:
        serve(channel)
    return 0


def _load_gently() -> None:
    """Import what the work needs, in a thread that gives way to others.

    A worker comes when there is load; a second of imports beside it would hold up every acknowledgement meanwhile. The
    process cannot become nice for a while only: Linux lets nobody back. A thread can, since it ends.
    """
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
    importlib.import_module("stackctl.embedded.workbench")


def _dies_with(parent: int) -> bool:
    """Ask for SIGKILL when the parent dies, however that happens; False when it has died already."""
    with suppress(OSError, AttributeError):  # elsewhere than on Linux the closed socket ends the worker
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    return os.getppid() == parent


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
