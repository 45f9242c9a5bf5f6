"""OTLP attribute lists to typed columns, read from their protobuf bytes with whole-array operations.

A serialised KeyValue with a scalar is nearly always spelled the one way that every protobuf library writes:
`0a <key length> <key> 12 <value length> <type tag> <value>`. Those are cut apart here without an object per attribute.
Every other one (arrays, maps, no value, another spelling) goes through the protobuf package, once per distinct value.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.otlp import jsontext
from stackctl.embedded.otlp.jsontext import Ints, parents
from stackctl.embedded.otlp.shape import MAX_DECODED_COLUMNS, SCALARS, Lists, Texts, column_name

Mask = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]

# Protobuf field of each scalar in an AnyValue; its column's type letter.
SCALAR_FIELDS: Final = (("string_value", "s"), ("int_value", "i"), ("double_value", "d"), ("bool_value", "b"))
_LETTERS: Final = "".join(letter for _, letter in SCALAR_FIELDS)
_TEXT, _INT, _DOUBLE, _BOOL, _OTHER = range(5)
_KINDS: Final = 5
# Tags of the fields (number << 3 | wire type): KeyValue's key and value, and AnyValue's scalars.
_KEY_TAG, _VALUE_TAG = 0x0A, 0x12
_TAGS: Final = {0x0A: _TEXT, 0x18: _INT, 0x21: _DOUBLE, 0x10: _BOOL}
_KIND_OF_TAG: Final = np.array([_TAGS.get(tag, _OTHER) for tag in range(256)], np.uint8)
_LONGEST_VARINT: Final = 10
_SCALAR_NAMES: Final = frozenset(field for field, _ in SCALAR_FIELDS)
_NO_KEY: Final = b"\x0a\0"  # protobuf leaves an empty field out
# A length of up to three bytes is read here: texts up to 2 MB.
_LONGEST_LENGTH: Final = 3


@dataclass(frozen=True)
class _Cut:
    """Serialised KeyValues, cut into their parts.

    Attributes:
        data: the bytes that the places below point into.
        kinds: of each element, the number of its scalar type, or `_OTHER`.
        starts, ends: of each element.
        key_ends: where its key ends.
        at: where its value begins: the text, or the first byte of the number.
    """

    data: Octets
    kinds: npt.NDArray[np.uint8]
    starts: Ints
    ends: Ints
    key_ends: Ints
    at: Ints

    @classmethod
    def of(cls, elements: Texts) -> "_Cut":
        """Cut the elements of a binary column."""
        _, offsets, raw = elements.buffers()
        count = len(elements)
        bounds = np.frombuffer(offsets, np.int32, count + 1, elements.offset * 4).astype(np.int64)
        data = np.frombuffer(raw if raw is not None and raw.size else b"\0", np.uint8)
        starts, ends = bounds[:-1], bounds[1:]
        kinds, key_ends, at = _cut_short(data, starts, ends)
        left = np.flatnonzero(kinds == _OTHER)
        if len(left):
            kinds[left], key_ends[left], at[left] = _cut_any(data, starts[left], ends[left])
        return cls(data, kinds, starts, ends, key_ends, at)

    def heads(self) -> Texts:
        """Keys as binary texts with tag and length before them; empty for an element that was not cut."""
        return _slices(self.data, self.starts, self.key_ends, self.ends).take(pa.array(np.arange(len(self.at)) * 2))

    @cached_property
    def _tails(self) -> Texts:
        """Every element in two: what stands before its value, and the value."""
        return _slices(self.data, self.starts, self.at, self.ends)

    def columns(self, kind: int, places: Sequence[Ints]) -> list[Any]:
        """The values of some elements, which have all the same type, as columns: read at once, then cut apart.

        Args:
            kind: their type.
            places: of each column the numbers of its elements, -1 for none; all of one length.

        Raises:
            ArrowInvalid: a text is no UTF-8.
        """
        rows = len(places[0])
        every = np.concatenate(places) if len(places) > 1 else places[0]
        missing = every < 0
        masked = missing if missing.any() else None
        if kind == _TEXT:
            texts = self._tails.take(pa.array(every * 2 + 1, mask=masked)).cast(SCALARS["s"])
            return [texts.slice(start, rows) for start in range(0, len(every), rows)]
        values = self._numbers(kind, np.maximum(every, 0))
        ranges = [slice(start, start + rows) for start in range(0, len(every), rows)]
        return [pa.array(values[cut], mask=None if masked is None else masked[cut]) for cut in ranges]

    def _numbers(self, kind: int, chosen: Ints) -> npt.NDArray[Any]:
        at = self.at[chosen]
        if kind == _INT:
            return _varints(self.data, at, self.ends[chosen])
        if kind == _DOUBLE:
            return self.data.take(at[:, None] + np.arange(8), mode="clip").view("<f8").ravel()
        truths: npt.NDArray[Any] = _look(self.data, at) != 0
        return truths


def pivot(attributes: Lists, prefix: str, columns: dict[str, Any]) -> Texts:
    """Turn an attribute list column into typed columns, a row for each list.

    Args:
        attributes: list of serialised KeyValues, one list per span or per resource.
        prefix: `s` or `r`.
        columns: gets the columns, at most `MAX_DECODED_COLUMNS`, frequent keys first.

    Returns:
        JSON objects of what has no column: arrays, maps, bytes, and scalars beyond the cap.

    Raises:
        DecodeError: an element is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    elements = attributes.flatten()
    if not len(elements):
        return pa.nulls(len(attributes), pa.string())
    owner = parents(attributes)
    cut = _Cut.of(elements)
    if (cut.kinds == _OTHER).any():
        elements, cut = _respelled(elements, cut)
    left = np.ones(len(elements), bool)
    found = _frequent(cut)[:MAX_DECODED_COLUMNS]
    by_kind: dict[int, dict[str, Ints]] = {}
    for name, kind, chosen in found:
        left[chosen] = False
        # Of a key that a span has twice, the last stands.
        place = np.full(len(attributes), -1, np.int64)
        place[owner[chosen]] = chosen
        by_kind.setdefault(kind, {})[f"{prefix}:{name}"] = place
    made: dict[str, Any] = {}
    for kind, places in by_kind.items():
        made |= zip(places, cut.columns(kind, list(places.values())), strict=True)
    columns |= {name: made[name] for name in (f"{prefix}:{name}" for name, _, _ in found)}
    return _rest(elements, owner, left, len(attributes))


