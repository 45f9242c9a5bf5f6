"""From a closed log file to Parquet segments: write, fsync, rename, fsync the directory."""

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from stackctl.embedded.store.digests import write_digests
from stackctl.embedded.store.frame import StoredFrame
from stackctl.embedded.store.joining import P, joined
from stackctl.embedded.store.layout import DIGESTS, EVALUATIONS, SPANS, Layout, Sealed, sync_directory, sync_file
from stackctl.embedded.store.log import read_log

log = logging.getLogger("stackctl.store")

# Large enough to compress and scan well, small enough that sealing holds little memory; who looks for one text reads
# its column in a whole row group.
_ROW_GROUP_ROWS: Final = 16_384
# A reader of one trace unpacks a page of each column; larger ones save less than 1 % of disk.
_PAGE_BYTES: Final = 32 * 1024
# Pages and their headers would be written one by one: eight thousand calls of the system for a segment.
_WRITTEN_BYTES: Final = 512 * 1024
# After so many values it is seen whether a page is full: of texts, twice as many make pages of twice the size.
_BATCH_VALUES: Final = 512
# An id is looked for in every row group there is, and one found in vain costs reading its column there: so few that it
# is seldom one in a thousand groups.
_FALSE_POSITIVES: Final = 0.0001
# Times differ little from row to row: their differences are smaller, and read in half of the time.
_TIMES: Final = frozenset({"start_ns", "dur_ns", "arrival_ms", "time_ns"})
# Columns of which nearly every value is another: a dictionary would only cost.
_UNIQUE: Final = _TIMES | {"tid_hi", "tid_lo", "span_id", "parent_id", "events", "links", "rest"}
# Columns of texts that are ids.
ID_SUFFIXES: Final = ("_id:s", ".id:s", "response_id")


def seal(layout: Layout, first: int) -> list[Sealed]:
    """Write the segments of one closed log file. Doing it again writes the same files.

    Args:
        first: sequence number that names the log file.

    Returns:
        The sealed files, spans last: their appearance hides the log file from readers.
    """
    frames, gaps = read_log(layout.log_file(first))
    if gaps:
        log.error("%s: %d places are damaged and left out", layout.log_file(first).name, len(gaps))
    if not frames:
        return []
    last, newest = frames[-1].seq, max(frame.arrival_ms for frame in frames)
    digests = [(one, frame.arrival_ms) for frame in frames for one in frame.digests]
    made = [_place(layout, Sealed(first, last, newest, DIGESTS), lambda path: write_digests(path, digests))]
    for kind in (EVALUATIONS, SPANS):
        parts = [part for frame in frames if (part := frame_part(frame, kind)) is not None]
        if parts:
            made.append(place_parts(layout, Sealed(first, last, newest, kind), parts))
    return made


@dataclass(frozen=True)
class Part:
    """Some rows of a segment to be, read when their turn comes, so that never all of them are in memory.

    Attributes:
        schema: returns their columns; not kept, of thousands of parts each may have others.
        rows: how many.
        read: returns them.
    """

    schema: Callable[[], pa.Schema]
    rows: int
    read: Callable[[], pa.Table]


def frame_part(frame: StoredFrame, kind: str) -> Part | None:
    """A frame's spans or evaluations; None where it has none."""
    rows = frame.span_rows if kind == SPANS else frame.evaluation_rows
    return Part(partial(frame.schema, kind), rows, partial(_taken, frame, kind)) if rows else None


def _taken(frame: StoredFrame, kind: str) -> pa.Table:
    """Read a frame's rows, which are asked for once: the whole file would stay in memory otherwise."""
    table = frame.table(kind)
    frame.let_go()
    return table


def place_parts(layout: Layout, sealed: Sealed, parts: Sequence[Part]) -> Sealed:
    """Write a Parquet segment of parts, all or nothing."""
    return _place(layout, sealed, lambda path: write_parquet(parts, path))


def write_parquet(parts: Sequence[Part], path: Path) -> None:
    """Write typed wide columns with bloom filters on ids, for lookups of a trace or a response among millions."""
    import pyarrow.parquet as pq  # first needed minutes after a start, which it would slow down

    schema, filled = _columns(parts)
    ids = [name for name in schema.names if name.endswith(ID_SUFFIXES)]
    arguments: dict[str, Any] = {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [name for name in schema.names if _repeats(name) and name not in ids],
        "column_encoding": {name: "DELTA_BINARY_PACKED" for name in schema.names if name in _TIMES},
        "data_page_size": _PAGE_BYTES,
        "write_batch_size": _BATCH_VALUES,
        # Smallest and largest of random text tell nothing; finding them takes a fifth of the time.
        "write_statistics": [name for name in schema.names if name not in ids],
        "bloom_filter_options": {name: _bloom(filled[name]) for name in ["tid_hi", *ids]},
        "write_page_index": True,
    }
    empty = schema.empty_table()
    output = pa.output_stream(path, buffer_size=_WRITTEN_BYTES)
    with output, pq.ParquetWriter(output, schema, **arguments) as writer:
        for group in row_groups(parts):
            writer.write_table(joined(group, lambda part: part.read(), empty), row_group_size=_ROW_GROUP_ROWS)
            # A little at a time: all of a segment at once would hold up what the log syncs meanwhile.
            sync_file(path)


def row_groups(parts: Sequence[P]) -> Iterator[list[P]]:
    """Neighbours with about as many rows as a row group: what is decoded at one time."""
    group: list[P] = []
    for part in parts:
        if group and sum(one.rows for one in group) + part.rows > _ROW_GROUP_ROWS:
            yield group
            group = []
        group.append(part)
    yield group


def _columns(parts: Sequence[Part]) -> tuple[pa.Schema, Counter[str]]:
    """The columns that parts have together, and how many rows have each at all."""
    filled: Counter[str] = Counter()
    schema = pa.schema([])
    for one, alike in groupby(((part.schema(), part.rows) for part in parts), key=itemgetter(0)):
        filled.update(dict.fromkeys(one.names, sum(rows for _, rows in alike)))
        if len(filled) > len(schema):
            schema = pa.unify_schemas([schema, one.remove_metadata()])
    return schema, filled


def _bloom(rows: int) -> dict[str, float]:
    """Size a bloom filter: at most one value per row of those that have the column at all."""
    return {"ndv": max(1, min(rows, _ROW_GROUP_ROWS)), "fpp": _FALSE_POSITIVES}


def _repeats(name: str) -> bool:
    return name not in _UNIQUE and not name.endswith(":d")


def _place(layout: Layout, sealed: Sealed, write: Callable[[Path], None]) -> Sealed:
    """Write a file beside its place, make it durable, then rename: a reader sees all of it or nothing."""
    final = layout.path(sealed)
    temporary = final.with_name(f".{final.name}.tmp")
    try:
        write(temporary)
        sync_file(temporary)
        temporary.chmod(0o600)
        temporary.rename(final)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(layout.root)
    return sealed
