"""One group commit: what happens to requests between the queue and their acknowledgement.

decode -> rules -> derive -> one frame, synced -> counted in memory -> acknowledged. Nothing is acknowledged before it
is durable, nothing is durable before it is redacted, and whatever fails fails the requests that it concerns.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa
from google.protobuf.message import DecodeError

from stackctl.embedded.otlp import decode
from stackctl.embedded.otlp.decode import Decoded
from stackctl.embedded.otlp.receive import Outcome, Request
from stackctl.embedded.otlp.signals import FAILED, INVALID, UNAVAILABLE, Accepted, Refused, Signal
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.series.otlp_metrics import decode as decode_metrics
from stackctl.embedded.series.points import Points
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.writer import SpanStore
from stackctl.errors import StoreUnusable

log = logging.getLogger("stackctl.ingest")


class Rules(Protocol):
    """The genai rows over columns (`stackctl.embedded.columns.Pipeline`)."""

    def process(self, table: pa.Table) -> pa.Table:
        """Spans as they are counted and stored."""

    def evaluations(self, table: pa.Table) -> pa.Table:
        """Evaluations as they are counted and stored."""


class Derive(Protocol):
    """The catalogue's series (`stackctl.embedded.series.derive.Derivation`)."""

    def from_spans(self, table: pa.Table) -> Increments:
        """What processed spans add."""

    def from_evaluations(self, table: pa.Table) -> Increments:
        """What evaluations add."""


@dataclass(frozen=True)
class Line:
    """What one thread processes groups with; both keep caches that threads must not share."""

    rules: Rules
    derive: Derive


class Counters(Protocol):
    """The writer of samples (`stackctl.embedded.series.head.Head`)."""

    def apply(self, increments: Increments, seq: int) -> None:
        """Count what frame `seq` added."""

    def known(self, digest: bytes) -> bool:
        """Whether a metrics request was stored lately."""

    def append(self, points: Sequence[Points], arrival_ms: int, digests: Sequence[bytes] = ()) -> None:
        """Store applications' own samples, durable on return."""


@dataclass
class Totals:
    """Counts since the process started, for `/-/status`.

    Attributes:
        spans: stored spans.
        evaluations: stored evaluations.
        repeated_requests: requests that were stored before and only acknowledged again.
        rejected_spans: spans without valid ids.
        dropped_log_records: log records that are no evaluation; there is no log store.
        disk_ok: False from a refused write until one succeeds.
    """

    spans: int = 0
    evaluations: int = 0
    repeated_requests: int = 0
    rejected_spans: int = 0
    dropped_log_records: int = 0
    disk_ok: bool = True

    def add(self, stored: "Prepared") -> None:
        """Count a group that was stored."""
        self.spans += 0 if stored.spans is None else stored.spans.num_rows
        self.evaluations += 0 if stored.evaluations is None else stored.evaluations.num_rows
        self.dropped_log_records += stored.dropped
        self.rejected_spans += stored.rejected


@dataclass
class Prepared:
    """A group that is decoded, processed and counted, but not on disk.

    Attributes:
        requests: the group.
        digests: of each request.
        fresh: numbers of the requests that were not stored before; of equal ones the first.
        outcomes: of fresh requests, as far as they are known before storing.
    """

    requests: Sequence[Request]
    digests: Sequence[bytes]
    fresh: dict[int, Request]
    spans: pa.Table | None = None
    evaluations: pa.Table | None = None
    increments: list[Increments] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    dropped: int = 0
    rejected: int = 0


