"""Sealing in a process of its own: the same files as in ingest, refusals told, and gentle only while it keeps up."""

import os
import socket
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import psutil
import pytest
from worker_groups import founded, group, line, named, stalling

from stackctl.embedded.nursery import BURST_SEALER, GENTLE_SEALER, SEALER, Nursery
from stackctl.embedded.sealing import Sealer
from stackctl.embedded.series import blocks
from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.stored import GroupCache, StoredBlock
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.layout import SPANS, Layout
from stackctl.embedded.store.seal import seal
from stackctl.embedded.store.writer import SealLimits, SpanStore

OURS: Final = str(os.getpriority(os.PRIO_PROCESS, 0))  # how nice processes are that give way to nobody


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    """One for all of these tests."""
    with founded() as found:
        yield found


def test_sealing_is_done_by_a_copy(nursery: Nursery, tmp_path: Path) -> None:
    """A log file becomes the same segments in a process of its own, and what the disk refuses there is told here."""
    store = SpanStore(tmp_path, SealLimits(rows=1))
    store.append(Frame(1_000, (b"d" * 16,), line()[1].fill(group()).spans))
    store.roll_if_due()
    store.seal_closed(partial(Sealer(nursery).seal, seal))
    (segment,) = store.layout.sealed(SPANS)
    apart = store.layout.path(segment).read_bytes()
    store.layout.path(segment).unlink()
    store.seal_closed()
    assert store.layout.path(segment).read_bytes() == apart
    store.close()
    with pytest.raises(FileNotFoundError):
        Sealer(nursery).seal(seal, Layout.below(tmp_path / "nowhere"), 1)


def test_samples_are_sealed_by_a_copy(nursery: Nursery, tmp_path: Path) -> None:
    """A block is the same whoever makes it, more series than are held at a time in the order of their samples."""
    made = {}
    for name, sealing in (("here", blocks.seal), ("apart", partial(Sealer(nursery).seal, blocks.seal))):
        head = Head(tmp_path / name, pace=Pace(roll_samples=1), clock_ms=lambda: 1_800_000_000_000)
        many = [Family("many", "gauge", (("number", f"{n:05d}"),)) for n in range(blocks.SERIES_AT_ONCE + 1)]
        wide = Family("wide", "histogram", (), (1.0, 2.0))
        head.append(
            [Points(wide, (1.0, 2.0, 3.0, 9.0, 4.0)), *(Points(one, (1.0,)) for one in many)], 1_800_000_000_000
        )
        assert head.beat()
        head.seal_closed(sealing)
        (block,) = (tmp_path / name / "series" / "blocks").iterdir()
        made[name] = {file.name: file.read_bytes() for file in block.iterdir()}
        labels = [one.labels for one in StoredBlock(block, GroupCache()).series()]
        assert [one.get("le") for one in labels[:5]] == ["1", "2", "+Inf", None, None]
        assert [one["number"] for one in labels[5:]] == [f"{n:05d}" for n in range(len(many))]
        head.close()
    assert made["here"] == made["apart"]


def test_sealing_gives_way_only_while_it_keeps_up(nursery: Nursery, tmp_path: Path) -> None:
    """Gentle sealing that log files pile up behind begins anew in earnest, and is not tried again for a minute."""
    layout = Layout.below(tmp_path)
    layout.create()
    now = 0.0
    sealer = Sealer(nursery, lambda: now)
    for number, now in enumerate((0.0, 1.0, 60.0, 62.0)):  # noqa: B007 - the sealer's clock
        assert sealer.seal(stalling, layout, number)
        for log in layout.log_dir.iterdir():
            log.unlink()
    tries = [line.split() for line in (layout.root / "tries").read_text().splitlines()]
    assert tries == [["0", "19"], ["1", "19"], ["1", OURS], ["2", OURS], ["3", "19"]]


def test_sealing_works_in_bursts_while_no_log_file_waits(nursery: Nursery, tmp_path: Path) -> None:
    """Where one waits behind the one that is sealed it works on end; only the open one does not wait."""
    layout = Layout.below(tmp_path)
    layout.create()
    for number in range(3):
        layout.log_file(number).touch()
    sealer = Sealer(nursery)
    assert [sealer.seal(named, layout, number) for number in (0, 1)] == [True, True]
    assert [(layout.root / f"as-{number}").read_text() for number in (0, 1)] == [GENTLE_SEALER, BURST_SEALER]


def test_sealing_is_in_earnest_where_log_files_have_piled_up(nursery: Nursery, tmp_path: Path) -> None:
    """After a start with many log files nobody waits for a gentle one to fall behind."""
    layout = Layout.below(tmp_path)
    layout.create()
    for number in range(4):
        layout.log_file(number).touch()
    assert Sealer(nursery).seal(stalling, layout, 0)
    assert (layout.root / "tries").read_text() == f"0 {OURS}\n"


def test_log_files_that_wait_to_be_trimmed_hurry_nobody(nursery: Nursery, tmp_path: Path) -> None:
    """Between two ticks of the counters sealed log files stay: what piles up is what is not sealed yet."""
    layout = Layout.below(tmp_path)
    layout.create()
    for number in range(1, 6):
        layout.log_file(number).touch()
    assert Sealer(nursery).seal(stalling, layout, 4)
    assert (layout.root / "tries").read_text() == "4 19\n"


@pytest.mark.parametrize(("task", "stands"), [(BURST_SEALER, True), (GENTLE_SEALER, False), (SEALER, False)])
def test_only_sealing_in_bursts_stands_still_most_of_the_time(nursery: Nursery, task: str, stands: bool) -> None:
    """Not what works on end, gently or in earnest; each can be ended at any time."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        child = nursery.bear(task, theirs)
        states: Counter[str] = Counter()
        while states[psutil.STATUS_SLEEPING] < 100:  # it waits for what it is to seal
            states[psutil.Process(child.pid).status()] += 1
        assert (states[psutil.STATUS_STOPPED] > 0) == stands
        child.kill()
        child.wait(5)
