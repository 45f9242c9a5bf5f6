"""A family: the sample series that one metric with one set of labels has, laid out in adjacent slots.

A counter or gauge fills one slot. A histogram fills one for each bucket, the last of them `+Inf`, then sum and count; a
summary one for each quantile, then sum and count. Names, `le` and `quantile` as in the Prometheus text format 0.0.4.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal, TypeAlias

Kind: TypeAlias = Literal["counter", "gauge", "histogram", "summary"]

# Labels in ascending order of their names: one label set has one spelling.
LabelSet: TypeAlias = tuple[tuple[str, str], ...]

NAME: Final = "__name__"
LE: Final = "le"
QUANTILE: Final = "quantile"


@dataclass(frozen=True, slots=True)
class Family:
    """One metric with one set of labels.

    Attributes:
        name: base name as in Prometheus, without `_bucket`, `_sum` and `_count`.
        labels: all labels but the name, `le` and `quantile`.
        bounds: upper bounds of buckets without infinity, or quantiles; ascending.
    """

    name: str
    kind: Kind
    labels: LabelSet
    bounds: tuple[float, ...] = ()

    @property
    def width(self) -> int:
        """How many slots the family fills."""
        match self.kind:
            case "histogram":
                return len(self.bounds) + 3
            case "summary":
                return len(self.bounds) + 2
            case "counter" | "gauge":
                return 1

    def series(self) -> Iterator[dict[str, str]]:
        """Yield the labels of each slot's series, the name among them, in the order of the slots."""
        match self.kind:
            case "histogram":
                for bound in (*self.bounds, math.inf):
                    yield {NAME: f"{self.name}_bucket", **dict(self.labels), LE: number(bound)}
                yield from self._totals()
            case "summary":
                for quantile in self.bounds:
                    yield {NAME: self.name, **dict(self.labels), QUANTILE: number(quantile)}
                yield from self._totals()
            case "counter" | "gauge":
                yield {NAME: self.name, **dict(self.labels)}

    def _totals(self) -> Iterator[dict[str, str]]:
        yield {NAME: f"{self.name}_sum", **dict(self.labels)}
        yield {NAME: f"{self.name}_count", **dict(self.labels)}


def label_set(labels: dict[str, str]) -> LabelSet:
    """Return labels in their one spelling. An empty value is no label, as in Prometheus."""
    return tuple(sorted((name, value) for name, value in labels.items() if value))


def number(value: float) -> str:
    """Return a float as Prometheus' OTLP receiver writes `le`: Go's `FormatFloat(v, 'f', -1, 64)`."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    if "e" in text:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")
