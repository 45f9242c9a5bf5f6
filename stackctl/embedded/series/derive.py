"""Deriving the catalogue's series: the rows of `stackctl.genai.metrics` over a processed batch.

Every series carries `job` and `instance` as Prometheus' OTLP receiver makes them, beside the row's own labels. A value
that is no finite number, or is negative for a counter, adds nothing: one NaN would spoil a counter for good.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.columns import Batch, holds
from stackctl.genai import prices
from stackctl.genai.content import label_word
from stackctl.genai.metrics import CATALOGUE, Bound, Label, MetricRow
from stackctl.genai.rows import ALWAYS, One, ResourceAttr

from .family import LabelSet, label_set
from .increments import EXEMPLAR, NO_EXEMPLARS, Block, Floats, Increments
from .names import INSTANCE, JOB

Codes = npt.NDArray[np.int64]
Reading = Callable[[str], str]

_NAMESPACE: Final = Label(semconv.SERVICE_NAMESPACE, ResourceAttr(semconv.SERVICE_NAMESPACE))
_SERVICE: Final = Label(semconv.SERVICE_NAME, ResourceAttr(semconv.SERVICE_NAME))
_INSTANCE: Final = Label(INSTANCE, ResourceAttr(semconv.SERVICE_INSTANCE_ID))
_IDENTITY: Final = (_NAMESPACE, _SERVICE, _INSTANCE)


@dataclass(frozen=True)
class _Coded:
    """One label of every record as a code; `texts[code]` is its value, code 0 is absent."""

    codes: Codes
    texts: Sequence[str]


@dataclass(frozen=True)
class _Groups:
    """Which label set each record has."""

    codes: Codes
    sets: Sequence[LabelSet]


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
        self._rows = {of: tuple(row for row in rows if row.of == of) for of in ("span", "evaluation")}
        self._book = book or prices.shipped()
        self._extra = frozenset(extra_models)
        self._models: dict[str, str] = {}

    def from_spans(self, table: pa.Table) -> Increments:
        """Return what a processed SpanTable adds."""
        return self._count(table, "span")

    def from_evaluations(self, table: pa.Table) -> Increments:
        """Return what a redacted table of evaluation records adds."""
        return self._count(table, "evaluation")

    def _count(self, table: pa.Table, of: str) -> Increments:
        if not table.num_rows:
            return Increments(0)
        batch = Batch(table)
        counting = _Counting(batch, self._reading)
        blocks = (counting.block(row) for row in self._rows[of])
        arrivals: npt.NDArray[np.int64] = batch.columns["arrival_ms"].to_numpy(zero_copy_only=False)
        return Increments(int(arrivals.min()), tuple(block for block in blocks if block is not None))

    def _reading(self, bound: Bound) -> Reading:
        match bound:
            case Bound.CLOSED:
                return str
            case Bound.WORD:
                return label_word
            case Bound.MODEL:
                return self._model

    def _model(self, name: str) -> str:
        """A model of the book or of the setting; senders choose names freely, so every other is `other`."""
        known = self._models.get(name)
        if known is None:
            if len(self._models) > 4096:
                self._models.clear()
            kept = name in self._extra or self._book.knows(name)
            known = self._models[name] = label_word(name) if kept else semconv.OTHER_MODEL
        return known


@dataclass
class _Counting:
    """One batch under way; what several rows need is worked out once."""

    batch: Batch
    reading: Callable[[Bound], Reading]
    _coded: dict[Label, _Coded | None] = field(default_factory=dict)
    _groups: dict[tuple[Label, ...], _Groups] = field(default_factory=dict)

    def block(self, row: MetricRow) -> Block | None:
        """Return what one row of the catalogue gained, or None for nothing."""
        values, known = self._values(row)
        taking = known if row.when == ALWAYS else known & holds(row.when, self.batch)
        picked = np.flatnonzero(taking)
        if not len(picked):
            return None
        groups = self._grouped(row.labels)
        codes, observed = groups.codes[picked], values[picked]
        if row.kind == "counter":
            gained: Floats = np.bincount(codes, weights=observed, minlength=len(groups.sets))[:, None]
            buckets = None
        else:
            buckets = np.searchsorted(np.asarray(row.bounds), observed, side="left")
            gained = _observations(codes, observed, buckets, len(groups.sets), len(row.bounds) + 1)
        # Only label sets that occur: a sum of zero is still a value.
        present = np.flatnonzero(np.bincount(codes, minlength=len(groups.sets)))
        labels = [groups.sets[code] for code in present.tolist()]
        if row.constants:
            labels = [label_set(dict(one) | dict(row.constants)) for one in labels]
        exemplars = NO_EXEMPLARS
        if row.exemplars and buckets is not None:
            exemplars = self._exemplars(picked, np.searchsorted(present, codes), observed, buckets)
        return Block(row.name, row.kind, row.bounds, tuple(labels), gained[present], exemplars)

    def _values(self, row: MetricRow) -> tuple[Floats, npt.NDArray[np.bool_]]:
        if row.value == One():
            return np.ones(self.batch.rows), np.ones(self.batch.rows, np.bool_)
        values = np.full(self.batch.rows, np.nan)
        for column in self.batch.read(row.value):
            if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
                found = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
                values = np.where(np.isnan(values), found, values)
        known = np.isfinite(values)
        if row.kind == "counter":
            known &= values >= 0  # NaN compares false, without a warning
        return values, known

    def _grouped(self, labels: tuple[Label, ...]) -> _Groups:
        groups = self._groups.get(labels)
        if groups is None:
            named = [(label, coded) for label in (*_IDENTITY, *labels) if (coded := self._code(label)) is not None]
            groups = self._groups[labels] = _group(named, self.batch.rows)
        return groups

    def _code(self, label: Label) -> _Coded | None:
        if label not in self._coded:
            self._coded[label] = self._encode(label)
        return self._coded[label]

    def _encode(self, label: Label) -> _Coded | None:
        columns = self.batch.read(label.source)
        if not columns:
            return None
        read = self.reading(label.bound)
        texts, codes = [""], np.zeros(self.batch.rows, np.int64)
        for column in columns:
            encoded = (column if pa.types.is_string(column.type) else column.cast(pa.string())).dictionary_encode()
            found = encoded.indices.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False) + 1
            codes = np.where((codes == 0) & (found > 0), found + len(texts) - 1, codes)
            texts += [read(text or "") for text in encoded.dictionary.to_pylist()]
        return _Coded(codes, texts)

    def _exemplars(self, picked: Codes, rows: Codes, observed: Floats, buckets: Codes) -> npt.NDArray[Any]:
        """Return for each bucket that was hit its last observation's trace."""
        last = np.full(int(buckets.max()) + 1, -1)
        last[buckets] = np.arange(len(picked))  # numpy keeps the last of repeated indices
        chosen = last[last >= 0]
        exemplars = np.zeros(len(chosen), EXEMPLAR)
        exemplars["row"], exemplars["bucket"], exemplars["value"] = rows[chosen], buckets[chosen], observed[chosen]
        for name, column in (("tid_hi", "tid_hi"), ("tid_lo", "tid_lo"), ("time_ms", "arrival_ms")):
            exemplars[name] = self.batch.columns[column].to_numpy(zero_copy_only=False)[picked[chosen]]
        return exemplars[(exemplars["tid_hi"] != 0) | (exemplars["tid_lo"] != 0)]


