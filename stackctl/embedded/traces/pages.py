"""Some rows of a sealed segment, read page by page.

Who looks for one trace needs eight rows of forty columns. DuckDB plans that for longer than this here reads it, and
reads and unpacks whole column chunks, or most of them. What is written in a way that is not known here is for DuckDB
still: `Unfamiliar` says so.
"""

import os
import struct
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple, Self, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.traces.encodings import deltas, hybrid, places_of, plain, present, ranks
from stackctl.embedded.traces.thrift import Fields, fields, varint

# Most column chunks are smaller than this and read at once; of others page by page, headers before them.
_WHOLE_CHUNK: Final = 64 * 1024
_HEADER: Final = 512
_LARGEST: Final = 16 * 1024**2  # of a page, unpacked: content that was captured may make them larger
# parquet.thrift: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
_DATA_PAGE, _DICTIONARY_PAGE = 0, 2
_PLAIN, _PLAIN_DICTIONARY, _RLE, _DELTA, _RLE_DICTIONARY = 0, 2, 3, 5, 8
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
            Unfamiliar: the column has no plain texts; and for what `rows` raises it.
        """
        wanted, found = text.encode(), list[int]()
        try:
            for page in self._pages(group, self._places.forms[column]):
                if page.encoding != _PLAIN or page.dictionary:
                    raise ValueError("no plain texts")
                data, at = page.read()
                places = places_of(data, at, wanted)
                if places and page.levels:
                    places = present(data, 4, page.rows)[places].tolist()
                found += [page.first + place for place in places]
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return found

    def rows(self, group: int, columns: Sequence[str], places: Sequence[int]) -> list[dict[str, Any]]:
        """Return some rows.

        Args:
            group: number of their row group.
            columns: that they shall have.
            places: of the rows in their group, ascending.

        Raises:
            Unfamiliar: the file is damaged, or written as this class cannot read it.
        """
        try:
            values = [self._values(group, self._places.forms[column], places) for column in columns]
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return [{name: column[row] for name, column in zip(columns, values, strict=True)} for row in range(len(places))]

    def _numbers(self, group: int, form: ColumnForm) -> Iterator[tuple[int, npt.NDArray[np.int64]]]:
        """Yield a column's pages as the row they begin at and their values."""
        for page in self._pages(group, form):
            if page.encoding != _PLAIN or form.kind != "INT64":
                raise ValueError("no plain integers")
            data, at = page.read()
            if page.levels and _missing(data, page.rows):
                raise ValueError("rows without a value")
            yield page.first, np.frombuffer(data, "<i8", page.rows, at)

    def _values(self, group: int, form: ColumnForm, places: Sequence[int]) -> list[Any]:
        """Return the values of a column in some rows."""
        found: list[Any] = []
        dictionary: _Page | None = None
        for page in self._pages(group, form, places):
            if page.dictionary:
                dictionary = page
                continue
            here = [place - page.first for place in places[len(found) :] if place < page.first + page.rows]
            found += _page_values(page, form.kind, dictionary, here)
            if len(found) == len(places):
                return found
        raise ValueError("fewer rows than there should be")

    def _pages(self, group: int, form: ColumnForm, places: Sequence[int] | None = None) -> Iterator["_Page"]:
        """Yield the pages of a column chunk, which are read when they are asked.

        Args:
            places: rows in their group, ascending; pages without one of them are passed over.
        """
        at, size = int(self._places.starts[group, form.number]), int(self._places.sizes[group, form.number])
        end, first = at + size, 0
        window = _Window(self._file, size if size <= _WHOLE_CHUNK else _HEADER)
        while at < end:
            header, body = window.header(at, end)
            if not 0 <= header[3] <= end - body or not 0 <= header[2] <= _LARGEST:
                raise ValueError("a page beyond its column, or too large")
            if header[1] == _DICTIONARY_PAGE:
                yield _Page(header, body, window, self._codec, 0, 0, header[7][2], dictionary=True)
            elif header[1] == _DATA_PAGE:
                rows = header[5][1]
                if places is None or bisect_left(places, first) < bisect_left(places, first + rows):
                    yield _Page(header, body, window, self._codec, first, rows, header[5][2], form.optional)
                first += rows
            else:
                raise ValueError(f"a page of type {header[1]}")
            at = body + header[3]


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

    def header(self, at: int, end: int) -> tuple[Fields, int]:
        """Return the page header at a place, and where the page begins behind it.

        Args:
            end: of the column chunk.
        """
        for size in (min(_HEADER, end - at), min(_WHOLE_CHUNK, end - at)):
            try:
                found, length = fields(self.read(at, size), 0)
            except IndexError:  # a header with long smallest and largest values
                continue
            return found, at + length
        raise ValueError("a header without an end")


class _Page(NamedTuple):
    """One page.

    Attributes:
        first: row of the row group that it begins with.
        rows: how many it has.
        encoding: of its values.
        levels: definition levels stand before the values.
        dictionary: it is a dictionary's.
    """

    header: Fields
    body: int
    window: _Window
    codec: pa.Codec
    first: int
    rows: int
    encoding: int
    levels: bool = False
    dictionary: bool = False

    def read(self) -> tuple[bytes, int]:
        """Return its data, and where the values begin in them."""
        packed = self.window.read(self.body, self.header[3])
        data: bytes = self.codec.decompress(packed, self.header[2], asbytes=True)
        if not self.levels:
            return data, 0
        if self.header[5][3] != _RLE:
            raise ValueError("definition levels of another encoding")
        return data, 4 + int.from_bytes(data[:4], "little")


def _missing(data: bytes, rows: int) -> bool:
    """False where definition levels, after their length, say of one run of rows that all have a value."""
    run, at = varint(data, 4)
    return run & 1 == 1 or run >> 1 < rows or data[at] != 1


def _page_values(page: _Page, kind: str, dictionary: _Page | None, places: Sequence[int]) -> list[Any]:
    """Return a page's values at some places of it."""
    data, at = page.read()
    known = _ranks(data[4:at], tuple(places)) if page.levels and _missing(data, page.rows) else places
    filled = [rank for rank in known if rank is not None]
    if not filled:
        return [None] * len(places)
    if page.encoding == _PLAIN:
        values = plain(kind, data, at, filled)
    elif page.encoding == _DELTA and kind == "INT64":
        values = deltas(data, at, filled)
    elif page.encoding in (_PLAIN_DICTIONARY, _RLE_DICTIONARY) and dictionary is not None:
        values = _looked_up(dictionary, kind, hybrid(data, at + 1, data[at], filled))
    else:
        raise ValueError(f"values of encoding {page.encoding}")
    given = iter(values)
    return [None if rank is None else next(given) for rank in known]


@lru_cache(maxsize=16)
def _ranks(levels: bytes, places: tuple[int, ...]) -> list[int | None]:
    """As `ranks`: of a trace's rows, values are mostly missing in several columns together."""
    return ranks(levels, 0, places)


def _looked_up(dictionary: _Page, kind: str, numbers: Sequence[int]) -> list[Any]:
    """Return the values that numbers stand for in a dictionary."""
    if dictionary.encoding not in (_PLAIN, _PLAIN_DICTIONARY):
        raise ValueError(f"a dictionary of encoding {dictionary.encoding}")
    wanted = sorted(set(numbers))
    values = dict(zip(wanted, plain(kind, dictionary.read()[0], 0, wanted), strict=True))
    return [values[number] for number in numbers]
