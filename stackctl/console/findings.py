"""What the stack itself has found: alerts of its rules, and counters of the engine that should stand at zero."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

CRITICAL, WARNING = "critical", "warning"
_SEVERITIES: Final = (CRITICAL, WARNING)  # worst first; what a rule calls otherwise comes last

# A counter of the engine's status, what a number above zero means, and what to do about it.
_COUNTERS: Final = (
    (
        "lost_spans_total",
        CRITICAL,
        "records lost",
        "No rule could read them; please report it, with stackctl logs ingest.",
    ),
    ("lost_frames", CRITICAL, "stored frames lost", "The span log is damaged: look at the disk. See stackctl status."),
    ("uncounted_frames", CRITICAL, "frames not counted", "They were lost to damage: metrics are short of them."),
    ("refused_total", WARNING, "requests refused", "The stack was busy; senders send them again. See stackctl status."),
    ("rejected_spans_total", WARNING, "spans rejected", "Their ids have a wrong length; their senders were told."),
)


def findings(alerts: Mapping[str, Any] | None, engine: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Return what deserves a look, worst first.

    Args:
        alerts: `data` of Prometheus' `/api/v1/alerts`; None where it did not answer.
        engine: the engine's status; None where there is no engine.
    """
    found = [*_of_alerts(alerts or {}), *_of_engine(engine or {})]
    return sorted(found, key=lambda one: (one["state"] != "firing", _rank(one["severity"]), one["title"]))


def _rank(severity: str) -> int:
    return _SEVERITIES.index(severity) if severity in _SEVERITIES else len(_SEVERITIES)


def _of_alerts(alerts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for alert in alerts.get("alerts", ()):
        labels, words = alert.get("labels", {}), alert.get("annotations", {})
        yield {
            "state": alert.get("state", "firing"),
            "severity": labels.get("severity", WARNING),
            "title": words.get("summary") or labels.get("alertname", "alert"),
            "text": words.get("description", ""),
            "since": alert.get("activeAt"),
            "board": words.get("dashboard"),
        }


def _of_engine(engine: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if engine.get("disk_ok") is False:
        yield _finding(CRITICAL, "The disk refuses writes", "Free space, and senders' telemetry is taken again.")
    for key, severity, what, then in _COUNTERS:
        if count := engine.get(key, 0):
            yield _finding(severity, f"{count:,} {what}", then)


def _finding(severity: str, title: str, text: str) -> dict[str, Any]:
    return {"state": "firing", "severity": severity, "title": title, "text": text, "since": None, "board": None}
