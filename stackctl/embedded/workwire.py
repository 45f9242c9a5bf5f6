"""What the ingest process and its worker processes say to each other, over a socket that nobody else has.

head (length of the pickle, count of bodies, how many of them are parts of the pickle) | length of each body u64 |
pickle | bodies. Bodies stand beside the pickle, so that megabytes are not copied into it, and in memory that both sides
have, where there is such.
"""

import asyncio
import os
import pickle
import socket
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final, Self

from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp.receive import Outcome
from stackctl.embedded.otlp.signals import Serialised, Signal
from stackctl.embedded.room import Room, RoomLacks
from stackctl.embedded.series.layout import SeriesLayout
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.store.layout import Layout
from stackctl.genai.pricebook import in_force
from stackctl.genai.prices import PriceBook
from stackctl.stack import EngineConfig

READY: Final = "ready"  # a worker's first message
_HEAD: Final = struct.Struct("<III")
# Small bodies are sent as one buffer: a system call each would cost more than the copy.
_SEPARATE_BYTES: Final = 64 * 1024


class WorkerLost(Exception):
    """The other side is gone, or does not answer in time."""


@dataclass(frozen=True)
class Setup:
    """What groups are prepared with, here and in workers.

    Attributes:
        book: as it was when the process started, whatever became of its file since.
    """

    config: EngineConfig
    book: PriceBook

    @classmethod
    def of(cls, config: EngineConfig) -> Self:
        """Read the prices that a configuration names.

        Raises:
            StackctlError: the price book cannot be read.
        """
        return cls(config, in_force(config.price_book, config.price_rows))


@dataclass(frozen=True)
class Job:
    """A group's requests, whose bodies come beside it.

    Attributes:
        numbers: of the requests within their group.
        signals: of each.
        arrivals_ms: of each, unix milliseconds.
    """

    numbers: tuple[int, ...]
    signals: tuple[Signal, ...]
    arrivals_ms: tuple[int, ...]


@dataclass(frozen=True)
class SealJob:
    """A log file to be sealed.

    Attributes:
        seal: what makes of it what readers prefer; a function of a module, by its name.
        layout: where it is.
        number: that names it.
    """

    seal: Callable[[Any, int], object]
    layout: Layout | SeriesLayout
    number: int


@dataclass(frozen=True)
class Tally:
    """What rules did not let through.

    Attributes:
        lost: records that a rule failed on.
        dropped: values that redaction dropped, by attribute key.
    """

    lost: int
    dropped: Counter[str]

    @classmethod
    def of(cls, pipeline: Pipeline) -> "Tally":
        """Everything since a pipeline was made."""
        return cls(pipeline.lost, pipeline.dropped.copy())

    def __sub__(self, before: "Tally") -> "Tally":
        """What came after `before`."""
        return Tally(self.lost - before.lost, self.dropped - before.dropped)

    def __add__(self, other: "Tally") -> "Tally":
        """Both together."""
        return Tally(self.lost + other.lost, self.dropped + other.dropped)


@dataclass(frozen=True)
class Done:
    """A prepared group, as the parent stores it.

    Attributes:
        increments: what it adds to the span-derived series (`Increments.to_bytes`).
        outcomes: by number of the request.
        dropped: log records that are no evaluation.
        rejected: spans without valid ids.
        tally: what rules did not let through.
    """

    spans: Packed | None
    evaluations: Packed | None
    increments: bytes
    outcomes: dict[int, Outcome]
    dropped: int
    rejected: int
    tally: Tally


