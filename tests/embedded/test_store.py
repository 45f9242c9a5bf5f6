"""The store: nothing acknowledged is lost or doubled, whatever stops it, and readers see all of it once."""

import os
import random
import re
from pathlib import Path

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from store_frames import NOW_MS, found, frame, newest_log, open_store, spans

from stackctl.embedded.store import digests as digests_module
from stackctl.embedded.store.columncap import ColumnCap
from stackctl.embedded.store.digests import WINDOW_MS, DigestWindow, digest
from stackctl.embedded.store.frame import Frame, Gap, encode, scan
from stackctl.embedded.store.layout import DIGESTS, EVALUATIONS, SPANS, Sealed, lock_writer
from stackctl.embedded.store.log import read_log
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.seal import seal
from stackctl.embedded.store.writer import SealLimits, SpanStore
from stackctl.errors import StoreUnusable
from tests import absent


def test_what_was_appended_is_read_back_at_once_and_after_a_restart(tmp_path: Path) -> None:
    """A frame is visible when `append` returns, and there is no other way to lose it than retention."""
    store, reader = open_store(tmp_path), SpanReader(tmp_path)
    assert reader.hot() is None
    for n in range(5):
        assert store.append(frame(n * 2, n * 2 + 1)) == n + 1
        assert found(tmp_path, reader) == list(range(n * 2 + 2))
    store.close()
    again = open_store(tmp_path)
    assert (again.last_seq, again.spans_total, again.torn_bytes) == (5, 10, 0)
    assert list(again.replay(3)) == [(4, b"inc"), (5, b"inc")]


