"""Some rows of a sealed segment, read page by page.

Who looks for one trace needs eight rows of forty columns. DuckDB plans that for longer than this here reads it, and
reads and unpacks whole column chunks, or most of them. What is written in a way that is not known here is for DuckDB
still: `Unfamiliar` says so.
"""

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.traces.encodings import deltas, hybrid, places_of, plain, present, ranks
from stackctl.embedded.traces.pageheaders import DATA, PageHeader
from stackctl.embedded.traces.thrift import varint

# Most column chunks are much smaller than this: neighbours are read at once. Others page by page, headers before them.
_AT_ONCE: Final = 128 * 1024
_SEARCHED: Final = 1024 * 1024  # of a column that is read from its first page to its last
_GAP: Final = 16 * 1024  # rather read with what stands on both sides of it
_HEADER: Final = 512
_LONGEST_HEADER: Final = 64 * 1024
_LARGEST: Final = 16 * 1024**2  # of a page, unpacked: content that was captured may make them larger
# Encodings, as parquet.thrift numbers them.
_PLAIN, _PLAIN_DICTIONARY, _RLE, _DELTA, _RLE_DICTIONARY = 0, 2, 3, 5, 8
_CODED: Final = (_PLAIN_DICTIONARY, _RLE_DICTIONARY)
_MOST_CODES: Final = 1000  # of a page in which a text is looked for: one after the other they take a millisecond
_DAMAGED: Final = (KeyError, IndexError, ValueError, OverflowError, struct.error, OSError, pa.ArrowException)


