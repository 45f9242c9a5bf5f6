"""The worker processes of ingest as their parent sees them: called under load, replaced when lost, let go after calm.

A stack with little to do prepares in the ingest process itself. One interpreter prepares some 80,000 spans/s, however
many threads it has; beyond that, processes are what helps. Copies of a process cost next to nothing while they wait, so
they are made beforehand, where there is a nursery.
"""

import asyncio
import logging
import os
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from stackctl.embedded.nursery import WORKER, Child, Nursery, NurseryGone
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.prepare import Prepared
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.workwire import Done, Job, Setup, Tally, Wire, WorkerLost

log = logging.getLogger("stackctl.ingest")

MOST_WORKERS: Final = 2
# Load that starts them: the share of a second that preparing takes, or a queue that does not become shorter.
_BUSY_SHARE: Final = 0.6
_QUEUE_BYTES: Final = 4 * 1024**2
_QUEUE_SECONDS: Final = 0.2
# So much waits that a worker alone does not keep up: senders would wait ever longer for the sake of who asks.
_BEHIND_BYTES: Final = 2 * _QUEUE_BYTES
_WINDOW_SECONDS: Final = 0.3
# Calm that ends them.
_CALM_SHARE: Final = 0.3
_CALM_SECONDS: Final = 60.0
# A batch of hundreds of spans seldom comes alone: where a worker begins at once, it need not be prepared here first.
_LARGE_GROUP_BYTES: Final = 512 * 1024
_PAUSE_SECONDS: Final = 2.0  # between a loss and the next start
# A group takes a tenth of a second; a worker without an answer for that long is as good as dead.
_ANSWER_SECONDS: Final = 30
_END_SECONDS: Final = 2.0


def workers_here() -> int:
    """How many workers are of use on this machine: the ingest process itself has a core's work with receiving."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(MOST_WORKERS, cores) if cores > 1 else 0


class Worker:
    """One worker process.

    Args:
        setup: what it prepares with.
        nursery: makes it at once; without one a program is started.
    """

    def __init__(self, setup: Setup, nursery: Nursery | None = None) -> None:
        ours, theirs = socket.socketpair()
        self._setup = setup
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            ours.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", _ANSWER_SECONDS, 0))
        with theirs:
            self._wire = Wire.offer(ours)
            self._process = _process(theirs, nursery)

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def begin(self) -> None:
        """Wait until it can work.

        Raises:
            WorkerLost: it cannot.
        """
        if not isinstance(self._process, Child):  # a copy was made with it
            self._wire.send(self._setup)
        self._wire.receive()

    async def prepare(self, group: Prepared) -> tuple[Prepared, Tally]:
        """Prepare a group there.

        Raises:
            WorkerLost: it ended before it answered.
        """
        chosen = {n: request for n, request in group.fresh.items() if request.signal is not Signal.METRICS}
        if not chosen:
            return group, Tally(0, Counter())
        requests = list(chosen.values())
        job = Job(tuple(chosen), tuple(r.signal for r in requests), tuple(r.arrival_ms for r in requests))
        self._wire.send(job, [request.body for request in requests])
        done: Done = await self._wire.answer(_ANSWER_SECONDS)
        prepared = Prepared(
            group.requests,
            group.digests,
            group.fresh,
            done.spans,
            done.evaluations,
            [Increments.from_bytes(done.increments)],
            done.outcomes,
            done.dropped,
            done.rejected,
        )
        return prepared, done.tally

    def leave(self) -> None:
        """Ask it for nothing any more; to be called in the event loop's thread, before `end`."""
        self._wire.unwatch()

    def end(self) -> None:
        """Let it end; kill it where it does not, which loses nothing. This takes its time."""
        self._wire.close()
        see_end(self._process)


def _process(channel: socket.socket, nursery: Nursery | None) -> "subprocess.Popen[bytes] | Child":
    """A process that works at the other end of a channel."""
    if nursery is not None:
        try:
            return nursery.bear(WORKER, channel)
        except NurseryGone:
            log.warning("the process that makes workers is gone; they are started as programs")
    # The starting thread must outlive the worker, which dies with it (PR_SET_PDEATHSIG).
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "stackctl.embedded.worker", str(channel.fileno()), str(os.getpid())],
        pass_fds=[channel.fileno()],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )


def see_end(process: "subprocess.Popen[bytes] | Child") -> None:
    """Wait until a process that has nothing to do any more has ended; kill it where it does not."""
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(_END_SECONDS)


