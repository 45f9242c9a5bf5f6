"""Prometheus' hash of a label set, by which `limit_ratio` chooses: xxHash64 of its labels as bytes.

Sources: model/labels (labels_stringlabels.go, how its released programs are built) and the xxHash specification.
"""

from stackctl.promql.values import Labels, key

_MASK = 2**64 - 1
_P1, _P2, _P3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
_P4, _P5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
_LARGEST_SHORT = 254


def share(labels: Labels) -> float:
    """Return where a label set stands between 0 and 1, evenly spread over all label sets."""
    return xxh64(_encoded(labels)) / 2.0**64


def _encoded(labels: Labels) -> bytes:
    texts = (text.encode() for pair in key(labels) if pair[1] for text in pair)
    return b"".join(_length(len(text)) + text for text in texts)


def _length(size: int) -> bytes:
    return bytes((size,)) if size <= _LARGEST_SHORT else b"\xff" + size.to_bytes(3, "little")


def xxh64(data: bytes) -> int:
    """Return the 64 bit xxHash of bytes, seed 0."""
    long = len(data) // 32 * 32
    value = (_lanes(data[:long]) if long else _P5) + len(data)
    for at in range(long, len(data) - 7, 8):
        value = _rotated(value ^ _round(0, data[at : at + 8]), 27) * _P1 + _P4
    at = long + (len(data) - long) // 8 * 8
    if len(data) - at >= 4:
        value = _rotated(value ^ int.from_bytes(data[at : at + 4], "little") * _P1, 23) * _P2 + _P3
        at += 4
    for byte in data[at:]:
        value = _rotated(value ^ byte * _P5, 11) * _P1
    return _mixed(value & _MASK)


def _lanes(data: bytes) -> int:
    lanes = [_P1 + _P2, _P2, 0, -_P1]
    for at in range(0, len(data), 32):
        lanes = [_round(lane, data[at + 8 * i : at + 8 * i + 8]) for i, lane in enumerate(lanes)]
    value = sum(_rotated(lane, turn) for lane, turn in zip(lanes, (1, 7, 12, 18), strict=True))
    for lane in lanes:
        value = ((value ^ _round_of(0, lane)) * _P1 + _P4) & _MASK
    return value


def _round(lane: int, word: bytes) -> int:
    return _round_of(lane, int.from_bytes(word, "little"))


def _round_of(lane: int, word: int) -> int:
    return _rotated(lane + word * _P2, 31) * _P1 & _MASK


def _rotated(value: int, turn: int) -> int:
    value &= _MASK
    return (value << turn | value >> (64 - turn)) & _MASK


def _mixed(value: int) -> int:
    value = (value ^ value >> 33) * _P2 & _MASK
    value = (value ^ value >> 29) * _P3 & _MASK
    return value ^ value >> 32
