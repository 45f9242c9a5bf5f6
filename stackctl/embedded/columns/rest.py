"""Attributes that have no column: arrays, maps and bytes, and keys beyond the column cap, as JSON text per span."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import orjson
import pyarrow as pa

from .arrow import Column

# Longer texts are read each time rather than remembered: they hold content, and few are alike.
_REMEMBERED_LENGTH = 512


class Rest:
    """The `rest` (or `rrest`) column, read once per distinct text.

    Args:
        column: JSON objects or null.

    Attributes:
        keys: every key that any span has here.
    """

    def __init__(self, column: Column) -> None:
        encoded = column.dictionary_encode()
        self._indices = encoded.indices
        self._objects = [_read(text) for text in encoded.dictionary.to_pylist()]
        self.keys = frozenset(key for attributes in self._objects for key in attributes)

    def has(self, key: str) -> bool:
        """Whether any span has the attribute here."""
        return key in self.keys

    def values(self, key: str) -> Column | None:
        """Return the attribute's values as text, arrays and maps as JSON, or None where no span has it."""
        if key not in self.keys:
            return None
        texts = [_text(attributes.get(key)) for attributes in self._objects]
        return pa.array(texts, pa.string()).take(self._indices)

    def keep(self, choose: Callable[[str, Any], Any], dropped: Callable[[str, int], None]) -> Column:
        """Return the column with each value replaced by what `choose` makes of it.

        Args:
            choose: key and value to the value that stays, None to drop the attribute.
            dropped: told the key of each dropped attribute and how many spans had it.
        """
        counts = self._counts()
        texts: list[str | None] = []
        for attributes, spans in zip(self._objects, counts, strict=True):
            kept = {key: choose(key, value) for key, value in attributes.items()}
            for key, value in kept.items():
                if value is None:
                    dropped(key, spans)
            left = {key: value for key, value in kept.items() if value is not None}
            texts.append(orjson.dumps(left).decode() if left else None)
        return pa.array(texts, pa.string()).take(self._indices)

    def _counts(self) -> list[int]:
        pairs = {one["values"]: one["counts"] for one in self._indices.value_counts().to_pylist()}
        return [pairs.get(place, 0) for place in range(len(self._objects))]


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
