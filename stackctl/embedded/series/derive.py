"""Deriving the catalogue's series: the rows of `stackctl.genai.metrics` over a processed batch.

Every series carries `job` and `instance` as Prometheus' OTLP receiver makes them, beside the row's own labels. A value
that is no finite number, or is negative for a counter, adds nothing: one NaN would spoil a counter for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.columns import Batch, holds
from stackctl.genai import prices
from stackctl.genai.content import label_word
from stackctl.genai.metrics import CATALOGUE, Bound, MetricRow
from stackctl.genai.rows import One, Source, SpanAttr

from .increments import EXEMPLAR, Floats, Increments
from .kinds import Kinds, Places
from .labelling import IDENTITY, Labelling
from .plans import Counted, Plan, Plans

_ONE: Final = One()


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
        self._plans = Plans()
        self._parts = {of: self._part([row for row in rows if row.of == of]) for of in ("span", "evaluation")}

    def _part(self, rows: Sequence[MetricRow]) -> "_Part":
        """What the rows over one kind of record have in common."""
        sources = tuple(dict.fromkeys(label.source for row in rows for label in (*IDENTITY, *row.labels)))
        lists = {
            (row.labels, row.constants): Labelling(
                row.labels,
                row.constants,
                tuple(sources.index(label.source) for label in (*IDENTITY, *row.labels)),
                self._bounded,
            )
            for row in rows
        }
        conditions = list(dict.fromkeys(row.when for row in rows))
        values = list(dict.fromkeys(row.value for row in rows))
        counted = [
            Counted(
                row,
                np.array(row.bounds),
                lists[row.labels, row.constants],
                conditions.index(row.when),
                values.index(row.value),
            )
            for row in sorted(rows, key=lambda row: row.kind == "histogram")  # counters first: they have no buckets
        ]
        return _Part(counted, Kinds(sources))

    def from_spans(self, table: pa.Table | Batch) -> Increments:
        """Return what a processed SpanTable adds; a batch that the pipeline just processed knows its codes already."""
        return self._count(table if isinstance(table, Batch) else Batch(table), self._parts["span"])

    def from_evaluations(self, table: pa.Table) -> Increments:
        """Return what a redacted table of evaluation records adds."""
        return self._count(Batch(table), self._parts["evaluation"])

    def _count(self, batch: Batch, part: "_Part") -> Increments:
        if not batch.rows:
            return Increments(0)
        arrivals = _numbers(batch, "arrival_ms")
        arrival_ms = int(arrivals.min())
        seen = _observed(batch, part.counted)
        if seen is None:
            return Increments(arrival_ms)
        kinds, numbers = part.kinds.of(batch)
        counts = seen.counts
        pairs = np.repeat(np.arange(0, len(counts) * len(kinds), len(kinds)), counts)
        pairs += numbers.take(seen.records)
        plan = self._plans.of(seen.counted, kinds, pairs)
        places, values = _gained(seen, plan, pairs)
        return Increments(arrival_ms, plan.outline, values, _exemplars(batch, seen, plan, places, arrivals))

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


@dataclass(frozen=True)
class _Part:
    """The rows of the catalogue over spans or over evaluations.

    Attributes:
        counted: counters first.
        kinds: of the records, by all their labels.
    """

    counted: list[Counted]
    kinds: Kinds


@dataclass(frozen=True, slots=True)
class _Observed:
    """Every observation of a batch: all rows of the catalogue as one, since a batch has few observations for each.

    Attributes:
        counted: the rows that may have values in the batch, counters first.
        counters: how many of them are counters.
        ends: where the observations of each begin and end; they stand one row behind the other.
        records: which record each was made of.
        values: what was observed.
        buckets: of each observation of a histogram.
    """

    counted: list[Counted]
    counters: int
    ends: list[int]
    records: Places
    values: Floats
    buckets: Places

    @property
    def first(self) -> int:
        """The first observation of a histogram: they stand behind those of counters."""
        return self.ends[self.counters]

    @property
    def counts(self) -> list[int]:
        """How many observations each row has."""
        return [end - start for start, end in pairwise(self.ends)]


def _observed(batch: Batch, catalogue: Sequence[Counted]) -> _Observed | None:
    """Return the finite values of the records that take part, and for a counter none below zero; None for nothing."""
    counted, taking, found = _read(batch, catalogue)
    if not counted:
        return None
    counters = sum([one.row.kind == "counter" for one in counted])
    ends = [0, *accumulate(map(len, taking))]
    records, values = np.concatenate(taking), np.concatenate(found)
    good, first = np.isfinite(values), ends[counters]
    good[:first] &= values[:first] >= 0
    kept = good.nonzero()[0]
    if len(kept) < len(values):
        ends = kept.searchsorted(ends).tolist()
        records, values = records.take(kept), values.take(kept)
    places = pairwise(ends[counters:])
    buckets = [one.bounds.searchsorted(values[slice(*at)]) for one, at in zip(counted[counters:], places, strict=True)]
    hit = np.concatenate(buckets) if buckets else np.zeros(0, np.int64)
    return _Observed(counted, counters, ends, records, values, hit) if len(kept) else None


def _read(batch: Batch, catalogue: Sequence[Counted]) -> tuple[list[Counted], list[Places], list[Floats]]:
    """Return the rows that may observe something, which records each takes, and their values."""
    places: dict[int, Places] = {}
    columns: dict[int, Floats | None] = {}
    counted, taking, values = [], [], []
    for one in catalogue:
        records = places.get(one.condition)
        if records is None:
            records = places[one.condition] = holds(one.row.when, batch).nonzero()[0]
        if not len(records):
            continue
        if one.value not in columns:
            columns[one.value] = _floats(one.row.value, batch)
        if (floats := columns[one.value]) is not None:
            counted.append(one)
            taking.append(records)
            values.append(floats.take(records))
    return counted, taking, values


def _floats(value: Source, batch: Batch) -> Floats | None:
    """A row's values as floats, NaN for none; None where no record has one."""
    if value == _ONE:
        return _ones(batch.rows)
    values: Floats | None = None
    for column in _columns(value, batch):
        found = batch.floats(column)
        values = found if values is None else np.where(np.isnan(values), found, values)
    return values


