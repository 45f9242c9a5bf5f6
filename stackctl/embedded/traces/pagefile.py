"""The pages of a Parquet file: where they are, and what is in them as it was before it was compressed."""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self, TypeAlias

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.traces.pageheaders import DATA, PageHeader

# Most column chunks are much smaller than this: neighbours are read at once. Others page by page, headers before them.
_AT_ONCE: Final = 128 * 1024
_SEARCHED: Final = 1024 * 1024  # of a column that is read from its first page to its last
_GAP: Final = 16 * 1024  # rather read with what stands on both sides of it
_HEADER: Final = 512
_LONGEST_HEADER: Final = 64 * 1024
_CODEC: Final = "zstd"  # of every segment
_LARGEST: Final = 16 * 1024**2  # of a page, unpacked: content that was captured may make them larger
_UNPACKED: Final = 512 * 1024  # so many bytes at once; more are more than the processor's caches hold


@dataclass(frozen=True)
class ColumnForm:
    """How a column is stored.

    Attributes:
        number: its place among the columns.
        kind: physical type.
        optional: rows may have no value.
    """

    number: int
    kind: str
    optional: bool


@dataclass(frozen=True, eq=False)
class Places:
    """Where a segment's column chunks are.

    Attributes:
        forms: the columns by name.
        starts: offset of each chunk by row group and column.
        sizes: bytes of each, as it is compressed.
        rows: of each row group.
    """

    forms: Mapping[str, ColumnForm]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    rows: Sequence[int]

    @classmethod
    def of(cls, metadata: Any) -> Self | None:
        """Take them from a file's metadata; None for a file with columns that are no plain ones, or of another codec.

        Args:
            metadata: `pyarrow.parquet.FileMetaData`.
        """
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        chunks = [[group.column(column) for column in range(metadata.num_columns)] for group in groups]
        codecs = {chunk.compression for row in chunks for chunk in row}
        nested = any(one.max_repetition_level or one.max_definition_level > 1 for one in columns)
        if nested or codecs != {_CODEC.upper()}:
            return None
        forms = {
            one.name: ColumnForm(number, one.physical_type, bool(one.max_definition_level))
            for number, one in enumerate(columns)
        }
        starts = [[chunk.dictionary_page_offset or chunk.data_page_offset for chunk in row] for row in chunks]
        sizes = [[chunk.total_compressed_size for chunk in row] for row in chunks]
        counts = [group.num_rows for group in groups]
        return cls(forms, np.array(starts, np.int64), np.array(sizes, np.int64), counts)


class Page(NamedTuple):
    """One page.

    Attributes:
        form: of its column.
        packed: what is in it, compressed.
        first: row of the row group that it begins with.
    """

    form: ColumnForm
    header: PageHeader
    packed: bytes
    first: int


Unpacked: TypeAlias = tuple[Page, bytes]


