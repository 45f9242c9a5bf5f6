"""Worker processes of ingest: they come under load, change no result, lose nothing when they die, and leave nothing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import psutil
import pyarrow as pa
import pytest
from otlp_messages import call_request
from worker_groups import SETUP, founded, group, line

from stackctl.bench.ingest import IngestProcess, count_calls, count_spans
from stackctl.embedded import workers
from stackctl.embedded.nursery import NURSERY, Nursery
from stackctl.embedded.offspring import WORK_NICE
from stackctl.embedded.otlp.receive import Request
from stackctl.embedded.otlp.signals import Accepted, Refused, Signal
from stackctl.embedded.prepare import Prepared
from stackctl.embedded.sealing import Sealer
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.columncap import ColumnCap
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.store.layout import Layout
from stackctl.embedded.store.seal import seal
from stackctl.embedded.workers import Load, Worker, Workforce
from stackctl.embedded.workwire import Tally, WorkerLost
from tests import absent


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[IngestProcess]:
    process = IngestProcess(tmp_path / "data")
    process.wait_ready()
    yield process
    if process.process.poll() is None:
        process.kill()


def outcomes(prepared: Prepared) -> dict:
    return {n: one if isinstance(one, Accepted) else (one.kind, one.message) for n, one in prepared.outcomes.items()}


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all of these tests."""
    with founded() as found:
        yield found


@pytest.fixture(params=["copy", "program"])
def source(request: pytest.FixtureRequest) -> Nursery | None:
    """Where workers come from."""
    found: Nursery | None = request.getfixturevalue("nursery") if request.param == "copy" else None
    return found


def test_a_worker_prepares_what_this_process_would(source: Nursery | None) -> None:
    """Rows, counters, outcomes and the tally of redaction are the same in a worker, group after group."""
    pipeline, preparer = line()
    worker = Worker(SETUP, source)
    try:
        worker.begin()
        for _ in range(2):
            before = Tally.of(pipeline)
            here = preparer.fill(group())
            there, tally = asyncio.run(worker.prepare(group()))
            assert isinstance(there.spans, Packed)
            assert isinstance(there.evaluations, Packed)
            assert there.spans.table().equals(here.spans.combine_chunks())
            assert there.evaluations.table().equals(here.evaluations.combine_chunks())
            assert there.increments[0].to_bytes() == Increments.merge(here.increments).to_bytes() != b""
            assert outcomes(there) == outcomes(here)
            assert isinstance(there.outcomes[2], Refused)
            assert tally == Tally.of(pipeline) - before
    finally:
        worker.end()
    # It has ended; who made it takes leave of it a moment later.
    wait_until(lambda: not psutil.pid_exists(worker.pid), 5)


def test_signals_of_the_terminal_do_not_end_a_worker(source: Nursery | None) -> None:
    """Ctrl-C reaches the whole process group: the parent decides what becomes of groups under way."""
    worker = Worker(SETUP, source)
    try:
        worker.begin()
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(worker.pid, number)
        assert asyncio.run(worker.prepare(group()))[0].spans.num_rows == 3
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(WorkerLost):
            asyncio.run(worker.prepare(group()))
    finally:
        worker.end()


def test_workers_give_way_and_never_take_back(nursery: Nursery) -> None:
    """A worker's share of a core is less than that of who answers, and below `nice` no more than it was."""
    if sys.platform != "linux":
        absent.skip("copies of processes")
    worker = Worker(SETUP, nursery)
    worker.begin()
    try:
        asyncio.run(worker.prepare(group()))
        ours = os.getpriority(os.PRIO_PROCESS, 0)
        assert os.getpriority(os.PRIO_PROCESS, worker.pid) == max(WORK_NICE, ours)
    finally:
        worker.end()
    program = "import os; from stackctl.embedded.offspring import give_way; give_way(5); print(os.nice(0))"
    shown = subprocess.run(["nice", "-n", "12", sys.executable, "-c", program], capture_output=True, check=True)
    assert int(shown.stdout) == min(ours + 12, 19)


