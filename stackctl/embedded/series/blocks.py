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
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self, TypeAlias

import numpy as np
import orjson

from stackctl.embedded.store.layout import sync_directory, sync_file

from .frame import Exemplar, SampleFrame, damage, scan
from .layout import SeriesLayout, listed
from .levels import EMPTY, Level

if TYPE_CHECKING:
    pass

log = logging.getLogger("stackctl.series")

Described: TypeAlias = dict[int, tuple[str, str, bytes]]

_NAME: Final = re.compile(r"(?P<number>\d{10})-(?P<first>\d{13})-(?P<last>\d{13})")
ROW_GROUP: Final = 131_072  # samples read at once; about one megabyte each of times and values


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
        frames = [frame for frame, _ in scan(data)]
        series = _described(frames)
        written = [frame for frame in frames if not frame.state and len(frame.slots)]
        level = Level.of([_of_known(frame, series) for frame in written]) if written else EMPTY
        lost = damage(data)
        if lost:
            samples = sum(len(frame.slots) for frame in written) - len(level.ids)
            log.error("%s: %d bytes are damaged; beside them %d samples are lost", path.name, lost, samples)
        if len(level.ids):
            _write(layout, number, series, level, [one for frame in written for one in frame.exemplars])
    path.unlink()


def _described(frames: list[SampleFrame]) -> Described:
    """Return base name, kind and labels (JSON) of each slot's series."""
    found: Described = {}
    for slot, family in (pair for frame in frames for pair in frame.families):
        for at, labels in enumerate(family.series(), slot):
            found[at] = (family.name, family.kind, orjson.dumps(labels))
    return found


def _of_known(frame: SampleFrame, series: Described) -> Level:
    known = np.isin(frame.slots, list(series))
    return Level(frame.slots[known].astype(np.int64), frame.times[known], frame.values[known])


def _write(layout: SeriesLayout, number: int, series: Described, level: Level, exemplars: list[Exemplar]) -> None:
    name = BlockName(number, int(level.times.min()), int(level.times.max()))
    directory = layout.blocks_dir / f"{name.text}.new"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
    rows = _write_series(directory, series, level)
    _write_samples(directory, level)
    _write_exemplars(directory, exemplars, rows)
    for file in directory.iterdir():
        sync_file(file)
    sync_directory(directory)
    directory.rename(layout.blocks_dir / name.text)
    sync_directory(layout.blocks_dir)


def _write_series(directory: Path, series: Described, level: Level) -> dict[int, int]:
    """Write the series that have samples; return slot to row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    slots, first, counts = np.unique(level.ids, return_index=True, return_counts=True)
    found = [series[slot] for slot in slots.tolist()]
    table = pa.table(
        {
            "labels": pa.array([labels.decode() for _, _, labels in found]),
            "name": pa.array([name for name, _, _ in found]).dictionary_encode(),
            "kind": pa.array([kind for _, kind, _ in found]).dictionary_encode(),
            "first": pa.array(first, pa.int64()),
            "rows": pa.array(counts, pa.int64()),
        }
    )
    pq.write_table(table, directory / "series.parquet", compression="zstd", compression_level=1)
    return {slot: row for row, slot in enumerate(slots.tolist())}


def _write_samples(directory: Path, level: Level) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(
        pa.table({"time": level.times, "value": level.values}),
        directory / "samples.parquet",
        row_group_size=ROW_GROUP,
        compression="zstd",
        compression_level=1,
        use_dictionary=False,
        column_encoding={"time": "DELTA_BINARY_PACKED", "value": "BYTE_STREAM_SPLIT"},
    )


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