@lru_cache(maxsize=4)
def _ones(rows: int) -> Floats:
    """What counts each record once; nobody may change it."""
    return np.ones(rows)


def _columns(value: Source, batch: Batch) -> list[Any]:
    """The columns of numbers that have a source's values."""
    if isinstance(value, SpanAttr):
        # Not `Batch.read`: that looks for texts too, which are no values.
        return [column for kind, column in batch.spans(value.key) if kind in ("i", "d")]
    columns = batch.read(value)
    return [one for one in columns if pa.types.is_integer(one.type) or pa.types.is_floating(one.type)]


def _gained(seen: _Observed, plan: Plan, pairs: Places) -> tuple[Places, Floats]:
    """Return where each observation goes, and what the outline's values come to.

    Args:
        pairs: of each observation the number of its row and kind.
    """
    first = seen.first
    places, sums = plan.starts.take(pairs), plan.sums.take(pairs[first:])
    places[first:] += seen.buckets
    weights = np.concatenate([seen.values, seen.values[first:]])
    weights[first : len(places)] = 1
    values = np.bincount(np.concatenate([places, sums]), weights, plan.outline.size)
    return places, values.astype(np.float64, copy=False)


def _exemplars(
    batch: Batch, seen: _Observed, plan: Plan, places: Places, arrivals: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    """Return for each bucket of each row that was hit its last observation's trace."""
    counts, first = seen.counts, seen.first
    cells = np.repeat(plan.cells[:-1], counts[seen.counters :]) + seen.buckets
    last = np.zeros(plan.cells[-1], np.int64)
    last[cells] = np.arange(first + 1, len(places) + 1)  # numpy keeps the last of repeated indices
    chosen = last[last > 0] - 1
    records = seen.records.take(chosen)
    high, low = _numbers(batch, "tid_hi").take(records), _numbers(batch, "tid_lo").take(records)
    exemplars = np.empty(len(chosen), EXEMPLAR)
    exemplars["tid_hi"], exemplars["tid_lo"], exemplars["time_ms"] = high, low, arrivals.take(records)
    exemplars["place"], exemplars["value"] = places.take(chosen), seen.values.take(chosen)
    kept = (high != 0) | (low != 0)
    if plan.traced is not None:
        kept &= np.repeat(plan.traced, counts)[chosen]
    return exemplars if np.count_nonzero(kept) == len(kept) else exemplars[kept]


def _numbers(batch: Batch, name: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = batch.columns[name].to_numpy(zero_copy_only=False)
    return column