def test_a_worker_that_does_not_answer_is_as_good_as_lost(nursery: Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs costs its group some time and the event loop none."""
    monkeypatch.setattr(workers, "_ANSWER_SECONDS", 1)

    async def turns_until_lost(worker: Worker) -> int:
        answer, turns = asyncio.create_task(worker.prepare(group())), 0
        while not answer.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(WorkerLost):
            answer.result()
        return turns

    worker = Worker(SETUP, nursery)
    worker.begin()
    os.kill(worker.pid, signal.SIGSTOP)
    try:
        assert asyncio.run(turns_until_lost(worker)) > 10
    finally:
        worker.end()


def test_without_the_nursery_workers_are_programs(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    """The process that makes workers may be lost: they come all the same, and sealing is done in ingest."""
    ours, theirs = socket.socketpair()
    theirs.close()
    gone = Nursery(ours, 0)
    worker = Worker(SETUP, gone)
    worker.begin()
    worker.end()
    assert "started as programs" in caplog.text
    layout = Layout.below(tmp_path)
    layout.create()
    assert not Sealer(gone).seal(seal, layout, 1)
    ours.close()


def test_no_nursery_where_processes_cannot_be_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system call that is forbidden shows before anything was copied, not when two processes share a channel."""

    def forbidden(pid: int) -> int:
        raise PermissionError(pid)

    monkeypatch.setattr("os.pidfd_open", forbidden, raising=False)
    assert Nursery.found(SETUP) is None


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
    """Of two workers one is left idle for as long as questions come, and both work when none do."""
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


def test_the_column_cap_holds_for_packed_tables() -> None:
    """What a worker packed has no more columns in the log than what was prepared here, and loses no value."""
    core = {"rest": pa.array([None], pa.string()), "rrest": pa.array([None], pa.string())}
    first = pa.table({**core, "s:a:i": [1], "s:b:i": [2]})
    second = pa.table({**core, "s:b:i": [3], "s:c:i": [4]})
    cap = ColumnCap(limit=2)
    packed = Packed.of(first)
    assert cap.admit(packed) is packed
    admitted = cap.admit(Packed.of(second))
    assert admitted.column_names == ["rest", "rrest", "s:b:i"]
    assert orjson.loads(admitted["rest"][0].as_py()) == {"c": 4}


def children(ingest: IngestProcess) -> list[psutil.Process]:
    """Every process that works for it; the one that makes them only waits."""
    found = psutil.Process(ingest.process.pid).children(recursive=True)
    return [one for one in found if one.name() != NURSERY]


def wait_until(happened: Callable[[], bool], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)


def sender(ingest: IngestProcess, seconds: float, seed: int) -> subprocess.Popen:
    """A load generator at full speed."""
    command = ["-m", "stackctl.bench.load", f"127.0.0.1:{ingest.ports['otlp_grpc']}", str(seconds), "0", str(seed)]
    return subprocess.Popen([sys.executable, *command], stdout=subprocess.PIPE)


def test_workers_come_under_load_and_totals_stay_exact(ingest: IngestProcess) -> None:
    """Started under load, one of them killed and replaced: everything acknowledged is stored and counted once."""
    # Those in reserve wait and do not work yet.
    wait_until(lambda: len(children(ingest)) == (workers.workers_here() if sys.platform == "linux" else 0))
    assert ingest.status()["workers"] == 0
    sending = sender(ingest, 6.0, 1)
    wait_until(lambda: ingest.status()["workers"] == workers.workers_here())
    for one in children(ingest)[:1]:
        one.kill()
    answer = orjson.loads(sending.communicate(timeout=60)[0])
    status = ingest.status()
    left = children(ingest)
    ingest.stop()
    assert not any(one.is_running() for one in left)
    assert answer["refused"] == {}
    assert count_spans(ingest.data_dir) == (answer["acked_spans"], answer["acked_calls"])
    assert count_calls(ingest.data_dir) == answer["acked_calls"] > 0
    assert status["spans_total"] == answer["acked_spans"]
    assert status["lost_spans_total"] == 0
    # The generator puts one content attribute on each span but the first of a trace's; redaction drops them all.
    assert status["redacted_values_total"] == answer["acked_spans"]
    assert (
        sum(Counter({row["key"]: row["values"] for row in status["redacted_keys"]}).values())
        == (status["redacted_values_total"])
    )


def test_workers_die_with_their_parent(ingest: IngestProcess) -> None:
    """After kill -9 of ingest under load no worker is left."""
    if not workers.workers_here():
        absent.skip("second core")
    sending = sender(ingest, 60.0, 2)
    try:
        wait_until(lambda: ingest.status()["workers"] > 0)
        left = psutil.Process(ingest.process.pid).children(recursive=True)
        ingest.kill()
    finally:
        sending.kill()
        sending.communicate()
    assert len(left) > workers.workers_here() or sys.platform != "linux"
    with suppress(psutil.NoSuchProcess):
        wait_until(lambda: not any(_alive(one) for one in left), 5)


def _alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
