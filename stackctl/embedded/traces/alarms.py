"""Deadlines of statements: one thread for all of them, since starting one takes longer than most answers do."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, eq=False)
class _Alarm:
    due: float
    ring: Callable[[], None]


class Alarms:
    """Rings for what takes too long.

    Args:
        seconds: that anything may take.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._changed = threading.Condition()
        self._pending: set[_Alarm] = set()
        self._wakes = 0.0  # when the thread looks again, as `time.monotonic` counts
        self._closed = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def set(self, ring: Callable[[], None]) -> Iterator[None]:
        """Call `ring` from another thread if the block takes too long, and never after it has ended."""
        alarm = _Alarm(time.monotonic() + self.seconds, ring)
        with self._changed:
            self._pending.add(alarm)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="deadlines", daemon=True)
                self._thread.start()
            elif alarm.due < self._wakes:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._pending.discard(alarm)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()

    def _watch(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                for alarm in [one for one in self._pending if one.due <= now]:
                    self._pending.discard(alarm)
                    alarm.ring()
                # What is set meanwhile is due later, but for the time that nothing was pending.
                self._wakes = min((one.due for one in self._pending), default=now + self.seconds)
                self._changed.wait(self._wakes - now)
