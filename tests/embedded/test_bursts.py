"""Bursts: a process stands and goes in turn, for its first seconds only, and may end at any time."""

import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
from worker_groups import wait_until

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
    """It stands for twice as long as it goes, and after its first seconds nothing is to be done any more."""
    now = 0.0
    bursts = Bursts(lambda: now)
    assert bursts.step() is None
    bursts.add(child.pid)
    for _ in range(3):
        assert bursts.step() == pytest.approx(0.002)
        wait_until(lambda: stands(child))
        assert bursts.step() == pytest.approx(0.001)
        wait_until(lambda: not stands(child))
    bursts.step()
    wait_until(lambda: stands(child))
    now = 5.0
    assert bursts.step() is None
    wait_until(lambda: not stands(child))


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
