"""What a store forgets and what it merges: age and bytes by arrival, and small segments into larger ones."""

import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from stackctl.embedded.store.digests import WINDOW_MS
from stackctl.embedded.store.grain import grain_ms
from stackctl.embedded.store.layout import DIGESTS, EVALUATIONS, SPANS, Layout, Sealed, without_covered
from stackctl.embedded.store.seal import Part, place_parts

log = logging.getLogger("stackctl.store")

# Many small files make lookups slow (1000 files: 0.2 s), large ones make retention coarse and compaction dear.
MERGE_AT_FILES: Final = 12
MAX_MERGED_BYTES: Final = 48 * 1024**2
MAX_MERGED_SPAN_MS: Final = 6 * 3600 * 1000
# A query that began before a merge may still open the merged files.
GRACE_SECONDS: Final = 120.0
_ARRIVAL: Final = "arrival_ms"


class Retention:
    """Deletes and merges segments. Run it in one thread, beside nothing else that seals.

    Args:
        layout: the store.
        seconds: telemetry that arrived longer ago is deleted.
        size_bytes: the oldest arrivals go first while the data directory holds more.
    """

    def __init__(self, layout: Layout, seconds: int, size_bytes: int) -> None:
        self._layout, self._seconds, self._size_bytes = layout, seconds, size_bytes
        self._merged_span_ms = min(MAX_MERGED_SPAN_MS, grain_ms(seconds))
        self._damaged: set[Sealed] = set()
        self._oldest: dict[Sealed, int] = {}

    def run(self, now_ms: int) -> None:
        """Forget what is too old or too much, merge what is too small.

        Args:
            now_ms: unix milliseconds.

        Raises:
            OSError: the disk refused; nothing is half done.
        """
        self._drop_merged()
        self._drop_digests(now_ms - WINDOW_MS)
        self._drop_old(now_ms - self._seconds * 1000)
        self._drop_beyond_size()
        for kind in (SPANS, EVALUATIONS):
            self._merge(kind)

    def _drop_digests(self, horizon_ms: int) -> None:
        """Delete digests that no repeated request is compared with any more; senders that do not batch make many."""
        for file in self._layout.sealed(DIGESTS):
            if file.newest_ms < horizon_ms:
                self._layout.path(file).unlink()

    def _drop_old(self, horizon_ms: int) -> None:
        """Delete segments whose newest arrival is before a time; the log has rules of its own."""
        for kind in (SPANS, EVALUATIONS):
            for file in self._removable(kind):
                if file.newest_ms < horizon_ms:
                    self._delete(file, "age")

    def _drop_beyond_size(self) -> None:
        excess = _size(self._layout.root.parent) - self._size_bytes
        for file in self._removable(SPANS):
            if excess <= 0:
                return
            excess -= self._layout.path(file).stat().st_size
            self._delete(file, "size")
            for evaluations in self._removable(EVALUATIONS):
                if evaluations.last <= file.last:
                    self._delete(evaluations, "size")

    def _removable(self, kind: str) -> list[Sealed]:
        """Segments whose log file is gone: while it stands, a deleted segment would come back as hot frames."""
        logs = self._layout.logs()
        return [file for file in self._layout.sealed(kind) if not logs or file.last < logs[0]]

    def _delete(self, file: Sealed, why: str) -> None:
        self._layout.path(file).unlink(missing_ok=True)
        self._oldest.pop(file, None)
        log.info("deleted %s for %s", file.filename, why)

    def _merge(self, kind: str) -> None:
        """Make one file of neighbours that are small; a reader prefers it as soon as it stands."""
        run = self._small_run(self._removable(kind))
        if len(run) < MERGE_AT_FILES:
            return
        parts = [part for file in run for part in self._parts(file)]
        if self._damaged.intersection(run):
            return  # the next run is made without them
        place_parts(self._layout, Sealed(run[0].first, run[-1].last, run[-1].newest_ms, kind), parts)

    def _small_run(self, files: Sequence[Sealed]) -> list[Sealed]:
        """The first run of neighbours that together stay within the limits and are enough to be worth it."""
        run: list[Sealed] = []
        size = 0
        for file in files:
            bytes_here = self._layout.path(file).stat().st_size
            late = bool(run) and file.newest_ms - self._oldest_ms(run[0]) > self._merged_span_ms
            if late or size + bytes_here > MAX_MERGED_BYTES or file in self._damaged:
                if len(run) >= MERGE_AT_FILES:
                    return run
                run, size = [], 0
            if file not in self._damaged:
                run.append(file)
                size += bytes_here
        return run

    def _oldest_ms(self, file: Sealed) -> int:
        """The first arrival in a segment. By its newest, one that grows by merging would never be old enough to go."""
        if file not in self._oldest:
            try:
                self._oldest[file] = _first_arrival(self._layout.path(file), file.newest_ms)
            except (OSError, ValueError):  # it is told as damaged where it is read
                return file.newest_ms
        return self._oldest[file]

    def _parts(self, file: Sealed) -> list[Part]:
        """The row groups of a segment; none of one that cannot be read, which is left as it is from now on."""
        try:
            return _parts(self._layout.path(file))
        except (OSError, ValueError) as error:  # Arrow's errors are of both kinds
            log.error("%s is damaged and stays as it is: %s", file.filename, error)
            self._damaged.add(file)
            return []

    def _drop_merged(self) -> None:
        """Delete what a merge made superfluous, once no query can be reading it any more."""
        for kind in (SPANS, EVALUATIONS, DIGESTS):
            found = [s for s in map(Sealed.parse, sorted(p.name for p in self._layout.root.iterdir())) if s is not None]
            files = [file for file in found if file.kind == kind]
            kept = without_covered(files)
            for file in set(files) - set(kept):
                cover = next(wide for wide in kept if wide.first <= file.first and file.last <= wide.last)
                if time.time() - self._layout.path(cover).stat().st_mtime > GRACE_SECONDS:
                    self._layout.path(file).unlink()


def _parts(path: Path) -> list[Part]:
    """The row groups of a segment."""
    import pyarrow.parquet as pq  # as in `seal`

    file = pq.ParquetFile(path)
    schema, metadata = file.schema_arrow, file.metadata
    return [
        Part(lambda: schema, metadata.row_group(n).num_rows, partial(file.read_row_group, n))
        for n in range(metadata.num_row_groups)
    ]


def _first_arrival(path: Path, otherwise: int) -> int:
    """The smallest arrival by the statistics of a segment; `otherwise` where it has none."""
    import pyarrow.parquet as pq  # as in `seal`

    metadata = pq.ParquetFile(path).metadata
    columns = [metadata.schema.column(n).path for n in range(metadata.num_columns)]
    if _ARRIVAL not in columns:
        return otherwise
    groups = (metadata.row_group(n).column(columns.index(_ARRIVAL)) for n in range(metadata.num_row_groups))
    found: list[Any] = [one.statistics.min for one in groups if one.statistics and one.statistics.has_min_max]
    return int(min(found, default=otherwise))


def _size(directory: Path) -> int:
    """Bytes of all files below a directory; files that vanish meanwhile count nothing."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue
    return total
