"""Resources and scopes as columns: an application sends the same few with every request, so each is decoded once."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from stackctl.embedded.otlp import jsontext, keyvalues, message
from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.remembered import Remembered, few
from stackctl.embedded.otlp.shape import SCALARS, Lists, Texts, most_columns

# A resource's columns with their values, and its `rrest`.
_Resource = tuple[dict[str, Any], str | None]


def resource_columns(serialised: Lists, rows: Ints, columns: dict[str, Any]) -> Texts:
    """Turn the attributes of resources into typed columns.

    Args:
        serialised: of each ResourceSpans the pieces of its resource.
        rows: which of them each row of the table shows.
        columns: gets the columns, at most `most_columns`.

    Returns:
        JSON objects of what has no column, a row for each of `rows`.

    Raises:
        ValueError: one is no resource; Panicked, a kind of it.
        DecodeError: an attribute is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    distinct, seen = _distinct(serialised, rows)
    if few(distinct):
        found = _resources.of(distinct)
        names = list(dict.fromkeys(name for values, _ in found for name in values))
        if len(names) <= most_columns(len(rows)):
            for name in names:
                columns[name] = _spread([values.get(name) for values, _ in found], SCALARS[name[-1]], seen, len(rows))
            return _spread([rest for _, rest in found], pa.string(), seen, len(rows))
    made: dict[str, Any] = {}
    rest = pivot(_attributes(distinct), "r", made, len(rows))
    taken = pa.array(np.zeros(len(rows), np.int32) if seen is None else seen)
    columns |= {name: column.take(taken) for name, column in made.items()}
    return rest.take(taken)


def scope_columns(serialised: Lists, rows: Ints) -> tuple[dict[str, Texts], frozenset[str]]:
    """Names and versions of instrumentation scopes, and the distinct names; arguments as of `resource_columns`.

    Raises:
        ValueError: one is no scope; Panicked, a kind of it.
    """
    distinct, seen = _distinct(serialised, rows)
    names, versions = zip(*_scopes.of(distinct), strict=True)
    columns = {
        "scope": _spread(names, pa.string(), seen, len(rows)),
        "scope_version": _spread(versions, pa.string(), seen, len(rows)),
    }
    return columns, frozenset(names)


def _distinct(serialised: Lists, rows: Ints) -> tuple[list[bytes], Ints | None]:
    """The distinct messages, joined from their pieces, and which of them each row shows; None where all are alike."""
    pieces = serialised.values
    _, offsets, raw = pieces.buffers()
    if raw is None or not len(serialised):
        return [b""], None
    bounds = np.frombuffer(offsets, np.int32, offset=4 * pieces.offset).take(serialised.offsets.to_numpy())
    found, codes = keyvalues.distinct(bounds, raw)
    return found, None if codes is None else codes[rows]


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


def _spread(values: Sequence[Any], kind: Any, seen: Ints | None, rows: int) -> Any:
    """A column of so many of the values: those at some places, or the only one."""
    # Resources of different services have most of their texts in common. Of numbers, zero equals minus zero.
    if seen is not None and not (kind == pa.string() and values.count(values[0]) == len(values)):
        return jsontext.take(pa.array(values, kind), seen)
    return pa.nulls(rows, kind) if values[0] is None else pa.repeat(pa.scalar(values[0], kind), rows)
