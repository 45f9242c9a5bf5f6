"""What the query process sees: sealed segments, and the frames that no segment covers yet.

Consistent without locks: log files are listed before segments, and a log file is removed only after its segment stands:
a span is in exactly one of the two. Frames that are written but not acknowledged (see `committed`) stay invisible.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from stackctl.embedded.store.frame import Gap, Packed, StoredFrame, scan
from stackctl.embedded.store.layout import EVALUATIONS, SPANS, Layout, Sealed, log_numbers, without_covered
from stackctl.embedded.store.listing import Listing
from stackctl.embedded.store.removal import open_to_read

# Tables of evaluations of one log file beyond which they are merged.
_MAX_PIECES = 24
# Of a log file, which may be large when a process starts.
_READ_BYTES = 16 * 1024**2


class _Descriptor:
    """A file's descriptor, closed with the last of those who hold it."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.close(self.number)


@dataclass(frozen=True, slots=True)
class HotFrame:
    """The spans of one frame, read again whenever they are asked for. Its file may be removed meanwhile.

    Attributes:
        rows: how many.
    """

    rows: int
    _file: _Descriptor
    _offset: int
    _size: int

    def table(self) -> pa.Table:
        """Decode them."""
        section = os.pread(self._file.number, self._size, self._offset)
        return Packed(self.rows, (), section).table()


@dataclass(frozen=True)
class HotLog:
    """A log file that no segment covers yet.

    Attributes:
        first: its first sequence number.
        frames: those with spans; the next snapshots have the same ones, and more behind them.
    """

    first: int
    frames: tuple[HotFrame, ...]


@dataclass(frozen=True)
class Snapshot:
    """One consistent view of the store; immutable, valid as long as it is held.

    Attributes:
        segments: Parquet files of sealed spans, in order of arrival.
        logs: spans that no segment holds yet.
        evaluation_segments: Parquet files of sealed evaluations.
        evaluations_hot: evaluations that no segment holds yet, None when there are none.
        last_seq: newest frame within the view; the view changes only when this or the segments do.
    """

    segments: tuple[Path, ...]
    logs: tuple[HotLog, ...]
    evaluation_segments: tuple[Path, ...]
    evaluations_hot: pa.Table | None
    last_seq: int

    @cached_property
    def hot(self) -> pa.Table | None:
        """The spans of the logs under one another, None when there are none."""
        return concat([frame.table() for log in self.logs for frame in log.frames])


class SpanReader:
    """Reads a store that another process writes.

    Cheap to ask often: only bytes that came since the last call are read. Safe from several threads.

    Args:
        data_dir: the stack's data directory; may be empty still.
    """

    def __init__(self, data_dir: Path) -> None:
        self._layout = Layout.below(data_dir)
        self._tails: dict[int, _Tail] = {}
        self._lock = threading.Lock()
        self._logs, self._sealed = Listing(self._layout.log_dir), Listing(self._layout.root)
        self._listed = _Listed()
        self._judged: tuple[object, pa.Table | None] = (None, None)

    def snapshot(self) -> Snapshot:
        """Return the store as it is now: every acknowledged span exactly once."""
        with self._lock:
            if not self._layout.log_dir.is_dir():
                return Snapshot((), (), (), None, 0)
            while True:
                found = self._attempt()
                if found is not None:
                    return found

    def segments(self) -> list[Path]:
        """Sealed span files. Ask for a `snapshot` where hot spans are needed too."""
        return list(self.snapshot().segments)

    def hot(self) -> pa.Table | None:
        """Spans not sealed yet. Ask for a `snapshot` where segments are needed too."""
        return self.snapshot().hot

    def evaluations_hot(self) -> pa.Table | None:
        """Evaluations not sealed yet. Ask for a `snapshot` where segments are needed too."""
        return self.snapshot().evaluations_hot

    def _attempt(self) -> Snapshot | None:
        """One view, or None when a log file vanished meanwhile (its segment stands by then: look again)."""
        committed = read_committed(self._layout)
        logs = log_numbers(self._logs.names())
        listed = self._list()
        hot = [first for first in logs if not any(file.covers(first) for file in listed.spans)]
        self._tails = {first: self._tails.get(first) or _Tail(self._layout.log_file(first)) for first in hot}
        try:
            for tail in self._tails.values():
                tail.follow(committed)
        except FileNotFoundError:
            return None
        return Snapshot(
            listed.segments,
            tuple(HotLog(first, tail.spans()) for first, tail in self._tails.items()),
            tuple(map(self._layout.path, _covering(listed.evaluations, hot))),
            self._evaluations(),
            max([tail.last_seq for tail in self._tails.values()] + [file.last for file in listed.spans[-1:]] + [0]),
        )

    def _list(self) -> "_Listed":
        """The sealed files; read from their names again only when these are others."""
        names = self._sealed.names()
        if names is not self._listed.names:
            files = sorted(file for file in map(Sealed.parse, names) if file is not None)
            spans, evaluations = (
                without_covered([f for f in files if f.kind == kind]) for kind in (SPANS, EVALUATIONS)
            )
            self._listed = _Listed(names, spans, evaluations, tuple(map(self._layout.path, spans)))
        return self._listed

    def _evaluations(self) -> pa.Table | None:
        """Evaluations of all followed files; the last table again when no frame came and no file went."""
        state = tuple((first, tail.last_seq) for first, tail in self._tails.items())
        if self._judged[0] != state:
            self._judged = (state, concat([piece for tail in self._tails.values() for piece in tail.evaluations]))
        return self._judged[1]


