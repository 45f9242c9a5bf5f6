"""Resources as columns: an application sends the same few attributes with every request, so they are decoded once."""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from stackctl.embedded.otlp.attributes import pivot
from stackctl.embedded.otlp.jsontext import Ints
from stackctl.embedded.otlp.shape import MAX_DECODED_COLUMNS, SCALARS, Lists, Texts

# Resources remembered, and the bytes that one may have; senders choose them, so the memory is emptied when full.
_REMEMBERED: Final = 512
_LONGEST: Final = 8 * 1024
# A resource's columns with their values, and its `rrest`.
_Resource = tuple[dict[str, Any], str | None]

_known: dict[bytes, _Resource] = {}


def resource_columns(attributes: Lists, rows: Ints, columns: dict[str, Any]) -> Texts:
    """Turn the attributes of resources into typed columns.

    Args:
        attributes: list of serialised KeyValues, one list per resource.
        rows: which resource each row of the table shows.
        columns: gets the columns, at most `MAX_DECODED_COLUMNS`.

    Returns:
        JSON objects of what has no column, a row for each of `rows`.

    Raises:
        DecodeError: an element is no KeyValue.
        ArrowInvalid: a key or text is no UTF-8.
    """
    keys = _identities(attributes)
    distinct = dict.fromkeys(keys)
    if len(distinct) <= _REMEMBERED and all(len(key) <= _LONGEST for key in distinct):
        found = _resources(attributes, keys, list(distinct))
        names = list(dict.fromkeys(name for values, _ in found for name in values))
        if len(names) <= MAX_DECODED_COLUMNS:
            places = {key: place for place, key in enumerate(distinct)}
            seen = np.array([places[key] for key in keys], np.int64)[rows]
            for name in names:
                columns[name] = _spread([values.get(name) for values, _ in found], SCALARS[name[-1]], seen)
            return _spread([rest for _, rest in found], pa.string(), seen)
    made: dict[str, Any] = {}
    rest = pivot(attributes, "r", made)
    taken: Any = pa.array(rows)
    columns |= {name: column.take(taken) for name, column in made.items()}
    return rest.take(taken)


def _identities(attributes: Lists) -> list[bytes]:
    """Of each list the bytes of its elements, and their lengths: equal ones hold the same attributes."""
    elements = attributes.flatten()
    if not len(elements):
        return [b""] * len(attributes)
    _, offsets, raw = elements.buffers()
    bounds = np.frombuffer(offsets, np.int32, len(elements) + 1, elements.offset * 4)
    sizes, data = np.diff(bounds), memoryview(raw) if raw is not None else memoryview(b"")
    counts = attributes.value_lengths().fill_null(0).to_numpy(zero_copy_only=False)
    ends = np.cumsum(counts, dtype=np.int64)
    places = zip((ends - counts).tolist(), ends.tolist(), strict=True)
    return [sizes[first:last].tobytes() + data[bounds[first] : bounds[last]] for first, last in places]


def _resources(attributes: Lists, keys: list[bytes], distinct: list[bytes]) -> list[_Resource]:
    """The resource of each distinct key, decoded where it was not seen lately."""
    found = {key: _known[key] for key in distinct if key in _known}
    unseen = [key for key in distinct if key not in found]
    if unseen:
        columns: dict[str, Any] = {}
        rests = pivot(attributes.take(pa.array([keys.index(key) for key in unseen], pa.int64())), "r", columns)
        values = {name: column.to_pylist() for name, column in columns.items()}
        for at, (key, rest) in enumerate(zip(unseen, rests.to_pylist(), strict=True)):
            own = {name: column[at] for name, column in values.items() if column[at] is not None}
            found[key] = own, rest
        if len(_known) + len(unseen) > _REMEMBERED:
            _known.clear()
        _known.update((key, found[key]) for key in unseen)
    return [found[key] for key in distinct]


def _spread(values: list[Any], kind: Any, taken: Ints) -> Any:
    """A column of the values at some places."""
    if len(values) > 1:
        column: Any = pa.array(values, kind)
        return column.take(pa.array(taken))
    if not values or values[0] is None:
        return pa.nulls(len(taken), kind)
    value: Any = pa.scalar(values[0], kind)
    return pa.repeat(value, len(taken))
