"""OTLP attribute lists to typed columns, read from their protobuf bytes with whole-array operations.

What `keyvalues` cannot cut (arrays, maps, no value, another spelling) goes through the protobuf package, once per
distinct value.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.otlp import jsontext
from stackctl.embedded.otlp.jsontext import Ints, parents
from stackctl.embedded.otlp.keyvalues import LETTERS, OTHER, SCALAR_FIELDS, Cut, binaries, keys
from stackctl.embedded.otlp.shape import Lists, Texts, column_name, most_columns

_SCALAR_NAMES: Final = frozenset(field for field, _ in SCALAR_FIELDS)
# How often each sequence of keys must come, on average, for sequences to be looked up rather than keys.
_ALIKE: Final = 8
_NO_KEY: Final = b"\x0a\0"  # protobuf leaves an empty field out


def pivot(attributes: Lists, prefix: str, columns: dict[str, Any], shown: int | None = None) -> Texts:
    """Turn an attribute list column into typed columns, a row for each list.

    Args:
        attributes: list of serialised KeyValues, one list per span or per resource.
        prefix: `s` or `r`.
        columns: gets the columns, frequent keys first, at most `most_columns`.
        shown: rows that these lists are shown in, where that are more than there are lists.

    Returns:
        JSON objects of what has no column: arrays, maps, bytes, and scalars beyond the cap.

    Raises:
        DecodeError: an element is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    elements = attributes.flatten()
    if not len(elements):
        return pa.nulls(len(attributes), pa.string())
    cut = Cut.of(elements)
    others = _Others.of(elements, np.flatnonzero(cut.kinds == OTHER))
    respelled = others.respelled(elements)
    if respelled is not None:
        elements, cut = respelled, Cut.of(respelled)
        others = _Others.of(elements, np.flatnonzero(cut.kinds == OTHER))
    owner, rows = parents(attributes), len(attributes)
    made, unplaced = _placed(cut, owner, rows, prefix, most_columns(shown or rows))
    columns |= made
    if len(unplaced):
        others = _Others.of(elements, np.sort(np.concatenate([others.places, unplaced])))
    if not len(others.places):
        return pa.nulls(rows, pa.string())
    return jsontext.objects_of(jsontext.members(others.pairs), others.codes, owner[others.places], rows)


@dataclass(frozen=True)
class _Others:
    """Elements that are read by the protobuf package.

    Attributes:
        places: which elements, ascending.
        codes: of each the place of its message among `pairs`.
        pairs: the distinct ones.
    """

    places: Ints
    codes: Ints
    pairs: list[KeyValue]

    @classmethod
    def of(cls, elements: Texts, places: Ints) -> "_Others":
        """Read some elements.

        Raises:
            DecodeError: an element is no KeyValue.
        """
        if not len(places):
            return cls(places, places, [])
        encoded = elements.take(pa.array(places)).dictionary_encode()
        pairs = [KeyValue.FromString(raw) for raw in encoded.dictionary.to_pylist()]
        return cls(places, encoded.indices.to_numpy(), pairs)

    def respelled(self, elements: Texts) -> Texts | None:
        """Return the elements with scalars spelled the usual way, None where all of these are nested values."""
        scalar = [pair.value.WhichOneof("value") in _SCALAR_NAMES for pair in self.pairs]
        if not any(scalar):
            return None
        spelled = elements.to_pylist()
        for place, code in zip(self.places.tolist(), self.codes.tolist(), strict=True):
            if scalar[code]:
                spelled[place] = _usual(self.pairs[code])
        return pa.array(spelled, pa.binary())


def _usual(pair: KeyValue) -> bytes:
    """The usual spelling of a scalar attribute, without whatever else its messages hold."""
    field = pair.value.WhichOneof("value")
    assert field is not None, "it has a scalar"
    usual = KeyValue(key=pair.key, value=AnyValue(**{field: getattr(pair.value, field)}))
    return (b"" if pair.key else _NO_KEY) + usual.SerializeToString()


def _placed(cut: Cut, owner: Ints, rows: int, prefix: str, most: int) -> tuple[dict[str, Any], Ints]:
    """Columns of the elements that were cut, the most frequent first; and the elements beyond the cap of columns.

    Args:
        owner: ascending row of each element.
        most: how many columns there may be.
    """
    chosen = np.flatnonzero(cut.kinds != OTHER)
    if not len(chosen):
        return {}, chosen
    owner = owner[chosen]
    names, codes = _keys(cut.heads(chosen), owner, rows)
    codes = codes * len(LETTERS) + cut.kinds[chosen]
    counts = np.bincount(codes)
    found = np.flatnonzero(counts)
    left = chosen[:0]
    frequent = found[np.argsort(-counts[found], kind="stable")][:most]
    # A line for each column, with the element of each row; those of a type are neighbours.
    lines = frequent[np.argsort(frequent % len(LETTERS), kind="stable")]
    line_of = np.full(len(counts), -1)
    line_of[lines] = np.arange(len(lines))
    line = line_of.take(codes)
    if len(frequent) < len(found):
        placed = line >= 0
        left, chosen, owner, line = chosen[~placed], chosen[placed], owner[placed], line[placed]
    table = np.full((len(lines), rows), -1)
    table.ravel()[line * rows + owner] = chosen  # of a key that a span has twice, the last stands
    made: list[Any] = []
    for kind, count in enumerate(np.bincount(lines % len(LETTERS)).tolist()):
        if count:
            made += cut.columns(kind, table[len(made) : len(made) + count])
    return {_name(prefix, names, code): made[line_of[code]] for code in frequent.tolist()}, left


def _keys(heads: Texts, owner: Ints, rows: int) -> tuple[list[bytes], Ints]:
    """The distinct keys of elements, and which of them each has.

    Spans of one library have the same keys in the same order, so those of a whole row are looked up as one.
    """
    sizes = np.bincount(owner, minlength=rows)
    ends = np.cumsum(sizes)
    _, offsets, raw = heads.buffers()
    bounds = np.zeros(rows + 1, np.int32)
    bounds[1:] = np.frombuffer(offsets, np.int32, len(heads) + 1)[ends]
    encoded = binaries(bounds, raw).dictionary_encode()
    if encoded.dictionary.nbytes * _ALIKE > heads.nbytes:
        single = heads.dictionary_encode()
        return [key for head in single.dictionary.to_pylist() for key in keys(head)], single.indices.to_numpy()
    numbers: dict[bytes, int] = {}
    sequences = [keys(sequence) for sequence in encoded.dictionary.to_pylist()]
    codes = np.array([numbers.setdefault(key, len(numbers)) for sequence in sequences for key in sequence])
    begins = np.cumsum([0, *map(len, sequences)])[encoded.indices.to_numpy()]
    return list(numbers), codes[np.repeat(begins - (ends - sizes), sizes) + np.arange(len(heads))]


def _name(prefix: str, keys: list[bytes], code: int) -> str:
    number, kind = divmod(code, len(LETTERS))
    # UnicodeDecodeError is a ValueError, as of every other text that is no UTF-8.
    return column_name(prefix, keys[number].decode(), LETTERS[kind])
