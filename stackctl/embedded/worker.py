"""A worker process of ingest: `python -m stackctl.embedded.worker SOCKET_FD PARENT_PID`.

Prepares the groups that its parent sends, one after the other, and holds nothing that could be lost. It ends when the
parent closes the socket or dies; signals of a terminal or of `down` are the parent's to answer.
"""

import socket
import sys
from collections.abc import Sequence

from stackctl.embedded.allocator import keep_memory
from stackctl.embedded.offspring import WORK_NICE, dies_with, give_way, leave_signals


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
    # A second of imports beside the load that it comes for would hold up every acknowledgement meanwhile.
    give_way(WORK_NICE)
    from stackctl.embedded.workbench import serve  # after `keep_memory`, see there

    with socket.socket(fileno=handle) as channel:
        serve(channel)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
