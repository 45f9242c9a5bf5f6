"""Blocks: sealed log files as Parquet, sorted by series and time.

blocks/<number>-<first>-<last>/    number of the log file, first and last sample in unix ms
    series.parquet                 one row a series: labels (JSON), base name, kind, first row and rows in samples
    samples.parquet                time, value
    exemplars.parquet              series row, time, value, trace id

A block appears by the rename of its directory; its log file goes afterwards. Readers prefer the block.
"""

import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from operator import itemgetter
from pathlib import Path
from typing import Final, NamedTuple, Self

import numpy as np
import orjson

from stackctl.embedded.store.layout import sync_directory, sync_file

from .closed import Samples
from .family import Family
from .frame import Exemplar, SampleFrame, damage, scan
from .layout import SeriesLayout, listed
from .levels import EMPTY

log = logging.getLogger("stackctl.series")

_NAME: Final = re.compile(r"(?P<number>\d{10})-(?P<first>\d{13})-(?P<last>\d{13})")
ROW_GROUP: Final = 131_072  # samples read at once; about one megabyte each of times and values
SERIES_AT_ONCE: Final = 4096  # of which the labels are held at a time


class BlockName(NamedTuple):
    """What a block's directory name says.

    Attributes:
        number: of the log file it was.
        first_ms, last_ms: times of its oldest and newest sample.
    """

    number: int
    first_ms: int
    last_ms: int

    @property
    def text(self) -> str:
        """The directory's name."""
        return f"{self.number:010d}-{self.first_ms:013d}-{self.last_ms:013d}"

    @classmethod
    def parse(cls, name: str) -> Self | None:
        """Read a directory's name; None for what is no block."""
        found = _NAME.fullmatch(name)
        return cls(int(found["number"]), int(found["first"]), int(found["last"])) if found else None


def blocks(layout: SeriesLayout) -> tuple[BlockName, ...]:
    """Return the blocks there are, oldest first; while these are the same, the same tuple."""
    return _parsed(tuple(listed(layout.blocks_dir)))


@lru_cache(maxsize=4)
def _parsed(names: tuple[str, ...]) -> tuple[BlockName, ...]:
    """Read names: a query process asks for them with each selector, and they seldom change."""
    return tuple(sorted(block for block in map(BlockName.parse, names) if block is not None))


# --- sealing ----------------------------------------------------------------------------------------------------------
def seal(layout: SeriesLayout, number: int) -> None:
    """Make a block of a closed log file and remove the file. One without samples is only removed.

    Damaged frames are left out, and so are samples of series that only they defined; that is logged.

    Raises:
        OSError: the disk refused; the log file stays.
    """
    path = layout.log_file(number)
    if all(block.number != number for block in blocks(layout)):
        data = path.read_bytes()
        content = _Content()
        for frame, _ in scan(data):
            content.take(frame)
        unknown = content.samples.keep(content.known())
        lost = damage(data)
        if lost:
            log.error("%s: %d bytes are damaged; beside them %d samples are lost", path.name, lost, unknown)
        if content.samples.counts().any():
            _write(layout, number, content)
    path.unlink()


@dataclass
class _Content:
    """What a log file holds. Of a frame no more is kept than that: frames of 200,000 series take a gigabyte.

    Attributes:
        families: by their first slot.
        exemplars: of the frames with samples.
    """

    families: dict[int, Family] = field(default_factory=dict)
    samples: Samples = field(default_factory=Samples)
    exemplars: list[Exemplar] = field(default_factory=list)

    def take(self, frame: SampleFrame) -> None:
        """Add a frame; values of a state frame are no samples."""
        self.families.update(frame.families)
        if not frame.state and len(frame.slots):
            self.samples.add(frame.slots, frame.times, frame.values)
            self.exemplars += frame.exemplars

    def known(self) -> list[int]:
        """The slots of the families."""
        return [at for slot, one in self.families.items() for at in range(slot, slot + one.width)]


def _write(layout: SeriesLayout, number: int, content: _Content) -> None:
    name = BlockName(number, *content.samples.bounds_ms())
    directory = layout.blocks_dir / f"{name.text}.new"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    rows = _write_series(directory, content.families, content.samples)
    _write_samples(directory, content.samples)
    _write_exemplars(directory, content.exemplars, rows)
    for file in directory.iterdir():
        sync_file(file)
    sync_directory(directory)
    directory.rename(layout.blocks_dir / name.text)
    sync_directory(layout.blocks_dir)