class Unfamiliar(Exception):
    """A page is damaged, or its file gone, or it is written as this module cannot read it."""


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
        codec: of all pages, as Arrow calls it.
    """

    forms: Mapping[str, ColumnForm]
    starts: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    rows: Sequence[int]
    codec: str

    @classmethod
    def of(cls, metadata: Any) -> Self | None:
        """Take them from a file's metadata; None for a file with columns that are no plain ones, or of several codecs.

        Args:
            metadata: `pyarrow.parquet.FileMetaData`.
        """
        columns = [metadata.schema.column(number) for number in range(metadata.num_columns)]
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        chunks = [[group.column(column) for column in range(metadata.num_columns)] for group in groups]
        codecs = {chunk.compression for row in chunks for chunk in row}
        if len(codecs) != 1 or any(one.max_repetition_level or one.max_definition_level > 1 for one in columns):
            return None
        forms = {
            one.name: ColumnForm(number, one.physical_type, bool(one.max_definition_level))
            for number, one in enumerate(columns)
        }
        starts = [[chunk.dictionary_page_offset or chunk.data_page_offset for chunk in row] for row in chunks]
        sizes = [[chunk.total_compressed_size for chunk in row] for row in chunks]
        counts = [group.num_rows for group in groups]
        return cls(forms, np.array(starts, np.int64), np.array(sizes, np.int64), counts, codecs.pop().lower())


class SegmentPages:
    """The pages of one segment, open while they are read.

    Args:
        path: of the segment.
        places: of its column chunks.

    Raises:
        Unfamiliar: the file is gone.
    """

    def __init__(self, path: Path, places: Places) -> None:
        self._places = places
        self._codec = pa.Codec(cast(Literal["zstd"], places.codec))  # or another: a test of Arrow's, not of types
        try:
            self._file = os.open(path, os.O_RDONLY)
        except OSError as error:
            raise Unfamiliar(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._file)

    def where(self, group: int, column: str, wanted: Sequence[int]) -> list[int]:
        """Return the rows of a row group in which a column of 64-bit integers has one of some values.

        Raises:
            Unfamiliar: rows may have no value in it, or it has no plain values; and for what `rows` raises it.
        """
        try:
            found = [
                place + first
                for first, values in self._numbers(group, self._places.forms[column])
                for place in np.flatnonzero(
                    np.isin(values, wanted) if len(wanted) > 1 else values == wanted[0]
                ).tolist()
            ]
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return found

    def where_text(self, group: int, column: str, text: str) -> list[int]:
        """Return the rows of a row group in which a column is a text.

        Raises:
            Unfamiliar: the column has other values than texts, or many of a dictionary; and for what `rows` raises it.
        """
        wanted, found = text.encode(), list[int]()
        dictionary: _Page | None = None
        try:
            for page in self._pages(self._chunk(group, self._places.forms[column])):
                if page.header.kind != DATA:
                    dictionary = page
                    continue
                data, at = page.read()
                places = places_of(data, at, wanted) if page.header.encoding == _PLAIN else None
                if places == []:
                    continue
                filled = present(data, 4, page.header.values) if page.levels else np.arange(page.header.values)
                if places is None:
                    if dictionary is None or page.header.encoding not in _CODED or len(filled) > _MOST_CODES:
                        raise ValueError("no texts, or too many of a dictionary")
                    places = _coded(dictionary, data, at, wanted, len(filled))
                found += (filled[places] + page.first).tolist()
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return found

    def rows(self, group: int, columns: Iterable[str], places: Sequence[int]) -> list[dict[str, Any]]:
        """Return some rows.

        Args:
            group: number of their row group.
            columns: that they shall have.
            places: of the rows in their group, ascending.

        Raises:
            Unfamiliar: the file is damaged, or written as this class cannot read it.
        """
        try:
            names = {self._places.forms[column].number: column for column in columns}
            values = {
                names[chunk.form.number]: self._values(chunk, places)
                for chunk in self._chunks(group, [self._places.forms[column] for column in columns])
            }
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return [{name: column[row] for name, column in values.items()} for row in range(len(places))]

    def _numbers(self, group: int, form: ColumnForm) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield a column's pages as the row they begin at and their values."""
        for page in self._pages(self._chunk(group, form)):
            if page.header.encoding != _PLAIN or form.kind != "INT64":
                raise ValueError("no plain integers")
            data, at = page.read()
            if page.levels and _missing(data, page.header.values):
                raise ValueError("rows without a value")
            yield page.first, np.frombuffer(data, "<i8", page.header.values, at)

    def _values(self, chunk: "_Chunk", places: Sequence[int]) -> list[Any]:
        """Return the values of a column in some rows."""
        found: list[Any] = []
        dictionary: _Page | None = None
        for page in self._pages(chunk, places):
            if page.header.kind != DATA:
                dictionary = page
                continue
            first, last = page.first, page.first + page.header.values
            here = [place - first for place in (places[len(found) :] if found else places) if place < last]
            found += _page_values(page, chunk.form.kind, dictionary, here)
            if len(found) == len(places):
                return found
        raise ValueError("fewer rows than there should be")

    def _chunk(self, group: int, form: ColumnForm) -> "_Chunk":
        """Return a column chunk of which every page is wanted."""
        start, size = int(self._places.starts[group, form.number]), int(self._places.sizes[group, form.number])
        window = _Window(self._file, min(size, _SEARCHED))
        return _Chunk(form, start, start + size, self._places.rows[group], window)

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
                yield _Chunk(form, start, stop, self._places.rows[group], window)

    def _pages(self, chunk: "_Chunk", places: Sequence[int] | None = None) -> Iterator["_Page"]:
        """Yield the pages of a column chunk, which are read when they are asked.

        Args:
            places: rows in their group, ascending; pages without one of them are passed over.
        """
        at, first, met = chunk.start, 0, 0
        while at < chunk.end:
            header = chunk.window.header(at, chunk.end)
            at = header.end + header.packed
            if not header.end <= at <= chunk.end or not 0 <= header.size <= _LARGEST:
                raise ValueError("a page beyond its column, or too large")
            if header.kind != DATA:
                yield _Page(header, chunk.window, self._codec, 0, False)
                continue
            if not 0 <= header.values <= chunk.rows - first:
                raise ValueError("more rows than there should be")
            if places is None or places[met] < first + header.values:
                yield _Page(header, chunk.window, self._codec, first, chunk.form.optional)
                while places is not None and places[met] < first + header.values:
                    met += 1
                    if met == len(places):
                        return
            first += header.values


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
        offset = at - self._begin
        if offset < 0 or offset + size > len(self._data):
            self._begin, offset = at, 0
            self._data = os.pread(self._file, max(size, self._ahead), at)
        return self._data[offset : offset + size]

    def header(self, at: int, end: int) -> PageHeader:
        """Return the page header at a place of the file.

        Args:
            end: of the column chunk.
        """
        for size in (min(_HEADER, end - at), min(_LONGEST_HEADER, end - at)):
            try:
                found = PageHeader.at(self.read(at, size), 0)
            except IndexError:  # a header with long smallest and largest values
                continue
            return found._replace(end=at + found.end)
        raise ValueError("a header without an end")


