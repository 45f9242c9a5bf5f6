"""One group commit: what happens to requests between the queue and their acknowledgement.

decode -> rules -> derive -> one frame, synced -> counted in memory -> acknowledged. Nothing is acknowledged before it
is durable, nothing is durable before it is redacted, and whatever fails fails the requests that it concerns.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from google.protobuf.message import DecodeError

from stackctl.embedded.otlp.decode import NOT_OTLP
from stackctl.embedded.otlp.receive import Outcome, Request
from stackctl.embedded.otlp.signals import INVALID, UNAVAILABLE, Accepted, Refused, Signal
from stackctl.embedded.prepare import Line, Prepared, Preparer, arrival, chosen
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.series.otlp_metrics import decode as decode_metrics
from stackctl.embedded.series.points import Points
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.writer import SpanStore
from stackctl.errors import StoreUnusable

log = logging.getLogger("stackctl.ingest")


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


class Committer:
    """Commits groups of requests in two steps, so that one group is decoded while the one before is synced.

    `group` and `fill` may run in several threads at once; `store` in one at a time, in any order of the groups.

    Args:
        line: makes what a thread processes with, once for each thread.
        allow_keys: patterns of an application's own attribute keys that may become labels.
    """

    def __init__(
        self, store: SpanStore, line: Callable[[], Line], counters: Counters, allow_keys: tuple[str, ...] = ()
    ) -> None:
        self._store, self._make_line, self._counters = store, line, counters
        self._threads = threading.local()
        self._allow_keys = allow_keys
        self.totals = Totals()

    def group(self, requests: Sequence[Request]) -> Prepared:
        """Return a group of which nothing is done yet, without the requests that were stored before."""
        digests = [request.digest for request in requests]
        # The first of equal requests stands for the others: a sender that was too impatient gets the same answer twice.
        first = dict(zip(reversed(digests), reversed(range(len(digests))), strict=True))
        return Prepared(
            requests, digests, self._unknown({number: requests[number] for number in sorted(first.values())})
        )

    def fill(self, group: Prepared) -> Prepared:
        """Do everything that needs no disk, in the calling thread: decode, apply the rules, derive."""
        if not hasattr(self._threads, "preparer"):
            self._threads.preparer = Preparer(self._make_line())
        filled: Prepared = self._threads.preparer.fill(group)
        return filled

    def store(self, prepared: Prepared) -> list[Outcome]:
        """Make a prepared group durable and count it; return each request's outcome."""
        fresh = self._unknown(prepared.fresh)
        if len(fresh) < len(prepared.fresh):  # stored by another group, while this one was prepared
            prepared = self.fill(Prepared(prepared.requests, prepared.digests, fresh))
        self.totals.repeated_requests += len(prepared.requests) - len(fresh)
        try:
            prepared.outcomes |= self._append_metrics(chosen(fresh, Signal.METRICS), prepared.digests)
            self._store_frame(prepared)
            self.totals.disk_ok = True
        except StoreUnusable as error:
            if self.totals.disk_ok:
                log.error("refusing requests: %s", error.message)
            self.totals.disk_ok = False
            prepared.outcomes |= _all(fresh, Refused(UNAVAILABLE, "the disk refuses writes; try again"))
        by_digest = {prepared.digests[number]: outcome for number, outcome in prepared.outcomes.items()}
        stored_before = Accepted()
        return [by_digest.get(one, stored_before) for one in prepared.digests]

    def _unknown(self, requests: dict[int, Request]) -> dict[int, Request]:
        """Those not stored before; the series log remembers metrics, the span log everything else."""
        samples, spans = self._counters.known, self._store.digests
        return {
            number: one
            for number, one in requests.items()
            if not (samples(one.digest) if one.signal is Signal.METRICS else one.digest in spans)
        }

    def _append_metrics(self, metrics: dict[int, Request], digests: Sequence[bytes]) -> dict[int, Outcome]:
        """Store applications' own samples; durable on return."""
        points: list[Points] = []
        outcomes: dict[int, Outcome] = {}
        for number, request in metrics.items():
            try:
                found = decode_metrics(bytes(request.body), self._allow_keys)
                points += found.points
                outcomes[number] = Accepted(sum(found.refused.values()), "; ".join(found.refused))
            except DecodeError:
                outcomes[number] = Refused(INVALID, NOT_OTLP)
        taken = [digests[number] for number, outcome in outcomes.items() if isinstance(outcome, Accepted)]
        if taken:
            self._counters.append(points, arrival(metrics), taken)
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
        arrival_ms = arrival(prepared.fresh)
        frame = Frame(arrival_ms, tuple(taken), prepared.spans, prepared.evaluations, increments.to_bytes())
        seq = self._store.append(frame)
        self._counters.apply(increments, seq)
        self.totals.add(prepared)


def _all(requests: dict[int, Request], outcome: Outcome) -> dict[int, Outcome]:
    return dict.fromkeys(requests, outcome)
