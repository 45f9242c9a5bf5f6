"""The alerts of one rule: inactive, pending, firing, as rules/alerting.go of Prometheus has them."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Literal, TypeAlias

from stackctl.promql import ExecutionFailed, Series
from stackctl.promql.values import NAME, drop, key

from .load import AlertingRule

ALERT_NAME: Final = "alertname"
ALERT_STATE: Final = "alertstate"
ALERTS: Final = "ALERTS"
FOR_STATE: Final = "ALERTS_FOR_STATE"

# How long a resolved alert is remembered; how near its end a restored wait may come (--rules.alert.for-grace-period).
RESOLVED_KEPT_MS: Final = 15 * 60_000
GRACE_MS: Final = 10 * 60_000

State: TypeAlias = Literal["inactive", "pending", "firing"]
Key: TypeAlias = tuple[tuple[str, str], ...]


def worst(alerts: Sequence["Alert"]) -> State:
    """Return the state of a rule with these active alerts."""
    states = {one.state for one in alerts}
    return "firing" if "firing" in states else "pending" if "pending" in states else "inactive"


@dataclass
class Alert:
    """One label set for which a rule's query has, or lately had, an answer. Times are unix ms.

    Attributes:
        labels: the alert's own, `alertname` among them.
        active_ms: since when.
        keep_since_ms: since when the answer is missing while `keep_firing_for` holds it.
        resolved_ms: when it ended; None while it has not.
    """

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    value: float
    active_ms: int
    state: State = "pending"
    keep_since_ms: int | None = None
    resolved_ms: int | None = None


@dataclass(frozen=True)
class Sample:
    """One value to be stored.

    Attributes:
        labels: with the metric name.
    """

    labels: Mapping[str, str]
    value: float


@dataclass
class Alerts:
    """The state of one alert rule. Safe to read from other threads than the one that evaluates.

    Attributes:
        restored: alerts are written as series only once the former run's waiting times were looked up: the lookup
            must not find this run's own.
    """

    rule: AlertingRule
    restored: bool = False
    _known: dict[Key, Alert] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def active(self) -> list[Alert]:
        """Return copies of the pending and firing alerts, ordered by their labels."""
        with self._lock:
            return [
                replace(one)
                for _, one in sorted(self._known.items(), key=lambda item: item[0])
                if one.resolved_ms is None
            ]

    def take(self, found: Sequence[Series], at_ms: int, limit: int = 0) -> list[Sample]:
        """Follow the query's answer at one moment and return what to store.

        Args:
            found: one sample a series.
            limit: most pending and firing alerts; 0 for any number.

        Raises:
            ExecutionFailed: two series make the same alert, or there are more than the limit.
        """
        present = self._present(found, at_ms)
        with self._lock:
            lasting = self._follow(present, at_ms, limit)
        return [sample for alert in lasting for sample in _samples(alert)] if self.restored else []

    def _follow(self, present: Mapping[Key, Alert], at_ms: int, limit: int) -> list[Alert]:
        """Move every alert on and return those that are pending or firing."""
        for name, alert in present.items():
            known = self._known.get(name)
            if known is not None and known.state != "inactive":
                known.value, known.annotations = alert.value, alert.annotations
            else:
                self._known[name] = alert
        lasting = [alert for name, alert in list(self._known.items()) if self._lasts(name, name in present, at_ms)]
        if limit and len(lasting) > limit:
            self._known.clear()
            raise _failed(f"exceeded limit of {limit} with {len(lasting)} alerts")
        for alert in lasting:
            if alert.state == "pending" and at_ms - alert.active_ms >= self.rule.hold_ms:
                alert.state = "firing"
        return lasting

    def _present(self, found: Sequence[Series], at_ms: int) -> dict[Key, Alert]:
        present: dict[Key, Alert] = {}
        for series in found:
            value = float(series.v[0])
            labels = drop(series.labels, (NAME,))
            labels |= {name: text.render(series.labels, value) for name, text in self.rule.labels.items()}
            labels = {name: text for name, text in (labels | {ALERT_NAME: self.rule.name}).items() if text}
            texts = {name: text.render(series.labels, value) for name, text in self.rule.annotations.items()}
            if key(labels) in present:
                raise _failed("vector contains metrics with the same labelset after applying alert labels")
            present[key(labels)] = Alert(labels, texts, value, at_ms)
        return present

    def _lasts(self, name: Key, present: bool, at_ms: int) -> bool:
        """Whether an alert is pending or firing still; what is not becomes inactive, and in time forgotten."""
        alert = self._known[name]
        if present:
            alert.keep_since_ms = None
            return True
        if alert.state == "firing" and self.rule.keep_ms:
            if alert.keep_since_ms is None:
                alert.keep_since_ms = at_ms
            if at_ms - alert.keep_since_ms < self.rule.keep_ms:
                return True
        if alert.state == "pending" or (alert.resolved_ms is not None and at_ms - alert.resolved_ms > RESOLVED_KEPT_MS):
            del self._known[name]
        elif alert.state != "inactive":
            alert.state, alert.resolved_ms = "inactive", at_ms
        return False

    # --- over a restart -----------------------------------------------------------------------------------------------
    @property
    def waits(self) -> bool:
        """Whether a restart would make the wait so much longer that the time waited before counts."""
        return self.rule.hold_ms >= GRACE_MS

    def restore(self, former: Sequence[Series], at_ms: int) -> None:
        """Go on with the waiting times of a former run; the time in between does not count.

        Args:
            former: `ALERTS_FOR_STATE` of this rule, the last sample of each series.
        """
        waited = {key(drop(one.labels, (NAME,))): (int(one.t_ms[-1]), float(one.v[-1])) for one in former}
        with self._lock:
            known = list(self._known.items())
        for name, alert in known:
            down_ms, since = waited.get(name, (0, float("nan")))
            if since != since:  # a staleness marker: the alert had ended
                continue
            since_ms = int(since) * 1000
            left_ms = self.rule.hold_ms - (down_ms - since_ms)
            if left_ms <= 0:
                alert.active_ms = since_ms
            elif left_ms < GRACE_MS:
                alert.active_ms = at_ms + GRACE_MS - self.rule.hold_ms
            else:
                alert.active_ms = since_ms + at_ms - down_ms
        self.restored = True


def _samples(alert: Alert) -> list[Sample]:
    return [
        Sample({**alert.labels, NAME: ALERTS, ALERT_STATE: alert.state}, 1.0),
        Sample({**alert.labels, NAME: FOR_STATE}, float(alert.active_ms // 1000)),
    ]


def _failed(what: str) -> ExecutionFailed:
    return ExecutionFailed(what, next_step="Change the rule, so that its alerts are fewer or differ in their labels.")
