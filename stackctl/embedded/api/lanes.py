"""Who may read samples when: some light questions at a time, and one heavy one.

What a question over hundreds of thousands of series holds while it is answered is most of what the process may take,
so there is never a second of them. Nobody can tell beforehand which one is heavy: each begins as a light one, and what
is heavy begins anew where it has to wait for others of its kind, while light ones pass.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from stackctl.embedded.allocator import give_back
from stackctl.promql.select import too_much

# Numpy holds the interpreter: more at one time would only make each slower.
LIGHT_AT_ONCE: Final = 2
LIGHT_VALUES: Final = 4_000_000
"""What a light question may read, in values: about 100 MB with all that is made of it."""
MOST_VALUES: Final = 400_000_000
"""What any question may read, one selector after the other: sixteen of a quarter of a million series at one moment."""
SERIES_VALUES: Final = 100
"""What the labels of a series and all that is made of them count as."""
T = TypeVar("T")


class TimedOut(Exception):
    """A question's time was over before others had made room for it."""


class _Heavy(Exception):
    """A light question reads more than such a one may."""


@dataclass
class Allowance:
    """What a question may still read.

    Args:
        values: as many.
        light: whether there is another turn for what is more than that.
    """

    values: int
    light: bool

    def take(self, series: int, steps: int = 1) -> None:
        """Count series that are about to be read, for so many steps each.

        Raises:
            ExecutionFailed: they are too many for any question.
        """
        self.values -= series * (steps + SERIES_VALUES)
        if self.values >= 0:
            return
        if self.light:
            raise _Heavy
        raise too_much()


class Lanes:
    """The turns of one kind of questions.

    Args:
        heavy: shared by all kinds.
    """

    def __init__(self, heavy: threading.BoundedSemaphore) -> None:
        self._light = threading.BoundedSemaphore(LIGHT_AT_ONCE)
        self._heavy = heavy

    def answer(self, ask: Callable[[Allowance], T], until: float) -> T:
        """Answer a question, as a heavy one where it turns out to be that.

        Args:
            ask: answers it within an allowance; twice for a heavy one.
            until: on the monotonic clock, seconds: for how long it may wait for its turn.

        Raises:
            TimedOut: nobody made room in time.
            ExecutionFailed: it is too heavy for any turn.
        """
        try:
            with _turn(self._light, until):
                return ask(Allowance(LIGHT_VALUES, light=True))
        except _Heavy:
            pass
        with _turn(self._heavy, until):
            try:
                return ask(Allowance(MOST_VALUES, light=False))
            finally:
                give_back()


@contextmanager
def _turn(lane: threading.BoundedSemaphore, until: float) -> Iterator[None]:
    if not lane.acquire(timeout=max(until - time.monotonic(), 0)):
        raise TimedOut
    try:
        yield
    finally:
        lane.release()
