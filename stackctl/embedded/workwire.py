"""What the ingest process and its worker processes say to each other, over a socket that nobody else has.

head (length of the pickle, count of bodies) | length of each body u64 | pickle | bodies. Bodies stand beside the
pickle, so that megabytes are not copied into it.
"""

import pickle
import socket
import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any, Final

from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp.receive import Outcome
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.store.layout import Layout
from stackctl.genai.prices import PriceBook
from stackctl.stack import EngineConfig

READY: Final = "ready"  # a worker's first message
_HEAD: Final = struct.Struct("<II")
# Small bodies are sent as one buffer: a system call each would cost more than the copy.
_SEPARATE_BYTES: Final = 64 * 1024


class WorkerLost(Exception):
    """The other side is gone, or does not answer in time."""


@dataclass(frozen=True)
class Setup:
    """The first message to a worker: what it prepares with.

    Attributes:
        book: the parent's, whatever became of its file since.
    """

    config: EngineConfig
    book: PriceBook


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
        first: sequence number that names it.
        gently: whether it gives way to everything else.
    """

    layout: Layout
    first: int
    gently: bool = True


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


def send(channel: socket.socket, message: Any, bodies: Sequence[bytes] = ()) -> None:
    """Send a message with the bodies that belong to it.

    Raises:
        WorkerLost: nobody reads.
    """
    packed = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    sizes = [len(body) for body in bodies]
    head = _HEAD.pack(len(packed), len(bodies)) + struct.pack(f"<{len(bodies)}Q", *sizes)
    try:
        for buffer in (head + packed, *(bodies if _apart(sizes) else [b"".join(bodies)])):
            channel.sendall(buffer)
    except OSError as error:
        raise WorkerLost from error


def receive(channel: socket.socket) -> tuple[Any, list[bytes]]:
    """Wait for a message.

    Raises:
        WorkerLost: the other side closed, or a timeout set on the socket (SO_RCVTIMEO) passed.
    """
    size, count = _HEAD.unpack(_exactly(channel, _HEAD.size))
    sizes = struct.unpack(f"<{count}Q", _exactly(channel, 8 * count))
    message = pickle.loads(_exactly(channel, size))  # from our own process
    if _apart(sizes):
        return message, [_exactly(channel, one) for one in sizes]
    whole = _exactly(channel, sum(sizes))
    ends = list(accumulate(sizes, initial=0))
    return message, [whole[start:end] for start, end in pairwise(ends)]


def _apart(sizes: Sequence[int]) -> bool:
    """Whether each body goes by itself, straight out of and into its own memory."""
    return sum(sizes) > _SEPARATE_BYTES * len(sizes)


def _exactly(channel: socket.socket, size: int) -> bytes:
    parts: list[bytes] = []
    left = size
    try:
        while left:
            parts.append(channel.recv(left, socket.MSG_WAITALL))
            if not parts[-1]:
                raise WorkerLost
            left -= len(parts[-1])
    except OSError as error:
        raise WorkerLost from error
    return parts[0] if len(parts) == 1 else b"".join(parts)
