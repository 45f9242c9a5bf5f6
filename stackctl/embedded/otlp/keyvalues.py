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

from stackctl.embedded.arrays import numbers, take
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.shape import SCALARS, Texts

Mask = npt.NDArray[np.bool_]
Octets = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]

# Protobuf field of each scalar in an AnyValue; its column's type letter.
SCALAR_FIELDS: Final = (("string_value", "s"), ("int_value", "i"), ("double_value", "d"), ("bool_value", "b"))
LETTERS: Final = "".join(letter for _, letter in SCALAR_FIELDS)
TEXT, _INT, _DOUBLE, _BOOL, OTHER = range(5)
_KINDS: Final = 5
_DOUBLES: Final = SCALARS["d"]
# Tags of the fields (number << 3 | wire type): KeyValue's key and value, and AnyValue's scalars.
_KEY_TAG, _VALUE_TAG = 0x0A, 0x12
_TAGS: Final = {0x0A: TEXT, 0x18: _INT, 0x21: _DOUBLE, 0x10: _BOOL}
_TAG_OF_KIND: Final = {kind: tag for tag, kind in _TAGS.items()}
_KIND_OF_TAG: Final = np.array([_TAGS.get(tag, OTHER) for tag in range(256)], np.uint8)
_LONGEST_VARINT: Final = 10
# A length of up to three bytes is read here: texts up to 2 MB.
_LONGEST_LENGTH: Final = 3
# Elements with fewer bytes behind their key are looked up in a table.
_TAILS: Final = 512
_WORD: Final = 8
# A kind and a number of bytes in one.
_KIND_BITS, _LEAD_SHIFT = 7, 3
# Of the first eight bytes of a varint the bits of the number, by how many there are; neighbours of 7 bits are joined,
# then such of 14, then such of 28.
_SEVEN_BITS: Final = np.array([0x7F7F7F7F7F7F7F7F & 256**size - 1 for size in range(_LONGEST_VARINT + 1)], np.uint64)
_NEIGHBOURS: Final = (
    (1, np.uint64(0x007F007F007F007F)),
    (2, np.uint64(0x00003FFF00003FFF)),
    (4, np.uint64(0x000000000FFFFFFF)),
)


def _tables() -> tuple[Words, Words, Octets]:
    """What protobuf writes behind a key, by the tag that stands two bytes on and by how many bytes there are.

    Returns:
        The first eight bytes as a word; which of its bits are the same for all values; their kind and, shifted, how
        many bytes stand before the value. For what is never written so, a word that never comes.
    """
    written, sure = np.ones((_KINDS, _TAILS), np.uint64), np.zeros((_KINDS, _TAILS), np.uint64)
    kinds, leads = np.zeros((2, _KINDS, _TAILS), np.uint8)
    # Kind, an example, bytes of its value, and what of each of those tells that the value ends there.
    rows = [(TEXT, AnyValue(string_value="x" * size), size, 0) for size in range(_TAILS)]
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
    return written.ravel(), sure.ravel(), (kinds | leads << np.uint8(_LEAD_SHIFT)).ravel()


