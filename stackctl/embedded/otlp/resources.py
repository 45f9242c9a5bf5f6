"""Resources and scopes as columns: an application sends the same few with every request, so each is decoded once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stackctl.embedded.arrays import Coded, spread, take
from stackctl.embedded.otlp import keyvalues, message
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.remembered import Remembered, few
from stackctl.embedded.otlp.shape import SCALARS, Lists, Texts, most_columns
from stackctl.remembering import Memory

_TEXT: Final[Any] = SCALARS["s"]
# Bytes of columns that are remembered, and of what is made beside them.
_ROOM: Final = 4 * 1024**2
_BESIDE: Final = 1024
# A resource's columns with their values, and its `rrest`.
_Resource = tuple[dict[str, Any], str | None]


def resource_columns(serialised: Lists, rows: Ints, columns: dict[str, Any], known: dict[str, Coded]) -> Texts:
    """Turn the attributes of resources into typed columns.

    Args:
        serialised: of each ResourceSpans the pieces of its resource.
        rows: which of them each row of the table shows, ascending.
        columns: gets the columns, at most `most_columns`.
        known: gets the distinct texts of columns.

    Returns:
        JSON objects of what has no column, a row for each of `rows`.

    Raises:
        ValueError: one is no resource; Panicked, a kind of it.
        DecodeError: an attribute is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    made = _made("resource", serialised, rows, _resource_columns)
    columns |= made.columns
    known |= made.known
    return made.rest


def scope_columns(serialised: Lists, rows: Ints, known: dict[str, Coded]) -> tuple[dict[str, Texts], frozenset[str]]:
    """Names and versions of instrumentation scopes, and the distinct names; arguments as of `resource_columns`.

    Raises:
        ValueError: one is no scope; Panicked, a kind of it.
    """
    made = _made("scope", serialised, rows, _scope_columns)
    known |= made.known
    return made.columns, made.names


@dataclass(slots=True)
class _Made:
    """What is made of messages.

    Attributes:
        columns: by name.
        known: of columns the distinct texts.
        rest: JSON objects of what has no column, of resources.
        names: of scopes.
    """

    columns: dict[str, Any] = field(default_factory=dict)
    known: dict[str, Coded] = field(default_factory=dict)
    rest: Texts = None
    names: frozenset[str] = frozenset()

    def size(self) -> int:
        """Bytes, about."""
        arrays = [*self.columns.values(), *([] if self.rest is None else [self.rest])]
        codes = sum(coded.codes.nbytes for coded in self.known.values())
        return sum(int(array.nbytes) for array in arrays) + codes + _BESIDE


def _made(kind: str, serialised: Lists, rows: Ints, make: Callable[["_Shown"], _Made]) -> _Made:
    """Make columns, or remember them: full batches of one application have the same for as many rows.

    Args:
        rows: ascending.
    """
    pieces, bounds = serialised.values, serialised.offsets.to_numpy()
    _, offsets, raw = pieces.buffers()
    if raw is None or not len(serialised):
        return make(_Shown([b""], np.zeros(len(rows), np.int64), True))
    ends = np.frombuffer(offsets, np.int32, offset=4 * pieces.offset).take(bounds)
    counts = np.bincount(rows, minlength=len(serialised))
    told = kind, raw[ends[0] : ends[-1]].to_pybytes(), ends.tobytes(), counts.tobytes()
    found = _known.get(told)
    if found is None:
        found = make(_Shown.of(ends, raw, rows))
        _known.put(told, found, found.size() + sum(map(len, told)))
    return found


def _resource_columns(shown: "_Shown") -> _Made:
    made, rows = _Made(), len(shown.codes)
    if few(shown.distinct):
        found = _resources.of(shown.distinct)
        names = list(dict.fromkeys(name for values, _ in found for name in values))
        if len(names) <= most_columns(rows):
            for name in names:
                values = [values.get(name) for values, _ in found]
                made.columns[name] = shown.column(name, values, SCALARS[name[-1]], made.known)
            made.rest = shown.column("rrest", [rest for _, rest in found], _TEXT, made.known)
            return made
    columns: dict[str, Any] = {}
    rest = pivot(_attributes(shown.distinct), "r", columns, rows)
    taken = pa.array(shown.codes)
    return _Made({name: column.take(taken) for name, column in columns.items()}, rest=rest.take(taken))


def _scope_columns(shown: "_Shown") -> _Made:
    made, (names, versions) = _Made(), zip(*_scopes.of(shown.distinct), strict=True)
    for name, texts in (("scope", names), ("scope_version", versions)):
        made.columns[name] = shown.column(name, list(texts), _TEXT, made.known)
    made.names = frozenset(names)
    return made


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
    def of(cls, bounds: Any, raw: Any, rows: Ints) -> "_Shown":
        """Tell messages apart.

        Args:
            bounds: where each begins, and where the last ends, as 32-bit integers.
            raw: a buffer.
            rows: which of them each row of the table shows.
        """
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


_known: Final[Memory[tuple[str | bytes, ...], _Made]] = Memory(_ROOM)
_resources, _scopes = Remembered(_read_resources), Remembered(_read_scopes)
