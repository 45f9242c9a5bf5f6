"""Logs that were cut or damaged, at every byte: ingest starts, loses no whole frame, and says what it found."""

import os
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from old_frames import earlier_form
from otlp_messages import call_request

from stackctl.bench.ingest import IngestProcess, count_calls, count_spans
from stackctl.embedded.series import blocks
from stackctl.embedded.series import frame as sample_frames
from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head
from stackctl.embedded.series.layout import SeriesLayout
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.embedded.store.frame import Frame, scan
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.retention import MERGE_AT_FILES, Retention
from stackctl.embedded.store.writer import SealLimits, SpanStore
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.errors import UpstreamFailed
from stackctl.promql import Matcher

NOW_MS = 1_800_000_000_000
Damage = Callable[[bytes, int], bytes]


@pytest.fixture(autouse=True)
def no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of starts: none of them is about power cuts."""
    monkeypatch.setattr(os, "fsync", lambda handle: None)


def unsynced(handle: int) -> None:
    """Sync nothing."""


def cut(data: bytes, at: int) -> bytes:
    """End before a byte."""
    return data[:at]


def flipped(data: bytes, at: int) -> bytes:
    """Another value of one byte."""
    return data[:at] + bytes([data[at] ^ random.Random(at).randrange(1, 256)]) + data[at + 1 :]


# --- spans ------------------------------------------------------------------------------------------------------------
def spans(number: int) -> Frame:
    return Frame(
        NOW_MS, (b"%016d" % number,), pa.table({"tid_hi": [7], "span_id": [number], "name": ["chat"]}), None, b"inc"
    )


def open_store(data_dir: Path) -> SpanStore:
    return SpanStore(data_dir, clock_ms=lambda: NOW_MS, sync=unsynced)


def ids(data_dir: Path) -> list[int]:
    hot = SpanReader(data_dir).hot()
    return [] if hot is None else hot["span_id"].to_pylist()


# Numbers of the frames that an earlier stackctl wrote: none, all, those before the last, the last.
EARLIER = [(), (1, 2, 3, 4), (1, 2), (3, 4)]


def span_log(data_dir: Path, frames: int, acknowledged: int, earlier: Sequence[int]) -> tuple[Path, bytes, list[int]]:
    """A log of so many frames; return its path, its bytes, and where its frames end."""
    store = open_store(data_dir)
    for number in range(1, frames + 1):
        store.append(spans(number))
    path = store.layout.log_file(1)
    store.close()
    store.layout.committed.write_bytes(acknowledged.to_bytes(8, "little"))
    data = earlier_form(path.read_bytes(), earlier)
    path.write_bytes(data)
    return path, data, [one.end for one in scan(memoryview(data))]


@pytest.mark.parametrize("damage", [cut, flipped])
@pytest.mark.parametrize("earlier", EARLIER)
def test_an_unacknowledged_last_frame_costs_itself_at_whatever_byte_it_ends(
    tmp_path: Path, damage: Damage, earlier: Sequence[int]
) -> None:
    """Cut or corrupted at each of its bytes: both frames before it stay, its number is given again, nothing is lost."""
    path, data, ends = span_log(tmp_path, frames=3, acknowledged=2, earlier=earlier)
    for at in range(ends[1], ends[2]):
        path.write_bytes(damage(data, at))
        store = open_store(tmp_path)
        assert (store.last_seq, store.spans_total, store.lost_frames()) == (2, 2, 0)
        assert store.torn_bytes == (at if damage is cut else ends[2]) - ends[1]
        assert spans(3).digests[0] not in store.digests  # the sender's repetition is taken
        assert store.append(spans(4)) == 3
        store.close()
        (tmp_path / "spans" / "committed").write_bytes((2).to_bytes(8, "little"))
    assert ids(tmp_path) == [1, 2]  # as far as `committed` says
    (tmp_path / "spans" / "committed").write_bytes((3).to_bytes(8, "little"))
    assert ids(tmp_path) == [1, 2, 4]


@pytest.mark.parametrize("earlier", EARLIER)
def test_an_acknowledged_frame_that_is_damaged_is_said_to_be_lost(tmp_path: Path, earlier: Sequence[int]) -> None:
    """At each byte of the last frame and of one between others: the others stay, and the loss is counted."""
    path, data, ends = span_log(tmp_path, frames=4, acknowledged=4, earlier=earlier)
    for frame, left in ((4, [1, 2, 3]), (2, [1, 3, 4])):
        for at in range(ends[frame - 2], ends[frame - 1]):
            path.write_bytes(flipped(data, at))
            store = open_store(tmp_path)
            assert (store.last_seq, store.spans_total, store.lost_frames()) == (4, 3, 1)
            assert store.lost_frames(after_seq=frame) == 0
            assert store.missing(after_seq=frame - 1) == 1
            store.close()
        assert ids(tmp_path) == left


def test_a_number_that_the_samples_hold_is_not_given_again(tmp_path: Path) -> None:
    """Where the span log's end and its `committed` are gone, a new frame is still counted: its number is a new one."""
    path, data, ends = span_log(tmp_path, frames=3, acknowledged=0, earlier=())
    path.write_bytes(data[: ends[0]])
    store = open_store(tmp_path)
    store.skip_to(3)
    assert store.append(spans(9)) == 4


