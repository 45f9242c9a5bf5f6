"""What the store forgets, what it merges, and that nothing else goes with it."""

from pathlib import Path

import pyarrow as pa
import pytest
from store_frames import NOW_MS, found, frame, open_store, spans

from stackctl.embedded.otlp.shape import CORE
from stackctl.embedded.store.digests import WINDOW_MS, digest
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.layout import DIGESTS, SPANS, Layout
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.retention import MERGE_AT_FILES, Retention


def sealed_segments(data_dir: Path, count: int, step_ms: int) -> Layout:
    """A store of `count` segments of two spans, `step_ms` apart in arrival, without log files."""
    store = open_store(data_dir, rows=2)
    for n in range(count):
        store.append(frame(n * 2, n * 2 + 1, arrival_ms=NOW_MS + n * step_ms))
        store.roll_if_due()
    store.seal_closed()
    store.trim(store.last_seq)
    store.close()
    return store.layout


def test_digests_go_when_nothing_is_compared_with_them_any_more(tmp_path: Path) -> None:
    """Senders that do not batch make as many digests as spans: they stay for the window, not for the retention."""
    half_ms = WINDOW_MS // 2
    layout = sealed_segments(tmp_path, 5, step_ms=half_ms)
    assert len(layout.sealed(DIGESTS)) == 5
    Retention(layout, 10**6, 10**12).run(NOW_MS + 4 * half_ms)
    assert [file.newest_ms for file in layout.sealed(DIGESTS)] == [NOW_MS + n * half_ms for n in (2, 3, 4)]
    assert len(found(tmp_path)) == 10


def test_retention_forgets_by_arrival_not_by_span_time(tmp_path: Path) -> None:
    """Segments whose newest span arrived before the horizon go; the spans' own times do not matter."""
    layout = sealed_segments(tmp_path, 5, step_ms=3_600_000)
    Retention(layout, 3 * 3600, 10**12).run(NOW_MS + 4 * 3_600_000)
    assert found(tmp_path) == [2, 3, 4, 5, 6, 7, 8, 9]
    Retention(layout, 3 * 3600, 10**12).run(NOW_MS + 6 * 3_600_000)
    assert found(tmp_path) == [6, 7, 8, 9]


def test_retention_by_size_forgets_the_oldest_first(tmp_path: Path) -> None:
    """When the data directory holds more than allowed, the oldest arrivals go until it does not."""
    layout = sealed_segments(tmp_path, 6, step_ms=1000)
    sizes = [layout.path(file).stat().st_size for file in layout.sealed(SPANS)]
    total = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    Retention(layout, 10**6, total - sizes[0] - 1).run(NOW_MS + 10_000)
    assert found(tmp_path) == [4, 5, 6, 7, 8, 9, 10, 11]


def test_merging_keeps_nothing_from_growing_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few spans an hour for days: small files are merged again and again, and yet the oldest spans go in time."""
    monkeypatch.setattr("stackctl.embedded.store.retention.GRACE_SECONDS", -1.0)
    days, step_ms = 2, 20 * 60_000
    store, marks = open_store(tmp_path, rows=1), []
    retention = Retention(store.layout, days * 86_400, 10**12)
    for n in range(3 * 72):
        now = NOW_MS + n * step_ms
        table = spans(n).set_column(CORE.names.index("arrival_ms"), "arrival_ms", pa.array([now]))
        store.append(Frame(now, (digest("trace", str(n).encode()),), table, None, b"inc"))
        store.roll_if_due()
        store.seal_closed()
        store.trim(store.last_seq)
        retention.run(now)
        if n % 8 == 0:
            assert (n - min(found(tmp_path))) * step_ms <= days * 86_400_000 * 1.2
        marks.append(len(store.layout.sealed(SPANS)))
    store.close()
    assert len(found(tmp_path)) >= days * 72
    assert max(marks) < days * 72 / 2, "nothing was merged"


def test_merging_small_segments_keeps_every_span_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neighbours become one file that readers prefer at once; its sources go after the queries that read them."""
    layout = sealed_segments(tmp_path, MERGE_AT_FILES + 3, step_ms=1000)
    reader = SpanReader(tmp_path)
    before = sorted(found(tmp_path, reader))
    retention = Retention(layout, 10**6, 10**12)
    retention.run(NOW_MS)
    assert len(reader.segments()) == 1
    assert sorted(found(tmp_path, reader)) == before
    assert len(list(layout.root.glob("spans-*.parquet"))) == MERGE_AT_FILES + 4
    monkeypatch.setattr("stackctl.embedded.store.retention.GRACE_SECONDS", -1.0)
    retention.run(NOW_MS)
    assert len(list(layout.root.glob("spans-*.parquet"))) == 1
    assert sorted(found(tmp_path, reader)) == before
