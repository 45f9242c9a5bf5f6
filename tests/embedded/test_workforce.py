"""Who prepares groups: ingest itself, or workers while there is load for them."""

import asyncio
import os
import signal
import time
from collections.abc import Iterator

import psutil
import pyarrow as pa
import pytest
from otlp_messages import call_request
from worker_groups import SETUP, founded, group, line, wait_until

from stackctl.embedded import workers
from stackctl.embedded.nursery import Nursery
from stackctl.embedded.otlp.receive import Request
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.prepare import Prepared
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.workers import Load, Worker, Workforce


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all of these tests."""
    with founded() as found:
        yield found


async def grown(force: Workforce) -> Worker:
    """Keep it busy until it has a worker; return that."""
    while not force.size:
        force._load.note(1.0)
        force.look(0)
        await asyncio.sleep(0.05)
    return next(iter(force._ready))


def workforce() -> Workforce:
    preparer = line()[1]

    async def inside(one: Prepared) -> Prepared:
        return preparer.fill(one)

    return Workforce(SETUP, inside, most=1)


def test_a_group_of_a_lost_worker_is_prepared_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed costs no group: it is prepared in the process itself, and another worker comes."""
    monkeypatch.setattr(workers, "_PAUSE_SECONDS", 0.0)

    async def run() -> list[str]:
        force = workforce()
        force.look(0)
        assert (force.at_once, force.size) == (1, 0)
        forms = [type((await force.prepare(group())).spans).__name__]
        worker = await grown(force)
        forms.append(type((await force.prepare(group())).spans).__name__)
        os.kill(worker.pid, signal.SIGKILL)
        found = await asyncio.gather(*(force.prepare(group()) for _ in range(3)))
        forms += [type(one.spans).__name__ for one in found]
        assert [one.spans.num_rows for one in found] == [3, 3, 3]
        assert not force.size
        await grown(force)
        await force.close()
        return forms

    assert asyncio.run(asyncio.wait_for(run(), 60)) == ["Table", "Packed", "Table", "Table", "Table"]


def test_a_large_group_waits_for_the_copies_that_prepare_it(nursery: Nursery) -> None:
    """Where a worker begins at once, the first large group is prepared in one; a small group starts none."""

    async def inside(one: Prepared) -> Prepared:
        return line()[1].fill(one)

    async def run() -> None:
        force = Workforce(SETUP, inside, most=1, nursery=nursery)
        assert isinstance((await force.prepare(group())).spans, pa.Table)
        assert not force.size
        body = call_request(5_000)
        assert len(body) >= workers._LARGE_GROUP_BYTES
        found = await force.prepare(Prepared((), (), {0: Request(Signal.TRACES, body, b"0" * 16, 1_000)}))
        assert isinstance(found.spans, Packed)
        assert (found.spans.num_rows, force.size) == (5_000, 1)
        await force.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_a_reserve_waits_where_copies_are_to_be_had(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers are made before there is load, are called by it without a wait, and made anew when they were let go."""
    monkeypatch.setattr(workers, "_CALM_SECONDS", 0.5)
    monkeypatch.setattr(workers, "_WINDOW_SECONDS", 0.1)

    async def reserve(force: Workforce) -> list[int]:
        while len(force._reserve) < 2:
            force.look(0)
            await asyncio.sleep(0.02)
        assert force.size == 0
        return [worker.pid for worker in force._reserve]

    async def run() -> None:
        force = Workforce(SETUP, workforce()._inside, most=2, nursery=nursery)
        first = await reserve(force)
        force._load.note(1.0)
        await asyncio.sleep(0.1)
        force.look(0)
        assert sorted(worker.pid for worker in force._ready) == sorted(first)
        assert isinstance((await force.prepare(group())).spans, Packed)
        while force.size:
            force.look(0)
            await asyncio.sleep(0.02)
        second = await reserve(force)
        assert not set(first) & set(second)
        await force.close()
        wait_until(lambda: not any(psutil.pid_exists(pid) for pid in [*first, *second]), 5)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_one_worker_at_a_time_prepares_while_somebody_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two workers one is left idle for as long as questions come, unless requests pile up; else both work."""
    at_work: list[int] = []

    async def run() -> None:
        asking = True
        force = Workforce(SETUP, workforce()._inside, most=2, asked=lambda: asking)
        await grown(force)
        while force.size < 2:
            await asyncio.sleep(0.05)
        outside = force._outside

        async def noted(worker: Worker, one: Prepared) -> Prepared | None:
            at_work.append(force.size - len(force._idle))
            return await outside(worker, one)

        monkeypatch.setattr(force, "_outside", noted)
        assert force.at_once == 1
        await asyncio.gather(*(force.prepare(group()) for _ in range(6)))
        assert at_work == [1] * 6
        for queue_bytes, workers_at_work in ((4 * 1024**2, 1), (8 * 1024**2, 2), (4 * 1024**2, 1)):
            force.look(queue_bytes)
            assert force.at_once == workers_at_work
        asking = False
        assert force.at_once == 2
        await asyncio.gather(*(force.prepare(group()) for _ in range(6)))
        assert max(at_work) == 2
        await force.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def test_workers_go_after_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once there is little to do for a while, no worker is left, and groups are prepared in the process again."""
    monkeypatch.setattr(workers, "_CALM_SECONDS", 1.5)
    monkeypatch.setattr(workers, "_WINDOW_SECONDS", 0.2)

    async def run() -> None:
        force = workforce()
        worker = await grown(force)
        while force.size:
            force.look(0)
            await asyncio.sleep(0.05)
        assert isinstance((await force.prepare(group())).spans, pa.Table)
        await force.close()
        assert not psutil.pid_exists(worker.pid)

    asyncio.run(asyncio.wait_for(run(), 60))


def test_load_is_told_from_calm() -> None:
    """Workers are wanted after a busy moment or a lasting queue, and not wanted after a calm minute."""
    load, now = Load(), time.monotonic()
    load.look(now + 0.1, 0)
    assert not load.high
    load.note(0.9)
    load.look(now + 1.1, 0)
    assert load.high
    load.look(now + 2.2, 0)
    assert not load.high
    load.look(now + 2.3, 64 * 1024**2)
    load.look(now + 2.9, 64 * 1024**2)
    assert load.high
    load.look(now + 61.5, 0)
    assert not load.high
    assert load.calm_seconds(now + 61.5) > 59
