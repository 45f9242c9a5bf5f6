"""Which label set each record of a batch has: the kinds of records that there are by all labels, then each kind's set.

What a combination of texts comes to as labels is worked out once and remembered over batches, since a service sends the
same few for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.arrays import Coded
from stackctl.embedded.columns import Batch, combined
from stackctl.genai.metrics import Bound, Label
from stackctl.genai.rows import Field, ResourceAttr, Source, SpanAttr

from .family import LabelSet, label_set
from .names import INSTANCE, JOB, job

Bounding = Callable[[Bound, str], str]

# Behind every series: job and instance, in Prometheus' OTLP receiver's reading.
IDENTITY: Final = (
    Label(semconv.SERVICE_NAMESPACE, ResourceAttr(semconv.SERVICE_NAMESPACE)),
    Label(semconv.SERVICE_NAME, ResourceAttr(semconv.SERVICE_NAME)),
    Label(INSTANCE, ResourceAttr(semconv.SERVICE_INSTANCE_ID)),
)
# Combinations remembered for one list of labels, more than one metric has series of; senders choose the texts, so the
# memory is emptied when full.
_REMEMBERED: Final = 4096
_REMEMBERED_LENGTH: Final = 2048
_NO_TEXT: Final = Coded(np.zeros(0, np.int32), [""])


@dataclass(frozen=True)
class Kinds:
    """The kinds of records that some sources of labels tell apart.

    Args:
        sources: what a kind has a text for each of, an empty one where there is none.
    """

    sources: tuple[Source, ...]

    @cached_property
    def _names(self) -> list[tuple[str, ...]]:
        """The columns of each source, one for each type its key may come in."""
        return [_columns(source) for source in self.sources]

    def of(self, batch: Batch) -> Coded:
        """Return the kinds of a batch's records."""
        # Not `Batch.read`: that turns empty texts into nulls at a cost, and an empty text is no label anyway.
        columns = batch.columns
        found = [[columns[name] for name in names if name in columns] for names in self._names]
        return combined([_encode(batch, each) if each else _NO_TEXT for each in found], batch.rows)


@dataclass
class Labelling:
    """One list of labels and what became of the combinations seen so far.

    Args:
        labels: the labels of a catalogue row, without `job` and `instance`.
        constants: further labels of fixed values.
        places: where the texts of `IDENTITY` and of the labels stand in those of a kind.
        bounding: keeps a text within what its bound allows.
    """

    labels: tuple[Label, ...]
    constants: LabelSet
    places: tuple[int, ...]
    bounding: Bounding
    _known: dict[tuple[str, ...], LabelSet] = field(default_factory=dict)

    def of(self, kind: Sequence[str]) -> LabelSet:
        """Return the label set of a kind. Bounding maps several texts to one, so different kinds may have the same."""
        texts = tuple([kind[place] for place in self.places])
        known = self._known.get(texts)
        if known is None:
            known = self._labels(texts)
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            if sum(map(len, texts)) <= _REMEMBERED_LENGTH:
                self._known[texts] = known
        return known

    def _labels(self, texts: tuple[str, ...]) -> LabelSet:
        namespace, service, instance, *own = (
            self.bounding(label.bound, text) if text else ""
            for label, text in zip((*IDENTITY, *self.labels), texts, strict=True)
        )
        identity = {JOB: job(namespace, service), INSTANCE: instance}
        named = dict(zip((label.name for label in self.labels), own, strict=True))
        return label_set(identity | named | dict(self.constants))


def _columns(source: Source) -> tuple[str, ...]:
    match source:
        case Field(name):
            return (name,)
        case SpanAttr(key):
            return tuple(f"s:{key}:{kind}" for kind in "sidb")
        case ResourceAttr(key):
            return tuple(f"r:{key}:{kind}" for kind in "sidb")
        case _:
            raise ValueError(f"{source} is no source of a label")


def _encode(batch: Batch, columns: Sequence[Any]) -> Coded:
    """Return texts by their distinct values, of each record the first that its columns have."""
    first, *others = columns
    coded = _encode_one(batch, first)
    for column in others:
        other = _encode_one(batch, column)
        missing = np.array([not text for text in coded.values])[coded.codes]
        codes = np.where(missing, other.codes + len(coded.values), coded.codes)
        coded = Coded(codes, [*coded.values, *other.values])
    numbers: dict[str, int] = {}
    places = [numbers.setdefault(text, len(numbers)) for text in coded.values]
    # An empty text and none are alike, and one text may have come in columns of two types.
    return coded if len(numbers) == len(places) else Coded(np.array(places)[coded.codes], list(numbers))


def _encode_one(batch: Batch, column: Any) -> Coded:
    found = batch.coded(column if pa.types.is_string(column.type) else column.cast(pa.string()))
    return Coded(found.codes, [text or "" for text in found.values])
