"""Worker processes of ingest: they come under load, change no result, lose nothing when they die, and leave nothing."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import psutil
import pyarrow as pa
import pytest
from worker_groups import SETUP, founded, group, line, wait_until

from stackctl.bench.ingest import IngestProcess, count_calls, count_spans
from stackctl.embedded import workers
from stackctl.embedded.nursery import NURSERY, Nursery
from stackctl.embedded.offspring import WORK_NICE
from stackctl.embedded.otlp.signals import Accepted, Refused
from stackctl.embedded.prepare import Prepared
from stackctl.embedded.sealing import Sealer
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.columncap import ColumnCap
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.store.layout import Layout
from stackctl.embedded.store.seal import seal
from stackctl.embedded.workers import Worker
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

    async def turns_until_lost(worker: Worker) -> int:
        answer, turns = asyncio.create_task(worker.prepare(group())), 0
        while not answer.done():
            await asyncio.sleep(0.01)
            turns += 1
        with pytest.raises(WorkerLost):
            answer.result()
        return turns

    worker = Worker(SETUP, nursery)
    worker.begin()  # which may take long where others want the processor
    monkeypatch.setattr(workers, "_ANSWER_SECONDS", 1)
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
    assert cap.admit(packed) is packed


def children(ingest: IngestProcess) -> list[psutil.Process]:
    """Every process that works for it; the one that makes them only waits."""
    found = psutil.Process(ingest.process.pid).children(recursive=True)
    return [one for one in found if one.name() != NURSERY]


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
