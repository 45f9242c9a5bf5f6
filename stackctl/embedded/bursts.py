"""Work in bursts: a process that goes for a moment and stands still for up to two.

The least priority that there is keeps a process from taking the time of others. It does not keep it from their memory:
while a log file was sealed beside them, at whatever priority, groups took half as long again, and of the requests that
waited for more than 50 ms nearly all did so then. Spread evenly over the time that there is until the next log file,
the same work is felt least: where it went in bursts for four seconds and then on end, most of those requests waited
while it went on end.
"""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

_GO_SECONDS: Final = 0.001
# No pause is shorter than what the system takes to end one.
_LEAST_STAND_SECONDS, _FIRST_STAND_SECONDS, _MOST_STAND_SECONDS = 0.0003, 0.001, 0.002
# Whoever has more to do goes on end then: at 50,000 spans/s there is another log file every five seconds.
_LONGEST_SECONDS: Final = 4.6
_WANTED_SECONDS: Final = 4.0  # in which to be done: the next one may have more to do
# Who is done so soon was no log file of spans, of which the next one needs as long.
_TELLING_SECONDS: Final = 1.0


@dataclass(frozen=True)
class _Working:
    """A process that works in bursts: since when, and how long it stands each time, in seconds."""

    began: float
    stand: float


class Bursts:
    """Processes that work in bursts for their first seconds, all at the same time.

    Whoever made them calls `step` for as long as they live; one that stands still can be killed like any other. How
    long they stand follows from how long those before them took: as long as lets them be done in time.

    Args:
        clock: seconds that never run backwards.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._handles: dict[int, _Working] = {}  # by their pidfds
        self._going = True
        self._stand = _FIRST_STAND_SECONDS

    def add(self, pid: int) -> None:
        """Let a child of this process work in bursts from now on.

        Args:
            pid: of a child.
        """
        with suppress(ProcessLookupError):  # it has ended already
            self._handles[os.pidfd_open(pid)] = _Working(self._clock(), self._stand)

    def step(self) -> float | None:
        """Let them all stop, or go on, in turn.

        Returns:
            After how many seconds to do so again; None while there are none.
        """
        self._going = not self._going
        now = self._clock()
        for handle, working in list(self._handles.items()):
            late = now - working.began >= _LONGEST_SECONDS
            ended = not _sent(handle, signal.SIGCONT if self._going or late else signal.SIGSTOP)
            if ended or late:
                self._learn(working, now - working.began, ended)
                del self._handles[handle]
                os.close(handle)
        if not self._handles:
            self._going = True
            return None
        return _GO_SECONDS if self._going else self._stand

    def _learn(self, working: _Working, took: float, ended: bool) -> None:
        """Let the next one stand for as long as this one might have stood."""
        if not ended:
            self._stand = max(working.stand / 2, _LEAST_STAND_SECONDS)
        elif took >= _TELLING_SECONDS:
            work = took * _GO_SECONDS / (_GO_SECONDS + working.stand)
            wanted = _GO_SECONDS * (_WANTED_SECONDS / work - 1)
            self._stand = min(max(wanted, _LEAST_STAND_SECONDS), _MOST_STAND_SECONDS)


def _sent(handle: int, number: signal.Signals) -> bool:
    """Send a signal; False to a process that has ended."""
    try:
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    return True
