"""A worker process of ingest: `python -m stackctl.embedded.worker SOCKET_FD PARENT_PID`.

Prepares the groups that its parent sends, one after the other, and holds nothing that could be lost. It ends when the
parent closes the socket or dies; signals of a terminal or of `down` are the parent's to answer.
"""

import importlib
import socket
import sys
import threading
from collections.abc import Sequence
from typing import Final

from stackctl.embedded.allocator import keep_memory
from stackctl.embedded.offspring import dies_with, give_way, leave_signals

_NICE: Final = 5  # a third of the share of an ordinary thread that wants the same core


def main(arguments: Sequence[str]) -> int:
    """Work until the parent is gone; return the exit code.

    Args:
        arguments: the number of the inherited socket and the parent's process id.
    """
    handle, parent = map(int, arguments)
    leave_signals()
    if not dies_with(parent):
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
    give_way(_NICE)
    importlib.import_module("stackctl.embedded.workbench")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
