"""The span pipeline as columns: normalise, account, price, derive, redact."""

from collections import Counter
from collections.abc import Callable

import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.arrays import Arrays
from stackctl.genai import prices
from stackctl.genai.accounting import counts
from stackctl.genai.derived import DERIVED_TYPES, INCOMPLETE_WHEN
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.pricebook import in_force
from stackctl.genai.rows import KEY_TYPES, Dialect, span_attributes
from stackctl.stack import EngineConfig

from .batch import Batch
from .conditions import checked_patterns, judged
from .deriving import derive
from .normalise import normalise
from .planning import Planner
from .pricing import Pricer
from .redact import Redactor


class Pipeline:
    """Turns decoded spans and evaluations into those that are counted and stored.

    Args:
        config: prices' hosts, muted scopes and content settings.
        dialects: the rows to run; the shipped ones unless a test invents some.
        book: the price rows; those of `config` unless given.

    Attributes:
        lost: records that a rule failed on: they are neither stored nor counted.

    Raises:
        SettingsInvalid: a pattern of `allow_keys` is not RE2's, or the price book cannot be read.
    """

    def __init__(
        self,
        config: EngineConfig,
        dialects: tuple[Dialect, ...] = DIALECTS,
        book: prices.PriceBook | None = None,
    ) -> None:
        counted = counts(dialects, config.exclude_scopes)
        self._planner = Planner(dialects, counted)
        self._pricer = Pricer(book or in_force(config.price_book, config.price_rows), config.price_hosts)
        self._redactor = Redactor(checked_patterns(config.allow_keys), config.capture_content)
        self._read = KEY_TYPES.keys() | DERIVED_TYPES.keys() | set(span_attributes((counted, INCOMPLETE_WHEN)))
        self.lost = 0

    @property
    def dropped(self) -> Counter[str]:
        """How many values redaction dropped, by attribute key."""
        return self._redactor.dropped

    def reads(self, key: str, scopes: frozenset[str]) -> bool:
        """Whether a span attribute's texts are of any use in spans of some scopes: a rule reads them, or they may stay.

        Texts of other keys may come empty: how many there are is all that is counted before they are dropped.
        """
        return key in self._read or key in self._planner.read(scopes) or self._redactor.keeps(key)

    def process(self, table: pa.Table) -> pa.Table:
        """Return the spans that are stored and from which metrics are derived (SpanTable contract, both ways).

        A span that a rule fails on is left out and counted in `lost`: what could not be redacted must not pass.
        """
        return self.batch(Arrays.of(table)).table()

    def batch(self, spans: Arrays) -> Batch:
        """Do as `process` does; return the batch, which knows already what deriving series asks for."""
        return self._without_failures(self._spans, spans)

    def evaluations(self, table: pa.Table) -> pa.Table:
        """Return the evaluation records that are stored and counted, redacted; failures as for spans."""
        return self._without_failures(self._evaluations, Arrays.of(table)).table()

    def _spans(self, batch: Batch) -> None:
        plan = self._planner.of(batch)
        normalise(batch, plan)
        accounted = judged(plan.counts, batch)
        batch.put_flags(f"s:{semconv.ACCOUNTED}:b", accounted)
        self._pricer.price(batch, accounted)
        derive(batch, plan)
        self._redactor.redact(batch)

    def _evaluations(self, batch: Batch) -> None:
        self._redactor.redact_evaluations(batch)

    def _without_failures(self, run: Callable[[Batch], None], arrays: Arrays) -> Batch:
        """Run over all records, and where that fails over both halves, down to the records that fail."""
        batch = Batch(arrays)
        if not arrays.rows:
            return batch
        try:
            run(batch)
            return batch
        except Exception:  # noqa: BLE001 - whatever a rule raises on a sender's value, the others must be kept
            table = arrays.table()
            if arrays.rows == 1:
                self.lost += 1
                return Batch(table.slice(0, 0))
        halves = table.slice(0, arrays.rows // 2), table.slice(arrays.rows // 2)
        parts = [self._without_failures(run, Arrays.of(half)).table() for half in halves]
        return Batch(pa.concat_tables(parts, promote_options="default"))
