"""Serialised KeyValues cut into their parts with whole-array operations, without an object per attribute.

One with a scalar is nearly always spelled the one way that every protobuf library writes: `0a <key length> <key> 12
<value length> <type tag> <value>`. What stands between key and value follows from the type and from how many bytes are
left, so those eight bytes are compared with what a table says.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue

from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.shape import SCALARS, Texts

Mask = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

# Protobuf field of each scalar in an AnyValue; its column's type letter.
SCALAR_FIELDS: Final = (("string_value", "s"), ("int_value", "i"), ("double_value", "d"), ("bool_value", "b"))
LETTERS: Final = "".join(letter for _, letter in SCALAR_FIELDS)
_TEXT, _INT, _DOUBLE, _BOOL, OTHER = range(5)
_KINDS: Final = 5
# Tags of the fields (number << 3 | wire type): KeyValue's key and value, and AnyValue's scalars.
_KEY_TAG, _VALUE_TAG = 0x0A, 0x12
_TAGS: Final = {0x0A: _TEXT, 0x18: _INT, 0x21: _DOUBLE, 0x10: _BOOL}
_TAG_OF_KIND: Final = {kind: tag for tag, kind in _TAGS.items()}
_KIND_OF_TAG: Final = np.array([_TAGS.get(tag, OTHER) for tag in range(256)], np.uint8)
_LONGEST_VARINT: Final = 10
# A length of up to three bytes is read here: texts up to 2 MB.
_LONGEST_LENGTH: Final = 3
# Elements with fewer bytes behind their key are looked up in a table.
_TAILS: Final = 512
_WORD: Final = 8
# Of eight bytes of a varint the bits of the number; neighbours of 7 bits are joined, then such of 14, then such of 28.
_SEVEN_BITS: Final = np.uint64(0x7F7F7F7F7F7F7F7F)
_NEIGHBOURS: Final = (
    (1, np.uint64(0x007F007F007F007F)),
    (2, np.uint64(0x00003FFF00003FFF)),
    (4, np.uint64(0x000000000FFFFFFF)),
)


def _tables() -> tuple[Words, Words, Octets, Octets]:
    """What protobuf writes behind a key, by the tag that stands two bytes on and by how many bytes there are.

    Returns:
        The first eight bytes as a word; which of its bits are the same for all values; their kind; how many bytes stand
        before the value. For what is never written so, a word that never comes.
    """
    written, sure = np.ones((_KINDS, _TAILS), np.uint64), np.zeros((_KINDS, _TAILS), np.uint64)
    kinds, leads = np.zeros((2, _KINDS, _TAILS), np.uint8)
    # Kind, an example, bytes of its value, and what of each of those tells that the value ends there.
    rows = [(_TEXT, AnyValue(string_value="x" * size), size, 0) for size in range(_TAILS)]
    rows += [(_INT, AnyValue(int_value=128 ** (size - 1)), size, 0x80) for size in range(1, _WORD - 2)]
    rows += [(_DOUBLE, AnyValue(double_value=1), 8, 0), (_BOOL, AnyValue(bool_value=True), 1, 0x80)]
    for kind, example, size, bits in rows:
        tail = KeyValue(value=example).SerializeToString()
        lead = len(tail) - size
        if len(tail) < _TAILS - 1:  # the last counts for all that are longer
            # Of a value of 128 bytes and more the tag is further on, and what stands there may be anything.
            place = kind if tail[2] == _TAG_OF_KIND[kind] else slice(None), len(tail)
            mask = int.from_bytes((b"\xff" * lead + bytes([bits]) * size)[:_WORD], "little")
            written[place], sure[place] = int.from_bytes(tail[:_WORD], "little") & mask, mask
            kinds[place], leads[place] = kind, lead
    for size in range(2, 0x80):  # arrays, maps and bytes, of which nothing more is asked
        place = OTHER, size + 2
        written[place], sure[place], kinds[place], leads[place] = _VALUE_TAG | size << 8, 0xFFFF, OTHER, 2
    return written.ravel(), sure.ravel(), kinds.ravel(), leads.ravel()


_WRITTEN, _SURE, _FORM_KINDS, _LEADS = _tables()
# Where the tables of each tag begin.
_FORM_OF_TAG: Final = _KIND_OF_TAG.astype(np.int64) * _TAILS


@dataclass(frozen=True)
class Cut:
    """Serialised KeyValues, cut into their parts.

    Attributes:
        data: the bytes that the places below point into.
        kinds: of each element, the number of its scalar type, or `OTHER`.
        starts, ends: of each element.
        key_ends: where its key ends.
        at: where its value begins: the text, or the first byte of the number.
    """

    data: Octets
    kinds: Octets
    starts: Ints
    ends: Ints
    key_ends: Ints
    at: Ints

    @classmethod
    def of(cls, elements: Texts) -> "Cut":
        """Cut the elements of a binary column."""
        _, offsets, raw = elements.buffers()
        count = len(elements)
        bounds = np.frombuffer(offsets, np.int32, count + 1, elements.offset * 4).astype(np.int64)
        data = np.frombuffer(
            raw if raw is not None and raw.size >= _WORD else bytes(raw or b"") + bytes(_WORD), np.uint8
        )
        starts, ends = bounds[:-1], bounds[1:]
        fits, kinds, key_ends, at = _cut_short(data, starts, ends)
        left = np.flatnonzero(~fits)
        if len(left):
            kinds[left], key_ends[left], at[left] = _cut_any(data, starts[left], ends[left])
        return cls(data, kinds, starts, ends, key_ends, at)

    @cached_property
    def _parts(self) -> Texts:
        """Every element in three, as a binary column over its bytes: the key's field, what follows it, the value."""
        offsets = np.empty(3 * len(self.starts) + 1, np.int32)
        for number, places in enumerate((self.starts, self.key_ends, self.at)):
            offsets[number:-1:3] = places
        offsets[-1] = self.ends[-1]
        return binaries(offsets, self.data)

    def heads(self, chosen: Ints) -> Texts:
        """Keys of elements that were cut, as binary texts with tag and length before them."""
        return self._parts.take(pa.array(chosen * 3))

    def columns(self, kind: int, places: Ints) -> list[Any]:
        """The values of some elements, which have all the same type, as columns: read at once, then cut apart.

        Args:
            kind: their type.
            places: a row for each column with the numbers of its elements, -1 for none.

        Raises:
            ArrowInvalid: a text is no UTF-8.
        """
        every, rows = places.ravel(), places.shape[1]
        missing = every < 0
        masked = missing if missing.any() else None
        column = self._texts(every, masked) if kind == _TEXT else pa.array(self._numbers(kind)[every], mask=masked)
        return [column.slice(start, rows) for start in range(0, len(every), rows)]

    def _texts(self, chosen: Ints, missing: Mask | None) -> Texts:
        texts: Any = self._parts.take(pa.array(chosen * 3 + 2, mask=missing))
        _, _, raw = texts.buffers()
        octets = np.frombuffer(raw, np.uint8)
        # What has ASCII only is UTF-8, and seen to be at a fifth of the cost.
        return texts.view(SCALARS["s"]) if not len(octets) or octets.max() < 0x80 else texts.cast(SCALARS["s"])

    def _numbers(self, kind: int) -> npt.NDArray[Any]:
        """Of all elements those of one type, in the order of their bytes, which is the order of the cache."""
        chosen = np.flatnonzero(self.kinds == kind)
        at = self.at[chosen]
        if kind == _INT:
            found: npt.NDArray[Any] = _varints(self.data, at, self.ends[chosen])
        else:
            words = _words(self.data, at)
            found = words.view("<f8") if kind == _DOUBLE else (words & np.uint64(0xFF)) != 0
        numbers = np.zeros(len(self.kinds), found.dtype)
        numbers[chosen] = found
        return numbers