def _frequent(cut: _Cut) -> list[tuple[str, int, Ints]]:
    """(`key:type`, type, elements) of every key and scalar type, the most frequent first."""
    encoded = cut.heads().dictionary_encode()
    names = [raw[2 if raw[1:2] < b"\x80" else 3 :] for raw in encoded.dictionary.to_pylist()]
    codes = encoded.indices.to_numpy().astype(np.int64) * _KINDS + cut.kinds
    if len(names) * _KINDS < 2**16:
        codes = codes.astype(np.uint16)  # numpy sorts these by radix, five times faster
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    starts = np.flatnonzero(np.diff(ordered, prepend=ordered[:1] + 1))
    found = []
    for start, end in pairwise([*starts.tolist(), len(order)]):
        key, kind = divmod(int(ordered[start]), _KINDS)
        if kind != _OTHER:
            # UnicodeDecodeError is a ValueError, as of every other text that is no UTF-8.
            name = column_name("", names[key].decode(), _LETTERS[kind])[1:]
            found.append((name, kind, order[start:end]))
    return sorted(found, key=lambda column: -len(column[2]))


def _respelled(elements: Texts, cut: _Cut) -> tuple[Texts, _Cut]:
    """Spell scalars that came in another spelling the usual way; nested values stay as they are.

    Raises:
        DecodeError: an element is no KeyValue.
    """
    others = np.flatnonzero(cut.kinds == _OTHER)
    encoded = elements.take(pa.array(others)).dictionary_encode()
    pairs = [KeyValue.FromString(raw) for raw in encoded.dictionary.to_pylist()]
    scalar = np.array([pair.value.WhichOneof("value") in _SCALAR_NAMES for pair in pairs])
    if not scalar.any():
        return elements, cut
    spelled = elements.to_pylist()
    for at, code in zip(others.tolist(), encoded.indices.to_pylist(), strict=True):
        if scalar[code]:
            spelled[at] = _usual(pairs[code])
    respelled = pa.array(spelled, pa.binary())
    return respelled, _Cut.of(respelled)


def _usual(pair: KeyValue) -> bytes:
    """The usual spelling of a scalar attribute, without whatever else its messages hold."""
    field = pair.value.WhichOneof("value")
    assert field is not None, "it has a scalar"
    usual = KeyValue(key=pair.key, value=AnyValue(**{field: getattr(pair.value, field)}))
    return (b"" if pair.key else _NO_KEY) + usual.SerializeToString()


def _rest(elements: Texts, owner: Ints, left: Mask, count: int) -> Texts:
    """JSON of the elements without a column; an attribute without any value is no attribute."""
    chosen = np.flatnonzero(left)
    if not len(chosen):
        return pa.nulls(count, pa.string())
    texts = jsontext.members(elements.take(pa.array(chosen)))
    if texts.null_count:
        chosen, texts = chosen[texts.is_valid().to_numpy(zero_copy_only=False)], texts.drop_null()
    return jsontext.objects_of(texts, owner[chosen], count)


