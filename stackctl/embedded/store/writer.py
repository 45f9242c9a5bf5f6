"""The store's one writer: appends frames, recovers after any stop, rolls, seals, trims, forgets."""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from stackctl.embedded.store import frame as frames
from stackctl.embedded.store.columncap import ColumnCap
from stackctl.embedded.store.digests import WINDOW_MS, DigestWindow, read_digests
from stackctl.embedded.store.frame import Frame, StoredFrame
from stackctl.embedded.store.layout import DIGESTS, EVALUATIONS, SPANS, Layout, sync_directory
from stackctl.embedded.store.log import LogFile, Sync, read_log, walk_log
from stackctl.embedded.store.reader import read_committed
from stackctl.embedded.store.removal import aside, set_aside
from stackctl.embedded.store.seal import seal
from stackctl.errors import StoreUnusable


@dataclass(frozen=True)
class SealLimits:
    """When a log file is closed and becomes a segment.

    Attributes:
        rows: spans and evaluations in it.
        size_bytes: its size; bounds what a reader holds in memory.
        age_ms: time since its first frame.
    """

    rows: int = 250_000
    size_bytes: int = 192 * 1024**2
    age_ms: int = 5 * 60 * 1000


DEFAULT_LIMITS: Final = SealLimits()


@dataclass
class _Open:
    """The log file in use."""

    first: int
    file: LogFile
    rows: int = 0
    started_ms: int | None = None


