"""Kill -9 before, or halfway through, every single change of the disk: the next start has all that was acknowledged."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from crashing_disk import Crash, CrashingDisk, crashing_disk

from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.increments import Block, Increments
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.embedded.store import retention
from stackctl.embedded.store.digests import digest
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.retention import Retention
from stackctl.embedded.store.writer import SealLimits, SpanStore
from stackctl.promql import Matcher

# Every STEP-th change is died at, from a place that the seed chooses; 1 for all of them.
STEP = int(os.environ.get("STACKCTL_CRASH_STEP", "9"))
SEED = int(os.environ.get("STACKCTL_CRASH_SEED", "1"))
REQUESTS = 12
START_MS = 1_800_000_000_000
PACE = Pace(full_ms=2_000, roll_ms=5_000)
LABELS = (("service_name", "shop"),)


class Sender:
    """Sends numbered requests of calls, evaluations and metrics, the first one without an answer again and again.

    Attributes:
        acknowledged: how many, from the first on.
        now_ms: the clock, which goes on by a second with each request.
    """

    def __init__(self) -> None:
        self.acknowledged = 0
        self.now_ms = START_MS


def counted(number: int, arrival_ms: int) -> Increments:
    """Two calls."""
    return Increments.of(arrival_ms, [Block("llm_requests_total", "counter", (), (LABELS,), np.array([[2.0]]))])


def live(data_dir: Path, sender: Sender) -> None:
    """One process from its start to its end: as `process.Ingest` does it, in one thread."""
    clock = lambda: sender.now_ms  # noqa: E731
    store = SpanStore(data_dir, SealLimits(rows=5), clock_ms=clock, sync=lambda handle: os.fdatasync(handle))
    head = Head(data_dir, pace=PACE, clock_ms=clock, sync=lambda handle: os.fdatasync(handle))
    for seq, raw in store.replay(head.applied_seq):
        head.apply(Increments.from_bytes(raw), seq)
    head.start()
    forget = Retention(store.layout, 10**6, 10**12)
    while sender.acknowledged < REQUESTS:
        sender.now_ms += 1000
        _take(store, head, sender.acknowledged, sender.now_ms)
        sender.acknowledged += 1
        head.beat()
        if store.roll_if_due():
            store.seal_closed()
            store.trim(head.durable_seq)
        head.seal_closed()
        forget.run(sender.now_ms)
    head.close()
    store.close()


def _take(store: SpanStore, head: Head, number: int, now_ms: int) -> None:
    """Store a request of each kind, or know it from before; on return all are acknowledged."""
    known = digest("traces", b"%d" % number)
    if known not in store.digests:
        ids = pa.array([number * 2, number * 2 + 1])
        judged = pa.table({"name": ["grounded"], "tid_hi": pa.array([number])}) if number % 3 else None
        spans = pa.table({"tid_hi": ids, "span_id": ids}) if number % 4 != 2 else None
        increments = counted(number, now_ms)
        seq = store.append(Frame(now_ms, (known,), spans, judged, increments.to_bytes()))
        head.apply(increments, seq)
    if not head.known(known):
        mark = Points(Family("mark", "gauge", ()), (float(number),))
        work = Points(Family("work_total", "counter", ()), (float(number),), delta=True)
        head.append([mark, work], now_ms, [known])


def check(data_dir: Path) -> None:
    """Everything that was sent is stored once."""
    snapshot = SpanReader(data_dir).snapshot()
    assert _column("span_id", snapshot.segments, snapshot.hot) == [
        one for n in range(REQUESTS) if n % 4 != 2 for one in (n * 2, n * 2 + 1)
    ]
    judged = _column("tid_hi", snapshot.evaluation_segments, snapshot.evaluations_hot)
    assert judged == [n for n in range(REQUESTS) if n % 3]
    samples = SampleReader(data_dir)
    assert _samples(samples, "mark") == list(range(REQUESTS))
    assert _samples(samples, "work_total")[-1] == sum(range(REQUESTS))
    calls = _samples(samples, "llm_requests_total")
    assert calls == sorted(calls)
    assert calls[-1] == 2 * REQUESTS
    names = [path.name for path in data_dir.rglob("*")]
    assert [name for name in names if name.endswith((".tmp", ".new", ".gone", ".damaged"))] == []


def _column(name: str, files: tuple[Path, ...], hot: pa.Table | None) -> list[int]:
    tables = [pq.ParquetFile(path).read([name]) for path in files] + ([] if hot is None else [hot])
    return sorted(one for table in tables for one in table[name].to_pylist())


def _samples(reader: SampleReader, name: str) -> list[float]:
    (found,) = reader.select([Matcher("__name__", "=", name)], 0, 2**60)
    return found.v.tolist()


def die(disk: CrashingDisk, data_dir: Path, sender: Sender, dies_at: int, halfway: bool) -> bool:
    """Live until that change; False where life ended before it."""
    disk.arm(dies_at, halfway)
    try:
        live(data_dir, sender)
    except Crash:
        return True
    finally:
        disk.release()
    return False


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[CrashingDisk]:
    monkeypatch.setattr(retention, "MERGE_AT_FILES", 3)
    monkeypatch.setattr(retention, "GRACE_SECONDS", -1.0)
    with crashing_disk() as found:
        yield found


def test_a_kill_at_any_change_loses_and_doubles_nothing(tmp_path: Path, disk: CrashingDisk) -> None:
    """Wherever the process dies, the next one goes on from what was acknowledged."""
    disk.arm(None)
    live(tmp_path / "whole", Sender())
    disk.release()
    check(tmp_path / "whole")
    changes, names = disk.changes, disk.names
    assert {"create", "pwritev", "fdatasync", "rename", "unlink", "write_parquet", "_write_samples"} <= set(names)
    first_start = range(1, 15)
    for dies_at in sorted({*first_start, *range(1 + SEED % STEP, changes + 1, STEP)}):
        for halfway in (False, True) if names[dies_at - 1] == "pwritev" else (False,):
            data_dir, sender = tmp_path / f"{dies_at}{halfway}", Sender()
            assert die(disk, data_dir, sender, dies_at, halfway)
            assert not die(disk, data_dir, sender, 10**9, halfway)
            check(data_dir)


def test_a_kill_of_the_start_after_a_kill_loses_and_doubles_nothing(tmp_path: Path, disk: CrashingDisk) -> None:
    """Recovery may die at any change too, time after time: the one that comes through finds everything."""
    chance = random.Random(SEED)
    disk.arm(None)
    live(tmp_path / "whole", Sender())
    changes = disk.changes
    for number in range(max(200 // STEP, 4)):
        data_dir, sender = tmp_path / str(number), Sender()
        assert die(disk, data_dir, sender, chance.randrange(1, changes), chance.random() < 0.5)
        for again in range(1, 8):  # each start comes a little further than the one before
            die(disk, data_dir, sender, again * 2, chance.random() < 0.5)
        assert not die(disk, data_dir, sender, 10**9, False)
        check(data_dir)
