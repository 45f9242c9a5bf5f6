"""A thread that works for an event loop, one thing after the other.

Several hops a group are a good part of what a group costs the ingest process: a pool's futures, of threads and of the
loop, with a lock and a condition each, take five times as long as what is done here.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")
_Job: TypeAlias = "tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]"


class SideThread:
    """One thread; it begins with the first thing that there is to do.

    Args:
        name: of the thread.
    """

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)

    async def do(self, work: Callable[[], T]) -> T:
        """Have something done behind what was asked for before; raises what it raises.

        Who is cancelled does not wait for it any more. It is left out where it has not begun.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        if self._thread.ident is None:
            self._thread.start()
        self._jobs.put((work, loop, done))
        return await done

    def shutdown(self) -> None:
        """Wait until everything is done that was asked for; nothing may be asked for any more."""
        if self._thread.ident is not None:
            self._jobs.put(None)
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._answer(*job)
            del job  # a group is megabytes, and the next one may be long in coming

    @staticmethod
    def _answer(work: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: "asyncio.Future[Any]") -> None:
        if done.cancelled():
            return
        outcome: Any = None
        failure: BaseException | None = None
        try:
            outcome = work()
        except BaseException as error:  # noqa: BLE001 - whoever waits for it is told
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            loop.call_soon_threadsafe(_tell, done, outcome, failure)


def _tell(done: "asyncio.Future[Any]", outcome: Any, failure: BaseException | None) -> None:
    if done.done():  # who waited was cancelled
        return
    if failure is None:
        done.set_result(outcome)
    else:
        done.set_exception(failure)
