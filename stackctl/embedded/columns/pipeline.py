"""The span pipeline as columns: normalise, account, price, derive, redact."""

import pyarrow as pa

from stackctl import semconv
from stackctl.genai import prices
from stackctl.genai.accounting import counts
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import Dialect
from stackctl.stack import EngineConfig

from .batch import Batch
from .conditions import holds
from .deriving import derive
from .normalise import normalise
from .pricing import Pricer
from .redact import Redactor


class Pipeline:
    """Turns decoded spans into the spans that are counted and stored.

    Args:
        config: prices' hosts, muted scopes and content settings.
        dialects: the rows to run; the shipped ones unless a test invents some.
        book: the price rows; the shipped ones unless given.
    """

    def __init__(
        self,
        config: EngineConfig,
        dialects: tuple[Dialect, ...] = DIALECTS,
        book: prices.PriceBook | None = None,
    ) -> None:
        self._dialects = dialects
        self._counts = counts(dialects, config.exclude_scopes)
        self._pricer = Pricer(book or prices.shipped(), config.price_hosts)
        self._redactor = Redactor(config.allow_keys, config.capture_content)

    def process(self, table: pa.Table) -> pa.Table:
        """Return the table that is stored and from which metrics are derived (SpanTable contract, both ways)."""
        batch = Batch(table)
        normalise(batch, self._dialects)
        accounted = holds(self._counts, batch)
        batch.put(f"s:{semconv.ACCOUNTED}:b", pa.array(accounted, mask=~accounted))
        self._pricer.price(batch, accounted)
        derive(batch)
        self._redactor.redact(batch)
        return batch.table()
