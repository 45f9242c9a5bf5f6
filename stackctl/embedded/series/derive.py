"""Deriving the catalogue's series: the rows of `stackctl.genai.metrics` over a processed batch.

Every series carries `job` and `instance` as Prometheus' OTLP receiver makes them, beside the row's own labels. A value
that is no finite number, or is negative for a counter, adds nothing: one NaN would spoil a counter for good.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
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

from .increments import EXEMPLAR, Floats, Increments
from .labelling import IDENTITY, Kinds, Labelling
from .outline import Outline
from .plans import Counted, Places, Plans

Mask = npt.NDArray[np.bool_]


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
        arrival_ms = int(_numbers(batch, "arrival_ms").min())
        seen = _observed(batch, part.counted)
        if seen is None or not len(seen.values):
            return Increments(arrival_ms)
        kinds = part.kinds.of(batch)
        pairs = seen.rows * len(kinds.values) + kinds.codes[seen.records]
        shape = len(seen.counted), len(kinds.values)
        hits = np.bincount(pairs, minlength=shape[0] * shape[1]).reshape(shape) > 0
        plan = self._plans.of(seen.counted, kinds.values, hits)
        return _gained(batch, seen, plan.outline, plan.starts.ravel()[pairs], arrival_ms)

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


@dataclass(frozen=True)
class _Observed:
    """Every observation of a batch: all rows of the catalogue as one, since a batch has few observations for each.

    Attributes:
        counted: the rows that have values in the batch, counters first.
        rows: number among `counted` of each observation, ascending.
        records: which record each was made of.
        values: what was observed.
        histograms: those of histograms, which stand behind those of counters.
        buckets: the bucket of each of these.
    """

    counted: list[Counted]
    rows: Places
    records: Places
    values: Floats
    histograms: slice
    buckets: Places


def _observed(batch: Batch, catalogue: Sequence[Counted]) -> _Observed | None:
    """Return the finite values of the records that take part, and for a counter none below zero; None for nothing."""
    counted, taking, floats = _read(batch, catalogue)
    if not counted:
        return None
    values, taken = np.array(floats), np.array(taking)
    taken &= np.isfinite(values)
    counters = sum(one.row.kind == "counter" for one in counted)
    taken[:counters] &= values[:counters] >= 0
    # What `np.nonzero(taken)` and `values[taken]` give, in a quarter of the time.
    found = np.flatnonzero(taken)
    numbers = np.arange(len(counted) + 1)
    ends = np.searchsorted(found, numbers * batch.rows)
    rows = np.repeat(numbers[:-1], np.diff(ends))
    seen = values.ravel().take(found)
    places = pairwise(ends[counters:].tolist())
    buckets = [one.bounds.searchsorted(seen[slice(*at)]) for one, at in zip(counted[counters:], places, strict=True)]
    return _Observed(
        counted,
        rows,
        found - rows * batch.rows,
        seen,
        slice(int(ends[counters]), None),
        np.concatenate(buckets) if buckets else np.zeros(0, np.int64),
    )


def _read(batch: Batch, catalogue: Sequence[Counted]) -> tuple[list[Counted], list[Mask], list[Floats]]:
    """Return the rows that may observe something, which records each takes, and all records' values."""
    masks: dict[int, Mask | None] = {}
    columns: dict[int, Floats | None] = {}
    counted, taking, floats = [], [], []
    for one in catalogue:
        if one.condition not in masks:
            mask = holds(one.row.when, batch)
            masks[one.condition] = mask if mask.any() else None
        if (taken := masks[one.condition]) is None:
            continue
        if one.value not in columns:
            columns[one.value] = _floats(one.row, batch)
        if (values := columns[one.value]) is not None:
            counted.append(one)
            taking.append(taken)
            floats.append(values)
    return counted, taking, floats


def _floats(row: MetricRow, batch: Batch) -> Floats | None:
    """A row's values as floats, NaN for none; None where no record has one."""
    if row.value == One():
        return np.ones(batch.rows)
    values: Floats | None = None
    for column in batch.read(row.value):
        if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
            found = batch.floats(column)
            values = found if values is None else np.where(np.isnan(values), found, values)
    return values


def _gained(batch: Batch, seen: _Observed, outline: Outline, starts: Places, arrival_ms: int) -> Increments:
    """Return what was observed, each at its place.

    Args:
        starts: for each observation the place of its label set's first value.
    """
    histograms = seen.histograms
    # A histogram's sum stands behind its buckets.
    sums = starts[histograms] + np.array([len(one.row.bounds) + 1 for one in seen.counted])[seen.rows[histograms]]
    places, weights = starts.copy(), seen.values.copy()
    places[histograms] += seen.buckets
    weights[histograms] = 1
    each, added = np.concatenate([places, sums]), np.concatenate([weights, seen.values[histograms]])
    values = np.bincount(each, added, outline.size).astype(np.float64, copy=False)
    return Increments(arrival_ms, outline, values, _exemplars(batch, seen, places))


def _exemplars(batch: Batch, seen: _Observed, places: Places) -> npt.NDArray[Any]:
    """Return for each bucket of each row that was hit its last observation's trace."""
    cells = seen.rows[seen.histograms] * (seen.buckets.max(initial=0) + 1) + seen.buckets
    last = np.full(cells.max(initial=0) + 1, -1)
    last[cells] = np.arange(len(cells))  # numpy keeps the last of repeated indices
    chosen = last[last >= 0] + seen.histograms.start
    exemplars = np.empty(len(chosen), EXEMPLAR)
    for name, column in (("tid_hi", "tid_hi"), ("tid_lo", "tid_lo"), ("time_ms", "arrival_ms")):
        exemplars[name] = _numbers(batch, column)[seen.records[chosen]]
    exemplars["place"], exemplars["value"] = places[chosen], seen.values[chosen]
    traced: Mask = (exemplars["tid_hi"] != 0) | (exemplars["tid_lo"] != 0)
    wanted = np.array([one.row.exemplars for one in seen.counted])[seen.rows[chosen]]
    kept: npt.NDArray[Any] = exemplars[traced & wanted]
    return kept


def _numbers(batch: Batch, name: str) -> npt.NDArray[Any]:
    column: npt.NDArray[Any] = batch.columns[name].to_numpy(zero_copy_only=False)
    return column