class PageFile:
    """A file whose pages are read.

    Args:
        places: of its column chunks.

    Raises:
        OSError: it is gone.
    """

    def __init__(self, path: Path, places: Places) -> None:
        self._places = places
        self._file = os.open(path, os.O_RDONLY)

    def close(self) -> None:
        """Read no more."""
        os.close(self._file)

    def whole(self, group: int, form: ColumnForm) -> Iterator[Page]:
        """Yield every page of a column chunk.

        Raises:
            IndexError, KeyError, ValueError: it is damaged, as for `some`.
        """
        start, size = int(self._places.starts[group, form.number]), int(self._places.sizes[group, form.number])
        window = _Window(self._file, min(size, _SEARCHED))
        yield from self._pages(_Chunk(form, start, start + size, window), self._places.rows[group])

    def some(
        self, group: int, forms: Iterable[ColumnForm], places: Sequence[int], without: Collection[int] = ()
    ) -> Iterator[Page]:
        """Yield the pages of column chunks that have one of some rows, each chunk's dictionary before them.

        Args:
            places: rows in their group, ascending.
            without: numbers of columns whose dictionaries are not wanted.
        """
        rows = self._places.rows[group]
        for chunk in self._chunks(group, forms):
            yield from self._pages(chunk, rows, places, chunk.form.number not in without)

    def _chunks(self, group: int, forms: Iterable[ColumnForm]) -> Iterator["_Chunk"]:
        """Yield column chunks of which a few pages are wanted, in their order; neighbours are read together."""
        starts, sizes = self._places.starts[group].tolist(), self._places.sizes[group].tolist()
        together: list[list[ColumnForm]] = []
        begin = end = -_GAP - 1
        for form in sorted(forms, key=lambda form: starts[form.number]):
            start = starts[form.number]
            if start - end > _GAP or start + sizes[form.number] - begin > _AT_ONCE:
                together.append([])
                begin = start
            together[-1].append(form)
            end = start + sizes[form.number]
        for members in together:
            bounds = [(starts[form.number], starts[form.number] + sizes[form.number]) for form in members]
            size = bounds[-1][1] - bounds[0][0]
            window = _Window(self._file, size if size <= _AT_ONCE else _HEADER)
            for form, (start, stop) in zip(members, bounds, strict=True):
                yield _Chunk(form, start, stop, window)

    def _pages(
        self, chunk: "_Chunk", rows: int, places: Sequence[int] | None = None, dictionary: bool = True
    ) -> Iterator[Page]:
        """Yield the pages of a column chunk.

        Args:
            rows: of its row group.
            places: pages without one of them are passed over.
        """
        form, at, end, window = chunk
        first = met = 0
        while at < end:
            header = window.header(at, end)
            at = header.end + header.packed
            if not header.end <= at <= end or not 0 <= header.size <= _LARGEST:
                raise ValueError("a page beyond its column, or too large")
            if header.kind != DATA:
                if dictionary:
                    yield Page(form, header, window.read(header.end, header.packed), 0)
                continue
            last = first + header.values
            if not first <= last <= rows:
                raise ValueError("more rows than there should be")
            if places is None or places[met] < last:
                yield Page(form, header, window.read(header.end, header.packed), first)
                while places is not None and places[met] < last:
                    met += 1
                    if met == len(places):
                        return
            first = last


class _Window:
    """Reads a file from one place on, and a little more than it is asked for.

    Args:
        file: its descriptor.
        ahead: bytes to read at least.
    """

    def __init__(self, file: int, ahead: int) -> None:
        self._file, self._ahead = file, ahead
        self._begin, self._data = 0, b""

    def read(self, at: int, size: int) -> bytes:
        """Return some bytes."""
        offset = self._reach(at, size)
        return self._data[offset : offset + size]

    def header(self, at: int, end: int) -> PageHeader:
        """Return the page header at a place of the file.

        Args:
            end: of the column chunk.
        """
        for size in (_HEADER, _LONGEST_HEADER):
            offset = self._reach(at, min(size, end - at))
            try:
                return PageHeader.at(self._data, offset, self._begin)
            except IndexError:  # a header with long smallest and largest values
                continue
        raise ValueError("a header without an end")

    def _reach(self, at: int, size: int) -> int:
        """Have some bytes of the file; return where they begin in what there is."""
        offset = at - self._begin
        if offset < 0 or offset + size > len(self._data):
            self._begin, offset = at, 0
            self._data = os.pread(self._file, max(size, self._ahead), at)
        return offset


class _Chunk(NamedTuple):
    """A column chunk.

    Attributes:
        start: where its first page begins in the file.
        end: where its last page ends.
        window: what it is read through.
    """

    form: ColumnForm
    start: int
    end: int
    window: _Window


def unpacked(pages: Iterable[Page]) -> Iterator[Unpacked]:
    """Yield pages and what is in them.

    Raises:
        ValueError, OSError: it is damaged.
    """
    batch, size = list[Page](), 0
    for page in pages:
        batch.append(page)
        size += page.header.size
        if size >= _UNPACKED:
            yield from _unpacked(batch)
            batch, size = [], 0
    yield from _unpacked(batch)


def _unpacked(pages: Sequence[Page]) -> Iterator[Unpacked]:
    """Unpack as one stream, of which each page is a part: to begin one takes longer than to unpack most pages."""
    packed = pa.BufferReader(b"".join([page.packed for page in pages]))
    with pa.CompressedInputStream(packed, _CODEC) as stream:
        for page in pages:
            data = stream.read(page.header.size)
            if len(data) != page.header.size:
                raise ValueError("a page is smaller than its header says")
            yield page, data
        if stream.read(1):
            raise ValueError("a page is larger than its header says")
