"""Which label set each record of a batch has: label columns as codes, distinct combinations as numbers.

What a combination of texts comes to as labels is worked out once and remembered over batches, since a service sends the
same few for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.columns import Batch
from stackctl.genai.metrics import Bound, Label
from stackctl.genai.rows import Field, ResourceAttr, SpanAttr

from .family import LabelSet, label_set
from .names import INSTANCE, JOB, job

Codes = npt.NDArray[np.int64]
Bounding = Callable[[Bound, str], str]

# Behind every series: job and instance, in Prometheus' OTLP receiver's reading.
IDENTITY: Final = (
    Label(semconv.SERVICE_NAMESPACE, ResourceAttr(semconv.SERVICE_NAMESPACE)),
    Label(semconv.SERVICE_NAME, ResourceAttr(semconv.SERVICE_NAME)),
    Label(INSTANCE, ResourceAttr(semconv.SERVICE_INSTANCE_ID)),
)
# Combinations remembered for one list of labels; senders choose the texts, so the memory is emptied when full.
_REMEMBERED: Final = 20_000
_REMEMBERED_LENGTH: Final = 2048
# Combinations that there may be, so few that a table of all of them is made faster than records are sorted.
_COUNTED: Final = 4096


@dataclass(frozen=True, slots=True)
class Coded:
    """One label over a batch: `texts[codes[i]]` is the value of record i, an empty text is none."""

    codes: Codes
    texts: Sequence[str]


@dataclass(frozen=True, slots=True)
class Groups:
    """The label set of record i is `sets[codes[i]]`; no two sets are alike."""

    codes: Codes
    sets: Sequence[LabelSet]


@dataclass
class Labelling:
    """One list of labels and what became of the combinations seen so far.

    Args:
        labels: the labels of a catalogue row, without `job` and `instance`.
        bounding: keeps a text within what its bound allows.
    """

    labels: tuple[Label, ...]
    bounding: Bounding
    _known: dict[tuple[str, ...], LabelSet] = field(default_factory=dict)
    _constant: dict[tuple[LabelSet, LabelSet], LabelSet] = field(default_factory=dict)

    def group(self, batch: Batch, coded: dict[int, Coded], picked: Codes) -> Groups:
        """Number the distinct label sets of some records of a batch.

        Args:
            coded: labels of this batch that were coded already, by identity; others are added.
            picked: the records.
        """
        columns = [_code(batch, label, coded) for label in (*IDENTITY, *self.labels)]
        first, inverse = _combinations(columns, picked)
        # Bounding maps several texts to one, so combinations that differ in code may be one label set.
        numbers: dict[LabelSet, int] = {}
        renumbered = np.empty(len(first), np.int64)
        for at, record in enumerate(picked[first].tolist()):
            texts = tuple([column.texts[column.codes[record]] for column in columns])
            renumbered[at] = numbers.setdefault(self._labels(texts), len(numbers))
        return Groups(renumbered[inverse], tuple(numbers))

    def with_constants(self, sets: Sequence[LabelSet], constants: LabelSet) -> tuple[LabelSet, ...]:
        """Return label sets with further labels of fixed values."""
        if not constants:
            return tuple(sets)
        if len(self._constant) >= _REMEMBERED:
            self._constant.clear()
        known = self._constant
        for one in sets:
            if (one, constants) not in known:
                known[one, constants] = label_set(dict(one) | dict(constants))
        return tuple([known[one, constants] for one in sets])

    def _labels(self, texts: tuple[str, ...]) -> LabelSet:
        known = self._known.get(texts)
        if known is None:
            namespace, service, instance, *own = (
                self.bounding(label.bound, text) if text else ""
                for label, text in zip((*IDENTITY, *self.labels), texts, strict=True)
            )
            identity = {JOB: job(namespace, service), INSTANCE: instance}
            named = dict(zip((label.name for label in self.labels), own, strict=True))
            known = label_set(identity | named)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if sum(map(len, texts)) <= _REMEMBERED_LENGTH:
                self._known[texts] = known
        return known


def _combinations(columns: Sequence[Coded], picked: Codes) -> tuple[Codes, Codes]:
    """Return for each distinct combination of codes a record that has it, and for each record its combination."""
    mixed = np.zeros(len(picked), np.int64)
    span = 1
    for column in columns:
        if len(column.texts) == 1:
            continue
        if span * len(column.texts) > 2**62:  # the mixed number would overflow: number what is there so far
            distinct, mixed = np.unique(mixed, return_inverse=True)
            span = len(distinct)
        mixed = mixed * len(column.texts) + column.codes[picked]
        span *= len(column.texts)
    if span <= _COUNTED:
        return _counted(mixed, span)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    return first.astype(np.int64), inverse.astype(np.int64)


def _counted(mixed: Codes, span: int) -> tuple[Codes, Codes]:
    """`_combinations` of small numbers, without sorting them: one record that has each, and each record's place."""
    holder = np.full(span, -1)
    holder[mixed] = np.arange(len(mixed))
    present = np.flatnonzero(holder >= 0)
    places = np.zeros(span, np.int64)
    places[present] = np.arange(len(present))
    return holder[present], places[mixed]


def _code(batch: Batch, label: Label, coded: dict[int, Coded]) -> Coded:
    key = id(label)  # a label's own hash costs more than the rest of this; the labelling keeps it alive
    if key not in coded:
        coded[key] = _encode(batch, _columns(batch, label))
    return coded[key]


def _columns(batch: Batch, label: Label) -> list[Any]:
    """The label's columns, one for each type its key came in.

    Not `Batch.read`: that turns empty texts into nulls at a cost, and an empty text is no label anyway.
    """
    match label.source:
        case Field(name):
            names = [name]
        case SpanAttr(key):
            names = [f"s:{key}:{kind}" for kind in "sidb"]
        case ResourceAttr(key):
            names = [f"r:{key}:{kind}" for kind in "sidb"]
        case _:
            return batch.read(label.source)
    return [batch.columns[name] for name in names if name in batch.columns]


def _encode(batch: Batch, columns: Sequence[Any]) -> Coded:
    if not columns:
        return Coded(np.zeros(batch.rows, np.int64), ("",))
    first, *others = columns
    coded = _encode_one(batch, first)
    for column in others:
        other = _encode_one(batch, column)
        missing = np.array([not text for text in coded.texts])[coded.codes]
        codes = np.where(missing, other.codes + len(coded.texts), coded.codes)
        coded = Coded(codes, (*coded.texts, *other.texts))
    return coded


def _encode_one(batch: Batch, column: Any) -> Coded:
    found = batch.coded(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    return Coded(found.codes.astype(np.int64), tuple([text or "" for text in found.values]))
