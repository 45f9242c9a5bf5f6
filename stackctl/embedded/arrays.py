"""Spans or evaluations by columns, as decoding gives them to the rules, with what it knows of the texts of some."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Codes = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Coded:
    """A column by its distinct values: record i has `values[codes[i]]`, None among them where some have none."""

    codes: Codes
    values: list[Any]


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
