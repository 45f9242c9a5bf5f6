"""One group of rules: evaluates them in order at one moment, and remembers how each of them went."""

import logging
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

from stackctl.errors import StackctlError
from stackctl.promql import ExecutionFailed, Labels, Matcher, Result, Series, instant
from stackctl.promql.values import NAME, key

from .alerts import ALERT_NAME, FOR_STATE, Alerts, Key, Sample
from .load import AlertingRule, RecordingRule, Rule, RuleGroup
from .spelling import canonical

if TYPE_CHECKING:  # it brings Arrow, which the query process only imports once it listens
    from .recorded import Recorded

log = logging.getLogger("stackctl.rules")

# How long a former run may have ended before its waiting times do not count (--rules.alert.for-outage-tolerance).
OUTAGE_MS: Final = 3_600_000


@dataclass
class RuleState:
    """A rule and how its last evaluation went.

    Attributes:
        query: its expression in Prometheus' spelling.
        alerts: the state of an alert rule; None for a recording rule.
        seconds: how long the last evaluation took.
        evaluated_ns: when, unix nanoseconds; None before the first.
    """

    rule: Rule
    query: str
    alerts: Alerts | None
    health: Literal["unknown", "ok", "err"] = "unknown"
    last_error: str = ""
    seconds: float = 0.0
    evaluated_ns: int | None = None
    _present: Mapping[Key, Labels] = field(default_factory=dict)


class Group:
    """A group and its rules' states.

    Args:
        group: as its file has it.
        recorded: where samples come from and go.
        clock_ns: unix nanoseconds.
    """

    def __init__(self, group: RuleGroup, recorded: "Recorded", clock_ns: Callable[[], int]) -> None:
        self.group = group
        self.rules = [_state(rule) for rule in group.rules]
        self.seconds = 0.0
        self.evaluated_ns: int | None = None
        self._recorded = recorded
        self._clock_ns = clock_ns
        self._evaluations = 0
        # Groups of one interval are spread over it, each always at its own place, so that samples lie evenly.
        self._offset_ms = zlib.crc32(f"{group.file};{group.name}".encode()) % group.interval_ms

    def slot_after(self, at_ms: int) -> int:
        """Return the group's first evaluation time after a moment; both unix ms."""
        interval = self.group.interval_ms
        return (at_ms - self._offset_ms) // interval * interval + interval + self._offset_ms

    def evaluate(self, at_ms: int) -> None:
        """Evaluate every rule at one moment; each sees what those before it recorded."""
        started = time.monotonic()
        self.evaluated_ns = self._clock_ns()
        for state in self.rules:
            self._evaluate(state, at_ms)
        self.seconds = time.monotonic() - started
        self._evaluations += 1
        if self._evaluations == 2:  # not earlier: alerts may hang on recorded series that must come back first
            self._restore(at_ms)

    def _evaluate(self, state: RuleState, at_ms: int) -> None:
        started = time.monotonic()
        state.evaluated_ns = self._clock_ns()
        try:
            self._store(state, self._samples(state, at_ms), at_ms - self.group.query_offset_ms)
            state.health, state.last_error = "ok", ""
        except StackctlError as error:
            _failed(state, error.message)
        except Exception as error:  # a defect that one query meets must not end every other rule
            log.exception("defect in the evaluation of %s", state.rule.name)
            _failed(state, f"internal error: {type(error).__name__}")
        state.seconds = time.monotonic() - started

    def _samples(self, state: RuleState, at_ms: int) -> list[Sample]:
        moment = at_ms - self.group.query_offset_ms
        found = _vector(instant(state.rule.expr, moment, self._recorded.storage))
        if state.alerts is not None:
            return state.alerts.take(found, at_ms, self.group.limit)
        assert isinstance(state.rule, RecordingRule)
        return _recorded(state.rule, found, self.group.limit)

    def _store(self, state: RuleState, samples: Sequence[Sample], at_ms: int) -> None:
        """Store samples and mark the end of series that the evaluation before had and this one has not."""
        present = {key(one.labels): one.labels for one in samples}
        ended = [labels for name, labels in state._present.items() if name not in present]
        self._recorded.append(samples, ended, at_ms)
        state._present = present

    def _restore(self, at_ms: int) -> None:
        """Look up since when alerts were pending before the process was started."""
        for state in self.rules:
            if state.alerts is None or state.alerts.restored:
                continue
            former: Sequence[Series] = ()
            if state.alerts.waits:
                wanted = (Matcher(NAME, "=", FOR_STATE), Matcher(ALERT_NAME, "=", state.rule.name))
                former = self._recorded.storage.select(wanted, at_ms - OUTAGE_MS, at_ms)
            state.alerts.restore(former, at_ms)


def _state(rule: Rule) -> RuleState:
    alerts = Alerts(rule) if isinstance(rule, AlertingRule) else None
    return RuleState(rule, canonical(rule.expr), alerts)


def _failed(state: RuleState, message: str) -> None:
    if state.last_error != message:  # said once, not at every evaluation
        log.warning("rule %s failed: %s", state.rule.name, message)
    state.health, state.last_error = "err", message


def _vector(result: Result) -> Sequence[Series]:
    if result.kind not in ("vector", "scalar"):
        raise ExecutionFailed(
            "rule result is not a vector or scalar", next_step="Make the rule's query an instant vector."
        )
    return result.series


def _recorded(rule: RecordingRule, found: Sequence[Series], limit: int) -> list[Sample]:
    samples = []
    for series in found:
        labels = {**series.labels, NAME: rule.name, **rule.labels}
        samples.append(Sample({name: value for name, value in labels.items() if value}, float(series.v[0])))
    if len({key(one.labels) for one in samples}) < len(samples):
        raise ExecutionFailed(
            "vector contains metrics with the same labelset after applying rule labels",
            next_step="Aggregate in the rule, so that its series differ.",
        )
    if limit and len(samples) > limit:
        raise ExecutionFailed(
            f"exceeded limit of {limit} with {len(samples)} series", next_step="Raise the limit, or aggregate more."
        )
    return samples