class SpanStore:
    """Holds the right to write a store. One per data directory: take `lock_writer` first.

    Not thread-safe but for `seal_closed`, which works on closed files only and may run in a thread of its own.

    Args:
        data_dir: the stack's data directory.
        limits: when to seal.
        clock_ms: unix milliseconds.
        sync: makes a file's bytes durable.

    Raises:
        StoreUnusable: newer format, or the directory cannot be used.

    Attributes:
        last_seq: sequence number of the newest durable frame; 0 before the first.
        torn_bytes: bytes found at start that were no whole frame, and cut off or passed over.
        spans_total: spans found at start in unsealed frames, and appended since.
    """

    def __init__(
        self,
        data_dir: Path,
        limits: SealLimits = DEFAULT_LIMITS,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        sync: Sync = os.fdatasync,
    ) -> None:
        self.layout = Layout.below(data_dir)
        self.layout.create()
        self._limits, self._clock_ms, self._sync = limits, clock_ms, sync
        self.digests = DigestWindow()
        self.torn_bytes = 0
        self._lost: list[range] = []
        self.spans_total = 0
        self.last_seq = 0
        self._cap = ColumnCap()
        self._open = self._recover()
        self._committed = os.open(self.layout.committed, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
        self._publish()

    def append(self, frame: Frame) -> int:
        """Make one frame durable and visible to readers; return its sequence number.

        Raises:
            StoreUnusable: the disk refused. Nothing of the frame is kept; it may be appended again.
        """
        spans = None if frame.spans is None else self._cap.admit(frame.spans)
        capped = Frame(frame.arrival_ms, frame.digests, spans, frame.evaluations, frame.increments)
        seq = self.last_seq + 1
        self._open.file.append(frames.encode(capped, seq))
        self.last_seq = seq
        self._publish()
        self.digests.add(frame.digests, frame.arrival_ms)
        rows = sum(table.num_rows for table in (spans, frame.evaluations) if table is not None)
        self._open.rows += rows
        self.spans_total += spans.num_rows if spans is not None else 0
        if self._open.started_ms is None:
            self._open.started_ms = frame.arrival_ms
        return seq

    def roll_if_due(self) -> bool:
        """Close the log file when it is large or old enough; True when it was closed and waits for `seal_closed`."""
        current = self._open
        if current.started_ms is None:
            return False
        age = self._clock_ms() - current.started_ms
        due = current.rows >= self._limits.rows or current.file.size >= self._limits.size_bytes
        if not (due or age >= self._limits.age_ms):
            return False
        fresh = self.last_seq + 1
        path = self.layout.log_file(fresh)
        try:
            opened = LogFile(path, sync=self._sync)
        except StoreUnusable:
            path.unlink(missing_ok=True)  # the open file goes on beyond its number
            raise
        current.file.close()
        self._open = _Open(fresh, opened)
        self._cap = ColumnCap()
        return True

    def seal_closed(self, sealing: Callable[[Layout, int], object] = seal) -> None:
        """Write segments for closed log files that have none. Slow; safe beside `append`.

        Args:
            sealing: writes those of one log file; may have it done in another process.

        Raises:
            OSError: the disk refused; the log files stay and are tried again next time.
        """
        for first in self.layout.logs():
            if first < self._open.first and not self._is_sealed(first):
                sealing(self.layout, first)

    def replay(self, after_seq: int) -> Iterator[tuple[int, bytes]]:
        """Yield (sequence, increments) of the frames after one, in order: what a lagging series log misses."""
        logs = self.layout.logs()
        for first, following in zip(logs, [*logs[1:], self.last_seq + 1], strict=True):
            if following > after_seq + 1:
                for stored in read_log(self.layout.log_file(first))[0]:
                    if stored.seq > after_seq and stored.increments:
                        yield stored.seq, stored.increments

    def trim(self, applied_seq: int, remove: Callable[[Path], object] = Path.unlink) -> None:
        """Remove log files that a segment covers and whose increments the series log has.

        Args:
            applied_seq: newest frame whose increments are safe in the series log.
            remove: a file that nobody opens any more; what it leaves is removed the next time.
        """
        for first, following in pairwise(self.layout.logs()):
            if first < self._open.first and following - 1 <= applied_seq and self._is_sealed(first):
                set_aside(self.layout.log_file(first))
        gone = aside(self.layout.log_dir)
        if gone:
            sync_directory(self.layout.log_dir)  # half of a file must not have its name again after a power cut
        for path in gone:
            remove(path)

    def skip_to(self, seq: int) -> None:
        """Give no sequence number up to this one again: the series log has counted it, whatever became of the frame."""
        self.last_seq = max(self.last_seq, seq)

    def lost_frames(self, after_seq: int = 0) -> int:
        """How many acknowledged frames after one were damaged at the start: their rows are lost."""
        return sum(max(0, lost.stop - max(lost.start, after_seq + 1)) for lost in self._lost)

    def missing(self, after_seq: int) -> int:
        """How many frames after one `replay` cannot give: they are damaged, or their log file is gone."""
        gone = max(0, self.layout.logs()[0] - 1 - after_seq)
        return gone + self.lost_frames(after_seq)

    def close(self) -> None:
        """Let go of the files; everything acknowledged is durable already."""
        self._open.file.close()
        os.close(self._committed)

    def _is_sealed(self, first: int) -> bool:
        """True where everything of a log file stands in segments."""
        if self._covered(SPANS, first):  # the last to be written
            return True
        frames = (item for item in walk_log(self.layout.log_file(first)) if isinstance(item, StoredFrame))
        kind = None
        for stored in frames:
            if stored.span_rows:
                return False
            kind = EVALUATIONS if stored.evaluation_rows else kind or DIGESTS
        return kind is None or self._covered(kind, first)

    def _covered(self, kind: str, seq: int) -> bool:
        return any(file.covers(seq) for file in self.layout.sealed(kind))

    def _publish(self) -> None:
        """Tell readers how far they may read. Not synced: recovery finds the frames themselves."""
        # Some file systems need space even to overwrite. The frame is durable: readers see it with the next one.
        with suppress(OSError):
            os.pwrite(self._committed, self.last_seq.to_bytes(8, "little"), 0)

    def _recover(self) -> _Open:
        """Read what is there: sequence, recent digests, and the newest log file with its torn tail cut."""
        self._recall_sealed_digests()
        self._clear_temporary()
        sealed = [file.last for kind in (SPANS, EVALUATIONS, DIGESTS) for file in self.layout.sealed(kind)]
        logs = self.layout.logs() or [1 + max(sealed, default=0)]
        for first, following in pairwise(logs):
            found, gaps = read_log(self.layout.log_file(first))
            self._recall(found, sum(gap.end - gap.start for gap in gaps))
            self._lost += _holes(range(first, following), found)
        current = _Open(logs[-1], *self._resume(logs[-1]))
        # A number that was ever given is not given again: the series log may have counted it.
        self.last_seq = max(self.last_seq, logs[-1] - 1, read_committed(self.layout))
        return current

    def _clear_temporary(self) -> None:
        """Remove what a killed process was writing (done again, it may have another name) or removing."""
        for path in (*self.layout.root.glob(".*.tmp"), *aside(self.layout.log_dir)):
            path.unlink()

    def _resume(self, first: int) -> tuple[LogFile, int, int | None]:
        file, found, torn = LogFile.resume(self.layout.log_file(first), self._sync)
        self._recall(found, torn)
        newest = max([read_committed(self.layout), *(stored.seq for stored in found)])
        self._lost += _holes(range(first, newest + 1), found)
        rows = sum(stored.span_rows + stored.evaluation_rows for stored in found)
        for stored in found:
            if stored.span_rows:
                self._cap.learn(stored.spans())
        return file, rows, found[0].arrival_ms if found else None

    def _recall(self, found: list[StoredFrame], torn: int) -> None:
        self.torn_bytes += torn
        for stored in found:
            self.digests.add(stored.digests, stored.arrival_ms)
            self.spans_total += stored.span_rows
            self.last_seq = max(self.last_seq, stored.seq)

    def _recall_sealed_digests(self) -> None:
        """Load digest files of the window and remove older ones."""
        horizon = self._clock_ms() - WINDOW_MS
        for file in self.layout.sealed(DIGESTS):
            path = self.layout.path(file)
            if file.newest_ms < horizon:
                path.unlink()
                continue
            for one, arrival_ms in read_digests(path):
                self.digests.add((one,), arrival_ms)


def _holes(expected: range, found: list[StoredFrame]) -> list[range]:
    """The numbers that are expected and not found."""
    numbers = [expected.start - 1, *sorted(stored.seq for stored in found), expected.stop]
    return [range(low + 1, high) for low, high in pairwise(numbers) if high > low + 1]