def test_a_torn_tail_is_cut_at_the_last_whole_frame(tmp_path: Path) -> None:
    """Whatever length of the last frame reached the disk, the frames before it stay and the next one follows them."""
    whole = b"".join(map(bytes, encode(frame(3), 3)))
    for kept in {1, 20, len(whole) // 2, len(whole) - 1}:
        data_dir = tmp_path / str(kept)
        store = open_store(data_dir)
        store.append(frame(1))
        store.append(frame(2))
        with newest_log(store).open("ab") as file:
            file.write(whole[:kept])
        store.close()
        again = open_store(data_dir)
        assert (again.torn_bytes, again.last_seq) == (kept, 2)
        again.append(frame(4))
        assert found(data_dir) == [1, 2, 4]


def test_damage_costs_its_frame_only(tmp_path: Path) -> None:
    """A flipped bit within a frame does not hide the frames behind it, and is counted."""
    store = open_store(tmp_path)
    for n in range(6):
        store.append(frame(n))
    data = bytearray(newest_log(store).read_bytes())
    frames = list(scan(memoryview(bytes(data))))
    data[frames[2].end - 5] ^= 0xFF
    newest_log(store).write_bytes(data)
    store.close()
    again = open_store(tmp_path)
    assert found(tmp_path) == [0, 1, 3, 4, 5]
    assert again.torn_bytes == frames[2].end - frames[1].end
    assert again.append(frame(9)) == 7


def test_scan_survives_any_bytes() -> None:
    """Random damage anywhere gives whole frames and gaps that cover the rest, never an exception."""
    rng = random.Random(5)
    good = b"".join(b"".join(map(bytes, encode(frame(n), n))) for n in range(1, 5))
    for _ in range(200):
        data = bytearray(good)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        cut = data[: rng.randrange(len(data))]
        position = 0
        for item in scan(memoryview(bytes(cut))):
            start = item.start if isinstance(item, Gap) else None
            assert start in (None, position)
            position = item.end
        assert position == len(cut)


class Disk:
    """A sync that fails when told."""

    def __init__(self) -> None:
        self.broken = False

    def __call__(self, handle: int) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        os.fdatasync(handle)


def test_a_refused_write_keeps_nothing_and_the_disk_may_recover(tmp_path: Path) -> None:
    """A failed sync refuses the frame: no reader and no restart ever sees it; later frames are taken again."""
    disk = Disk()
    store, reader = open_store(tmp_path, sync=disk), SpanReader(tmp_path)
    store.append(frame(1))
    disk.broken = True
    for _ in range(3):
        with pytest.raises(StoreUnusable, match="No space left"):
            store.append(frame(2))
    assert found(tmp_path, reader) == [1]
    disk.broken = False
    assert store.append(frame(3)) == 2
    assert found(tmp_path, reader) == [1, 3]
    assert frame(2).digests[0] not in store.digests
    store.close()
    assert open_store(tmp_path).torn_bytes == 0
    assert found(tmp_path) == [1, 3]


def test_a_frame_that_readers_cannot_be_told_of_is_stored_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once durable it is acknowledged, and its repetition known; the next frame makes it visible."""

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    store = open_store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", refuse)
        assert store.append(frame(1)) == 1
    assert frame(1).digests[0] in store.digests
    store.append(frame(2))
    assert found(tmp_path) == [1, 2]


def test_sealing_swaps_the_log_for_a_segment_without_a_span_twice_or_missing(tmp_path: Path) -> None:
    """Before, between and after sealing and trimming, a reader sees every span exactly once."""
    store, reader = open_store(tmp_path, rows=10), SpanReader(tmp_path)
    expected: list[int] = []
    for n in range(30):
        store.append(frame(n * 2, n * 2 + 1))
        expected += [n * 2, n * 2 + 1]
        store.roll_if_due()
        assert sorted(found(tmp_path, reader)) == expected
        if n % 7 == 0:
            store.seal_closed()
            assert sorted(found(tmp_path, reader)) == expected
            store.trim(store.last_seq - 4)
            assert sorted(found(tmp_path, reader)) == expected
    store.seal_closed()
    assert len(reader.segments()) == 6
    store.close()
    again = open_store(tmp_path, rows=10)
    assert (again.last_seq, sorted(found(tmp_path))) == (30, expected)


def test_log_files_stay_until_the_series_log_has_their_increments(tmp_path: Path) -> None:
    """A counter that is behind can be brought up to date from the log, sealed or not."""
    store = open_store(tmp_path, rows=2)
    for n in range(6):
        store.append(frame(n * 2, n * 2 + 1))
        store.roll_if_due()
    store.seal_closed()
    store.trim(applied_seq=2)
    assert [seq for seq, _ in store.replay(2)] == [3, 4, 5, 6]
    store.trim(applied_seq=6)
    assert store.layout.logs() == [7]
    store.close()
    assert open_store(tmp_path).last_seq == 6


def test_an_old_log_file_is_sealed_by_age(tmp_path: Path) -> None:
    """A few spans do not stay in the log for ever: after five minutes they are a segment."""
    clock = [NOW_MS]
    store = SpanStore(tmp_path, clock_ms=lambda: clock[0])
    assert not store.roll_if_due()
    store.append(frame(1))
    clock[0] += 5 * 60_000 - 1
    assert not store.roll_if_due()
    clock[0] += 1
    assert store.roll_if_due()
    store.seal_closed()
    assert found(tmp_path) == [1]


def test_a_seal_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    """A crash between two files of one seal, or before the log file went, leaves no doubles."""
    store = open_store(tmp_path, rows=2)
    evaluations = pa.table({"name": ["grounded"], "tid_hi": pa.array([1])})
    store.append(Frame(NOW_MS, (digest("trace", b"x"),), spans(1, 2), evaluations, b""))
    store.roll_if_due()
    made = seal(store.layout, 1)
    assert [file.kind for file in made] == [DIGESTS, EVALUATIONS, SPANS]
    store.layout.path(made[-1]).unlink()
    snapshot = SpanReader(tmp_path).snapshot()
    assert (snapshot.hot.num_rows, snapshot.evaluations_hot.num_rows, snapshot.evaluation_segments) == (2, 1, ())
    store.close()
    again = open_store(tmp_path, rows=2)
    again.seal_closed()
    snapshot = SpanReader(tmp_path).snapshot()
    assert (snapshot.hot, snapshot.evaluations_hot) == (None, None)
    assert (len(snapshot.segments), len(snapshot.evaluation_segments)) == (1, 1)


def test_repeated_requests_are_known_across_a_crash_and_a_seal(tmp_path: Path) -> None:
    """The digest window lives in frames, then in a file beside the segment, and ends after ten minutes."""
    clock = [NOW_MS]
    store = SpanStore(tmp_path, SealLimits(rows=2), clock_ms=lambda: clock[0])
    first, second = frame(1, 2), frame(3)
    store.append(first)
    store.roll_if_due()
    store.append(second)
    store.seal_closed()
    store.trim(2)
    store.close()
    again = SpanStore(tmp_path, SealLimits(rows=2), clock_ms=lambda: clock[0])
    assert first.digests[0] in again.digests
    assert second.digests[0] in again.digests
    again.close()
    clock[0] += WINDOW_MS + 1
    late = SpanStore(tmp_path, SealLimits(rows=2), clock_ms=lambda: clock[0])
    assert first.digests[0] not in late.digests
    assert late.layout.sealed(DIGESTS) == []


def test_the_digest_window_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory stays bounded where senders do not batch: the oldest requests are forgotten first."""
    monkeypatch.setattr(digests_module, "MAX_DIGESTS", 3)
    window = DigestWindow()
    for n in range(5):
        window.add([b"%d" % n], NOW_MS)
    assert len(window) == 3
    assert b"4" in window
    assert b"1" not in window


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second process on the same data directory is refused by name; the lock goes with its holder."""
    held = lock_writer(tmp_path)
    with pytest.raises(StoreUnusable, match="another process"):
        lock_writer(tmp_path)
    os.close(held)
    os.close(lock_writer(tmp_path))


def test_data_is_for_its_owner_only(tmp_path: Path) -> None:
    """Directories are 0700 and files 0600: spans may hold what others must not read."""
    os.close(lock_writer(tmp_path / "data"))
    store = open_store(tmp_path / "data", rows=1)
    store.append(frame(1))
    store.roll_if_due()
    store.seal_closed()
    assert (tmp_path / "data").stat().st_mode & 0o077 == 0
    assert store.layout.root.stat().st_mode & 0o077 == 0
    for path in store.layout.root.rglob("*"):
        assert path.is_dir() or path.stat().st_mode & 0o077 == 0, path


def test_a_segment_has_no_more_columns_than_the_cap() -> None:
    """Values in key names end in `rest`, readable, not in thousands of columns; what came first stays a column, and
    so does what the product itself reads."""
    cap = ColumnCap(limit=3)
    first = cap.admit(spans(1, 2, a=["x", "y"], b=["x", None]))
    second = cap.admit(spans(3, a=["z"], c=["1"], d=["2"], e=["3"]))
    late = cap.admit(spans(4, **{"f": ["4"], "gen_ai.response.id": ["r"]}))
    assert [name for name in first.column_names if name.startswith("s:")] == ["s:a:s", "s:b:s"]
    assert [name for name in late.column_names if name.startswith("s:")] == ["s:gen_ai.response.id:s"]
    assert [name for name in second.column_names if name.startswith("s:")] == ["s:a:s", "s:c:s"]
    assert orjson.loads(second.column("rest")[0].as_py()) == {"d": "2", "e": "3"}


def test_evaluations_are_not_trimmed_before_they_are_sealed(tmp_path: Path) -> None:
    """A log file without spans goes once its evaluations and digests stand in files of their own, as any other."""
    store = open_store(tmp_path, rows=1)
    judged = pa.table({"name": ["grounded"], "tid_hi": pa.array([1])})
    store.append(Frame(NOW_MS, (digest("logs", b"x"),), None, judged, b""))
    store.roll_if_due()
    store.append(Frame(NOW_MS, (digest("logs", b"y"),), None, judged, b""))
    store.trim(2)  # neither the closed file nor the open one is sealed
    assert store.layout.logs() == [1, 2]
    store.roll_if_due()
    store.seal_closed()
    store.trim(2)
    assert store.layout.logs() == [3]
    store.close()
    snapshot = SpanReader(tmp_path).snapshot()
    assert sum(pq.read_metadata(path).num_rows for path in snapshot.evaluation_segments) == 2
    assert digest("logs", b"y") in open_store(tmp_path).digests


def test_a_roll_that_the_disk_refuses_leaves_no_file_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The open file goes on beyond the number that the next one would have had, and nothing of it is passed over."""

    def refuse(directory: Path) -> None:
        raise OSError(5, "Input/output error")

    store = open_store(tmp_path, rows=1)
    store.append(frame(1))
    handles = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr("stackctl.embedded.store.log.sync_directory", refuse)
        for _ in range(3):
            with pytest.raises(StoreUnusable, match="Input/output"):
                store.roll_if_due()
    assert store.layout.logs() == [1]
    assert len(os.listdir("/proc/self/fd")) == handles
    store.append(frame(2))
    assert [seq for seq, _ in store.replay(1)] == [2]


def test_what_a_killed_process_was_writing_is_removed(tmp_path: Path) -> None:
    """Half a segment does not stay on disk for ever: the next one may have another name."""
    open_store(tmp_path).close()
    half = tmp_path / "spans" / f".{Sealed(1, 9, NOW_MS, SPANS).filename}.tmp"
    half.write_bytes(b"PAR1")
    open_store(tmp_path).close()
    assert not half.exists()


def test_a_log_that_was_read_is_not_held_in_memory(tmp_path: Path) -> None:
    """Its frames can be read again and again; a process that seals a large file stays small."""
    if not Path("/proc/self/smaps").exists():
        absent.skip("mapped pages")
    store = open_store(tmp_path)
    texts = [random.Random(number).randbytes(500_000).hex() for number in range(8)]
    for number, text in enumerate(texts, 1):
        store.append(frame(number, a=[text]))
    log = newest_log(store)
    frames, _ = read_log(log)

    def held() -> int:
        """Bytes of the file that this process holds."""
        maps = Path("/proc/self/smaps").read_text().split(str(log))[1:]
        return sum(int(re.search(r"Rss: +(\d+) kB", one)[1]) * 1024 for one in maps)

    assert held() < log.stat().st_size / 4
    for _ in range(2):
        assert [one.spans()["s:a:s"][0].as_py() for one in frames] == texts
        assert held() > log.stat().st_size / 2
        for one in frames:
            one.let_go()
        assert held() < log.stat().st_size / 4
    store.close()


def test_file_names_are_read_back() -> None:
    """A segment's name says which frames it holds; anything else in the directory is ignored."""
    file = Sealed(3, 9, NOW_MS, SPANS)
    assert Sealed.parse(file.filename) == file
    assert Sealed.parse(f".{file.filename}.tmp") is None
    assert Sealed.parse("committed") is None


def test_hot_spans_outlive_their_log_file(tmp_path: Path) -> None:
    """Who saw a frame can read it for as long as he holds the view, whatever became of the file meanwhile."""
    store = open_store(tmp_path)
    store.append(frame(1, 2))
    snapshot = SpanReader(tmp_path).snapshot()
    log_file = newest_log(store)
    store.close()
    log_file.unlink()
    log_file.write_bytes(b"another")
    assert snapshot.hot["span_id"].to_pylist() == [1, 2]
