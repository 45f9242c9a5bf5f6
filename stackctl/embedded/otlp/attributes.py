"""OTLP attribute lists to typed columns, read from their protobuf bytes with whole-array operations.

What `keyvalues` cannot cut (arrays, maps, no value, another spelling) goes through the protobuf package, once per
distinct value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.arrays import take
from stackctl.embedded.otlp import jsontext
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.keyvalues import LETTERS, OTHER, SCALAR_FIELDS, TEXT, Cut, distinct, keys
from stackctl.embedded.otlp.layouts import ALL, Reading, layout
from stackctl.embedded.otlp.remembered import Remembered
from stackctl.embedded.otlp.shape import Lists, Texts, column_name, most_columns

_SCALAR_NAMES: Final = frozenset(field for field, _ in SCALAR_FIELDS)
# How often each sequence of keys must come, on average, for sequences to be looked up rather than keys.
_ALIKE: Final = 8
# Cells of a table of all keys and rows for each element, beyond which it is mostly empty.
_SPARSE: Final = 4
# Types of scalars, and `OTHER`.
_KINDS: Final = len(LETTERS) + 1
_NO_KEY: Final = b"\x0a\0"  # protobuf leaves an empty field out


def pivot(
    attributes: Lists, prefix: str, columns: dict[str, Any], shown: int | None = None, reading: Reading = ALL
) -> Texts:
    """Turn an attribute list column into typed columns, a row for each list.

    Args:
        attributes: list of serialised KeyValues, one list per span or per resource, as decoded.
        prefix: `s` or `r`.
        columns: gets the columns, frequent keys first, at most `most_columns`.
        shown: rows that these lists are shown in, where that are more than there are lists.
        reading: which texts are of any use; in a column, others are empty.

    Returns:
        JSON objects of what has no column: arrays, maps, bytes, and scalars beyond the cap.

    Raises:
        DecodeError: an element is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    elements = attributes.values
    if not len(elements):
        return pa.nulls(len(attributes), pa.string())
    cut = Cut.of(elements)
    others = _Others.of(elements, (cut.kinds == OTHER).nonzero()[0])
    respelled = others.respelled(elements)
    if respelled is not None:
        elements, cut = respelled, Cut.of(respelled)
        others = _Others.of(elements, (cut.kinds == OTHER).nonzero()[0])
    rows, bounds = len(attributes), attributes.offsets.to_numpy().astype(np.int64)
    made, unplaced = _placed(cut, bounds, prefix, most_columns(shown or rows), reading)
    columns |= made
    if len(unplaced):
        others = _Others.of(elements, np.sort(np.concatenate([others.places, unplaced])))
    if not len(others.places):
        return pa.nulls(rows, pa.string())
    owner = np.searchsorted(bounds, others.places, side="right") - 1
    return jsontext.objects_of([other.member for other in others.distinct], others.codes, owner, rows)


class _Other:
    """An element that is read by the protobuf package.

    Raises:
        DecodeError: it is no KeyValue.
    """

    def __init__(self, raw: bytes) -> None:
        self._pair = KeyValue.FromString(raw)

    @cached_property
    def usual(self) -> bytes | None:
        """A scalar spelled the usual way; None for a nested value."""
        return _usual(self._pair) if self._pair.value.WhichOneof("value") in _SCALAR_NAMES else None

    @cached_property
    def member(self) -> str | None:
        """It as a member of a JSON object; None without a value, which is no attribute."""
        return jsontext.member(self._pair)


_others: Final = Remembered(lambda distinct: [_Other(raw) for raw in distinct])


@dataclass(frozen=True)
class _Others:
    """Such elements.

    Attributes:
        places: which elements, ascending.
        codes: of each its place among `distinct`.
        distinct: what they are.
    """

    places: Ints
    codes: Ints
    distinct: Sequence[_Other]

    @classmethod
    def of(cls, elements: Texts, places: Ints) -> "_Others":
        """Read some elements.

        Raises:
            DecodeError: an element is no KeyValue.
        """
        if not len(places):
            return cls(places, places, [])
        _, offsets, raw = take(elements, places).buffers()
        found, codes = distinct(np.frombuffer(offsets, np.int32, len(places) + 1), raw)
        return cls(places, np.zeros(len(places), np.int64) if codes is None else codes, _others.of(found))

    def respelled(self, elements: Texts) -> Texts | None:
        """Return the elements with scalars spelled the usual way, None where all of these are nested values."""
        if not any(other.usual for other in self.distinct):
            return None
        spelled = elements.to_pylist()
        for place, code in zip(self.places.tolist(), self.codes.tolist(), strict=True):
            spelled[place] = self.distinct[code].usual or spelled[place]
        return pa.array(spelled, pa.binary())


def _usual(pair: KeyValue) -> bytes:
    """The usual spelling of a scalar attribute, without whatever else its messages hold."""
    field = pair.value.WhichOneof("value")
    assert field is not None, "it has a scalar"
    usual = KeyValue(key=pair.key, value=AnyValue(**{field: getattr(pair.value, field)}))
    return (b"" if pair.key else _NO_KEY) + usual.SerializeToString()


