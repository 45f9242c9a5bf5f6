"""Which label set each kind of records has.

What a combination of texts comes to as labels is worked out once and remembered over batches, since a service sends the
same few for ever.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from stackctl import semconv
from stackctl.genai.metrics import Bound, Label
from stackctl.genai.rows import ResourceAttr

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
