"""Small tables of different columns become one, without half a gigabyte of objects on the way."""

import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pytest

from stackctl.embedded.store.joining import joined


@dataclass(frozen=True)
class Few:
    """Some rows, whose column `number` counts on and whose other column is their own."""

    first: int
    rows: int

    def read(self) -> pa.Table:
        numbers = range(self.first, self.first + self.rows)
        return pa.table({"number": numbers, f"own {self.first % 7}": [str(number) for number in numbers]})


def parts(*sizes: int) -> Iterator[Few]:
    first = 0
    for size in sizes:
        yield Few(first, size)
        first += size


@pytest.mark.parametrize("sizes", [[1], [1] * 700, [3, 600, 2, 2, 511, 1, 1, 5000], [512, 512], [100] * 20])
def test_rows_stand_one_behind_the_other(sizes: list[int]) -> None:
    given = list(parts(*sizes))
    at_once = pa.concat_tables([one.read() for one in given], promote_options="default")
    table = joined(given, Few.read)
    assert table.schema.equals(at_once.schema)
    assert table.to_pylist() == at_once.to_pylist()


def test_columns_of_the_empty_table_come_first() -> None:
    empty = pa.schema([("own 3", pa.string()), ("else", pa.bool_())]).empty_table()
    table = joined(list(parts(1, 1)), Few.read, empty)
    assert table.column_names == ["own 3", "else", "number", "own 0", "own 1"]
    assert table.num_rows == 2


def test_large_parts_are_not_copied() -> None:
    large = Few(0, 512).read()
    table = joined([Few(0, 512), Few(512, 1)], lambda part: large if part.rows == 512 else part.read())
    assert table["number"].chunk(0).buffers()[1].address == large["number"].chunk(0).buffers()[1].address


def test_thousands_of_small_frames_are_sealed_in_little_memory() -> None:
    """Two thousand frames of one span each, all with other columns: 300 MB when they were joined at once."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=True, timeout=120)
    assert int(done.stdout) < 120


def _seal_many() -> int:
    """Seal them; return by how many megabytes the most memory that was used grew."""
    import tempfile
    from pathlib import Path

    import pyarrow.parquet  # noqa: F401 - not to be counted

    from stackctl.embedded.store.frame import Frame
    from stackctl.embedded.store.seal import seal
    from stackctl.embedded.store.writer import SealLimits, SpanStore

    with tempfile.TemporaryDirectory() as home:
        store = SpanStore(Path(home), SealLimits(rows=2000), sync=lambda _: None)
        numbers, text = pa.array(range(2000)), pa.array(["a text"])
        for number in range(2000):
            one = numbers.slice(number, 1)
            own = {f"s:{(number * 7 + n * 13) % 150}:s": text for n in range(60)}
            whole = dict.fromkeys(("tid_hi", "tid_lo", "span_id", "start_ns", "dur_ns"), one)
            store.append(Frame(number, (number.to_bytes(16),), pa.table(whole | own)))
        assert store.roll_if_due()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        assert seal(store.layout, 1)
        store.close()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024


if __name__ == "__main__":
    print(_seal_many())
