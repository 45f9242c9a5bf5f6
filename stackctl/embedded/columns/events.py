"""Reading the JSON text of span events for rules that look at a span's first event of a name."""

from typing import Any

import orjson
import pyarrow as pa

from .arrow import Column, pc


class FirstEvents:
    """The first event of each name, parsed only for spans whose JSON text holds the name.

    Args:
        column: the `events` column, JSON arrays or null; None where the batch has none.
        data: the column's bytes.
        rows: how many spans.
    """

    def __init__(self, column: Column | None, data: bytes, rows: int) -> None:
        self._column = column
        self._rows = rows
        self._bytes = data
        self._found: dict[str, list[dict[str, Any] | None]] = {}

    def times(self, event: str) -> Column | None:
        """Times in nanoseconds since 1970 of the first such events, or None where no span has one."""
        found = self._first(event)
        if not any(found):
            return None
        return pa.array([None if one is None else one.get("time_ns") for one in found], pa.int64())

    def attributes(self, event: str, key: str) -> list[Column]:
        """Scalar values of one attribute of the first such events, as text; empty where there is none."""
        texts = [_text((one or {}).get("attributes", {}).get(key)) for one in self._first(event)]
        return [pa.array(texts, pa.string())] if any(text is not None for text in texts) else []

    def _first(self, event: str) -> list[dict[str, Any] | None]:
        if event not in self._found:
            self._found[event] = self._search(event)
        return self._found[event]

    def _search(self, event: str) -> list[dict[str, Any] | None]:
        found: list[dict[str, Any] | None] = [None] * self._rows
        if self._column is None or event.encode() not in self._bytes:
            return found
        candidates = pc.indices_nonzero(pc.fill_null(pc.match_substring(self._column, event), False))
        for row in candidates.to_pylist():
            for one in orjson.loads(self._column[row].as_py()):
                if one.get("name") == event:
                    found[row] = one
                    break
        return found


def _text(value: object) -> str | None:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float() | str():
            return str(value)
        case _:
            return None
