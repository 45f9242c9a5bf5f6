"""One storage over what ingest stores and what the rules record."""

from collections.abc import Sequence
from dataclasses import dataclass

from stackctl.embedded.series.reader import SampleReader
from stackctl.promql import Matcher, Series
from stackctl.promql.values import key


@dataclass(frozen=True)
class BothStorages:
    """Ingested series and recorded ones as one PromQL storage.

    Series with the same labels in both are one: an application may send what a rule records.
    """

    ingested: SampleReader
    recorded: SampleReader

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        """Select as both readers do."""
        ours = self.recorded.select(matchers, start_ms, end_ms)
        theirs = self.ingested.select(matchers, start_ms, end_ms)
        if not ours or not theirs:
            return ours or theirs
        taken = {key(one.labels) for one in ours}
        return [*ours, *(one for one in theirs if key(one.labels) not in taken)]

    def series(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> list[dict[str, str]]:
        """Return the labels of series as both readers do."""
        ours = self.recorded.series(matchers, start_ms, end_ms)
        taken = {key(one) for one in ours}
        theirs = self.ingested.series(matchers, start_ms, end_ms)
        return [*ours, *(one for one in theirs if not taken or key(one) not in taken)]
