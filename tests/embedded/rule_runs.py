"""Rule groups over a real sample log under a clock that the test moves."""

import textwrap
from collections.abc import Mapping
from pathlib import Path

from stackctl.embedded.rules.alerts import Alert
from stackctl.embedded.rules.load import load
from stackctl.embedded.rules.manager import Rules
from stackctl.embedded.rules.recorded import Recorded
from stackctl.embedded.series.family import Family, label_set
from stackctl.embedded.series.head import Head
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.promql import instant

START = 1_700_000_000_000


class Run:
    """A data directory whose samples and rules the test drives, one evaluation a `step`.

    Args:
        directory: empty, or of a run that was closed.
        rules: a rule file's text.
        restored: take the rules as those of a process that has been up for long.
    """

    def __init__(self, directory: Path, rules: str, start_ms: int = START, restored: bool = True) -> None:
        self.now = start_ms
        self.file = directory / "rules-given" / "given.yml"
        self.file.parent.mkdir(exist_ok=True)
        self.file.write_text(textwrap.dedent(rules))
        self._head = Head(directory, clock_ms=lambda: self.now)
        self.reader = SampleReader(directory)
        self.recorded = Recorded(directory, self.reader, lambda: self.now, 3600)
        self.rules = Rules(
            load(self.file.parent),
            self.recorded,
            retention_seconds=3600,
            most_bytes=2**30,
            clock_ns=lambda: self.now * 1_000_000,
        )
        for state in (state for group in self.rules.groups for state in group.rules if state.alerts and restored):
            state.alerts.restored = True

    def feed(self, name: str, value: float | None, labels: Mapping[str, str] | None = None) -> None:
        """Store a sample at the present moment; None ends the series."""
        family = Family(name, "gauge", label_set(dict(labels or {})))
        self._head.append([Points(family, () if value is None else (value,), ended=value is None)], self.now)

    def evaluate(self) -> None:
        """Evaluate every group at the present moment."""
        for group in self.rules.groups:
            group.evaluate(self.now)

    def step(self, seconds: float = 15) -> None:
        """Evaluate, then let time pass."""
        self.evaluate()
        self.now += int(seconds * 1000)

    def query(self, text: str) -> dict[str, float]:
        """Return an instant query's values by their labels' text."""
        found = instant(text, self.now, self.recorded.storage).series
        return {str(dict(sorted(one.labels.items()))): float(one.v[0]) for one in found}

    def alerts(self, name: str | None = None) -> list[Alert]:
        """Return the active alerts, of one rule if named."""
        states = [state for group in self.rules.groups for state in group.rules if state.alerts]
        return [one for state in states if name in (None, state.rule.name) for one in state.alerts.active()]

    def health(self) -> dict[str, tuple[str, str]]:
        """Return health and last error of each rule."""
        return {s.rule.name: (s.health, s.last_error) for group in self.rules.groups for s in group.rules}

    def close(self) -> None:
        """End the run; the same directory may begin another."""
        self._head.close()
        self.recorded.close()
