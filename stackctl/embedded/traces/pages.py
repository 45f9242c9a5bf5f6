"""Some rows of a sealed segment, read page by page.

Who looks for one trace needs eight rows of forty columns. DuckDB plans that for longer than this here reads it, and
reads and unpacks whole column chunks, or most of them. What is written in a way that is not known here is for DuckDB
still: `Unfamiliar` says so.
"""

import struct
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa

from stackctl.embedded.traces.encodings import deltas, hybrid, places_of, plain, present, ranks
from stackctl.embedded.traces.pagefile import ColumnForm, Page, PageFile, Places, Unpacked, unpacked
from stackctl.embedded.traces.pageheaders import DATA
from stackctl.embedded.traces.thrift import varint

# Encodings, as parquet.thrift numbers them.
_PLAIN, _PLAIN_DICTIONARY, _RLE, _DELTA, _RLE_DICTIONARY = 0, 2, 3, 5, 8
_CODED: Final = (_PLAIN_DICTIONARY, _RLE_DICTIONARY)
_MOST_CODES: Final = 1000  # of a page in which a text is looked for: one after the other they take a millisecond
_DAMAGED: Final = (KeyError, IndexError, ValueError, OverflowError, struct.error, OSError, pa.ArrowException)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


class Unfamiliar(Exception):
    """A page is damaged, or its file gone, or it is written as this module cannot read it."""