class Committer:
    """Commits groups of requests in two steps, so that one group is decoded while the one before is synced.

    `prepare` may run in several threads at once; `store` in one at a time, in the order of the groups.

    Args:
        line: makes what a thread processes with, once for each thread.
        allow_keys: patterns of an application's own attribute keys that may become labels.
    """

    def __init__(
        self, store: SpanStore, line: Callable[[], Line], counters: Counters, allow_keys: tuple[str, ...] = ()
    ) -> None:
        self._store, self._make_line, self._counters = store, line, counters
        self._lines = threading.local()
        self._allow_keys = allow_keys
        self.totals = Totals()

    def prepare(self, requests: Sequence[Request]) -> Prepared:
        """Do everything that needs no disk: decode, apply the rules, derive."""
        digests = [request.digest for request in requests]
        # The first of equal requests stands for the others: a sender that was too impatient gets the same answer twice.
        first = {one: number for number, one in reversed(list(enumerate(digests)))}
        fresh = {number: requests[number] for one, number in first.items() if not self._known(requests[number], one)}
        return self._filled(Prepared(requests, digests, dict(sorted(fresh.items()))))

    def store(self, prepared: Prepared) -> list[Outcome]:
        """Make a prepared group durable and count it; return each request's outcome."""
        fresh = {n: r for n, r in prepared.fresh.items() if not self._known(r, prepared.digests[n])}
        if len(fresh) < len(prepared.fresh):  # stored by the group before, while this one was prepared
            prepared = self._filled(Prepared(prepared.requests, prepared.digests, fresh))
        self.totals.repeated_requests += len(prepared.requests) - len(fresh)
        try:
            prepared.outcomes |= self._append_metrics(_chosen(fresh, Signal.METRICS), prepared.digests)
            self._store_frame(prepared)
            self.totals.disk_ok = True
        except StoreUnusable as error:
            if self.totals.disk_ok:
                log.error("refusing requests: %s", error.message)
            self.totals.disk_ok = False
            prepared.outcomes |= _all(fresh, Refused(UNAVAILABLE, "the disk refuses writes; try again"))
        by_digest = {prepared.digests[number]: outcome for number, outcome in prepared.outcomes.items()}
        return [by_digest.get(one, Accepted()) for one in prepared.digests]

    def _known(self, request: Request, found: bytes) -> bool:
        """Whether a request was stored before; the series log remembers metrics, the span log everything else."""
        if request.signal is Signal.METRICS:
            return self._counters.known(found)
        return found in self._store.digests

    def _filled(self, group: Prepared) -> Prepared:
        """Decode and process; where that breaks, one request at a time, so that the breaking ones alone are lost."""
        try:
            return self._process(group)
        except Exception as error:  # noqa: BLE001 - rules meet whatever applications send: one must not stop the stack
            if len(group.fresh) == 1:
                # Its type only: a message may quote content.
                log.error("a request was lost: rules failed with %s", type(error).__name__)
                group.outcomes = _all(group.fresh, Refused(FAILED, "the request could not be processed"))
                return group
        return _merge(group, [self._filled(replace(group, fresh={n: r})) for n, r in group.fresh.items()])

    def _line(self) -> Line:
        """The calling thread's own."""
        if not hasattr(self._lines, "line"):
            self._lines.line = self._make_line()
        found: Line = self._lines.line
        return found

    def _process(self, group: Prepared) -> Prepared:
        fresh, line = group.fresh, self._line()
        prepared = Prepared(group.requests, group.digests, fresh)
        spans = _chosen(fresh, Signal.TRACES)
        if spans:
            found = decode.gathered_spans([r.body for r in spans.values()], _arrival(spans))
            _settle(prepared, list(spans), found)
            if found.table.num_rows:
                prepared.spans = line.rules.process(found.table)
                prepared.increments.append(line.derive.from_spans(prepared.spans))
        logs = _chosen(fresh, Signal.LOGS)
        if logs:
            found = decode.gathered_evaluations([r.body for r in logs.values()], _arrival(logs))
            _settle(prepared, list(logs), found)
            if found.table.num_rows:
                prepared.evaluations = line.rules.evaluations(found.table)
                prepared.increments.append(line.derive.from_evaluations(prepared.evaluations))
        return prepared

    def _append_metrics(self, metrics: dict[int, Request], digests: Sequence[bytes]) -> dict[int, Outcome]:
        """Store applications' own samples; durable on return."""
        points: list[Points] = []
        outcomes: dict[int, Outcome] = {}
        for number, request in metrics.items():
            try:
                found = decode_metrics(request.body, self._allow_keys)
                points += found.points
                outcomes[number] = Accepted(sum(found.refused.values()), "; ".join(found.refused))
            except DecodeError:
                outcomes[number] = Refused(INVALID, decode.NOT_OTLP)
        taken = [digests[number] for number, outcome in outcomes.items() if isinstance(outcome, Accepted)]
        if taken:
            self._counters.append(points, _arrival(metrics), taken)
        return outcomes

    def _store_frame(self, prepared: Prepared) -> None:
        taken = [
            prepared.digests[number]
            for number, request in prepared.fresh.items()
            if request.signal is not Signal.METRICS and isinstance(prepared.outcomes[number], Accepted)
        ]
        if not taken:
            return
        increments = Increments.merge(prepared.increments)
        arrival_ms = _arrival(prepared.fresh)
        raw = increments.to_bytes() if increments else b""
        frame = Frame(arrival_ms, tuple(taken), prepared.spans, prepared.evaluations, raw)
        seq = self._store.append(frame)
        self._counters.apply(increments, seq)
        self.totals.add(prepared)


def _settle(prepared: Prepared, numbers: list[int], found: Decoded) -> None:
    """Note the outcome of each decoded request."""
    for at, number in enumerate(numbers):
        if at in found.errors:
            prepared.outcomes[number] = Refused(INVALID, found.errors[at])
        else:
            rejected = found.refused.get(at, 0)
            reason = "trace ids must have 16 bytes, span ids 8, and not be zero" if rejected else ""
            prepared.outcomes[number] = Accepted(rejected, reason)
    prepared.dropped += found.dropped
    prepared.rejected += sum(found.refused.values())


def _merge(group: Prepared, parts: Sequence[Prepared]) -> Prepared:
    whole = Prepared(group.requests, group.digests, group.fresh)
    for part in parts:
        whole.increments += part.increments
        whole.outcomes |= part.outcomes
        whole.dropped += part.dropped
        whole.rejected += part.rejected
    whole.spans = _united([part.spans for part in parts])
    whole.evaluations = _united([part.evaluations for part in parts])
    return whole


def _united(tables: Sequence[pa.Table | None]) -> pa.Table | None:
    found = [table for table in tables if table is not None]
    return pa.concat_tables(found, promote_options="default") if found else None


def _chosen(requests: dict[int, Request], signal: Signal) -> dict[int, Request]:
    return {number: request for number, request in requests.items() if request.signal is signal}


def _arrival(requests: dict[int, Request]) -> int:
    """The group's arrival: that of its last request, so that times never run behind what was answered before."""
    return max(request.arrival_ms for request in requests.values())


def _all(requests: dict[int, Request], outcome: Outcome) -> dict[int, Outcome]:
    return dict.fromkeys(requests, outcome)
