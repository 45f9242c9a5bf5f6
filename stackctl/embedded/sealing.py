"""Sealing in processes of their own: unnoticed while that keeps up with what comes in, in earnest when it does not."""

import logging
import select
import socket
import time
from collections.abc import Callable
from typing import Final, TypeVar

from stackctl.embedded.nursery import BURST_SEALER, GENTLE_SEALER, SEALER, Child, Nursery, NurseryGone
from stackctl.embedded.series.layout import SeriesLayout
from stackctl.embedded.store.layout import Layout
from stackctl.embedded.workers import see_end
from stackctl.embedded.workwire import SealJob, Wire

log = logging.getLogger("stackctl.ingest")
L = TypeVar("L", Layout, SeriesLayout)

_OPEN: Final = 1  # behind the log file that is being sealed there is the open one
_FEW_BEHIND: Final = 2  # or one more, that waits
_LOOK_SECONDS: Final = 0.25
# Where all cores are busy, gentle sealing would be tried and given up again and again.
_HURRY_SECONDS: Final = 60.0


class _Behind(Exception):
    """Log files pile up behind the one that is being sealed."""


class Sealer:
    """Seals log files, one at a time.

    A process that gives way to everything else, and works in bursts, holds up nobody who waits for an acknowledgement,
    and takes the time that there is. Where the next log file waits already it works on end, which holds up few, and
    gets next to nothing where all cores are busy. Log files that pile up are held in memory by readers: then sealing
    is as urgent as anything. Linux lets no process have more than it gave up: the gentle one is ended, which loses
    nothing, and another begins anew.

    Args:
        nursery: makes the processes.
        clock: seconds that never run backwards.
    """

    def __init__(self, nursery: Nursery, clock: Callable[[], float] = time.monotonic) -> None:
        self._nursery, self._clock = nursery, clock
        self._gently_from = clock()

    def seal(self, sealing: Callable[[L, int], object], layout: L, number: int) -> bool:
        """Seal a log file; False where there can be no process for it.

        Args:
            sealing: a function of a module.
            number: that names the log file.

        Raises:
            OSError: the disk refused.
            WorkerLost: the process ended before it answered.
        """
        try:
            if self._clock() >= self._gently_from and not _piled(layout, number):
                waits = _behind(layout, number) > _OPEN
                return self._run(SealJob(sealing, layout, number), GENTLE_SEALER if waits else BURST_SEALER)
        except _Behind:
            log.info("sealing no longer gives way: log files pile up")
            self._gently_from = self._clock() + _HURRY_SECONDS
        return self._run(SealJob(sealing, layout, number), SEALER)

    def _run(self, job: SealJob, task: str) -> bool:
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                try:
                    child = self._nursery.bear(task, theirs)
                except NurseryGone:
                    return False
            try:
                wire = Wire(ours)
                wire.send(job)
                if task != SEALER:
                    _watch(ours, job, child)
                failure = wire.receive()[0]
            finally:
                see_end(child)
        if failure is not None:
            raise OSError(*failure)
        return True


def _watch(answer: socket.socket, job: SealJob, child: Child) -> None:
    """Wait for the answer of a gentle process, and end it where it falls behind.

    Raises:
        _Behind: it did.
    """
    while not select.select([answer], [], [], _LOOK_SECONDS)[0]:
        if _piled(job.layout, job.number):
            child.kill()
            raise _Behind


def _piled(layout: Layout | SeriesLayout, number: int) -> bool:
    """Whether log files pile up behind one."""
    return _behind(layout, number) > _FEW_BEHIND


def _behind(layout: Layout | SeriesLayout, number: int) -> int:
    """How many log files there are behind one; those before it are sealed, and wait for the next tick to be trimmed."""
    return sum(one > number for one in layout.logs())
