"""Bursts: a process stands and goes in turn, for its first seconds only, and may end at any time."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from worker_groups import founded, wait_until

from stackctl.embedded import nursery
from stackctl.embedded.bursts import Bursts
from tests import absent


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that has nothing to do."""
    if not nursery._has_handles():
        absent.skip("copies of processes")
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    yield process
    process.kill()
    process.wait()


def stands(process: subprocess.Popen[bytes]) -> bool:
    return psutil.Process(process.pid).status() == psutil.STATUS_STOPPED


def test_a_process_stands_and_goes_in_turn_and_then_goes_on_end(child: subprocess.Popen[bytes]) -> None:
    """It stands for as long as it goes, and after its first seconds nothing is to be done any more."""
    now = 0.0
    bursts = Bursts(lambda: now)
    assert bursts.step() is None
    bursts.add(child.pid)
    for _ in range(3):
        assert bursts.step() == pytest.approx(0.001)
        wait_until(lambda: stands(child))
        assert bursts.step() == pytest.approx(0.001)
        wait_until(lambda: not stands(child))
    bursts.step()
    wait_until(lambda: stands(child))
    now = 5.0
    assert bursts.step() is None
    wait_until(lambda: not stands(child))


def test_who_stands_dies_with_its_parent() -> None:
    """Nobody is stopped who has yet to see to that: such a sealer stayed, stopped, for ever when ingest was killed."""
    late = "import time; nursery.be_called = lambda _: time.sleep(0.3); bursts._FIRST_STAND_SECONDS = 600"
    ours, theirs = socket.socketpair()
    with founded(late) as found, ours, theirs:
        sealer = found.bear(nursery.BURST_SEALER, theirs)
        wait_until(lambda: psutil.Process(sealer.pid).status() == psutil.STATUS_STOPPED)
        os.kill(found.pid, signal.SIGKILL)
        sealer.wait(10)


@pytest.mark.parametrize(
    ("took", "stand_ms"),
    [
        (0.5, 1.0),  # no log file of spans is done so soon: it tells nothing
        (1.0, 2.0),  # the longest pause there is
        (2.0, 2.0),  # it went for 1 s, of 4 s that the next one has: three quarters to stand
        (4.0, 1.0),
        (4.5, 7 / 9),  # a little too late
        (None, 0.5),  # not done at all
    ],
)
def test_the_next_one_stands_for_as_long_as_the_last_one_might_have(
    child: subprocess.Popen[bytes], took: float | None, stand_ms: float
) -> None:
    """Sealing is spread over the time that there is: what took longer last time has shorter pauses next time."""
    now = 0.0
    bursts = Bursts(lambda: now)
    bursts.add(child.pid)
    bursts.step()
    if took is not None:
        child.kill()
        child.wait()
    now = 5.0 if took is None else took
    assert bursts.step() is None
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as another:
        bursts.add(another.pid)
        stands_for = bursts.step()
        another.kill()
    assert stands_for == pytest.approx(stand_ms / 1000)


def test_processes_that_ended_are_forgotten(child: subprocess.Popen[bytes]) -> None:
    """One that stands can be killed; one that has ended before is not taken for another."""
    bursts = Bursts()
    bursts.add(child.pid)
    assert bursts.step() is not None
    child.kill()
    child.wait()
    assert bursts.step() is None
    bursts.add(child.pid)
    assert bursts.step() is None
