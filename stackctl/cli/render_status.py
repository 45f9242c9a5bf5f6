"""`status` as text for people: the components, and what the engine took, dropped and lost, in words."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stackctl.reports import StatusReport

_SHOWN_KEYS: Final = 8
# Setting to what a person writes to keep a dropped key; `{key}` is the key as a pattern.
_REMEDIES: Final = {
    "capture_content": "--capture-content",
    "content.allow_keys": "content.allow_keys = ['{key}']",
}


def status(report: StatusReport) -> None:
    """Write `status`."""
    for row in report.components:
        memory = f"{row.memory_bytes / 2**20:.0f} MiB" if row.memory_bytes is not None else "-"
        again = f", started again {row.restarts} times" if row.restarts else ""
        where = row.endpoint or "-"
        print(f"{row.name:<10} {row.state:<10} {row.version:<8} {where:<24} {memory:>9}  since {row.since}{again}")
    print(f"{'disk':<10} {report.disk_bytes / 2**20:.1f} MiB in {report.data_dir}")
    for line in _engine(report.engine) if report.network is None else _collector(report.collector):
        print(line)


def _engine(counts: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what the ingest process says of itself; troubles only where there are any."""
    if counts is None:
        yield f"{'received':<10} unknown: the ingest process does not answer"
        return
    spans, evaluations = _number(counts, "spans_total", "span"), _number(counts, "evaluations_total", "evaluation")
    yield f"{'received':<10} {spans}, {evaluations}"
    yield from (f"{'':<10} {line}" for line in _troubles(counts))
    values = counts.get("redacted_values_total", 0)
    if values:
        yield f"{'redacted':<10} {values:,} values that may hold content, or of keys that nobody allowed:"
        yield from (f"{'':<10} {line}" for line in _redacted(counts.get("redacted_keys", ())))


def _collector(counts: Mapping[str, Any] | None) -> Iterator[str]:
    """Yield what the Collector says of itself through Prometheus; troubles only where there are any."""
    if counts is None:
        yield f"{'received':<10} unknown: Prometheus does not answer"
        return
    received, stored = (_number(counts, name, "span") for name in ("received_spans", "sent_spans"))
    yield f"{'received':<10} {received}, {stored} stored"
    for name, noun, what in _COLLECTOR_TROUBLES:
        if counts.get(name):
            yield f"{'':<10} {_number(counts, name, noun)} {what}"


_COLLECTOR_TROUBLES: Final = (
    ("refused_spans", "span", "refused, for the sender to send again"),
    ("queued_requests", "request", "waiting for Tempo"),
    ("queue_full_spans", "span", "counted and not stored: the queue for Tempo was full"),
    ("failed_spans", "span", "counted and not stored: Tempo refused them"),
    ("unredacted_spans", "span", "counted and not stored: they could not be redacted"),
)

_TROUBLES: Final = (
    ("refused_total", "request", "refused, for the sender to send again"),
    ("rejected_spans_total", "span", "rejected: ids of a wrong length"),
    ("lost_spans_total", "record", "lost: no rule could read them; please report it"),
    ("dropped_log_records_total", "log record", "dropped: of logs only evaluations are kept"),
    ("repeated_requests_total", "request", "sent again after they were stored: counted once"),
    ("torn_bytes", "byte", "in no whole frame of the logs: cut by a crash, or damaged; passed over at the start"),
    ("lost_frames", "frame", "of the span log damaged: acknowledged, and lost"),
    ("uncounted_frames", "frame", "lost before counted: metrics are short of them"),
)


def _troubles(counts: Mapping[str, Any]) -> Iterator[str]:
    if not counts.get("disk_ok", True):
        yield "the disk refuses writes: free space, and senders' telemetry is taken again"
    for name, noun, what in _TROUBLES:
        if counts.get(name):
            yield f"{_number(counts, name, noun)} {what}"
    for name in counts.get("damaged_files", ()):
        yield f"series/log/{name} is damaged at its beginning: its samples are not read"


def _redacted(keys: Any) -> Iterator[str]:
    shown = list(keys)[:_SHOWN_KEYS]
    width = max((len(one["key"]) for one in shown), default=0)
    for one in shown:
        remedy = _REMEDIES.get(one["setting"] or "", "").format(key=str(one["key"]).replace(".", r"\."))
        yield f"{one['values']:>9,} {one['key']:<{width}}{'  kept with ' + remedy if remedy else ''}".rstrip()
    if len(keys) > len(shown):
        yield f"{'':>9} and {len(keys) - len(shown)} more keys: status --json"


def _number(counts: Mapping[str, Any], name: str, noun: str) -> str:
    value, plural = counts.get(name), f"{noun}s"
    if value is None:
        return f"an unknown number of {plural}"
    return f"{value:,.0f} {noun if value == 1 else plural}"
