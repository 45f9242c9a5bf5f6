"""Every rule group at its time, in one thread of the query process."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final

from stackctl.embedded.store.grain import grain_ms
from stackctl.errors import StoreUnusable

from .group import Group
from .load import RuleGroup

if TYPE_CHECKING:  # it brings Arrow, which the query process only imports once it listens
    from .recorded import Recorded

log = logging.getLogger("stackctl.rules")

_MAINTAIN_EVERY_MS: Final = 60_000
_LONGEST_SLEEP_SECONDS: Final = 1.0


class Rules:
    """Evaluates groups when they are due. Other threads may read the groups' states meanwhile.

    Args:
        groups: as `load` returns them.
        recorded: where samples come from and go.
        retention_seconds: how long recorded samples are kept.
        most_bytes: of recorded blocks together.
        clock_ns: unix nanoseconds.
    """

    def __init__(
        self,
        groups: Sequence[RuleGroup],
        recorded: "Recorded",
        *,
        retention_seconds: int,
        most_bytes: int,
        clock_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.recorded = recorded
        self.groups = sorted((Group(one, recorded, clock_ns) for one in groups), key=_place)
        self._clock_ns = clock_ns
        self._retention_ms, self._most_bytes = retention_seconds * 1000, most_bytes
        self._maintain_every_ms = min(_MAINTAIN_EVERY_MS, grain_ms(retention_seconds))
        now = self._now_ms()
        self._due = [group.slot_after(now) for group in self.groups]
        self._maintained_ms = now

    def _now_ms(self) -> int:
        return self._clock_ns() // 1_000_000

    def step(self) -> float:
        """Evaluate what is due and return how many seconds later to come again.

        What was missed while the process slept is left out, as Prometheus does.
        """
        now = self._now_ms()
        for at, group in enumerate(self.groups):
            late = now - self._due[at]
            if late >= 0:
                slot = group.slot_after(now) - group.group.interval_ms
                group.evaluate(slot)
                self._due[at] = slot + group.group.interval_ms
            elif -late > group.group.interval_ms:  # the clock was set back
                self._due[at] = group.slot_after(now)
        if abs(now - self._maintained_ms) >= self._maintain_every_ms:
            self._maintain(now)
        waiting = min(self._due, default=now + 1000) - self._now_ms()
        return min(max(waiting / 1000, 0.0), _LONGEST_SLEEP_SECONDS)

    def _maintain(self, now_ms: int) -> None:
        self._maintained_ms = now_ms
        try:
            self.recorded.maintain(now_ms - self._retention_ms, self._most_bytes)
        except (OSError, StoreUnusable) as error:
            log.error("the disk refuses recorded samples, will be tried again: %s", error)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Evaluate in the background while the block runs; the log is closed behind it."""
        stop = asyncio.Event()
        background = asyncio.create_task(self._run(stop), name="rules")
        try:
            yield
        finally:
            stop.set()
            await background
            self.recorded.close()

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            seconds = await asyncio.to_thread(self.step)
            try:
                await asyncio.wait_for(stop.wait(), seconds)
            except TimeoutError:
                continue  # the next evaluation is due


def _place(group: Group) -> tuple[str, str]:
    return group.group.file, group.group.name
