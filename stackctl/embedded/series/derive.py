"""Deriving the catalogue's series: the rows of `stackctl.genai.metrics` over a processed batch.

Every series carries `job` and `instance` as Prometheus' OTLP receiver makes them, beside the row's own labels. A value
that is no finite number, or is negative for a counter, adds nothing: one NaN would spoil a counter for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.columns import Batch, holds
from stackctl.genai import prices
from stackctl.genai.content import label_word
from stackctl.genai.metrics import CATALOGUE, Bound, MetricRow
from stackctl.genai.rows import One

from .increments import EXEMPLAR, NO_EXEMPLARS, Block, Floats, Increments
from .labelling import Coded, Codes, Groups, Labelling

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Counted:
    """A catalogue row, and the numbers of what it shares with others: cheap keys, where its own parts hash slowly."""

    row: MetricRow
    bounds: Floats
    labelling: int
    condition: int
    value: int


@dataclass(frozen=True)
class _Part:
    """The records of a batch that fulfil one condition, and their label sets."""

    picked: Codes
    groups: Groups


class Derivation:
    """Counts batches.

    Args:
        extra_models: model names that may stand on metrics though the price book does not know them.
        rows: the catalogue.
        book: the price book; the shipped one unless given.
    """

    def __init__(
        self,
        extra_models: Sequence[str] = (),
        rows: Sequence[MetricRow] = CATALOGUE,
        book: prices.PriceBook | None = None,
    ) -> None:
        self._book = book or prices.shipped()
        self._extra = frozenset(extra_models)
        lists = list(dict.fromkeys(row.labels for row in rows))
        conditions = list(dict.fromkeys(row.when for row in rows))
        values = list(dict.fromkeys(row.value for row in rows))
        self._labellings = [Labelling(labels, self._bounded) for labels in lists]
        self._counted = {
            of: [
                _Counted(
                    row,
                    np.array(row.bounds),
                    lists.index(row.labels),
                    conditions.index(row.when),
                    values.index(row.value),
                )
                for row in rows
                if row.of == of
            ]
            for of in ("span", "evaluation")
        }

    def from_spans(self, table: pa.Table | Batch) -> Increments:
        """Return what a processed SpanTable adds; a batch that the pipeline just processed knows its codes already."""
        return self._count(table if isinstance(table, Batch) else Batch(table), "span")

    def from_evaluations(self, table: pa.Table) -> Increments:
        """Return what a redacted table of evaluation records adds."""
        return self._count(Batch(table), "evaluation")

    def _count(self, batch: Batch, of: str) -> Increments:
        if not batch.rows:
            return Increments(0)
        counting = _Counting(batch, self._labellings)
        blocks = (counting.block(counted) for counted in self._counted[of])
        arrivals: Codes = batch.columns["arrival_ms"].to_numpy(zero_copy_only=False)
        return Increments(int(arrivals.min()), tuple(block for block in blocks if block is not None))

    def _bounded(self, bound: Bound, text: str) -> str:
        match bound:
            case Bound.CLOSED:
                return text
            case Bound.WORD:
                return label_word(text)
            case Bound.MODEL:
                # Senders choose names freely, so every unknown model is one series.
                known = text in self._extra or self._book.knows(text)
                return label_word(text) if known else semconv.OTHER_MODEL


@dataclass
class _Counting:
    """One batch under way; what several rows need is worked out once."""

    batch: Batch
    labellings: Sequence[Labelling]
    _coded: dict[int, Coded] = field(default_factory=dict)
    _parts: dict[tuple[int, int], _Part] = field(default_factory=dict)
    _values: dict[int, Floats] = field(default_factory=dict)
    _conditions: dict[int, Codes] = field(default_factory=dict)

    def block(self, counted: _Counted) -> Block | None:
        """Return what one row of the catalogue gained, or None for nothing."""
        row, part = counted.row, self._part(counted)
        picked, codes, sets = part.picked, part.groups.codes, part.groups.sets
        observed = self._read(counted)[picked]
        known = np.isfinite(observed)
        if row.kind == "counter":
            known &= observed >= 0
        if not known.all():
            picked, codes, observed = picked[known], codes[known], observed[known]
        if not len(picked):
            return None
        hits = np.bincount(codes, minlength=len(sets))
        if not hits.all():  # only label sets that occur; a sum of zero is still a value
            present = np.flatnonzero(hits)
            codes, sets = np.searchsorted(present, codes), [sets[code] for code in present.tolist()]
        labels = self.labellings[counted.labelling].with_constants(sets, row.constants)
        if row.kind == "counter":
            sums: Floats = np.bincount(codes, weights=observed, minlength=len(labels)).astype(np.float64)
            return Block(row.name, row.kind, (), labels, sums[:, None])
        buckets: Codes = counted.bounds.searchsorted(observed, side="left").astype(np.int64)
        gained = _observations(codes, observed, buckets, (len(labels), len(row.bounds) + 1))
        exemplars = self._exemplars(picked, codes, observed, buckets) if row.exemplars else NO_EXEMPLARS
        return Block(row.name, row.kind, row.bounds, labels, gained, exemplars)

    def _part(self, counted: _Counted) -> _Part:
        key = (counted.condition, counted.labelling)
        if key not in self._parts:
            if counted.condition not in self._conditions:
                self._conditions[counted.condition] = np.flatnonzero(holds(counted.row.when, self.batch))
            picked = self._conditions[counted.condition]
            self._parts[key] = _Part(picked, self.labellings[counted.labelling].group(self.batch, self._coded, picked))
        return self._parts[key]

    def _read(self, counted: _Counted) -> Floats:
        """Values as floats, NaN for none."""
        if counted.value not in self._values:
            self._values[counted.value] = self._floats(counted.row)
        return self._values[counted.value]

    def _floats(self, row: MetricRow) -> Floats:
        if row.value == One():
            return np.ones(self.batch.rows)
        values: Floats | None = None
        for column in self.batch.read(row.value):
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                found = column.to_numpy(zero_copy_only=False).astype(np.float64, copy=False)
                values = found if values is None else np.where(np.isnan(values), found, values)
        return np.full(self.batch.rows, np.nan) if values is None else values

    def _exemplars(self, picked: Codes, rows: Codes, observed: Floats, buckets: Codes) -> npt.NDArray[Any]:
        """Return for each bucket that was hit its last observation's trace."""
        last = np.full(int(buckets.max()) + 1, -1)
        last[buckets] = np.arange(len(picked))  # numpy keeps the last of repeated indices
        chosen = last[last >= 0]
        exemplars = np.zeros(len(chosen), EXEMPLAR)
        exemplars["row"], exemplars["bucket"], exemplars["value"] = rows[chosen], buckets[chosen], observed[chosen]
        for name, column in (("tid_hi", "tid_hi"), ("tid_lo", "tid_lo"), ("time_ms", "arrival_ms")):
            exemplars[name] = self.batch.columns[column].to_numpy(zero_copy_only=False)[picked[chosen]]
        traced: Mask = (exemplars["tid_hi"] != 0) | (exemplars["tid_lo"] != 0)
        return exemplars[traced]


def _observations(codes: Codes, observed: Floats, buckets: Codes, shape: tuple[int, int]) -> Floats:
    """Return for each label set the observations of each bucket and, last, their sum."""
    sets, width = shape
    counts: Floats = np.bincount(codes * width + buckets, minlength=sets * width).reshape(shape).astype(np.float64)
    sums = np.bincount(codes, weights=observed, minlength=sets)
    return np.concatenate([counts, sums[:, None]], axis=1)
