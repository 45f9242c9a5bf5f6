"""A bench waits until the disk has done what was asked of it before."""

import os
from collections.abc import Iterator
from itertools import count

import pytest

from stackctl.bench.rest import LONGEST_SECONDS, QUIET_SECONDS, SLOW_SECONDS, await_rest


class Disk:
    """A disk whose syncs take as long as is said, on a clock of its own."""

    def __init__(self, slow_at: Iterator[float]) -> None:
        self.now, self._slow_at = 0.0, slow_at
        self._next = next(slow_at)

    def sync(self, _: int) -> None:
        if self.now >= self._next:
            self.now += 3 * SLOW_SECONDS
            self._next = next(self._slow_at)
        self.now += SLOW_SECONDS / 10

    def pause(self, seconds: float) -> None:
        self.now += seconds

    def rests(self) -> bool:
        return await_rest(self.sync, lambda: self.now, self.pause)


NEVER = float("inf")


@pytest.mark.parametrize(("slow_at", "waited"), [([], 0.0), ([0.0, 2.0, 4.0], 4.0), ([QUIET_SECONDS - 0.1], 2.9)])
def test_waits_until_syncs_are_quick_for_a_while(slow_at: list[float], waited: float) -> None:
    disk = Disk(iter([*slow_at, NEVER]))
    assert disk.rests()
    assert disk.now == pytest.approx(waited + QUIET_SECONDS, abs=5 * SLOW_SECONDS)


def test_gives_up_where_the_disk_never_rests() -> None:
    disk = Disk(iter([float(second) for second in range(100)]))
    assert not disk.rests()
    assert disk.now == pytest.approx(LONGEST_SECONDS, abs=5 * SLOW_SECONDS)


def test_syncs_what_it_wrote() -> None:
    sizes: list[int] = []
    seconds = count()
    assert await_rest(
        lambda handle: sizes.append(os.fstat(handle).st_size), lambda: next(seconds) / 100, lambda _: None
    )
    assert set(sizes) == {64 * 1024}