def _observations(codes: Codes, observed: Floats, buckets: Codes, sets: int, width: int) -> Floats:
    """Return for each label set the observations of each bucket and, last, their sum."""
    counts = np.bincount(codes * width + buckets, minlength=sets * width).reshape(sets, width)
    sums = np.bincount(codes, weights=observed, minlength=sets)
    return np.column_stack([counts.astype(np.float64), sums])


def _group(named: Sequence[tuple[Label, _Coded]], rows: int) -> _Groups:
    """Number the distinct combinations of labels."""
    mixed = np.zeros(rows, np.int64)
    span = 1
    for _, coded in named:
        if span * len(coded.texts) > 2**62:  # the mixed number would overflow: number what is there so far
            distinct, mixed = np.unique(mixed, return_inverse=True)
            span = len(distinct)
        mixed = mixed * len(coded.texts) + coded.codes
        span *= len(coded.texts)
    _, first, inverse = np.unique(mixed, return_index=True, return_inverse=True)
    sets = [label_set(dict(_named(named, at))) for at in first]
    # Bounding maps several values to one, so combinations that differ in code may be one label set.
    numbers: dict[LabelSet, int] = {}
    renumbered = np.fromiter((numbers.setdefault(labels, len(numbers)) for labels in sets), np.int64, len(sets))
    return _Groups(renumbered[inverse], tuple(numbers))


def _named(named: Sequence[tuple[Label, _Coded]], row: np.intp) -> Iterator[tuple[str, str]]:
    values = {label: coded.texts[coded.codes[row]] for label, coded in named}
    namespace, service = values.get(_NAMESPACE, ""), values.get(_SERVICE, "")
    if service:
        yield JOB, f"{namespace}/{service}" if namespace else service
    yield from ((label.name, value) for label, value in values.items() if label not in (_NAMESPACE, _SERVICE))
