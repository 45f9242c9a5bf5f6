"""One storage over what ingest stores and what the rules record."""

from collections.abc import Sequence
from dataclasses import dataclass

from stackctl.embedded.series.reader import Chosen, SampleReader, any_number
from stackctl.promql import Labels, Matcher, Series
from stackctl.promql.values import NAME, key


@dataclass(frozen=True)
class BothStorages:
    """Ingested series and recorded ones as one PromQL storage.

    Series with the same labels in both are one: an application may send what a rule records.
    """

    ingested: SampleReader
    recorded: SampleReader

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, chosen: Chosen = any_number
    ) -> Sequence[Series]:
        """Select as both readers do."""
        ours = self.recorded.select(matchers, start_ms, end_ms, chosen)
        theirs = self.ingested.select(matchers, start_ms, end_ms, chosen)
        if not ours or not theirs:
            return ours or theirs
        taken = _Taken([one.labels for one in ours])
        return [*ours, *(one for one in theirs if one.labels not in taken)]

    def series(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, chosen: Chosen = any_number
    ) -> list[dict[str, str]]:
        """Return the labels of series as both readers do."""
        ours = self.recorded.series(matchers, start_ms, end_ms, chosen)
        taken = _Taken(ours)
        theirs = self.ingested.series(matchers, start_ms, end_ms, chosen)
        return [*ours, *(one for one in theirs if one not in taken)]


class _Taken:
    """Label sets that are there already. Few names are recorded: most series are told apart by theirs alone."""

    def __init__(self, labels: Sequence[Labels]) -> None:
        self._names = {one.get(NAME) for one in labels}
        self._keys = {key(one) for one in labels}

    def __contains__(self, labels: Labels) -> bool:
        return labels.get(NAME) in self._names and key(labels) in self._keys