class SegmentPages:
    """The pages of one segment, open while they are read.

    Args:
        path: of the segment.
        places: of its column chunks.

    Raises:
        Unfamiliar: the file is gone.
    """

    def __init__(self, path: Path, places: Places) -> None:
        self._forms = places.forms
        try:
            self._file = PageFile(path, places)
        except OSError as error:
            raise Unfamiliar(str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def where(self, group: int, column: str, wanted: Sequence[int]) -> list[int]:
        """Return the rows of a row group in which a column of 64-bit integers has one of some values.

        Raises:
            Unfamiliar: rows may have no value in it, or it has no plain values; and for what `rows` raises it.
        """
        found: list[int] = []
        try:
            form = self._forms[column]
            for page, data in unpacked(self._file.whole(group, form)):
                rows, at = page.header.values, _behind_levels(page, data)
                if page.header.encoding != _PLAIN or form.kind != "INT64":
                    raise ValueError("no plain integers")
                if at and _missing(data, rows):
                    raise ValueError("rows without a value")
                values = np.frombuffer(data, "<i8", rows, at)
                here = np.isin(values, wanted) if len(wanted) > 1 else values == wanted[0]
                found += (np.flatnonzero(here) + page.first).tolist()
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return found

    def where_text(self, group: int, column: str, text: str) -> list[int]:
        """Return the rows of a row group in which a column is a text.

        Raises:
            Unfamiliar: the column has other values than texts, or many of a dictionary; and for what `rows` raises it.
        """
        wanted, found = text.encode(), list[int]()
        dictionary: Unpacked | None = None
        try:
            for page, data in unpacked(self._file.whole(group, self._forms[column])):
                if page.header.kind != DATA:
                    dictionary = page, data
                    continue
                at = _behind_levels(page, data)
                places = places_of(data, at, wanted) if page.header.encoding == _PLAIN else None
                if places == []:
                    continue
                filled = present(data, 4, page.header.values) if at else np.arange(page.header.values)
                if places is None:
                    if dictionary is None or page.header.encoding not in _CODED or len(filled) > _MOST_CODES:
                        raise ValueError("no texts, or too many of a dictionary")
                    places = _coded(dictionary[1], data, at, wanted, len(filled))
                found += (filled[places] + page.first).tolist()
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        return found

    def rows(
        self, group: int, columns: Iterable[str], places: Sequence[int], known: Mapping[str, Any] = _NOTHING
    ) -> list[dict[str, Any]]:
        """Return some rows.

        Args:
            group: number of their row group.
            columns: that they shall have.
            places: of the rows in their group, ascending.
            known: columns, of these or others, in which each row has this value, or none.

        Raises:
            Unfamiliar: the file is damaged, or written as this class cannot read it.
        """
        try:
            forms = {column: self._forms[column] for column in columns}
            given = {forms[column].number: known[column] for column in forms.keys() & known.keys()}
            values = self._values(group, list(forms.values()), tuple(places), given)
        except _DAMAGED as error:
            raise Unfamiliar(str(error)) from error
        read = [values[form.number] for form in forms.values()]
        return [dict(zip(forms, row, strict=True)) for row in zip(*read, strict=True)] if read else [{} for _ in places]

    def _values(
        self, group: int, forms: Sequence[ColumnForm], places: tuple[int, ...], given: Mapping[int, Any]
    ) -> Mapping[int, Sequence[Any]]:
        """Return by its number the values of each column in some rows."""
        found: dict[int, list[Any]] = {form.number: [] for form in forms}
        dictionaries: dict[int, Unpacked] = {}
        for page, data in unpacked(self._file.some(group, forms, places, given)):
            number = page.form.number
            if page.header.kind != DATA:
                dictionaries[number] = page, data
                continue
            met, first = found[number], page.first
            last = first + page.header.values
            whole = first == 0 and places[-1] < last
            here = places if whole else tuple([place - first for place in places[len(met) :] if place < last])
            filled = _ranks_in(page, data, here)
            if number in given:
                value = given[number]
                met += [None if rank is None else value for rank in filled]
            else:
                met += _page_values(page, data, dictionaries.get(number), filled)
        if any(len(values) != len(places) for values in found.values()):
            raise ValueError("fewer rows than there should be")
        return found


def _behind_levels(page: Page, data: bytes) -> int:
    """Return where a page's values begin: behind its definition levels, where it has them."""
    if not page.form.optional:
        return 0
    if page.header.levels != _RLE:
        raise ValueError("definition levels of another encoding")
    return 4 + int.from_bytes(data[:4], "little")


def _missing(data: bytes, rows: int) -> bool:
    """False where definition levels, after their length, say of one run of rows that all have a value."""
    run, at = varint(data, 4)
    return run & 1 == 1 or run >> 1 < rows or data[at] != 1


def _ranks_in(page: Page, data: bytes, places: tuple[int, ...]) -> Sequence[int | None]:
    """Return at which place among a page's values those of some rows stand; None for a row without one."""
    at = _behind_levels(page, data)
    return _ranks(data[4:at], places) if at and _missing(data, page.header.values) else places


@lru_cache(maxsize=16)
def _ranks(levels: bytes, places: tuple[int, ...]) -> list[int | None]:
    """As `ranks`: of a trace's rows, values are mostly missing in several columns together."""
    return ranks(levels, 0, places)


def _page_values(page: Page, data: bytes, dictionary: Unpacked | None, known: Sequence[int | None]) -> list[Any]:
    """Return a page's values for some rows.

    Args:
        known: where they stand among its values.
    """
    filled = [rank for rank in known if rank is not None]
    if not filled:
        return [None] * len(known)
    kind, encoding, at = page.form.kind, page.header.encoding, _behind_levels(page, data)
    if encoding == _PLAIN:
        values = plain(kind, data, at, filled)
    elif encoding == _DELTA and kind == "INT64":
        values = deltas(data, at, filled)
    elif encoding in _CODED and dictionary is not None:
        values = _looked_up(dictionary, hybrid(data, at + 1, data[at], filled))
    else:
        raise ValueError(f"values of encoding {encoding}")
    if len(values) == len(known):
        return values
    given = iter(values)
    return [None if rank is None else next(given) for rank in known]


def _coded(dictionary: bytes, data: bytes, at: int, text: bytes, count: int) -> list[int]:
    """Return the places at which a text is among values of a dictionary.

    Args:
        at: where they begin.
        count: how many there are.
    """
    codes = places_of(dictionary, 0, text)
    if not codes or not count:
        return []
    return [place for place, code in enumerate(hybrid(data, at + 1, data[at], range(count))) if code == codes[0]]


def _looked_up(dictionary: Unpacked, numbers: Sequence[int]) -> list[Any]:
    """Return the values that numbers stand for in a dictionary."""
    page, data = dictionary
    if page.header.encoding not in (_PLAIN, _PLAIN_DICTIONARY):
        raise ValueError(f"a dictionary of encoding {page.header.encoding}")
    wanted = sorted(set(numbers))
    values = dict(zip(wanted, plain(page.form.kind, data, 0, wanted), strict=True))
    return [values[number] for number in numbers]
