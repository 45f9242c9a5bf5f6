"""Work in bursts: a process that goes for a moment and stands still for two.

The least priority that there is keeps a process from taking the time of others. It does not keep it from their memory:
while a log file was sealed beside them, at whatever priority, groups took half as long again, and of the requests that
waited for more than 50 ms nearly all did so then. Spread over three times the time, the same work is hardly felt.
"""

import os
import signal
from contextlib import suppress
from typing import Final

_GO_SECONDS: Final = 0.001
_STAND_SECONDS: Final = 0.002


class Bursts:
    """Processes that work in bursts, all at the same time.

    Whoever made them calls `step` for as long as they live; one that stands still can be killed like any other.
    """

    def __init__(self) -> None:
        self._handles: list[int] = []
        self._going = True

    def add(self, pid: int) -> None:
        """Let a child of this process work in bursts from now on, until it has ended.

        Args:
            pid: of a child.
        """
        with suppress(ProcessLookupError):  # it has ended already
            self._handles.append(os.pidfd_open(pid))

    def step(self) -> float | None:
        """Let them all stop, or go on, in turn.

        Returns:
            After how many seconds to do so again; None while there are none.
        """
        self._going = not self._going
        number = signal.SIGCONT if self._going else signal.SIGSTOP
        self._handles = [handle for handle in self._handles if _sent(handle, number)]
        if not self._handles:
            self._going = True
            return None
        return _GO_SECONDS if self._going else _STAND_SECONDS


def _sent(handle: int, number: signal.Signals) -> bool:
    """Send a signal; let go of a process that has ended."""
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        os.close(handle)
        return False
    return True
