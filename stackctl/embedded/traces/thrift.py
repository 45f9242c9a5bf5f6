"""Thrift's compact protocol as far as Parquet's headers use it, read into plain values.

The encoding: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md.
"""

from typing import Any, Final

_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12
_INTEGERS: Final = frozenset({4, 5, 6})
_DEEPEST: Final = 4  # structs in one another; Parquet's page headers have two

Fields = dict[int, Any]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """Return the unsigned number at a place, and the place behind it.

    Raises:
        IndexError: the data end before it does; so do the other functions.
    """
    byte = data[at]
    found, shift = byte & 0x7F, 7
    while byte >= 0x80:
        at += 1
        byte = data[at]
        found |= (byte & 0x7F) << shift
        shift += 7
    return found, at + 1


def zigzag(data: bytes, at: int) -> tuple[int, int]:
    """Return the signed number at a place, and the place behind it."""
    found = data[at]
    if found < 0x80:  # as most are
        return (found >> 1) ^ -(found & 1), at + 1
    found, at = varint(data, at)
    return (found >> 1) ^ -(found & 1), at


def fields(data: bytes, at: int, deepest: int = _DEEPEST) -> tuple[Fields, int]:
    """Return the fields of the struct at a place by their number, and the place behind it.

    Args:
        deepest: so many structs may stand in one another.

    Raises:
        ValueError: it has a field of a type that Parquet's page headers have not.
    """
    if not deepest:
        raise ValueError("structs in structs in structs")
    found: Fields = {}
    number = 0
    while head := data[at]:
        at += 1
        kind = head & 0xF
        if head > kind:
            number += head >> 4
        else:
            number, at = zigzag(data, at)
        if kind in _INTEGERS:
            value, at = zigzag(data, at)
            found[number] = value
        else:
            found[number], at = _value(data, at, kind, deepest)
    return found, at + 1


def _value(data: bytes, at: int, kind: int, deepest: int) -> tuple[Any, int]:
    if kind == _BINARY:
        size, at = varint(data, at)
        if at + size > len(data):
            raise IndexError("a text ends beyond the data")
        return data[at : at + size], at + size
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, at
    if kind == _STRUCT:
        return fields(data, at, deepest - 1)
    if kind in (_BYTE, _DOUBLE):
        size = 1 if kind == _BYTE else 8
        return data[at : at + size], at + size
    raise ValueError(f"a field of type {kind}")