def binaries(offsets: Any, data: Any) -> Texts:
    """A binary column over bytes, without a copy.

    Args:
        offsets: where each value begins, and where the last ends, as 32-bit integers.
        data: numpy array or buffer.
    """
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)])


def keys(heads: bytes) -> list[bytes]:
    """The keys whose heads stand behind one another."""
    found, at = [], 0
    while at < len(heads):
        size, start = heads[at + 1], at + 2
        if size >= 0x80:
            size, start = size & 0x7F | heads[at + 2] << 7, at + 3
        at = start + size
        found.append(heads[start:at])
    return found


def _cut_short(data: Octets, starts: Ints, ends: Ints) -> tuple[Mask, Octets, Ints, Ints]:
    """Whether the tables know an element, as they do nearly all; its kind, the end of its key, the place of its value.

    Here are as few operations as can be, each over all elements.
    """
    key_size = _octets(data, starts + 1)
    key_ends = starts + 2 + key_size
    words = _words(data, key_ends)
    tails = np.minimum((ends - key_ends).view(np.uint64), _TAILS - 1).view(np.int64)  # one below zero is huge
    forms = tails + _FORM_OF_TAG.take(words.view(np.uint8)[2::_WORD])
    fits = (words & _SURE.take(forms)) == _WRITTEN.take(forms)
    fits &= (_octets(data, starts) == _KEY_TAG) & (key_size < 0x80)
    return fits, _FORM_KINDS.take(forms), key_ends, key_ends + _LEADS.take(forms)


def _cut_any(data: Octets, starts: Ints, ends: Ints) -> tuple[Octets, Ints, Ints]:
    """The same for elements of any length; key and value of `OTHER` are at the element's start."""
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
    return np.where(fine, kinds, np.uint8(OTHER)), np.where(fine, key_ends, starts), np.where(fine, at, starts)


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


def _words(data: Octets, places: Ints) -> Words:
    """Eight bytes from each place on as a little-endian number, zeros beyond the end."""
    last = len(data) - _WORD
    words: Words = np.ndarray((last + 1,), "<u8", data, strides=(1,))
    found = words[np.minimum(places, last)]
    late = np.flatnonzero(places > last)
    if len(late):
        found[late] >>= ((places[late] - last) * 8).view(np.uint64)
    return found


def _varints(data: Octets, at: Ints, ends: Ints) -> Ints:
    """Whole numbers written as varints from `at` to `ends`."""
    size = ends - at
    longest = int(size.max())
    beyond = (np.maximum(_WORD - size, 0) * 8).view(np.uint64)
    values = (_words(data, at) << beyond >> beyond) & _SEVEN_BITS
    for width, low in _NEIGHBOURS:
        if longest > width:
            values = values & low | (values & ~low) >> np.uint64(width)
    for place in range(_WORD, longest):
        left = np.flatnonzero(size > place)
        values[left] |= (_octets(data, at[left] + place) & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    numbers: Ints = values.view(np.int64)
    return numbers
