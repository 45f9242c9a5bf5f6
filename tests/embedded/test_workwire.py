"""What ingest and its workers say to each other arrives as it was sent, whichever way the system lets it go."""

import asyncio
import errno
import os
import socket
import threading
import weakref
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pyarrow as pa
import pytest
import uvloop

from stackctl.embedded import room
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.workwire import Tally, Wire, WorkerLost
from tests import absent


@pytest.fixture(params=["shared memory", "socket"])
def wires(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Wire, Wire]]:
    if request.param == "shared memory" and not hasattr(os, "memfd_create"):
        absent.skip("shared room")
    if request.param == "socket":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)
    yield ours, theirs
    ours.close()
    theirs.close()


def carried(
    sender: Wire, receiver: Wire, message: object, bodies: list[bytes]
) -> tuple[object, Sequence[bytes | memoryview]]:
    """Send from a thread: what is larger than a socket's buffer waits for its reader."""
    thread = threading.Thread(target=sender.send, args=(message, bodies))
    thread.start()
    found = receiver.receive()
    thread.join()
    return found


@pytest.mark.parametrize(
    "sizes", [[], [0], [5, 0, 7], [3_000_000, 200_000], [1] * 3000, [9_000_000, 5], [100_000, 2_000_000]]
)
def test_bodies_arrive_apart_and_whole(wires: tuple[Wire, Wire], sizes: list[int]) -> None:
    """None, empty ones, few large ones, more small ones than a system call takes: each as it was, in its place."""
    bodies = [bytes([number % 251]) * size for number, size in enumerate(sizes)]
    ours, theirs = wires
    assert carried(ours, theirs, {"job": 1}, bodies) == ({"job": 1}, bodies)
    assert carried(theirs, ours, "done", bodies[:1]) == ("done", bodies[:1])


def test_a_packed_table_goes_beside_the_message(wires: tuple[Wire, Wire]) -> None:
    """It is the same table on the other side, in a message with bodies of its own."""
    table = pa.table({"name": [f"span {n}" for n in range(50_000)], "dur_ns": list(range(50_000))})
    message, bodies = carried(*wires, {"spans": Packed.of(table), "evaluations": None}, [b"one", b"two"])
    assert isinstance(message, dict)
    assert message["spans"].table().equals(table)
    assert message["evaluations"] is None
    assert bodies == [b"one", b"two"]


def test_a_packed_table_is_kept_and_bodies_are_only_looked_at(wires: tuple[Wire, Wire]) -> None:
    """A body lies where the next one comes to lie; a table waits for the disk while the next ones are prepared."""
    table = pa.table({"name": ["before"] * 100_000})
    first, bodies = carried(*wires, Packed.of(table), [b"a" * 100_000])
    shared = isinstance(bodies[0], memoryview)
    copy = bytes(bodies[0])
    carried(*wires, Packed.of(pa.table({"name": ["after"] * 100_000})), [b"b" * 100_000])
    assert isinstance(first, Packed)
    assert first.table().equals(table)
    assert copy == b"a" * 100_000
    assert (bytes(bodies[0]) == copy) is not shared


def test_a_side_that_is_gone_is_lost(wires: tuple[Wire, Wire]) -> None:
    """Neither side waits for one that closed."""
    ours, theirs = wires
    theirs.close()
    with pytest.raises(WorkerLost):
        ours.receive()
    with pytest.raises(WorkerLost):
        ours.send("job", [b"x" * 1_000_000])


def test_what_the_system_takes_in_part_arrives_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that was cut short goes on where it ended: the next body would else stand in its place."""
    if not hasattr(os, "memfd_create"):
        absent.skip("shared room")
    whole = os.pwrite
    monkeypatch.setattr(room, "_MAPPED_BYTES", 0)
    monkeypatch.setattr(os, "pwrite", lambda handle, data, at: whole(handle, data[:70_000], at))
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)
    bodies = [b"a" * 200_000, b"b" * 100_000]
    assert carried(ours, theirs, "job", bodies) == ("job", bodies)
    ours.close()
    theirs.close()


@pytest.mark.parametrize("mapped", [0, 1024**2])
def test_half_a_body_is_no_body(monkeypatch: pytest.MonkeyPatch, mapped: int) -> None:
    """A room that holds less than was promised is a side that was lost, never a shorter request."""
    if not hasattr(os, "memfd_create"):
        absent.skip("shared room")
    monkeypatch.setattr(room, "_MAPPED_BYTES", mapped)
    monkeypatch.setattr(os, "pread", lambda handle, size, start: b"x" * (size - 1))
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)
    ours.send("job", [b"y" * 9_000])
    if mapped:
        assert ours._room is not None
        os.ftruncate(ours._room.fileno(), 8_999)
    with pytest.raises(WorkerLost):
        theirs.receive()
    ours.close()
    theirs.close()


def test_a_room_without_memory_is_a_side_that_was_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system refuses is told when it is asked for, where a signal would else end the process."""
    if not hasattr(os, "memfd_create"):
        absent.skip("shared room")

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "no memory")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)
    with pytest.raises(WorkerLost):
        ours.send("job", [b"y"])
    ours.close()
    theirs.close()


@pytest.mark.parametrize("run", [asyncio.run, uvloop.run])
def test_an_answer_in_pieces_is_waited_for(run: Callable[..., None]) -> None:
    """The loop looks at the wire as long as it lives, and takes an answer whole, however it comes; a loss is told."""
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)
    answer = list(range(200_000))  # more than a socket's buffer

    async def ask() -> None:
        for _ in range(2):
            thread = threading.Thread(target=theirs.send, args=(answer,))
            thread.start()
            assert await ours.answer(30) == answer
            thread.join()
        with pytest.raises(WorkerLost):
            await ours.answer(0.01)
        asked = asyncio.create_task(ours.answer(30))
        await asyncio.sleep(0)
        theirs.close()
        with pytest.raises(WorkerLost):
            await asked
        await asyncio.sleep(0.01)  # closed and not asked: looked at no more
        assert ours._watching is None

    run(ask())
    ours.close()


def test_an_answer_is_not_kept_until_the_next_one() -> None:
    """It is megabytes of a group that is stored already."""
    one, other = socket.socketpair()
    ours, theirs = Wire.offer(one), Wire.join(other)

    async def ask() -> weakref.ref[Tally]:
        theirs.send(Tally(1, Counter()))
        return weakref.ref(await ours.answer(30))

    assert asyncio.run(ask())() is None
    ours.close()
    theirs.close()
