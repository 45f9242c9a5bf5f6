"""The kinds of records that a batch has: combinations of the texts that its series' labels come from.

Kinds are numbered in the order of their texts: the same kinds come to the same numbers, whichever record comes first.
Which there are depends on nothing but the distinct texts and on which of their combinations occur, and a service sends
the same few for ever: that is worked out once and remembered over batches.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl.embedded.arrays import Coded
from stackctl.embedded.columns import Batch
from stackctl.genai.rows import Field, ResourceAttr, Source, SpanAttr
from stackctl.remembering import Memory

Places = npt.NDArray[np.int64]
Kind = tuple[str, ...]

# Combinations that there may be, so few that a table of all of them is made faster than records are sorted.
_COUNTED: Final = 4096
# So few texts of a source come in so few orders that they are not sorted for each batch.
_UNSORTED: Final = 2
# Bytes of tables and texts that are remembered, for lists of texts and for kinds each.
_REMEMBERED_BYTES: Final = 1024**2


@dataclass(frozen=True, eq=False, slots=True)
class KindSet:
    """Kinds. Two sets are equal when they are the same object: that is what others remember them by.

    Attributes:
        kinds: ascending; a text for each source, an empty one where there is none.
    """

    kinds: tuple[Kind, ...]

    def __len__(self) -> int:
        return len(self.kinds)

    @property
    def characters(self) -> int:
        """Of all texts."""
        return sum(len(text) for kind in self.kinds for text in kind)


_NO_SOURCE: Final = KindSet(((),))


@dataclass(frozen=True, slots=True)
class _Axis:
    """The texts of one source.

    Attributes:
        texts: ascending and no two alike, but for a few.
        places: of each distinct value among them: an empty text and none are alike. None where they stand as they come.
    """

    texts: Kind
    places: Places | None = None


@dataclass(frozen=True, slots=True)
class _Met:
    """The combinations that occur.

    Attributes:
        places: of each combination that there might be, the number of its kind.
    """

    kinds: KindSet
    places: Places


@dataclass(frozen=True)
class Kinds:
    """Tells the kinds of records apart.

    Args:
        sources: what a kind has a text for each of.
    """

    sources: tuple[Source, ...]
    _axes: Memory[tuple[Any, ...], _Axis] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))
    _known: Memory[tuple[Any, ...], _Met] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))
    _sets: Memory[tuple[Kind, ...], KindSet] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))
    _names: list[tuple[str, ...]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_names", [_columns(source) for source in self.sources])

    def of(self, batch: Batch) -> tuple[KindSet, Places]:
        """Return the kinds of a batch's records, and the number of each record's."""
        kinds, span, axes = _NO_SOURCE, 1, list[Kind]()
        numbers = np.zeros(batch.rows, np.int64)
        for coded in self._coded(batch):
            if coded is None or len(coded.values) == 1:
                axes.append(("" if coded is None else coded.values[0] or "",))
                continue
            axis = self._axis(coded.values)
            own = coded.codes if axis.places is None else axis.places.take(coded.codes)
            if span * len(axis.texts) > _COUNTED and span > 1:
                kinds, numbers = self._met(kinds, axes, numbers, span)
                span, axes = len(kinds), []
            numbers = numbers * len(axis.texts) + own if span > 1 else own.astype(np.int64, copy=False)
            span *= len(axis.texts)
            axes.append(axis.texts)
        return self._met(kinds, axes, numbers, span)

    def _coded(self, batch: Batch) -> Iterator[Coded | None]:
        """Yield each source's texts, None where it has no column."""
        # Not `Batch.read`: that turns empty texts into nulls at a cost, and an empty text is no label anyway.
        columns = batch.columns
        for names in self._names:
            found = [columns[name] for name in names if name in columns]
            yield _first_of(batch, found) if found else None

    def _axis(self, values: Sequence[Any]) -> _Axis:
        if len(values) <= _UNSORTED:
            return _Axis(tuple([value or "" for value in values]))
        key = tuple(values)
        axis = self._axes.get(key)
        if axis is None:
            texts = [value or "" for value in values]
            distinct = tuple(sorted(set(texts)))
            numbers = {text: number for number, text in enumerate(distinct)}
            places = np.array([numbers[text] for text in texts])
            axis = _Axis(distinct, places)
            self._axes.put(key, axis, sum(map(len, texts)) + places.nbytes)
        return axis

    def _met(self, kinds: KindSet, axes: Sequence[Kind], numbers: Places, span: int) -> tuple[KindSet, Places]:
        """Return which combinations of kinds and of further texts there are, and the number of each record's.

        Args:
            numbers: of each record's combination among all that there might be.
            span: how many these are.
        """
        if span > _COUNTED:  # one source alone has so many texts, and they do not come again
            present, places = np.unique(numbers, return_inverse=True)
            found, ranks = self._ranked(_combinations(kinds, axes, present.tolist()))
            return found, ranks.take(places)
        present = np.bincount(numbers, minlength=span).nonzero()[0]
        key = kinds, tuple(axes), present.tobytes()
        met = self._known.get(key)
        if met is None:
            found, ranks = self._ranked(_combinations(kinds, axes, present.tolist()))
            table = np.zeros(span, np.int64)
            table[present] = ranks
            met = _Met(found, table)
            self._known.put(key, met, found.characters + table.nbytes)
        return met.kinds, met.places.take(numbers)

    def _ranked(self, combinations: Sequence[Kind]) -> tuple[KindSet, Places]:
        """Return the kinds that combinations come to, the same object for the same ones, and each one's number."""
        kinds = tuple(sorted(set(combinations)))
        found = self._sets.get(kinds)
        if found is None:
            found = KindSet(kinds)
            self._sets.put(kinds, found, found.characters)
        numbers = {kind: number for number, kind in enumerate(kinds)}
        return found, np.array([numbers[kind] for kind in combinations])


def _combinations(kinds: KindSet, axes: Sequence[Kind], numbers: Iterable[int]) -> list[Kind]:
    """Return the kinds with the texts that some numbers stand for behind their own."""
    found = []
    for number in numbers:
        rest, texts = number, []
        for axis in reversed(axes):
            rest, place = divmod(rest, len(axis))
            texts.append(axis[place])
        found.append((*kinds.kinds[rest], *reversed(texts)))
    return found


def _columns(source: Source) -> tuple[str, ...]:
    """The columns of a source, one for each type that its key may come in."""
    match source:
        case Field(name):
            return (name,)
        case SpanAttr(key):
            return tuple(f"s:{key}:{kind}" for kind in "sidb")
        case ResourceAttr(key):
            return tuple(f"r:{key}:{kind}" for kind in "sidb")
        case _:
            raise ValueError(f"{source} is no source of a label")


def _first_of(batch: Batch, columns: Sequence[Any]) -> Coded:
    """Return texts by their distinct values, of each record the first that its columns have."""
    coded = _texts(batch, columns[0])
    for column in columns[1:]:
        other = _texts(batch, column)
        missing = np.array([not text for text in coded.values])[coded.codes]
        # Their own type may be too small for the numbers of both.
        codes = np.where(missing, other.codes.astype(np.int64) + len(coded.values), coded.codes)
        coded = Coded(codes, [*coded.values, *other.values])
    return coded


def _texts(batch: Batch, column: Any) -> Coded:
    return batch.coded(column if pa.types.is_string(column.type) else column.cast(pa.string()))
