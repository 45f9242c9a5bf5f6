"""Spans or evaluations by columns, as decoding gives them to the rules, with what it knows of the texts of some."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

Codes = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]

# The stubs of pyarrow.compute know neither. Arrow's `take` without what it does for anybody's arguments.
_TAKE: Final[Any] = pyarrow.compute.get_function("array_take")
_UNCHECKED: Final = pyarrow.compute.TakeOptions(boundscheck=False)
_TEXT: Final = pa.string()


@dataclass(frozen=True, slots=True)
class Coded:
    """A column by its distinct values: record i has `values[codes[i]]`, None among them where some have none."""

    codes: Codes
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Arrays:
    """Columns, each in one piece: to make a table of them and take that apart takes longer than most rules.

    Attributes:
        columns: by name, all as long as there are rows.
        rows: how many.
        known: columns of texts, by name, whose distinct values need not be looked for.
    """

    columns: dict[str, Any]
    rows: int
    known: Mapping[str, Coded] = field(default_factory=dict)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """A table's columns, those of dictionaries with their values in them."""
        batches = table.to_batches()
        whole = len(batches) == 1
        # Of the quickest ways to the columns of a batch the one through a struct.
        pieces: list[Any] = (
            batches[0].to_struct_array().flatten() if whole else [column.combine_chunks() for column in table.columns]
        )
        values = [piece.dictionary_decode() if pa.types.is_dictionary(piece.type) else piece for piece in pieces]
        return cls(dict(zip(table.schema.names, values, strict=True)), table.num_rows)

    def table(self) -> pa.Table:
        """The columns as a table."""
        return pa.table(self.columns)


def take(column: Any, places: Codes, missing: Mask | None = None) -> Any:
    """Some values of an array.

    Args:
        places: where they are; all are within it.
        missing: which are null, where some are.
    """
    return _TAKE.call([column, numbers(places, missing)], _UNCHECKED)


def numbers(values: npt.NDArray[Any], missing: Mask | None = None) -> Any:
    """Return an array of numbers, in half of the time in which Arrow makes one where some are missing.

    Args:
        values: of any numeric type.
        missing: which are null, where some are.
    """
    if missing is None:
        return pa.array(values)
    parts: tuple[Any, ...] = (np.packbits(~missing, bitorder="little"), values)
    return pa.Array.from_buffers(
        pa.from_numpy_dtype(values.dtype),
        len(values),
        [pa.py_buffer(part) for part in parts],
        null_count=int(np.count_nonzero(missing)),
    )


def spread(column: Coded) -> Any:
    """Return a column of texts."""
    texts = {text for text in column.values if text is not None}
    if not texts:
        return pa.nulls(len(column.codes), _TEXT)
    if len(column.values) == 1:
        return _repeated_everywhere(texts.pop(), len(column.codes))
    if len(texts) == 1 and "" not in texts:
        return repeated(texts.pop(), np.array([text is not None for text in column.values])[column.codes])
    return take(pa.array(column.values, _TEXT), column.codes)


def repeated(text: str, there: Mask) -> Any:
    """Return a text for some records, null for others, in a third of the time in which Arrow takes it for each."""
    octets = text.encode()
    ends = np.zeros(len(there) + 1, np.int32)
    np.multiply(there.cumsum(dtype=np.int32), len(octets), out=ends[1:])
    count = int(np.count_nonzero(there))
    parts: tuple[Any, ...] = (np.packbits(there, bitorder="little"), ends, octets * count)
    return pa.Array.from_buffers(
        _TEXT, len(there), [pa.py_buffer(part) for part in parts], null_count=len(there) - count
    )


def _repeated_everywhere(text: str, rows: int) -> Any:
    """Return a column of one text, in half of the time in which Arrow makes a scalar of it and repeats that."""
    octets = text.encode()
    ends: Any = np.arange(rows + 1, dtype=np.int32) * np.int32(len(octets))
    return pa.Array.from_buffers(_TEXT, rows, [None, pa.py_buffer(ends), pa.py_buffer(octets * rows)], null_count=0)
