"""Resources and scopes as columns: an application sends the same few with every request, so each is decoded once."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stackctl.embedded.arrays import Coded, spread, take
from stackctl.embedded.otlp import keyvalues, message
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.remembered import Remembered, few
from stackctl.embedded.otlp.shape import SCALARS, Lists, Texts, most_columns

_TEXT: Final[Any] = SCALARS["s"]
# A resource's columns with their values, and its `rrest`.
_Resource = tuple[dict[str, Any], str | None]


def resource_columns(serialised: Lists, rows: Ints, columns: dict[str, Any], known: dict[str, Coded]) -> Texts:
    """Turn the attributes of resources into typed columns.

    Args:
        serialised: of each ResourceSpans the pieces of its resource.
        rows: which of them each row of the table shows.
        columns: gets the columns, at most `most_columns`.
        known: gets the distinct texts of columns.

    Returns:
        JSON objects of what has no column, a row for each of `rows`.

    Raises:
        ValueError: one is no resource; Panicked, a kind of it.
        DecodeError: an attribute is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    shown = _Shown.of(serialised, rows)
    if few(shown.distinct):
        found = _resources.of(shown.distinct)
        names = list(dict.fromkeys(name for values, _ in found for name in values))
        if len(names) <= most_columns(len(rows)):
            for name in names:
                columns[name] = shown.column(name, [values.get(name) for values, _ in found], SCALARS[name[-1]], known)
            return shown.column("rrest", [rest for _, rest in found], _TEXT, known)
    made: dict[str, Any] = {}
    rest = pivot(_attributes(shown.distinct), "r", made, len(rows))
    taken = pa.array(shown.codes)
    columns |= {name: column.take(taken) for name, column in made.items()}
    return rest.take(taken)


def scope_columns(serialised: Lists, rows: Ints, known: dict[str, Coded]) -> tuple[dict[str, Texts], frozenset[str]]:
    """Names and versions of instrumentation scopes, and the distinct names; arguments as of `resource_columns`.

    Raises:
        ValueError: one is no scope; Panicked, a kind of it.
    """
    shown = _Shown.of(serialised, rows)
    names, versions = zip(*_scopes.of(shown.distinct), strict=True)
    columns = {"scope": list(names), "scope_version": list(versions)}
    return {name: shown.column(name, texts, _TEXT, known) for name, texts in columns.items()}, frozenset(names)


@dataclass(slots=True)
class _Shown:
    """Messages that rows of a table show.

    Attributes:
        distinct: the messages, joined from their pieces.
        codes: which of them each row shows.
        whole: whether each is shown, as one is not that has no spans.
    """

    distinct: list[bytes]
    codes: Ints
    whole: bool

    @classmethod
    def of(cls, serialised: Lists, rows: Ints) -> "_Shown":
        """Arguments as of `resource_columns`."""
        pieces = serialised.values
        _, offsets, raw = pieces.buffers()
        if raw is None or not len(serialised):
            return cls([b""], np.zeros(len(rows), np.int64), True)
        bounds = np.frombuffer(offsets, np.int32, offset=4 * pieces.offset).take(serialised.offsets.to_numpy())
        found, codes = keyvalues.distinct(bounds, raw)
        if codes is None:
            return cls(found, np.zeros(len(rows), np.int64), True)
        codes = codes[rows]
        return cls(found, codes, bool(np.bincount(codes, minlength=len(found)).all()))

    def column(self, name: str, values: list[Any], kind: Any, known: dict[str, Coded]) -> Any:
        """A column of what each message has there; `known` gets its distinct texts."""
        if kind != _TEXT:
            return take(pa.array(values, kind), self.codes)
        found = Coded(self.codes, values)
        if len(values) > 1:  # resources of different services have most of their texts in common
            numbers: dict[str | None, int] = {}
            places = [numbers.setdefault(text, len(numbers)) for text in values]
            found = Coded(np.array(places)[self.codes], list(numbers))
        if self.whole:
            known[name] = found
        return spread(found)


def _attributes(serialised: list[bytes]) -> Lists:
    return message.resources(serialised).column("attributes")


def _read_resources(serialised: list[bytes]) -> list[_Resource]:
    columns: dict[str, Any] = {}
    rests = pivot(_attributes(serialised), "r", columns).to_pylist()
    values = {name: column.to_pylist() for name, column in columns.items()}
    return [
        ({name: column[at] for name, column in values.items() if column[at] is not None}, rest)
        for at, rest in enumerate(rests)
    ]


def _read_scopes(serialised: list[bytes]) -> list[tuple[str, str]]:
    found = message.scopes(serialised)
    return list(zip(found.column("name").to_pylist(), found.column("version").to_pylist(), strict=True))


_resources, _scopes = Remembered(_read_resources), Remembered(_read_scopes)