_WRITTEN, _SURE, _FORMS = _tables()
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
        left = (~fits).nonzero()[0]
        if len(left):
            kinds[left], key_ends[left], at[left] = _cut_any(data, starts[left], ends[left])
        return cls(data, kinds, starts, ends, key_ends, at)

    @cached_property
    def _parts(self) -> Texts:
        """Every element in three, as a binary column over its bytes: the key's field, what follows it, the value.

        Behind them stands an element of nothing.
        """
        offsets = np.full(3 * len(self.starts) + 4, self.ends[-1], np.int32)
        for number, places in enumerate((self.starts, self.key_ends, self.at)):
            offsets[number:-4:3] = places
        return binaries(offsets, self.data)

    def heads(self) -> Texts:
        """Keys of all elements, as binary texts with tag and length before them; nothing where no key was found."""
        places: npt.NDArray[np.int32] = np.arange(0, 3 * len(self.starts), 3).astype(np.int32)
        return take(self._parts, places)

    def columns(self, places: Ints, kinds: list[int], unread: int) -> list[Any]:
        """The values of some elements as columns: those of a type are read at once, then cut apart.

        Args:
            places: a row for each column with the numbers of its elements, -1 for none.
            kinds: the type of each, ascending.
            unread: of how many columns, the first, the texts are of no use.

        Raises:
            ArrowInvalid: a text is no UTF-8.
        """
        missing, rows = places < 0, places.shape[1]
        texts, count = kinds.count(TEXT), kinds.count(_INT) + kinds.count(_DOUBLE)
        if unread:
            self._empty(places[:unread], missing[:unread])
        every = [self._texts(places[:texts].ravel(), _mask(missing[:texts]))] if texts else []
        if len(kinds) > texts:
            words = self._numbers()[places[texts:]]
            every.append(numbers(words[:count].view(np.int64).ravel(), _mask(missing[texts:][:count])))
            every.append(pa.array((words[count:] & np.uint64(0xFF) != 0).ravel(), mask=_mask(missing[texts:][count:])))
        columns = [column.slice(start, rows) for column in every for start in range(0, len(column), rows)]
        return [
            column.view(_DOUBLES) if kind == _DOUBLE else column for column, kind in zip(columns, kinds, strict=True)
        ]

    def _texts(self, places: Ints, missing: Mask | None) -> Texts:
        texts = take(self._parts, places.astype(np.int32) * np.int32(3) + np.int32(2), missing)
        _, _, raw = texts.buffers()
        octets = np.frombuffer(raw, np.uint8)
        # What has ASCII only is UTF-8, and seen to be at a fifth of the cost.
        return texts.view(SCALARS["s"]) if not len(octets) or octets.max() < 0x80 else texts.cast(SCALARS["s"])

    def _empty(self, places: Ints, missing: Mask) -> None:
        """Let texts be those of the element of nothing, once they are seen to be UTF-8, for which nothing is copied."""
        there = ~missing
        chosen = places[there]
        if len(places) > 1:
            chosen.sort(kind="stable")  # they are runs in order
        offsets = np.empty(2 * len(chosen), np.int32)
        offsets[::2], offsets[1::2] = self.at[chosen], self.ends[chosen]
        # Every second value of these is a text; what lies between them is null.
        valid: Any = np.full(len(chosen) // 4 + 1, 0b01010101, np.uint8)
        binaries(offsets, self.data, valid).view(SCALARS["s"]).validate(full=True)
        np.subtract(there * (len(self.starts) + 1), 1, out=places)

    def _numbers(self) -> Words:
        """Of each element the eight bytes of its number: of an integer, a double, or a bool, whose first byte tells.

        They are read in the order of their bytes, which is the order of the cache.
        """
        chosen = ((self.kinds - np.uint8(_INT)) < OTHER - _INT).nonzero()[0]  # one below zero is large
        found = np.zeros(len(self.kinds), np.uint64)
        if len(chosen):
            at = self.at[chosen]
            words = _words(self.data, at)
            ints = (self.kinds[chosen] == _INT).nonzero()[0]
            if len(ints):
                words[ints] = _varints(self.data, words[ints], at[ints], self.ends[chosen[ints]])
            found[chosen] = words
        return found


def _mask(missing: Mask) -> Mask | None:
    return missing.ravel() if missing.any() else None


def binaries(offsets: Any, data: Any, valid: Any = None) -> Texts:
    """A binary column over bytes, without a copy.

    Args:
        offsets: where each value begins, and where the last ends, as 32-bit integers.
        data: numpy array or buffer.
        valid: bits of those that are not null, where some are.
    """
    bits = None if valid is None else pa.py_buffer(valid)
    return pa.Array.from_buffers(pa.binary(), len(offsets) - 1, [bits, pa.py_buffer(offsets), pa.py_buffer(data)])


def distinct(bounds: Any, data: Any) -> tuple[list[bytes], Ints | None]:
    """The distinct values among some that stand behind one another, and which of them each is: None where all are one.

    Most batches are of one application, and to see that values are alike takes a fifth of the time of telling them
    apart.

    Args:
        bounds: where each begins, and where the last ends, as 32-bit integers.
        data: a buffer.
    """
    sizes = bounds[1:] - bounds[:-1]
    if (sizes == sizes[0]).all():
        first = data[bounds[0] : bounds[1]].to_pybytes()
        if data[bounds[0] : bounds[-1]].equals(pa.py_buffer(first * len(sizes))):
            return [first], None
    encoded = binaries(bounds, data).dictionary_encode()
    return encoded.dictionary.to_pylist(), encoded.indices.to_numpy()


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
    sizes = _octets(data, starts + 1)
    key_ends = starts + 2 + sizes
    words = _words(data, key_ends)
    forms = np.minimum((ends - key_ends).view(np.uint64), _TAILS - 1).view(np.int64)  # one below zero is huge
    forms += _FORM_OF_TAG.take(words.view(np.uint8)[2::_WORD])
    fits = (words & _SURE.take(forms)) == _WRITTEN.take(forms)
    fits &= (_octets(data, starts) == _KEY_TAG) & (sizes < 0x80)
    found = _FORMS.take(forms)
    kinds: Octets = found & np.uint8(_KIND_BITS)
    return fits, kinds, key_ends, key_ends + (found >> _LEAD_SHIFT)


def _cut_any(data: Octets, starts: Ints, ends: Ints) -> tuple[Octets, Ints, Ints]:
    """The same for elements of any length; the value of `OTHER` is at its key's end, and its key may not be found."""
    key_size, keys = _length(data, starts + 1)
    key_ends = keys + key_size
    size, value = _length(data, key_ends + 1)
    kinds = _KIND_OF_TAG[_look(data, value)]
    at = value + 1
    # A length with more bytes than it needs would make another head of the same key.
    keyed = (keys - starts == 2) | (keys - starts == 3) & (key_size >= 0x80)
    keyed &= (_look(data, starts) == _KEY_TAG) & (key_ends <= ends)
    fine = keyed & (_look(data, key_ends) == _VALUE_TAG) & (value + size == ends) & (size > 0) & (key_ends < ends)
    texts = np.flatnonzero(kinds == TEXT)
    text_size, at[texts] = _length(data, at[texts])
    fine[texts] &= at[texts] + text_size == ends[texts]
    fine &= _number_fits(data, kinds, at, ends)
    key_ends = np.where(keyed, key_ends, starts)
    return np.where(fine, kinds, np.uint8(OTHER)), key_ends, np.where(fine, at, key_ends)


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
    if places.max() <= last:
        return words[places]
    found = words[np.minimum(places, last)]
    late = np.flatnonzero(places > last)
    found[late] >>= ((places[late] - last) * 8).view(np.uint64)
    return found


def _varints(data: Octets, words: Words, at: Ints, ends: Ints) -> Words:
    """Whole numbers written as varints from `at` to `ends`, of which the first eight bytes are known."""
    size = ends - at
    longest = int(size.max())
    values: Words = words & _SEVEN_BITS.take(size)
    for width, low in _NEIGHBOURS:
        if longest > width:
            values = values & low | (values & ~low) >> np.uint64(width)
    for place in range(_WORD, longest):
        left = np.flatnonzero(size > place)
        values[left] |= (_octets(data, at[left] + place) & 0x7F).astype(np.uint64) << np.uint64(7 * place)
    return values
