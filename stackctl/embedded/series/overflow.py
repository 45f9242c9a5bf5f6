"""What bounds the number of series: senders choose labels, and each label set costs memory for a day at least.

Label sets of a catalogue metric beyond its limit are counted in one that has only the labels of closed vocabularies and
OpenTelemetry's `otel.metric.overflow` (https://opentelemetry.io/docs/specs/otel/metrics/sdk/#overflow-attribute): sums
over all series stay exact. Applications' own series beyond the limit are refused, since gauges and counters of several
senders have no sum that means anything.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.metrics import CATALOGUE, Bound

from .family import LabelSet, label_set

# The SDKs' default limit for one metric.
MOST_SETS: Final = 2000
# Slots of all metrics together. The query process needs about 1 kB for each.
MOST_SLOTS: Final = 200_000

_KEPT: Final = frozenset(label.name for row in CATALOGUE for label in row.labels if label.bound is Bound.CLOSED) | {
    name for row in CATALOGUE for name, _ in row.constants
}


def overflow(labels: LabelSet) -> LabelSet:
    """Return the label set that stands in for one beyond the limit."""
    kept = {name: value for name, value in labels if name in _KEPT}
    return label_set(kept | {semconv.LABEL_OVERFLOW: "true"})
