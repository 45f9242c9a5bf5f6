"""The thread that works for an event loop: in order, told apart, and never for who does not wait."""

import asyncio
import threading

import pytest

from stackctl.embedded.sidethread import SideThread


def test_one_thing_after_the_other_in_one_thread() -> None:
    """Outcomes and failures come to who asked, whoever asked before."""

    def fail() -> None:
        raise ValueError("no")

    async def run() -> None:
        side, seen = SideThread("side"), []

        def note(number: int) -> tuple[int, str]:
            seen.append(number)
            return number, threading.current_thread().name

        asked = [side.do(lambda number=number: note(number)) for number in range(20)]
        assert await asyncio.gather(*asked) == [(number, "side") for number in range(20)]
        assert seen == list(range(20))
        with pytest.raises(ValueError, match="no"):
            await side.do(fail)
        assert await side.do(lambda: 1) == 1
        side.shutdown()

    asyncio.run(run())


def test_nobody_works_for_who_was_cancelled() -> None:
    """What has begun is done, what has not is left out; and the thread ends when it is told, begun or not."""

    async def run() -> list[str]:
        side, begun, may_go_on, done = SideThread("side"), threading.Event(), threading.Event(), []

        def first() -> None:
            begun.set()
            may_go_on.wait(10)
            done.append("first")

        asked = [asyncio.create_task(side.do(first)), asyncio.create_task(side.do(lambda: done.append("second")))]
        while not begun.is_set():
            await asyncio.sleep(0.01)
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
        may_go_on.set()
        await side.do(lambda: done.append("third"))
        side.shutdown()
        return done

    assert asyncio.run(run()) == ["first", "third"]
    SideThread("side").shutdown()


def test_a_loop_that_is_closed_is_told_nothing() -> None:
    """The thread lives on when what it did comes too late."""
    side, may_go_on = SideThread("side"), threading.Event()

    async def ask() -> None:
        task = asyncio.create_task(side.do(lambda: may_go_on.wait(10)))
        await asyncio.sleep(0.05)
        task.cancel()

    asyncio.run(ask())
    may_go_on.set()

    async def again() -> int:
        return await side.do(lambda: 1)

    assert asyncio.run(again()) == 1
    side.shutdown()