class _Chunk(NamedTuple):
    """A column chunk.

    Attributes:
        start: where its first page begins in the file.
        end: where its last page ends.
        rows: of its row group.
        window: what it is read through.
    """

    form: ColumnForm
    start: int
    end: int
    rows: int
    window: _Window


class _Page(NamedTuple):
    """One page.

    Attributes:
        window: what it is read through.
        first: row of the row group that it begins with.
        levels: definition levels stand before the values.
    """

    header: PageHeader
    window: _Window
    codec: pa.Codec
    first: int
    levels: bool

    def read(self) -> tuple[bytes, int]:
        """Return its data, and where the values begin in them."""
        header = self.header
        packed = self.window.read(header.end, header.packed)
        data: bytes = self.codec.decompress(packed, header.size, asbytes=True)
        if not self.levels:
            return data, 0
        if header.levels != _RLE:
            raise ValueError("definition levels of another encoding")
        return data, 4 + int.from_bytes(data[:4], "little")


def _missing(data: bytes, rows: int) -> bool:
    """False where definition levels, after their length, say of one run of rows that all have a value."""
    run, at = varint(data, 4)
    return run & 1 == 1 or run >> 1 < rows or data[at] != 1


def _page_values(page: _Page, kind: str, dictionary: _Page | None, places: Sequence[int]) -> list[Any]:
    """Return a page's values at some places of it."""
    data, at = page.read()
    rows, encoding = page.header.values, page.header.encoding
    known = _ranks(data[4:at], tuple(places)) if page.levels and _missing(data, rows) else places
    filled = [rank for rank in known if rank is not None]
    if not filled:
        return [None] * len(places)
    if encoding == _PLAIN:
        values = plain(kind, data, at, filled)
    elif encoding == _DELTA and kind == "INT64":
        values = deltas(data, at, filled)
    elif encoding in _CODED and dictionary is not None:
        values = _looked_up(dictionary, kind, hybrid(data, at + 1, data[at], filled))
    else:
        raise ValueError(f"values of encoding {encoding}")
    given = iter(values)
    return [None if rank is None else next(given) for rank in known]


@lru_cache(maxsize=16)
def _ranks(levels: bytes, places: tuple[int, ...]) -> list[int | None]:
    """As `ranks`: of a trace's rows, values are mostly missing in several columns together."""
    return ranks(levels, 0, places)


def _coded(dictionary: _Page, data: bytes, at: int, text: bytes, count: int) -> list[int]:
    """Return the places at which a text is among values of a dictionary.

    Args:
        at: where they begin.
        count: how many there are.
    """
    codes = places_of(dictionary.read()[0], 0, text)
    if not codes or not count:
        return []
    return [place for place, code in enumerate(hybrid(data, at + 1, data[at], range(count))) if code == codes[0]]


def _looked_up(dictionary: _Page, kind: str, numbers: Sequence[int]) -> list[Any]:
    """Return the values that numbers stand for in a dictionary."""
    if dictionary.header.encoding not in (_PLAIN, _PLAIN_DICTIONARY):
        raise ValueError(f"a dictionary of encoding {dictionary.header.encoding}")
    wanted = sorted(set(numbers))
    values = dict(zip(wanted, plain(kind, dictionary.read()[0], 0, wanted), strict=True))
    return [values[number] for number in numbers]