def _write_series(directory: Path, families: Mapping[int, Family], samples: Samples) -> dict[int, int]:
    """Write the series that have samples; return slot to row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {name: pa.string() for name in ("labels", "name", "kind")}
    schema = pa.schema(texts | {name: pa.int64() for name in ("first", "rows")})
    counts = samples.counts()
    slots = np.flatnonzero(counts)
    counts = counts[slots]
    first = counts.cumsum() - counts
    rows = {slot: row for row, slot in enumerate(slots.tolist())}
    done = 0
    with pq.ParquetWriter(directory / "series.parquet", schema, compression="zstd", compression_level=1) as writer:
        for found in _described(families, rows):
            here = slice(done, done + len(found))
            done = here.stop
            writer.write_table(
                pa.table([*map(list, zip(*found, strict=True)), first[here], counts[here]], schema=schema)
            )
    return rows


def _described(families: Mapping[int, Family], rows: Mapping[int, int]) -> Iterator[list[tuple[str, str, str]]]:
    """Yield labels (JSON), base name and kind of the series that have rows, in their order, some at a time.

    Each series of a family repeats its labels, which are as long as senders choose.
    """
    found: list[tuple[str, str, str]] = []
    for slot, family in sorted(families.items(), key=itemgetter(0)):
        for at, labels in enumerate(family.series(), slot):
            if at in rows:
                found.append((orjson.dumps(labels).decode(), family.name, family.kind))
        if len(found) >= SERIES_AT_ONCE:
            yield found
            found = []
    if found:
        yield found


def _write_samples(directory: Path, samples: Samples) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    waiting = pa.table({"time": EMPTY.times, "value": EMPTY.values})
    with pq.ParquetWriter(
        directory / "samples.parquet",
        waiting.schema,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={"time": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    ) as writer:
        for level in samples.sorted():
            waiting = pa.concat_tables([waiting, pa.table({"time": level.times, "value": level.values})])
            # Whole row groups: a reader knows by their number which rows they have.
            while waiting.num_rows >= ROW_GROUP:
                writer.write_table(waiting.slice(0, ROW_GROUP), row_group_size=ROW_GROUP)
                waiting = waiting.slice(ROW_GROUP)
        if waiting.num_rows:  # none would be a row group too
            writer.write_table(waiting, row_group_size=ROW_GROUP)


def _write_exemplars(directory: Path, exemplars: list[Exemplar], rows: dict[int, int]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    found = [one for one in exemplars if one.slot in rows]
    table = pa.table(
        {
            "series": pa.array([rows[one.slot] for one in found], pa.int32()),
            "time": pa.array([one.time_ms for one in found], pa.int64()),
            "value": pa.array([one.value for one in found], pa.float64()),
            "trace_id": pa.array([one.trace_id for one in found], pa.string()),
        }
    )
    pq.write_table(table, directory / "exemplars.parquet", compression="zstd", compression_level=1)


# --- retention --------------------------------------------------------------------------------------------------------
def forget(layout: SeriesLayout, before_ms: int, most_bytes: int) -> int:
    """Remove blocks whose newest sample is too old, then the oldest until the rest is small enough.

    Args:
        before_ms: unix milliseconds.
        most_bytes: size that all blocks together may have.

    Returns:
        How many were removed.
    """
    for doomed in layout.blocks_dir.glob("*.gone"):  # of a process that was killed here
        shutil.rmtree(doomed)
    sizes = {block: _size(layout.blocks_dir / block.text) for block in blocks(layout)}
    total = sum(sizes.values())
    gone = 0
    for block, size in sizes.items():
        if block.last_ms < before_ms or total > most_bytes:
            # Renamed first, so that no reader sees half a block.
            doomed = layout.blocks_dir / f"{block.text}.gone"
            (layout.blocks_dir / block.text).rename(doomed)
            shutil.rmtree(doomed)
            total -= size
            gone += 1
    return gone


def _size(directory: Path) -> int:
    return sum(file.stat().st_size for file in directory.iterdir())