@dataclass(frozen=True)
class _Listed:
    """The sealed files of a listing, and the paths of those with spans."""

    names: Sequence[str] = ()
    spans: Sequence[Sealed] = ()
    evaluations: Sequence[Sealed] = ()
    segments: tuple[Path, ...] = ()


class _Tail:
    """One log file that grows, as far as it was read.

    Args:
        path: of it.

    Attributes:
        last_seq: newest frame.
        evaluations: those in it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Held open: frames are read again after the file was removed.
        self._file: _Descriptor | None = None
        self._offset = self.last_seq = 0
        self._frames: list[HotFrame] = []
        self._told: tuple[HotFrame, ...] = ()
        self.evaluations: list[pa.Table] = []

    def spans(self) -> tuple[HotFrame, ...]:
        """The frames with spans."""
        if len(self._told) < len(self._frames):
            self._told = tuple(self._frames)
        return self._told

    def follow(self, committed: int) -> None:
        """Find the frames that came since, up to the newest acknowledged one.

        Raises:
            FileNotFoundError: the file is gone.
        """
        at_once = _READ_BYTES
        while self.last_seq < committed and (left := self._size() - self._offset) > 0:
            before = self._offset
            self._read(at_once, committed)
            if self._offset == before:  # a frame larger than that, or damage as large, or one that is still written
                if at_once >= left:
                    return
                at_once *= 2

    def _size(self) -> int:
        """Bytes of the file, which is opened the first time, and again where it was made anew."""
        found = self._path.stat()
        if self._file is None or os.fstat(self._file.number).st_ino != found.st_ino:
            self._file = _Descriptor(open_to_read(self._path))
        return found.st_size

    def _read(self, size: int, committed: int) -> None:
        """Find the frames in some bytes; one that is cut at their end is there the next time."""
        assert self._file is not None, "opened to know its size"
        start = self._offset
        for item in scan(memoryview(os.pread(self._file.number, size, start))):
            if isinstance(item, Gap):
                # The tail may still be in writing; damage further up is passed over once a frame follows it.
                continue
            if item.seq > committed:
                break
            self._take(item, start, self._file)
            self._offset = start + item.end

    def _take(self, frame: StoredFrame, start: int, file: _Descriptor) -> None:
        _, *behind = frame.sections
        if frame.span_rows:
            offset = start + frame.end - sum(map(len, behind))
            self._frames.append(HotFrame(frame.span_rows, file, offset, len(behind[0])))
        evaluations = frame.evaluations()
        if evaluations is not None:
            self.evaluations.append(evaluations)
            _merge(self.evaluations)
        self.last_seq = frame.seq


def read_committed(layout: Layout) -> int:
    """Sequence number of the newest acknowledged frame; 0 before the first."""
    try:
        return int.from_bytes(layout.committed.read_bytes()[:8], "little")
    except FileNotFoundError:
        return 0


def concat(tables: Sequence[pa.Table]) -> pa.Table | None:
    """Tables of different attribute columns under one another; absent columns read null. None for none."""
    if not tables:
        return None
    return tables[0] if len(tables) == 1 else pa.concat_tables(tables, promote_options="default")


def _covering(files: Sequence[Sealed], hot: Sequence[int]) -> list[Sealed]:
    """Evaluation files whose log file is not read as hot: those are sealed a moment before their spans."""
    return [file for file in files if not any(file.covers(first) for first in hot)]


def _merge(pieces: list[pa.Table]) -> None:
    """Keep the number of pieces small, so that a scan over them stays cheap.

    Small pieces at the end become one; large ones are merged only when they pile up, so a row is copied few times.
    """
    if len(pieces) <= _MAX_PIECES:
        return
    keep = sum(1 for piece in pieces if piece.num_rows >= pieces[0].num_rows / 2 and piece.num_rows > 20_000)
    keep = min(keep, _MAX_PIECES // 2)
    merged = pa.concat_tables(pieces[keep:], promote_options="default").combine_chunks()
    pieces[keep:] = [merged]
