"""Between the wire and the work: a byte-bounded queue that is gathered into group commits."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, NamedTuple, TypeAlias, TypeVar

from stackctl.embedded.otlp.signals import BUSY, Accepted, Refused, Serialised, Signal
from stackctl.embedded.store.digests import digest

MAX_QUEUE_BYTES: Final = 96 * 1024**2
# One group commit: large enough to share the fixed cost of a table, small enough for memory and latency.
MAX_GROUP_BYTES: Final = 4 * 1024**2
# So much that waits is begun beside the group that is being prepared, where another worker is free: two requests of the
# 512 spans that SDKs send at once. Less of it costs more than it saves.
BESIDE_BYTES: Final = MAX_GROUP_BYTES // 4
GATHER_SECONDS: Final = 0.004
# What is worth a group by itself is not kept waiting: SDKs that batch do not send two at a time.
_ENOUGH_BYTES: Final = MAX_GROUP_BYTES // 8
_PAUSE_SECONDS: Final = 0.001  # requests that come together are not further apart
# A group of many small requests costs hardly more than one of few: waiting as long as the last one took to prepare
# halves what they cost.
_MANY_REQUESTS: Final = 8
_SMALL_BYTES: Final = 16 * 1024
_LONGEST_GATHER_SECONDS: Final = 0.02
# Prepared groups that wait for the disk; more would only be memory.
_MOST_UNSTORED: Final = 2


class Request(NamedTuple):
    """One export request, decoded no further than its bytes.

    Attributes:
        body: serialised protobuf request, uncompressed.
        digest: what it is known by when it is sent again.
        arrival_ms: unix milliseconds.
    """

    signal: Signal
    body: Serialised
    digest: bytes
    arrival_ms: int


Outcome = Accepted | Refused
Waiter: TypeAlias = "asyncio.Future[Outcome]"
P = TypeVar("P")


class Intake(Generic[P]):
    """Takes requests from the servers and commits them in groups, prepared side by side, stored as they become ready.

    No sender is promised an order among requests that it did not wait for, so no group waits for a slower one.

    Args:
        prepare: does what needs no disk for a group.
        store: makes a prepared group durable; returns one outcome per request.
        clock_ms: unix milliseconds.
        max_queue_bytes: requests beyond are refused as BUSY until others are done.
        at_once: how many groups may be prepared side by side at the moment.

    Attributes:
        queue_bytes: bytes of the requests that wait or are being committed.
        refused_total: requests refused for any reason that an `Intake` knows.
    """

    def __init__(
        self,
        prepare: Callable[[Sequence[Request]], Awaitable[P]],
        store: Callable[[P], Awaitable[Sequence[Outcome]]],
        clock_ms: Callable[[], int],
        max_queue_bytes: int = MAX_QUEUE_BYTES,
        at_once: Callable[[], int] = lambda: 1,
    ) -> None:
        self._prepare, self._store, self._clock_ms = prepare, store, clock_ms
        self._max_queue_bytes = max_queue_bytes
        self._at_once = at_once
        self._preparing = self._unstored = 0
        self._waiting: list[tuple[Request, Waiter]] = []
        self._waiting_bytes = 0
        self._oldest = 0.0
        self._arrived = asyncio.Event()
        self._closing = False
        self._gather_seconds = GATHER_SECONDS
        self.queue_bytes = 0
        self.refused_total = 0

    async def take(self, signal: Signal, body: bytes) -> Accepted:
        """Wait until a request is durable.

        Raises:
            Refused: it is not, and why.
        """
        if (self._waiting and self.queue_bytes + len(body) > self._max_queue_bytes) or self._closing:
            self.refused_total += 1
            raise Refused(BUSY, "the ingest queue is full")
        done: Waiter = asyncio.get_running_loop().create_future()
        if not self._waiting:
            self._oldest = time.monotonic()
        self._waiting.append((Request(signal, body, digest(signal.value, body), self._clock_ms()), done))
        self._waiting_bytes += len(body)
        self.queue_bytes += len(body)
        self._arrived.set()
        outcome = await done
        if isinstance(outcome, Refused):
            self.refused_total += 1
            raise outcome
        return outcome

    async def run(self) -> None:
        """Commit group after group until `drain` was called and nothing waits any more."""
        under_way: set[asyncio.Task[None]] = set()
        while self._waiting or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            for ended in [task for task in under_way if task.done()]:
                under_way.remove(ended)
                ended.result()  # raises what storing could not answer for
            if not self._has_work():
                continue
            await self._gather()
            group = asyncio.create_task(self._commit(self._next_group()))
            under_way.add(group)
            self._preparing += 1
            group.add_done_callback(self._committed)
            if self._waiting:
                self._arrived.set()
        await asyncio.gather(*under_way)

    async def _gather(self) -> None:
        """Let more requests join few small ones that wait, for as long as they come and none has waited long."""
        seen = 0
        while len(self._waiting) > seen and not self._closing:
            if time.monotonic() - self._oldest >= self._gather_seconds or self._waiting_bytes >= _ENOUGH_BYTES:
                return
            seen = len(self._waiting)
            await asyncio.sleep(_PAUSE_SECONDS)

    def _has_work(self) -> bool:
        """Whether a group may be begun: any while none is prepared, one that is worth its fixed cost beside others.

        A full one may be begun while all are busy: it would wait as well, but nothing more could join it.
        """
        if not self._waiting or self._unstored >= _MOST_UNSTORED:
            return False
        if not self._preparing:
            return True
        free = self._at_once() - self._preparing
        return free >= 0 and self._waiting_bytes >= (BESIDE_BYTES if free else MAX_GROUP_BYTES)

    def _committed(self, group: "asyncio.Task[None]") -> None:
        self._unstored -= 1
        if self._waiting or group.cancelled() or group.exception() is not None:
            self._arrived.set()

    def drain(self) -> None:
        """Refuse new requests; `run` ends when the waiting ones are done."""
        self._closing = True
        self._arrived.set()

    def _next_group(self) -> list[tuple[Request, Waiter]]:
        size = taken = 0
        for request, _ in self._waiting:
            if taken and size + len(request.body) > MAX_GROUP_BYTES:
                break
            size += len(request.body)
            taken += 1
        group, self._waiting = self._waiting[:taken], self._waiting[taken:]
        self._waiting_bytes -= size
        return group

    async def _commit(self, group: list[tuple[Request, Waiter]]) -> None:
        """Prepare a group beside others, store it when it is ready, answer its requests."""
        began = time.monotonic()
        prepared = await self._prepare([request for request, _ in group])
        self._preparing -= 1
        self._unstored += 1
        if self._waiting:
            self._arrived.set()
        many_small = len(group) >= _MANY_REQUESTS and len(group[-1][0].body) < _SMALL_BYTES
        took = time.monotonic() - began if many_small else 0
        self._gather_seconds = min(max(took, GATHER_SECONDS), _LONGEST_GATHER_SECONDS)
        outcomes = await self._store(prepared)
        for (request, done), outcome in zip(group, outcomes, strict=True):
            self.queue_bytes -= len(request.body)
            if not done.done():  # a sender that went away no longer waits
                done.set_result(outcome)