class Workforce:
    """Decides where groups are prepared: in this process, or in workers while there is load for them.

    All methods belong to the event loop's thread, which must be one that lives as long as the process.

    Args:
        setup: what workers prepare with.
        inside: prepares a group in this process.
        most: how many workers there may be.
        nursery: makes workers, where there is one.
        asked: whether somebody asks for what is stored. Then one worker at a time prepares, as long as it keeps up: two
            leave no core to answer with, and Home takes twice as long.

    Attributes:
        tally: what workers' rules did not let through.
    """

    def __init__(
        self,
        setup: Setup,
        inside: Callable[[Prepared], Awaitable[Prepared]],
        most: int | None = None,
        nursery: Nursery | None = None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        self._setup, self._inside, self._nursery, self._asked = setup, inside, nursery, asked
        self._most = workers_here() if most is None else most
        self._threads = ThreadPoolExecutor(2 * MOST_WORKERS, "begin")  # or end, of which either takes its time
        self._ready: set[Worker] = set()
        self._idle: list[Worker] = []
        self._reserve: list[Worker] = []  # begun and not called yet
        self._called = False
        self._starting: set[asyncio.Task[None]] = set()
        self._freed = asyncio.Event()
        self._load = Load()
        self._behind = False
        self._not_before = 0.0
        self.tally = Tally(0, Counter())

    @property
    def at_once(self) -> int:
        """How many groups may be prepared side by side."""
        return 1 if self.size < 2 or (self._asked() and not self._behind) else self.size

    @property
    def size(self) -> int:
        """How many workers work."""
        return len(self._ready)

    async def prepare(self, group: Prepared) -> Prepared:
        """Prepare a group in a worker where there are some, in this process otherwise."""
        if self._nursery is not None and not self._ready and _size(group) >= _LARGE_GROUP_BYTES:
            self._call(time.monotonic())
            if self._starting and not self._ready:
                await asyncio.wait(self._starting, return_when=asyncio.FIRST_COMPLETED)
        while self._ready and (not self._idle or self.size - len(self._idle) >= self.at_once):
            self._freed.clear()
            await self._freed.wait()
        began = time.monotonic()
        try:
            found = await self._outside(self._idle.pop(), group) if self._idle else None
            return await self._inside(group) if found is None else found
        finally:
            self._load.note(time.monotonic() - began)

    def look(self, queue_bytes: int) -> None:
        """Call, let go or make workers as the load asks for; call it several times a second.

        Args:
            queue_bytes: bytes of the requests that wait or are being committed.
        """
        now = time.monotonic()
        self._load.look(now, queue_bytes)
        self._behind = queue_bytes >= _BEHIND_BYTES
        calm = self._load.calm_seconds(now) >= _CALM_SECONDS
        if self._ready and calm and len(self._idle) == len(self._ready):
            self._let_go()
        elif self._load.high or self._ready:
            self._call(now)
        elif self._nursery is not None:
            self._make_missing(now)

    async def close(self) -> None:
        """End all workers; nothing may be under way."""
        self._most = 0
        await asyncio.gather(*self._starting, return_exceptions=True)
        self._let_go()
        self._end(self._reserve)
        await asyncio.to_thread(self._threads.shutdown)

    def _call(self, now: float) -> None:
        """Let all workers work: those in reserve at once, those that are missing as soon as they have begun."""
        self._called = True
        while self._reserve:
            self._admit(self._reserve.pop())
        self._make_missing(now)

    def _admit(self, worker: Worker) -> None:
        self._ready.add(worker)
        self._idle.append(worker)
        log.info("worker process %d of %d is ready", len(self._ready), self._most)

    def _make_missing(self, now: float) -> None:
        """Start the workers that are missing, unless one was lost a moment ago."""
        if now < self._not_before:
            return
        for _ in range(self._most - len(self._ready) - len(self._reserve) - len(self._starting)):
            task = asyncio.create_task(self._start(), name="worker")
            self._starting.add(task)
            task.add_done_callback(self._starting.discard)

    async def _start(self) -> None:
        try:
            worker = Worker(self._setup, self._nursery)
        except OSError as error:
            self._pause(f"a worker process cannot be started: {error.strerror}")
            return
        try:
            await asyncio.get_running_loop().run_in_executor(self._threads, worker.begin)
        except WorkerLost:
            self._pause("a worker process did not start")
            self._end([worker])
            return
        if self._called:
            self._admit(worker)
        else:
            self._reserve.append(worker)

    async def _outside(self, worker: Worker, group: Prepared) -> Prepared | None:
        """Prepare a group in a worker; None when that was lost."""
        try:
            found, tally = await worker.prepare(group)
        except WorkerLost:
            self._ready.discard(worker)
            self._freed.set()
            self._pause("a worker process was lost; its group is prepared here")
            self._end([worker])
            return None
        self._idle.append(worker)
        self._freed.set()
        self.tally += tally
        return found

    def _pause(self, why: str) -> None:
        """Start no other worker for a while."""
        log.warning("%s", why)
        self._not_before = time.monotonic() + _PAUSE_SECONDS

    def _let_go(self) -> None:
        """End those that worked: they hold what their largest groups took."""
        self._called = False
        self._end(self._idle)
        self._ready.clear()

    def _end(self, workers: list[Worker]) -> None:
        while workers:
            worker = workers.pop()
            worker.leave()
            self._threads.submit(worker.end)


def _size(group: Prepared) -> int:
    """Bytes of the requests of a group."""
    return sum(len(request.body) for request in group.fresh.values())


class Load:
    """Whether preparing is what a process is busy with.

    Attributes:
        high: it was, in the last whole window, or requests pile up.
    """

    def __init__(self) -> None:
        self.high = False
        self._busy = self._share = 0.0
        self._window = self._short_queue = self._loaded = time.monotonic()

    def note(self, seconds: float) -> None:
        """Count time that preparing a group took."""
        self._busy += seconds

    def look(self, now: float, queue_bytes: int) -> None:
        """Judge anew.

        Args:
            now: seconds of the monotonic clock.
            queue_bytes: bytes of the requests that wait or are being committed.
        """
        if queue_bytes < _QUEUE_BYTES:
            self._short_queue = now
        if now - self._window >= _WINDOW_SECONDS:
            self._share = self._busy / (now - self._window)
            self._busy, self._window = 0.0, now
        if self._share >= _CALM_SHARE:
            self._loaded = now
        self.high = self._share >= _BUSY_SHARE or now - self._short_queue >= _QUEUE_SECONDS

    def calm_seconds(self, now: float) -> float:
        """How long there has been little to do."""
        return now - self._loaded
