"""What the query process sees: sealed segments and, in memory, the frames that no segment covers yet.

Consistent without locks: log files are listed before segments, and a log file is removed only after its segment stands:
a span is in exactly one of the two. Frames that are written but not acknowledged (see `committed`) stay invisible.
"""

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pyarrow as pa

from stackctl.embedded.store.frame import Gap, StoredFrame, scan
from stackctl.embedded.store.layout import EVALUATIONS, SPANS, Layout, Sealed, without_covered

# Pieces of one log file beyond which they are merged: few enough for a fast scan, many enough to merge seldom.
_MAX_PIECES = 24
# Of a log file, which may be large when a process starts.
_READ_BYTES = 16 * 1024**2


@dataclass(frozen=True)
class Snapshot:
    """One consistent view of the store; immutable, valid as long as it is held.

    Attributes:
        segments: Parquet files of sealed spans, in order of arrival.
        pieces: spans that no segment holds yet, in tables that the next snapshots mostly have as well.
        evaluation_segments: Parquet files of sealed evaluations.
        evaluations_hot: evaluations that no segment holds yet, None when there are none.
        last_seq: newest frame within the view; the view changes only when this or the segments do.
    """

    segments: tuple[Path, ...]
    pieces: tuple[pa.Table, ...]
    evaluation_segments: tuple[Path, ...]
    evaluations_hot: pa.Table | None
    last_seq: int

    @cached_property
    def hot(self) -> pa.Table | None:
        """The pieces under one another, None when there are none."""
        return concat(self.pieces)


class SpanReader:
    """Reads a store that another process writes.

    Cheap to ask often: only bytes that came since the last call are decoded. Safe from several threads.

    Args:
        data_dir: the stack's data directory; may be empty still.
    """

    def __init__(self, data_dir: Path) -> None:
        self._layout = Layout.below(data_dir)
        self._tails: dict[int, _Tail] = {}
        self._lock = threading.Lock()
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
        logs = self._layout.logs()
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
            tuple(piece for tail in self._tails.values() for piece in tail.spans),
            tuple(map(self._layout.path, _covering(listed.evaluations, hot))),
            self._evaluations(),
            max([tail.last_seq for tail in self._tails.values()] + [file.last for file in listed.spans[-1:]] + [0]),
        )

    def _list(self) -> "_Listed":
        """The sealed files; read from their names again only when these are others."""
        names = os.listdir(self._layout.root)
        if names != self._listed.names:
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


@dataclass
class _Tail:
    """The decoded part of one log file that grows."""

    path: Path
    offset: int = 0
    last_seq: int = 0
    spans: list[pa.Table] = field(default_factory=list)
    evaluations: list[pa.Table] = field(default_factory=list)

    def follow(self, committed: int) -> None:
        """Decode what came since, up to the newest acknowledged frame."""
        at_once = _READ_BYTES
        while self.last_seq < committed and (left := self.path.stat().st_size - self.offset) > 0:
            before = self.offset
            self._read(at_once, committed)
            if self.offset == before:  # a frame larger than that, or damage as large, or one that is still written
                if at_once >= left:
                    return
                at_once *= 2

    def _read(self, size: int, committed: int) -> None:
        """Decode the frames in some bytes; one that is cut at their end is there the next time."""
        with self.path.open("rb") as file:
            file.seek(self.offset)
            data = memoryview(file.read(size))
        start = self.offset
        for item in scan(data):
            if isinstance(item, Gap):
                # The tail may still be in writing; damage further up is passed over once a frame follows it.
                continue
            if item.seq > committed:
                break
            self._take(item)
            self.offset = start + item.end

    def _take(self, frame: StoredFrame) -> None:
        spans, evaluations = frame.spans(), frame.evaluations()
        if spans is not None:
            self.spans.append(spans)
            _merge(self.spans)
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
