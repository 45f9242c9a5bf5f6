"""Deriving the catalogue's series: the rows of `stackctl.genai.metrics` over a processed batch.

Every series carries `job` and `instance` as Prometheus' OTLP receiver makes them, beside the row's own labels. A value
that is no finite number, or is negative for a counter, adds nothing: one NaN would spoil a counter for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.columns import Batch, Coded, holds
from stackctl.genai import prices
from stackctl.genai.content import label_word
from stackctl.genai.metrics import CATALOGUE, Bound, Label, MetricRow
from stackctl.genai.rows import One

from .family import LabelSet
from .increments import EXEMPLAR, NO_EXEMPLARS, Block, Floats, Increments
from .labelling import IDENTITY, Labelling, kinds_of

Codes = npt.NDArray[np.integer[Any]]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class _Counted:
    """A catalogue row, and the numbers of what it shares with others: cheap keys, where its own parts hash slowly."""

    row: MetricRow
    bounds: Floats
    labelling: int
    condition: int
    value: int


@dataclass(frozen=True, slots=True)
class _Part:
    """Some records of a batch by their label sets: record `picked[i]` has `sets[codes[i]]`; each set occurs."""

    picked: Codes
    codes: Codes
    sets: Sequence[LabelSet]

    def where(self, known: Mask) -> "_Part":
        """The part's records for which a mask holds."""
        picked, codes, sets = self.picked[known], self.codes[known], self.sets
        hits = np.bincount(codes, minlength=len(sets))
        if not hits.all():
            present = np.flatnonzero(hits)
            codes, sets = np.searchsorted(present, codes), [sets[code] for code in present.tolist()]
        return _Part(picked, codes, sets)


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
        self._labels = list(dict.fromkeys([*IDENTITY, *(label for labels in lists for label in labels)]))
        places = [tuple(map(self._labels.index, (*IDENTITY, *labels))) for labels in lists]
        self._labellings = [Labelling(*pair, self._bounded) for pair in zip(lists, places, strict=True)]
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
        counting = _Counting(batch, self._labels, self._labellings)
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
    labels: Sequence[Label]
    labellings: Sequence[Labelling]
    _parts: dict[tuple[int, int], _Part] = field(default_factory=dict)
    _values: dict[int, Floats | None] = field(default_factory=dict)
    _observed: dict[tuple[int, int, int], tuple[_Part, Floats]] = field(default_factory=dict)
    _picked: dict[int, tuple[Codes, Codes, list[int]]] = field(default_factory=dict)

    @cached_property
    def kinds(self) -> Coded:
        """The kinds of records by all labels."""
        return kinds_of(self.batch, self.labels)

    @cached_property
    def traces(self) -> npt.NDArray[Any]:
        """An exemplar of each record, without what it is an exemplar of."""
        traces = np.zeros(self.batch.rows, EXEMPLAR)
        for name, column in (("tid_hi", "tid_hi"), ("tid_lo", "tid_lo"), ("time_ms", "arrival_ms")):
            traces[name] = self.batch.columns[column].to_numpy(zero_copy_only=False)
        return traces

    def block(self, counted: _Counted) -> Block | None:
        """Return what one row of the catalogue gained, or None for nothing."""
        row, values = counted.row, self._read(counted)
        if values is None:
            return None
        part, observed = self._observe(counted, values)
        if row.kind == "counter" and len(observed) and observed.min() < 0:
            part, observed = part.where(observed >= 0), observed[observed >= 0]
        if not len(observed):
            return None
        labels = self.labellings[counted.labelling].with_constants(part.sets, row.constants)
        if row.kind == "counter":
            sums = np.bincount(part.codes, weights=observed, minlength=len(labels)).astype(np.float64)
            return Block(row.name, row.kind, (), labels, sums[:, None])
        buckets = counted.bounds.searchsorted(observed, side="left")
        width = len(row.bounds) + 1
        gained = _observations(part.codes, observed, buckets, (len(labels), width))
        exemplars = self._exemplars(part, observed, buckets, width) if row.exemplars else NO_EXEMPLARS
        return Block(row.name, row.kind, row.bounds, labels, gained, exemplars)

    def _observe(self, counted: _Counted, values: Floats) -> tuple[_Part, Floats]:
        """Return the records that take part and have a finite value, and the values."""
        key = (counted.value, counted.condition, counted.labelling)
        if key not in self._observed:
            part = self._part(counted)
            observed = values[part.picked]
            known = np.isfinite(observed)
            self._observed[key] = (part, observed) if known.all() else (part.where(known), observed[known])
        return self._observed[key]

    def _part(self, counted: _Counted) -> _Part:
        key = (counted.condition, counted.labelling)
        if key not in self._parts:
            picked, kinds, present = self._pick(counted)
            numbers: dict[LabelSet, int] = {}
            number_of = np.zeros(present[-1] + 1 if present else 0, np.int64)
            for kind in present:
                labels = self.labellings[counted.labelling].of(self.kinds.values[kind])
                number_of[kind] = numbers.setdefault(labels, len(numbers))
            self._parts[key] = _Part(picked, number_of[kinds], tuple(numbers))
        return self._parts[key]

    def _pick(self, counted: _Counted) -> tuple[Codes, Codes, list[int]]:
        """Return the records that fulfil a row's condition, their kinds, and which kinds these are."""
        if counted.condition not in self._picked:
            picked = np.flatnonzero(holds(counted.row.when, self.batch))
            kinds = self.kinds.codes[picked] if len(picked) else picked
            self._picked[counted.condition] = picked, kinds, np.flatnonzero(np.bincount(kinds)).tolist()
        return self._picked[counted.condition]

    def _read(self, counted: _Counted) -> Floats | None:
        """Values as floats, NaN for none; None where no record has one."""
        if counted.value not in self._values:
            self._values[counted.value] = self._floats(counted.row)
        return self._values[counted.value]

    def _floats(self, row: MetricRow) -> Floats | None:
        if row.value == One():
            return np.ones(self.batch.rows)
        values: Floats | None = None
        for column in self.batch.read(row.value):
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                found = self.batch.floats(column)
                values = found if values is None else np.where(np.isnan(values), found, values)
        return values

    def _exemplars(self, part: _Part, observed: Floats, buckets: Codes, width: int) -> npt.NDArray[Any]:
        """Return for each bucket that was hit its last observation's trace."""
        last = np.full(width, -1)
        last[buckets] = np.arange(len(buckets))  # numpy keeps the last of repeated indices
        chosen = last[last >= 0]
        exemplars: npt.NDArray[Any] = self.traces[part.picked[chosen]]
        exemplars["row"], exemplars["bucket"] = part.codes[chosen], buckets[chosen]
        exemplars["value"] = observed[chosen]
        traced: Mask = (exemplars["tid_hi"] != 0) | (exemplars["tid_lo"] != 0)
        return exemplars[traced]


def _observations(codes: Codes, observed: Floats, buckets: Codes, shape: tuple[int, int]) -> Floats:
    """Return for each label set the observations of each bucket and, last, their sum."""
    sets, width = shape
    gained = np.empty((sets, width + 1))
    gained[:, :-1] = np.bincount(codes * width + buckets, minlength=sets * width).reshape(shape)
    gained[:, -1] = np.bincount(codes, weights=observed, minlength=sets)
    return gained
