"""Processes that begin at once: a copy of ingest, made when it had loaded and held nothing, copies itself on demand.

Starting an interpreter takes a second of processor time, and a worker is wanted in just the moment when there is too
little of it. Linux only: elsewhere not every library bears being copied, and who asks starts a program instead.
"""

import gc
import logging
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from stackctl.embedded import workbench
from stackctl.embedded.bursts import Bursts
from stackctl.embedded.offspring import be_called, dies_with, leave_signals
from stackctl.embedded.workbench import Bench
from stackctl.embedded.workwire import Setup

log = logging.getLogger("stackctl.ingest")

# What a copy can be for, by the name that lists of processes show (15 characters of it).
WORKER: Final = "stackctl-work"
SEALER: Final = "stackctl-seal"
GENTLE_SEALER: Final = "stackctl-gentle"
BURST_SEALER: Final = "stackctl-burst"
NURSERY: Final = "stackctl-spare"
_Task: TypeAlias = Callable[[socket.socket, Bench], None]
_TASKS: Final[dict[str, _Task]] = {
    WORKER: workbench.serve,
    SEALER: workbench.serve_seal,
    GENTLE_SEALER: workbench.serve_gentle_seal,
    BURST_SEALER: workbench.serve_gentle_seal,
}
_PID: Final = struct.Struct("<i")
_LONGEST_TASK: Final = 64


class NurseryGone(Exception):
    """There is no nursery any more: processes must be started in another way."""


@dataclass(frozen=True)
class Child:
    """A process that a nursery made, as far as `subprocess.Popen` is needed.

    Attributes:
        pid: its process id.
        handle: its pidfd, by which no other process can be meant.
    """

    pid: int
    handle: int

    def wait(self, timeout: float) -> None:
        """Wait until it has ended.

        Raises:
            TimeoutExpired: it has not, after so many seconds.
        """
        if not select.select([self.handle], [], [], timeout)[0]:
            raise subprocess.TimeoutExpired(str(self.pid), timeout)
        os.close(self.handle)

    def kill(self) -> None:
        """End it at once."""
        signal.pidfd_send_signal(self.handle, signal.SIGKILL)


class Nursery:
    """The copy that makes copies, as the ingest process sees it.

    Args:
        channel: to it.
        pid: its process id.
    """

    def __init__(self, channel: socket.socket, pid: int) -> None:
        self._channel, self.pid = channel, pid
        self._lock = threading.Lock()

    @classmethod
    def found(cls, setup: Setup) -> Self | None:
        """Copy this process, which must have no thread of its own and no open file; None where that is not done.

        Args:
            setup: what workers prepare with.
        """
        if not _has_handles():
            return None
        ours, theirs = socket.socketpair()
        gc.freeze()  # the collector would touch, and so copy, every page
        parent = os.getpid()
        pid = os.fork()
        if pid:
            theirs.close()
            return cls(ours, pid)
        ours.close()
        try:
            _tend(theirs, parent, setup)
        finally:
            os._exit(0)

    def bear(self, task: str, channel: socket.socket) -> Child:
        """Make a process.

        Args:
            task: `WORKER`, `SEALER`, `GENTLE_SEALER`, or `BURST_SEALER`, which is gentle and works in bursts.
            channel: by which it will be spoken to.

        Raises:
            NurseryGone: there is none any more.
        """
        try:
            with self._lock:
                socket.send_fds(self._channel, [task.encode()], [channel.fileno()])
                answer = self._channel.recv(_PID.size, socket.MSG_WAITALL)
            pid = _PID.unpack(answer)[0]
            return Child(pid, os.pidfd_open(pid))
        except (OSError, struct.error) as error:
            raise NurseryGone from error

    def close(self) -> None:
        """Let it end."""
        self._channel.close()
        os.waitpid(self.pid, 0)


def _has_handles() -> bool:
    """Whether processes can be held by a pidfd: an old kernel has none, an old container engine forbids them."""
    if sys.platform != "linux":
        return False
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError:
        return False
    return True


def _tend(channel: socket.socket, parent: int, setup: Setup) -> None:
    """Make a copy for each task that comes, until the ingest process closes the channel."""
    leave_signals()
    signal.signal(signal.SIGCHLD, _reap)
    be_called(NURSERY)
    here = os.getpid()
    alive = dies_with(parent)
    bench = Bench.of(setup)  # a copy has it when it begins
    bursts = Bursts()
    while alive:
        if not select.select([channel], [], [], bursts.step())[0]:
            continue
        told, handles, _, _ = socket.recv_fds(channel, _LONGEST_TASK, 1)
        if not told:
            return
        task = told.decode()
        with socket.socket(fileno=handles[0]) as own:
            if task != WORKER:
                workbench.load_seal()
            bound, binding = os.pipe()
            pid = os.fork()
            if not pid:
                channel.close()
                os.close(bound)
                _run(task, own, here, bench, binding)
        os.close(binding)
        os.read(bound, 1)  # ends once it has closed its end too: one that is stopped before would outlive us, stopped
        os.close(bound)
        if task == BURST_SEALER:
            bursts.add(pid)
        channel.sendall(_PID.pack(pid))


def _reap(*_: object) -> None:
    """Take leave of the copies that ended: what processor time they took is then known of this process's children."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _run(task: str, channel: socket.socket, parent: int, bench: Bench, binding: int) -> None:
    """Be a copy: close `binding` once this process dies with its parent, do the task and end."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        be_called(task)
        alive = dies_with(parent)
        os.close(binding)
        if alive:
            _TASKS[task](channel, bench)
    except Exception:
        # Whatever it is, a copy must end here and not go on as what it was copied from.
        log.exception("%s failed", task)
    finally:
        sys.stderr.flush()
        os._exit(0)