def _cut_short(data: Octets, starts: Ints, ends: Ints) -> tuple[Octets, Ints, Ints]:
    """Kind, end of the key and place of the value of elements whose lengths take a byte each: nearly all.

    Every other element comes as `_OTHER`. Here are as few operations as can be, each over all elements.
    """
    key_size = _octets(data, starts + 1)
    key_ends = starts + key_size + 2
    size, tag, first = (_octets(data, key_ends + place) for place in (1, 2, 3))
    last = _octets(data, ends - 1)
    kinds = _KIND_OF_TAG.take(tag)
    fits = (kinds == _TEXT) & (size >= 2) & (first == size - 2)
    fits |= (kinds == _DOUBLE) & (size == 9)
    ints = kinds == _INT
    fits |= (ints | (kinds == _BOOL)) & (size == 2) & (first < 0x80)
    fits |= ints & (size == 3) & (first >= 0x80) & (last < 0x80)
    fits &= (_octets(data, starts) == _KEY_TAG) & (key_size < 0x80) & (_octets(data, key_ends) == _VALUE_TAG)
    fits &= (size < 0x80) & (key_ends + size + 2 == ends)
    kinds[~fits] = _OTHER
    return kinds, key_ends, key_ends + 3 + (kinds == _TEXT)


def _cut_any(data: Octets, starts: Ints, ends: Ints) -> tuple[Octets, Ints, Ints]:
    """The same for elements of any length; key and value of `_OTHER` are at the element's start."""
    key_size, keys = _length(data, starts + 1)
    key_ends = keys + key_size
    size, value = _length(data, key_ends + 1)
    kinds = _KIND_OF_TAG[_look(data, value)]
    at = value + 1
    fine = (_look(data, starts) == _KEY_TAG) & (_look(data, key_ends) == _VALUE_TAG)
    # A length with more bytes than it needs would make another head of the same key.
    fine &= (keys - starts == 2) | (keys - starts == 3) & (key_size >= 0x80)
    fine &= (value + size == ends) & (size > 0) & (key_ends < ends)
    texts = np.flatnonzero(kinds == _TEXT)
    text_size, at[texts] = _length(data, at[texts])
    fine[texts] &= at[texts] + text_size == ends[texts]
    fine &= _number_fits(data, kinds, at, ends)
    return np.where(fine, kinds, np.uint8(_OTHER)), np.where(fine, key_ends, starts), np.where(fine, at, starts)


def _slices(data: Octets, starts: Ints, cuts: Ints, ends: Ints) -> Texts:
    """Neighbouring slices of bytes as a binary column over those bytes: element i in two, at `cuts[i]`."""
    offsets = np.empty(2 * len(starts) + 1, np.int32)
    offsets[0:-1:2], offsets[1::2], offsets[-1] = starts, cuts, ends[-1]
    arrays: tuple[Any, ...] = (offsets, data)
    return pa.Array.from_buffers(pa.binary(), 2 * len(starts), [None, *map(pa.py_buffer, arrays)])


def _octets(data: Octets, places: Ints) -> Octets:
    """Bytes at some places; whatever lies at the end for a place beyond."""
    return data.take(places, mode="clip")


def _look(data: Octets, places: Ints) -> Ints:
    """Bytes at some places; whatever lies at the end for a place beyond, whose element is seen to be too short."""
    found: Ints = data.take(places, mode="clip").astype(np.int64)
    return found


def _length(data: Octets, places: Ints) -> tuple[Ints, Ints]:
    """Lengths written as varints at some places, and where each ends; -1 for one that is longer than texts get."""
    value = _look(data, places)
    ends = places + 1
    more = np.flatnonzero(value >= 0x80)
    value[more] &= 0x7F
    for shift in range(7, 7 * _LONGEST_LENGTH, 7):
        if not len(more):
            return value, ends
        octets = _look(data, ends[more])
        value[more] |= (octets & 0x7F) << shift
        ends[more] += 1
        more = more[octets >= 0x80]
    value[more] = -1
    return value, ends


def _number_fits(data: Octets, kinds: npt.NDArray[np.uint8], at: Ints, ends: Ints) -> Mask:
    """Whether each number is as long as its element says; true for texts."""
    size = ends - at
    last = _look(data, ends - 1)
    fits = np.ones(len(kinds), bool)
    fits[kinds == _DOUBLE] = size[kinds == _DOUBLE] == 8
    bools = kinds == _BOOL
    fits[bools] = (size[bools] == 1) & (last[bools] < 0x80)
    ints = np.flatnonzero(kinds == _INT)
    # The tenth byte of a varint has room for one bit.
    fits[ints] = (size[ints] >= 1) & (last[ints] < 0x80) & (size[ints] < _LONGEST_VARINT + (last[ints] <= 1))
    left = ints[fits[ints] & (size[ints] > 1)]
    for place in range(_LONGEST_VARINT - 1):
        if not len(left):
            break
        fits[left] &= _look(data, at[left] + place) >= 0x80
        left = left[size[left] > place + 2]
    return fits


def _varints(data: Octets, at: Ints, ends: Ints) -> Ints:
    """Whole numbers written as varints from `at` to `ends`."""
    octets = _octets(data, at)
    values = (octets & 0x7F).astype(np.uint64)
    left = np.flatnonzero(ends - at > 1)
    for place in range(1, _LONGEST_VARINT):
        if not len(left):
            break
        octets = _octets(data, at[left] + place)
        values[left] |= (octets & 0x7F).astype(np.uint64) << np.uint64(7 * place)
        left = left[ends[left] - at[left] > place + 1]
    return values.view(np.int64)
