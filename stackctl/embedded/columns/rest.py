"""Attributes that have no column: arrays, maps and bytes, and keys beyond the column cap, as JSON text per span."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
import orjson

from stackctl.embedded.arrays import Coded

# Longer texts are read each time rather than remembered: they hold content, and few are alike.
_REMEMBERED_LENGTH = 512
_NOTHING: Mapping[str, Any] = {}


class Rest:
    """The `rest` (or `rrest`) column, read once per distinct text.

    Args:
        column: JSON objects or None.

    Attributes:
        keys: every key that any span has here.
    """

    def __init__(self, column: Coded) -> None:
        self._codes = column.codes
        self._objects = [_NOTHING if text is None else _read(text) for text in column.values]
        self.keys = frozenset(key for attributes in self._objects for key in attributes)

    def has(self, key: str) -> bool:
        """Whether any span has the attribute here."""
        return key in self.keys

    def values(self, key: str) -> Coded:
        """Return the attribute's values as text, arrays and maps as JSON."""
        return Coded(self._codes, [_text(attributes.get(key)) for attributes in self._objects])

    def keep(self, choose: Callable[[str, Any], Any], dropped: Callable[[str, int], None]) -> Coded:
        """Return the column with each value replaced by what `choose` makes of it.

        Args:
            choose: key and value to the value that stays, None to drop the attribute.
            dropped: told the key of each dropped attribute and how many spans had it.
        """
        counts = np.bincount(self._codes, minlength=len(self._objects)).tolist()
        texts: list[str | None] = []
        for attributes, spans in zip(self._objects, counts, strict=True):
            kept = {key: choose(key, value) for key, value in attributes.items()}
            for key, value in kept.items():
                if value is None:
                    dropped(key, spans)
            left = {key: value for key, value in kept.items() if value is not None}
            texts.append(orjson.dumps(left).decode() if left else None)
        return Coded(self._codes, texts)


def _read(text: str) -> Mapping[str, Any]:
    return _remembered(text) if len(text) <= _REMEMBERED_LENGTH else _parsed(text)


@lru_cache(maxsize=4096)
def _remembered(text: str) -> Mapping[str, Any]:
    return _parsed(text)


def _parsed(text: str) -> Mapping[str, Any]:
    attributes = orjson.loads(text)
    return attributes if isinstance(attributes, dict) else {}


def _text(value: object) -> str | None:
    match value:
        case None:
            return None
        case str():
            return value
        case _:
            return orjson.dumps(value).decode()
