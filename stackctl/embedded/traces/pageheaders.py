"""The header before each page of a Parquet file: how large the page is, and how its values are written.

parquet.thrift: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
"""

import re
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from stackctl.embedded.traces.thrift import Fields, fields

DATA, DICTIONARY = 0, 2
_NUMBER: Final = rb"([\x80-\xff]{0,4}[\x00-\x7f])"
# As Arrow writes them where statistics stand in the page index: who looks for one page passes over many, and to read
# a header field by field takes twenty times as long. Two sizes, then what a data page or a dictionary has.
_USUAL: Final = re.compile(
    rb"\x15([\x00\x04])\x15" + _NUMBER + rb"\x15" + _NUMBER + rb"([\x2c\x4c])\x15" + _NUMBER + rb"\x15([\x00-\x7f])"
    rb"(?:\x15([\x00-\x7f])\x15[\x00-\x7f])?[\x11\x12]?\x00\x00"
)
_USUAL_KINDS: Final = {b"\x00\x2c": DATA, b"\x04\x4c": DICTIONARY}
# Numbers of fields: of a header, and within it of a data page's or a dictionary's own.
_KIND, _SIZE, _PACKED, _OWN = 1, 2, 3, {DATA: 5, DICTIONARY: 7}
_VALUES, _ENCODING, _LEVELS = 1, 2, 3
_NOTHING_FITS: Final = 2**62


class PageHeader(NamedTuple):
    """A page's header.

    Attributes:
        kind: `DATA` or `DICTIONARY`.
        size: bytes of the page, unpacked.
        packed: bytes of it in the file.
        values: how many it has, those that are missing included.
        encoding: of its values.
        levels: encoding of its definition levels; of no meaning where there are none.
        end: where the header ends, and the page begins.
    """

    kind: int
    size: int
    packed: int
    values: int
    encoding: int
    levels: int
    end: int

    @classmethod
    def at(cls, data: bytes, at: int, begin: int = 0) -> Self:
        """Read the header at a place of the data.

        Args:
            begin: where the data begin in what `end` tells a place of.

        Raises:
            IndexError: the data end before it does.
            KeyError: it lacks something.
            ValueError: the page is of another kind, or no header stands there.
        """
        usual = _USUAL.match(data, at)
        if usual is not None:
            which, size, packed, own, values, encoding, levels = usual.groups(b"\0")
            kind = _USUAL_KINDS.get(which + own)
            if kind is not None:
                sizes = _number(size), _number(packed), _number(values)
                return cls(kind, *sizes, encoding[0] >> 1, levels[0] >> 1, begin + usual.end())
        found, end = fields(data, at)
        return cls(*_unusual(found, begin + end))


@lru_cache(maxsize=1024)
def _number(written: bytes) -> int:
    """Return a number that is written as a zigzag varint; a negative one as one that nothing fits into."""
    if len(written) == 1:
        found = written[0]
    elif len(written) == 2:
        found = written[0] & 0x7F | written[1] << 7
    else:
        found = 0
        for place, byte in enumerate(written):
            found |= (byte & 0x7F) << 7 * place
    return found >> 1 if not found & 1 else _NOTHING_FITS


def _unusual(found: Fields, end: int) -> tuple[Any, ...]:
    kind = found[_KIND]
    own = found[_OWN[kind]] if kind in _OWN else None
    if not isinstance(own, dict):
        raise ValueError(f"a page of type {kind}")
    numbers = (kind, found[_SIZE], found[_PACKED], own[_VALUES], own[_ENCODING], own.get(_LEVELS, 0), end)
    if not all(type(number) is int for number in numbers):
        raise ValueError("a header with fields of other types")
    return numbers
