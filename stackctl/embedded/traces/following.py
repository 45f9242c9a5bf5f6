"""Keeping up with the store between questions, so that none waits for what came in since the last one."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

log = logging.getLogger("stackctl.query")

# A question takes in what came since, before its answer: a millisecond for each hundredth of a second under load.
EVERY_SECONDS: Final = 0.025
# After so long without a question there may be no other soon, and the next one can wait.
IDLE_SECONDS: Final = 60.0


class Following:
    """Catches up at the start, and then while somebody asks.

    Args:
        catch_up: takes in what is new.
        every_seconds: how often.
        idle_seconds: after so long without a question, no more.
    """

    def __init__(
        self, catch_up: Callable[[], None], every_seconds: float = EVERY_SECONDS, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        self._catch_up = catch_up
        self._every, self._idle = every_seconds, idle_seconds
        self._asked = time.monotonic()

    def asked(self) -> None:
        """Note that there was a question."""
        self._asked = time.monotonic()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Follow in the background while the block runs."""
        stop = asyncio.Event()
        background = asyncio.create_task(self._run(stop), name="following")
        try:
            yield
        finally:
            stop.set()
            await background

    async def _run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if time.monotonic() - self._asked < self._idle:
                await self._follow()
            try:
                await asyncio.wait_for(stop.wait(), self._every)
            except TimeoutError:
                continue  # there may be something new

    async def _follow(self) -> None:
        try:
            await asyncio.to_thread(self._catch_up)
        except Exception:  # whatever it is, the next question meets it too, and its answer is an error
            log.exception("cannot keep up with the store; the next question tries again")
            self._asked = -self._idle
