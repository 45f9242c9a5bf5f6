"""Log files go a little at a time, never below who reads them, and are gone after any stop."""

from itertools import pairwise
from pathlib import Path

import pytest
from worker_groups import group, line

from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.removal import aside, open_to_read, set_aside, shrink_away
from stackctl.embedded.store.writer import SealLimits, SpanStore


def test_a_file_shrinks_before_it_goes(tmp_path: Path) -> None:
    """No step takes more than two megabytes, and between them others have their turn."""
    path = tmp_path / "0001.log"
    path.write_bytes(bytes(7 * 1024**2 + 5))
    set_aside(path)
    (gone,) = aside(tmp_path)
    sizes = [gone.stat().st_size]
    assert shrink_away(gone, lambda seconds: sizes.append(gone.stat().st_size) if seconds > 0 else None)
    assert [before - after for before, after in pairwise(sizes)] == [2 * 1024**2] * 3
    assert not any(tmp_path.iterdir())


def test_a_file_that_is_read_is_left_alone(tmp_path: Path) -> None:
    """Who has it open reads on; nobody opens it any more; closed, it goes."""
    path = tmp_path / "0001.log"
    path.write_bytes(b"frames")
    with open(open_to_read(path), "rb") as reader:
        set_aside(path)
        (gone,) = aside(tmp_path)
        assert not shrink_away(gone)
        assert reader.read() == b"frames"
        with pytest.raises(FileNotFoundError):
            open_to_read(path)
    assert shrink_away(gone)


def test_a_file_that_shrinks_already_is_not_opened(tmp_path: Path) -> None:
    """Found by its name a moment before that went, it is as if it had not been found."""
    path = tmp_path / "0001.log"
    path.write_bytes(bytes(5 * 1024**2))
    set_aside(path)
    (gone,) = aside(tmp_path)
    refused = []

    def look(_seconds: float) -> None:
        with pytest.raises(FileNotFoundError):
            open_to_read(gone)
        refused.append(gone)

    assert shrink_away(gone, look)
    assert refused


def test_a_snapshot_keeps_what_it_shows_and_a_start_removes_what_is_left(tmp_path: Path) -> None:
    """A view of before the seal reads its log file on; a writer that was killed meanwhile leaves nothing behind."""
    store = SpanStore(tmp_path, SealLimits(rows=1))
    store.append(Frame(1_000, (b"d" * 16,), line()[1].fill(group()).spans))
    reader = SpanReader(tmp_path)
    before = reader.snapshot()
    rows = before.hot.num_rows
    store.roll_if_due()
    store.seal_closed()
    store.trim(store.last_seq, shrink_away)
    (left,) = aside(store.layout.log_dir)
    after = reader.snapshot()
    assert len(after.segments) == 1
    assert not any(log.frames for log in after.logs)
    assert sum(frame.table().num_rows for log in before.logs for frame in log.frames) == rows > 0
    store.close()
    SpanStore(tmp_path).close()
    assert not left.exists()