def _placed(cut: Cut, bounds: Ints, prefix: str, most: int, reading: Reading) -> tuple[dict[str, Any], Ints]:
    """Columns of the elements that were cut, the most frequent first; and the elements beyond the cap of columns.

    Args:
        bounds: where the elements of each row begin, and where those of the last end.
        most: how many columns there may be.
        reading: which texts are of any use.
    """
    heads = cut.heads()
    rows = _Rows.of(heads, bounds)
    made = None if rows is None else _laid(cut, rows, bounds, prefix, most, reading)
    if made is not None:
        return made, np.zeros(0, np.int64)
    names, codes = _keys(heads, rows, bounds)
    return _scattered(cut, bounds, names, codes, prefix, most, reading)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows by their sequences of keys: spans of one library have the same keys in the same order.

    Attributes:
        heads: the distinct sequences, as they were written.
        keys: their keys.
        orders: which of them each row has.
    """

    heads: list[bytes]
    keys: list[list[bytes]]
    orders: Ints

    @classmethod
    def of(cls, heads: Texts, bounds: Ints) -> "_Rows | None":
        """Rows of elements; None where most rows have keys of their own, or an element has no key.

        Args:
            heads: of each element its key.
            bounds: where the elements of each row begin, and where those of the last end.
        """
        _, offsets, raw = heads.buffers()
        ends = np.frombuffer(offsets, np.int32, len(heads) + 1)
        found, orders = distinct(ends[bounds], raw)
        if sum(map(len, found)) * _ALIKE > ends[-1]:
            return None
        sequences = _sequences.of(found)
        each = np.zeros(len(bounds) - 1, np.int64) if orders is None else orders
        lengths = np.array([len(sequence) for sequence in sequences])
        return cls(found, sequences, each) if (lengths[each] == bounds[1:] - bounds[:-1]).all() else None

    def firsts(self) -> list[int]:
        """Which is the first row of each sequence; they are numbered as they come."""
        found: list[int] = np.maximum.accumulate(self.orders).searchsorted(np.arange(len(self.heads))).tolist()
        return found


def _laid(cut: Cut, rows: _Rows, bounds: Ints, prefix: str, most: int, reading: Reading) -> dict[str, Any] | None:
    """The columns where rows of the same keys have values of the same types; None where they have not, or too many."""
    if len({key for sequence in rows.keys for key in sequence}) * len(rows.orders) > _SPARSE * len(cut.kinds):
        return None
    kinds = [cut.kinds[bounds[first] : bounds[first + 1]].tobytes() for first in rows.firsts()]
    found = layout(prefix, rows.heads, rows.keys, kinds, reading)
    if found is None or len(found.names) > most:
        return None
    places = found.places(rows.orders, bounds[:-1])
    if not ((cut.kinds.take(places) == found.kinds) | (places < 0)).all():
        return None
    columns = cut.columns(places[: len(found.names)], found.types, found.unread)
    return {found.names[line]: columns[line] for line in found.frequent(rows.orders)}


def _scattered(
    cut: Cut, bounds: Ints, names: list[bytes], codes: Ints, prefix: str, most: int, reading: Reading
) -> tuple[dict[str, Any], Ints]:
    """The same as `_placed`, where each row may have any elements.

    Args:
        names: distinct keys.
        codes: which of them each element has.
    """
    rows, sizes = len(bounds) - 1, bounds[1:] - bounds[:-1]
    codes = codes * _KINDS + cut.kinds
    counts = np.bincount(codes)
    found = counts.nonzero()[0]
    found = found[found % _KINDS != OTHER]
    frequent = found[(-counts[found]).argsort(kind="stable")][:most].tolist()
    named = {code: _name(prefix, names, code) for code in frequent}
    unread = {code for code in frequent if code % _KINDS == TEXT and not reading.of(named[code][2:-2])}
    # A line for each column, with the element of each row, and one for all elements that get none.
    lines = sorted(frequent, key=lambda code: (code % _KINDS, code not in unread))
    nowhere = len(lines) * rows
    starts = np.full(len(counts), nowhere)
    starts[lines] = np.arange(0, nowhere, rows)
    starts = starts.take(codes)
    table = np.full((len(lines) + 1, rows), -1)
    # Of a key that a span has twice, the last stands.
    table.ravel()[starts + np.arange(rows).repeat(sizes)] = np.arange(len(codes))
    columns = cut.columns(table[:-1], [code % _KINDS for code in lines], len(unread))
    made = dict(zip(lines, columns, strict=True))
    beyond = np.zeros(0, np.int64)
    if len(frequent) < len(found):
        beyond = ((starts == nowhere) & (cut.kinds != OTHER)).nonzero()[0]
    return {named[code]: made[code] for code in frequent}, beyond


def _keys(heads: Texts, rows: _Rows | None, bounds: Ints) -> tuple[list[bytes], Ints]:
    """The distinct keys of elements, and which of them each has; those of a whole row are looked up as one."""
    if rows is None:
        single = heads.dictionary_encode()
        return [b"".join(keys(head)) for head in single.dictionary.to_pylist()], single.indices.to_numpy()
    numbers: dict[bytes, int] = {}
    codes = np.array([numbers.setdefault(key, len(numbers)) for sequence in rows.keys for key in sequence])
    lengths = np.array([len(sequence) for sequence in rows.keys])
    begins = (lengths.cumsum() - lengths)[rows.orders] - bounds[:-1]
    return list(numbers), codes[begins.repeat(bounds[1:] - bounds[:-1]) + np.arange(len(heads))]


_sequences: Final = Remembered(lambda distinct: [keys(heads) for heads in distinct])


def _name(prefix: str, keys: list[bytes], code: int) -> str:
    number, kind = divmod(code, _KINDS)
    # UnicodeDecodeError is a ValueError, as of every other text that is no UTF-8.
    return column_name(prefix, keys[number].decode(), LETTERS[kind])