class Wire:
    """One end of what a parent and its worker speak over.

    Args:
        channel: a socket that is the wire's from now on.
        room: where bodies go if there is any. One side puts something there only after the other's answer.
    """

    def __init__(self, channel: socket.socket, room: Room | None = None) -> None:
        self._channel, self._room = channel, room
        self._watching: asyncio.AbstractEventLoop | None = None
        self._coming: asyncio.Future[Any] | None = None

    @classmethod
    def offer(cls, channel: socket.socket) -> Self:
        """The end of the side that brings the room, if its system has such.

        Raises:
            OSError: the system has no memory or no descriptor left.
        """
        room = Room.new()
        socket.send_fds(channel, [b"!"], [] if room is None else [room.fileno()])
        return cls(channel, room)

    @classmethod
    def join(cls, channel: socket.socket) -> Self:
        """The other end.

        Raises:
            WorkerLost: nobody offers one.
        """
        said, rooms, _, _ = socket.recv_fds(channel, 1, 1)
        if not said:
            raise WorkerLost
        return cls(channel, *map(Room, rooms))

    def close(self) -> None:
        """Let go of both; the other side's `receive` ends with WorkerLost."""
        self._channel.close()
        if self._room is not None:
            self._room.close()
            self._room = None

    def send(self, message: Any, bodies: Sequence[Serialised] = ()) -> None:
        """Send a message with the bodies that belong to it. Those that came before are overwritten.

        Raises:
            WorkerLost: nobody reads.
        """
        parts: list[pickle.PickleBuffer] = []
        packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL, buffer_callback=parts.append)
        beside: list[bytes | memoryview] = [*bodies, *(part.raw() for part in parts)]
        sizes = [len(body) for body in beside]
        head = _HEAD.pack(len(packed), len(sizes), len(parts)) + struct.pack(f"<{len(sizes)}Q", *sizes)
        buffers = beside if _apart(sizes) else [b"".join(beside)]
        try:
            if self._room is None:
                for buffer in (head + packed, *buffers):
                    self._channel.sendall(buffer)
            else:
                self._room.put(buffers)
                self._channel.sendall(head + packed)
        except OSError as error:
            raise WorkerLost from error

    async def answer(self, seconds: float) -> Any:
        """Wait in an event loop for a message without bodies: a thread would wait for the interpreter too.

        Raises:
            WorkerLost: the other side closed, or nothing came for so long.
        """
        loop = asyncio.get_running_loop()
        coming = self._coming = loop.create_future()
        if self._watching is not loop:
            self.unwatch()
            self._watching = loop
            loop.add_reader(self._channel, self._came)
            # A loop makes it otherwise, and an answer may come in pieces.
            os.set_blocking(self._channel.fileno(), True)
        limit = loop.call_later(seconds, _lose, coming)
        try:
            return await coming
        finally:
            limit.cancel()
            self._coming = None  # an answer is megabytes, and the next one may be long in coming

    def unwatch(self) -> None:
        """Have the event loop look at it no more; to be called in the loop's thread before `close`."""
        if self._watching is not None and not self._watching.is_closed():
            self._watching.remove_reader(self._channel)
        self._watching = None

    def _came(self) -> None:
        """Take the message that is there at once: as long as it is, the loop finds something each time it looks."""
        coming = self._coming
        if coming is None or coming.done():  # nobody waits: it is closed, or too late
            self.unwatch()
            return
        try:
            coming.set_result(self.receive()[0])
        except Exception as error:  # noqa: BLE001 - who asked is told
            coming.set_exception(error)

    def receive(self) -> tuple[Any, Sequence[Serialised]]:
        """Wait for a message. Its bodies are good until the next one is sent: they lie where that is put.

        Raises:
            WorkerLost: the other side closed, or a timeout set on the socket (SO_RCVTIMEO) passed.
        """
        size, count, parts = _HEAD.unpack(self._exactly(_HEAD.size))
        sizes = struct.unpack(f"<{count}Q", self._exactly(8 * count))
        packed = self._exactly(size)
        if _apart(sizes):
            beside = self._bodies(sizes)
        else:
            (whole,) = self._bodies([sum(sizes)])
            beside = [whole[start:end] for start, end in pairwise(accumulate(sizes, initial=0))]
        kept = [bytes(one) for one in beside[count - parts :]]
        message = pickle.loads(packed, buffers=kept)  # from our own process
        return message, beside[: count - parts]

    def _bodies(self, sizes: Sequence[int]) -> Sequence[Serialised]:
        if self._room is None:
            return [self._exactly(one) for one in sizes]
        try:
            return self._room.get(sizes)
        except (RoomLacks, OSError) as error:
            raise WorkerLost from error

    def _exactly(self, size: int) -> bytes:
        parts: list[bytes] = []
        left = size
        try:
            while left:
                parts.append(self._channel.recv(left, socket.MSG_WAITALL))
                if not parts[-1]:
                    raise WorkerLost
                left -= len(parts[-1])
        except OSError as error:
            raise WorkerLost from error
        return parts[0] if len(parts) == 1 else b"".join(parts)


def _lose(coming: "asyncio.Future[Any]") -> None:
    if not coming.done():
        coming.set_exception(WorkerLost())


def _apart(sizes: Sequence[int]) -> bool:
    """Whether each body goes by itself, straight out of and into its own memory."""
    return sum(sizes) > _SEPARATE_BYTES * len(sizes)
