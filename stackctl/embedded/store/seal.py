"""From a closed log file to Parquet segments: write, fsync, rename, fsync the directory."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from stackctl.embedded.store.digests import write_digests
from stackctl.embedded.store.frame import StoredFrame
from stackctl.embedded.store.layout import DIGESTS, EVALUATIONS, SPANS, Layout, Sealed, sync_directory
from stackctl.embedded.store.log import read_log
from stackctl.embedded.store.reader import concat

_ROW_GROUP_ROWS: Final = 122_880
_BLOOM_FALSE_POSITIVES: Final = 0.01
# Columns of which nearly every value is another: a dictionary would only cost.
_UNIQUE: Final = frozenset(
    {"tid_hi", "tid_lo", "span_id", "parent_id", "start_ns", "dur_ns", "time_ns", "events", "links", "rest"}
)
_ID_SUFFIXES: Final = ("_id:s", ".id:s", "response_id")


def seal(layout: Layout, first: int) -> list[Sealed]:
    """Write the segments of one closed log file. Doing it again writes the same files.

    Args:
        first: sequence number that names the log file.

    Returns:
        The sealed files, spans last: their appearance hides the log file from readers.
    """
    frames, _ = read_log(layout.log_file(first))
    if not frames:
        return []
    last, newest = frames[-1].seq, max(frame.arrival_ms for frame in frames)
    digests = [(one, frame.arrival_ms) for frame in frames for one in frame.digests]
    made = [_place(layout, Sealed(first, last, newest, DIGESTS), lambda path: write_digests(path, digests))]
    for kind, take in ((EVALUATIONS, StoredFrame.evaluations), (SPANS, StoredFrame.spans)):
        table = concat([found for frame in frames if (found := take(frame)) is not None])
        if table is not None:
            made.append(place_table(layout, Sealed(first, last, newest, kind), table))
    return made


def place_table(layout: Layout, sealed: Sealed, table: pa.Table) -> Sealed:
    """Write one table as a Parquet segment, all or nothing."""
    return _place(layout, sealed, lambda path: write_parquet(table, path))


def write_parquet(table: pa.Table, path: Path) -> None:
    """Write typed wide columns with bloom filters on ids, for lookups of a trace or a response among millions."""
    import pyarrow.parquet as pq  # first needed minutes after a start, which it would slow down

    ids = [name for name in table.column_names if name.endswith(_ID_SUFFIXES)]
    blooms = {name: {"ndv": _distinct(table, name), "fpp": _BLOOM_FALSE_POSITIVES} for name in ["tid_hi", *ids]}
    arguments: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 1,
        "row_group_size": _ROW_GROUP_ROWS,
        "use_dictionary": [name for name in table.column_names if _repeats(name) and name not in ids],
        "bloom_filter_options": blooms,
        "write_page_index": True,
    }
    pq.write_table(table, path, **arguments)


def _distinct(table: pa.Table, name: str) -> int:
    """Size a bloom filter: at most one value per row of a row group; absent values need no room."""
    filled = table.num_rows - table.column(name).null_count
    return max(1, min(filled, _ROW_GROUP_ROWS))


def _repeats(name: str) -> bool:
    return name not in _UNIQUE and not name.endswith(":d")


def _place(layout: Layout, sealed: Sealed, write: Callable[[Path], None]) -> Sealed:
    """Write a file beside its place, make it durable, then rename: a reader sees all of it or nothing."""
    final = layout.path(sealed)
    temporary = final.with_name(f".{final.name}.tmp")
    try:
        write(temporary)
        _sync_file(temporary)
        temporary.chmod(0o600)
        temporary.rename(final)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(layout.root)
    return sealed


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
