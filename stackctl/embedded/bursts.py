"""Work in bursts: a process that goes for a moment and stands still for two.

The least priority that there is keeps a process from taking the time of others. It does not keep it from their memory:
while a log file was sealed beside them, at whatever priority, groups took half as long again, and of the requests that
waited for more than 50 ms nearly all did so then. Spread over three times the time, the same work is hardly felt.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_GO_SECONDS: Final = 0.001
_STAND_SECONDS: Final = 0.002
# Whoever has more to do goes on end then: at 50,000 spans/s there is another log file every five seconds.
_LONGEST_SECONDS: Final = 4.0


class Bursts:
    """Processes that work in bursts for their first seconds, all at the same time.

    Whoever made them calls `step` for as long as they live; one that stands still can be killed like any other.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._handles: dict[int, float] = {}  # pidfds, and until when each works in bursts
        self._going = True

    def add(self, pid: int) -> None:
        """Let a child of this process work in bursts from now on.

        Args:
            pid: of a child.
        """
        with suppress(ProcessLookupError):  # it has ended already
            self._handles[os.pidfd_open(pid)] = self._clock() + _LONGEST_SECONDS

    def step(self) -> float | None:
        """Let them all stop, or go on, in turn.

        Returns:
            After how many seconds to do so again; None while there are none.
        """
        self._going = not self._going
        now = self._clock()
        for handle, until in list(self._handles.items()):
            done = now >= until
            if not _sent(handle, signal.SIGCONT if self._going or done else signal.SIGSTOP) or done:
                del self._handles[handle]
                os.close(handle)
        if not self._handles:
            self._going = True
            return None
        return _GO_SECONDS if self._going else _STAND_SECONDS


def _sent(handle: int, number: signal.Signals) -> bool:
    """Send a signal; False to a process that has ended."""
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    return True
