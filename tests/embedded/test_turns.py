"""Short turns are what the kernel then has of a thread, and nothing else of it changes."""

import ctypes
import os
import platform
import struct
import subprocess
import sys
import threading

import pytest

from stackctl.embedded import turns
from stackctl.embedded.turns import TURN_NS, take_short_turns

ATTRIBUTES = struct.Struct("=IIQiIQQQII")
GET = {"x86_64": 315, "aarch64": 275}


def attributes() -> tuple[int, ...]:
    """Of the calling thread: sched_getattr(2)."""
    buffer = ctypes.create_string_buffer(ATTRIBUTES.size)
    assert ctypes.CDLL(None).syscall(GET[platform.machine()], 0, buffer, ATTRIBUTES.size, 0) == 0
    return ATTRIBUTES.unpack(buffer)


def told() -> None:
    """Say before, after, and in a thread that is started then: niceness, policy, length of a turn."""
    os.nice(3)
    before = attributes()
    assert take_short_turns()
    seen: list[tuple[int, ...]] = [before, attributes()]
    thread = threading.Thread(target=lambda: seen.append(attributes()))
    thread.start()
    thread.join()
    for one in seen:
        print(one[1], one[3], one[5])


def test_a_thread_and_those_that_it_starts_take_short_turns() -> None:
    """In a process of its own; where the kernel is older than 6.12 it says 0 for every length."""
    if sys.platform != "linux" or platform.machine() not in GET:
        assert not take_short_turns()
        return
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True)
    before, *after = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    ours = os.SCHED_OTHER, os.getpriority(os.PRIO_PROCESS, 0) + 3
    assert [one[:2] for one in after] == [before[:2]] * 2 == [ours] * 2
    assert {one[2] for one in after} == {TURN_NS if before[2] else 0}


def test_a_machine_whose_numbers_are_not_known_goes_on_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns.platform, "machine", lambda: "sparc64")
    assert not take_short_turns()


if __name__ == "__main__":
    told()