# --- samples ----------------------------------------------------------------------------------------------------------
WORK, HEAT, LATE = (Family(name, "gauge", ()) for name in ("work", "heat", "late"))


def open_head(data_dir: Path) -> Head:
    return Head(data_dir, clock_ms=lambda: NOW_MS, sync=unsynced)


def sample_log(data_dir: Path) -> tuple[Path, bytes, list[int]]:
    """A log of a state frame and four frames, of which the second and the third begin a series."""
    head = open_head(data_dir)
    for number, families in enumerate([[WORK], [WORK, HEAT], [WORK, LATE], [WORK, HEAT, LATE]], 1):
        points = [Points(family, (float(number),)) for family in families]
        head.append(points, NOW_MS + number, [b"%016d" % number])
    path = head.layout.log_file(1)
    data = path.read_bytes()
    return path, data, [end for _, end in sample_frames.scan(data)]


def samples(reader: SampleReader, *names: str) -> dict[str, list[float]]:
    return {
        name: [v for one in reader.select([Matcher("__name__", "=", name)], 0, 2**60) for v in one.v.tolist()]
        for name in names
    }


@pytest.mark.parametrize("damage", [cut, flipped])
def test_the_last_frame_of_samples_costs_itself_at_whatever_byte_it_ends(tmp_path: Path, damage: Damage) -> None:
    """What stands before it stays, its requests are not known, so they are taken again, and counting goes on."""
    path, data, ends = sample_log(tmp_path)
    for at in range(ends[3], ends[4]):
        path.write_bytes(damage(data, at))
        head = open_head(tmp_path)
        assert head.torn_bytes == (at if damage is cut else ends[4]) - ends[3]
        assert [head.known(b"%016d" % number) for number in (1, 2, 3, 4)] == [True, True, True, False]
        head.append([Points(WORK, (9.0,))], NOW_MS + 9, [b"%016d" % 4])
    assert samples(SampleReader(tmp_path), "work", "heat", "late") == {"work": [1, 2, 3, 9], "heat": [2], "late": [3]}


def test_a_damaged_frame_between_others_costs_what_only_it_says(tmp_path: Path) -> None:
    """Ingest starts, readers and blocks leave out samples whose series nobody knows, and take none for another's."""
    path, data, ends = sample_log(tmp_path)
    left = {"work": [1, 3, 4, 9], "heat": [9], "late": [3, 4], "new": [9]}
    for at in range(ends[1], ends[2]):
        path.write_bytes(flipped(data, at))
        head = open_head(tmp_path)
        assert head.torn_bytes == ends[2] - ends[1]
        new = Family("new", "gauge", ())
        head.append([Points(one, (9.0,)) for one in (WORK, HEAT, new)], NOW_MS + 9)
        if at % 20 == 0:
            assert samples(SampleReader(tmp_path), *left) == left
    blocks.seal(SeriesLayout.below(tmp_path), 1)
    assert not path.exists()
    assert samples(SampleReader(tmp_path), *left) == left


def test_a_log_file_without_its_beginning_is_set_aside_by_name(tmp_path: Path) -> None:
    """Damage at each byte of the state frame: ingest starts with a new file, and says which one it does not read."""
    path, data, ends = sample_log(tmp_path)
    for at in range(ends[0]):
        for old in (*path.parent.glob("*.samples"), *path.parent.glob("*.damaged")):
            old.unlink()
        path.write_bytes(flipped(data, at))
        head = open_head(tmp_path)
        assert head.set_aside == ["0000000001.damaged"]
        head.append([Points(WORK, (9.0,))], NOW_MS + 9)
    assert samples(SampleReader(tmp_path), "work") == {"work": [9]}
    assert (path.parent / "0000000001.damaged").read_bytes() == flipped(data, ends[0] - 1)


def test_a_reader_follows_a_log_with_damage_in_it(tmp_path: Path) -> None:
    """A query process that was reading sees what comes behind the damage, once."""
    path, data, ends = sample_log(tmp_path)
    path.write_bytes(data[: ends[1]])
    reader = SampleReader(tmp_path)
    assert samples(reader, "work") == {"work": [1]}
    path.write_bytes(flipped(data, ends[1] + 30))
    assert samples(reader, "work") == {"work": [1, 3, 4]}
    assert samples(reader, "work") == {"work": [1, 3, 4]}


# --- segments ---------------------------------------------------------------------------------------------------------
def segments(data_dir: Path, count: int) -> list[Path]:
    """Segments of one span each, without a log."""
    store = SpanStore(data_dir, SealLimits(rows=1), clock_ms=lambda: NOW_MS, sync=unsynced)
    for number in range(1, count + 1):
        store.append(spans(number))
        store.roll_if_due()
    store.seal_closed()
    store.trim(store.last_seq)
    store.close()
    return SpanReader(data_dir).segments()


