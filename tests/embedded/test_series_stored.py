"""Blocks are read as they were written, whatever their size: same numbers, same bits, in bounded memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stackctl.embedded.series.blocks import ROW_GROUP
from stackctl.embedded.series.joined import Joiner, Part, Runs, SharedTimes, known_falls
from stackctl.embedded.series.points import STALE
from stackctl.embedded.series.stored import GroupCache, StoredBlock
from stackctl.promql.values import falls

# Series that share times, one with times of its own, and one that lies in three row groups.
ROWS = (1000, 1000, 7, 2 * ROW_GROUP + 5, 300)


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    first = np.concatenate([[0], np.cumsum(ROWS)[:-1]])
    labels = [f'{{"__name__":"m","n":"{n}"}}' for n in range(len(ROWS))]
    series = {"labels": labels, "name": ["m"] * 5, "kind": ["gauge"] * 5, "first": first, "rows": ROWS}
    pq.write_table(pa.table(series), tmp_path / "series.parquet")
    times = np.concatenate([np.arange(rows) * 15 + (n == 2) for n, rows in enumerate(ROWS)])
    pq.write_table(pa.table({"time": times, "value": values()}), tmp_path / "samples.parquet", row_group_size=ROW_GROUP)
    exemplars = {
        "series": pa.array([0, 3, 3], pa.int32()),
        "time": [5, 6, 700],
        "value": [1.0, 2.0, 3.0],
        "trace_id": ["a", "b", "c"],
    }
    pq.write_table(pa.table(exemplars), tmp_path / "exemplars.parquet")
    return tmp_path


def values() -> np.ndarray:
    """Whole numbers that 32 bits hold, but for one row group, and a staleness marker."""
    found = np.arange(sum(ROWS), dtype=np.float64)
    found[ROW_GROUP + 10] = 0.1
    found[-1] = STALE
    return found


def parts(block: StoredBlock, row: int) -> list[Part]:
    found: list[Part] = []
    block.reading().add(row, found)
    return found


def test_series_are_read_as_they_were_written(directory: Path) -> None:
    """Times and bits of every series, in one row group or in several."""
    block = StoredBlock(directory, GroupCache())
    first = 0
    for row, rows in enumerate(ROWS):
        found = Joiner(0, 2**60).series({}, parts(block, row))
        assert found.t_ms.tolist() == (np.arange(rows) * 15 + (row == 2)).tolist()
        assert found.v.tobytes() == values()[first : first + rows].tobytes()
        first += rows
    assert list(block.series())[4].labels == {"__name__": "m", "n": "4"}
    assert [len(block.groups(row)) for row in range(len(ROWS))] == [1, 1, 1, 3, 1]


def test_only_what_needs_64_bits_has_them(directory: Path) -> None:
    """Row groups of numbers that 32 bits hold as they are take half of the memory, and equal times are one array."""
    block = StoredBlock(directory, GroupCache())
    assert [block.group(number).values.dtype.itemsize for number in range(3)] == [4, 8, 8]
    assert parts(block, 0)[0][0] is parts(block, 1)[0][0]
    assert parts(block, 0)[0][0] is not parts(block, 2)[0][0]


def test_row_groups_are_kept_within_bounds(directory: Path) -> None:
    """What was not asked for longest goes; the row group in use stays however large it is."""
    cache = GroupCache(most_bytes=ROW_GROUP * 9)
    block = StoredBlock(directory, cache)
    for number in (0, 1, 2):
        block.group(number)
    assert [cache.get((directory.name, number)) is not None for number in range(3)] == [False, True, True]


def test_a_time_is_cut_and_doubles_are_dropped() -> None:
    """Both ends belong to the time, and of two samples of one moment the first counts."""
    shared = SharedTimes()
    times = [shared.one(np.array(some)) for some in ([1, 2, 3], [3, 4, 5])]
    found = Joiner(2, 4).join(list(zip(times, (np.array([10.0, 20, 30]), np.array([31.0, 40, 50])), strict=True)))
    assert (found[0].tolist(), found[1].tolist()) == ([2, 3, 4], [20, 30, 40])
    assert shared.one(np.array([1, 2, 3])) is times[0]


@pytest.mark.parametrize("behind", [0, 1, 6])
@pytest.mark.parametrize("start", range(-1, 14))
@pytest.mark.parametrize("end", range(-1, 20))
def test_where_a_series_falls_is_known_whatever_is_cut(behind: int, start: int, end: int) -> None:
    """Of blocks once and for all, and of what came since: the same places as in the samples that are there."""
    values = np.array([5.0, 3, 4, 4, 1, 2, 0, 0, 3, 2, 2, 9, 8, 1, 7])
    at = len(values) - behind
    some = [(np.arange(0, at), values[:at].astype(np.float32)), (np.arange(at, len(values)), values[at:])]
    found = Joiner(start, end).series({}, some if behind else some[:1], known_falls(some[0][1]))
    assert found.v.tolist() == values[max(start, 0) : end + 1].tolist()
    if len(found.v):
        assert found.falls is not None
        assert found.falls.tolist() == falls(found.v).tolist()


def test_where_a_series_falls_is_not_guessed() -> None:
    """Not of values that are no numbers, that fall too often, or that were put in another order."""
    assert known_falls(np.array([2.0, STALE, 1.0])) is None
    assert known_falls(np.tile([1.0, 0.0], 100)) is None
    first, second = (np.arange(3), np.array([3.0, 2, 1])), (np.arange(2, 4), np.array([2.0, STALE]))
    assert Joiner(0, 9).series({}, [first, second], known_falls(first[1])).falls is None
    later = (np.arange(3, 5), np.array([2.0, STALE]))
    assert Joiner(0, 9).series({}, [first, later], known_falls(first[1])).falls is None


def test_joined_series_are_kept_within_bounds() -> None:
    """Blocks asked the longest ago go for those asked now; what is too much for all of the memory is not kept."""
    runs, part = Runs(1000), (np.arange(50), np.zeros(50))  # 400 bytes and what Python holds
    for blocks, number in (("a", 1), ("b", 2), ("b", 3)):
        runs.keep(runs.of(blocks), number, part)
    assert [list(runs.of(blocks).parts) for blocks in ("a", "b")] == [[], [2]]


def test_exemplars_are_found_by_series_and_time(directory: Path) -> None:
    """Both ends of the time belong to it."""
    found = StoredBlock(directory, GroupCache()).exemplars.of(np.array([3]), 6, 699)
    assert [column.tolist() for column in (found.rows, found.times, found.values)] == [[3], [6], [2.0]]
    assert found.trace_ids.to_pylist() == ["b"]