def test_a_segment_that_cannot_be_read_is_named_and_merged_with_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Retention goes on with the others and leaves it as it is; a question that needs it is told which file it is."""
    files = segments(tmp_path, MERGE_AT_FILES + 1)
    broken = files[0].read_bytes()[:-20]
    files[0].write_bytes(broken)
    retention = Retention(SpanStore(tmp_path, sync=unsynced).layout, 10**9, 10**12)
    retention.run(NOW_MS)
    assert f"{files[0].name} is damaged" in caplog.text
    retention.run(NOW_MS)
    (first, merged) = SpanReader(tmp_path).segments()
    assert first.read_bytes() == broken
    assert pq.read_table(merged)["span_id"].to_pylist() == list(range(2, MERGE_AT_FILES + 2))
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    with pytest.raises(UpstreamFailed, match=files[0].name), database.session():
        pass
    database.close()


def test_a_segment_that_goes_under_a_question_is_no_fault(tmp_path: Path) -> None:
    """Retention deletes whenever it wants: who was asking is told to ask again, by a status that says so."""
    (file,) = segments(tmp_path, 1)
    database = SpanDatabase(SpanReader(tmp_path), tmp_path / "spans")
    with database.session() as session:
        file.unlink()
        with pytest.raises(UpstreamFailed, match="cannot be read") as caught:
            session.rows(f"SELECT span_id FROM read_parquet('{file}')")
    assert "ask again" in caught.value.next_step
    database.close()


def test_a_block_that_goes_under_a_question_is_read_without_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Retention takes a block after it was listed: the answer is what is left, not an error."""
    sample_log(tmp_path)
    layout = SeriesLayout.below(tmp_path)
    blocks.seal(layout, 1)
    again = open_head(tmp_path)
    again.append([Points(WORK, (9.0,))], NOW_MS + 10_000)
    reader = SampleReader(tmp_path)
    listed = SampleReader._open

    def late(self: SampleReader, start_ms: int, end_ms: int) -> list:
        monkeypatch.undo()
        assert blocks.forget(layout, NOW_MS + 1000, 2**40) == 1
        return listed(self, start_ms, end_ms)

    monkeypatch.setattr(SampleReader, "_open", late)
    assert samples(reader, "work") == {"work": [9]}


# --- the process ------------------------------------------------------------------------------------------------------
def start_over(ingest: IngestProcess, log: Path) -> tuple[dict, str]:
    """Start it again with a log of its own; return its status and what it said."""
    config = ingest.data_dir.parent / f"{ingest.data_dir.name}.engine.json"
    with log.open("wb") as file:
        ingest.process = subprocess.Popen([sys.executable, "-m", "stackctl.embedded.ingest", config], stderr=file)
    ingest.wait_ready()
    return ingest.status(), log.read_text()


def sent(ingest: IngestProcess, first_id: int) -> None:
    headers = {"content-type": "application/x-protobuf"}
    with httpx2.Client(trust_env=False, timeout=20) as client:
        url = f"http://127.0.0.1:{ingest.ports['otlp_http']}/v1/traces"
        assert client.post(url, content=call_request(2, first_id), headers=headers).status_code == 200


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[IngestProcess]:
    """An ingest process that took three requests and was killed, its samples up to date."""
    process = IngestProcess(tmp_path / "data")
    process.wait_ready()
    for first_id in (1, 11, 21):
        sent(process, first_id)
    (process.data_dir / "series" / "wanted").touch()
    deadline = time.monotonic() + 30
    while process.status()["durable_seq"] < 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.kill()
    yield process
    if process.process.poll() is None:
        process.kill()


def test_the_process_says_what_it_found(ingest: IngestProcess, tmp_path: Path) -> None:
    """Torn tails, a lost frame and lost samples are in the log by what they are and in the status by number."""
    spans_log = ingest.data_dir / "spans" / "log" / f"{1:016d}.log"
    samples_log = ingest.data_dir / "series" / "log" / f"{1:010d}.samples"
    whole = spans_log.read_bytes()
    ends = [one.end for one in scan(memoryview(whole))]
    spans_log.write_bytes(whole + whole[ends[1] : ends[2] - 1])
    samples_log.write_bytes(samples_log.read_bytes() + b"SCM1")
    status, said = start_over(ingest, tmp_path / "torn.log")
    assert (status["torn_bytes"], status["lost_frames"], status["uncounted_frames"]) == (
        ends[2] - ends[1] - 1 + 4,
        0,
        0,
    )
    assert "spans: passed over" in said
    assert "samples: passed over 4 bytes" in said
    assert "ERROR" not in said
    ingest.kill()

    spans_log.write_bytes(flipped(whole, ends[1] + 50))
    samples_log.write_bytes(flipped(samples_log.read_bytes(), 20))
    status, said = start_over(ingest, tmp_path / "lost.log")
    assert (status["lost_frames"], status["uncounted_frames"]) == (1, 1)
    assert status["damaged_files"] == ["0000000001.damaged"]
    assert "1 acknowledged frames are damaged and lost" in said
    assert "series/log/0000000001.damaged" in said
    assert "counters lack what 1 lost frames held" in said
    sent(ingest, 31)
    ingest.stop()
    assert count_spans(ingest.data_dir) == (6, 6)
    assert count_calls(ingest.data_dir) == 6
