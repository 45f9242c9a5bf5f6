"""What happens to a group of requests before the disk: decoded, the rules applied, series derived.

It needs nothing but the requests, so it runs in the ingest process or in a worker process, with the same result.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import pyarrow as pa

from stackctl.embedded.arrays import Arrays
from stackctl.embedded.columns import Batch
from stackctl.embedded.otlp import decode
from stackctl.embedded.otlp.decode import Decoded
from stackctl.embedded.otlp.receive import Outcome, Request
from stackctl.embedded.otlp.signals import FAILED, INVALID, Accepted, Refused, Signal
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.frame import Packed

log = logging.getLogger("stackctl.ingest")


class Rules(Protocol):
    """The genai rows over columns (`stackctl.embedded.columns.Pipeline`)."""

    def reads(self, key: str, scopes: frozenset[str]) -> bool:
        """Whether the texts of a span attribute are of any use in spans of some scopes."""

    def batch(self, spans: Arrays) -> Batch:
        """Spans as they are counted and stored."""

    def evaluations(self, table: pa.Table) -> pa.Table:
        """Evaluations as they are counted and stored."""


class Derive(Protocol):
    """The catalogue's series (`stackctl.embedded.series.derive.Derivation`)."""

    def from_spans(self, table: pa.Table | Batch) -> Increments:
        """What processed spans add."""

    def from_evaluations(self, table: pa.Table) -> Increments:
        """What evaluations add."""


@dataclass(frozen=True)
class Line:
    """What one thread processes groups with; both keep caches that threads must not share."""

    rules: Rules
    derive: Derive


@dataclass
class Prepared:
    """A group that is decoded, processed and counted, but not on disk.

    Attributes:
        requests: the group.
        digests: of each request.
        fresh: numbers of the requests that were not stored before; of equal ones the first.
        spans: as they are stored; packed where a worker process prepared them.
        evaluations: as they are stored, likewise.
        increments: what the group adds to the span-derived series.
        outcomes: of fresh requests, as far as they are known before storing.
        dropped: log records that are no evaluation.
        rejected: spans without valid ids.
    """

    requests: Sequence[Request]
    digests: Sequence[bytes]
    fresh: dict[int, Request]
    spans: pa.Table | Packed | None = None
    evaluations: pa.Table | Packed | None = None
    increments: list[Increments] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    dropped: int = 0
    rejected: int = 0


class Preparer:
    """Prepares groups, one at a time.

    Args:
        line: what it processes with.
    """

    def __init__(self, line: Line) -> None:
        self._line = line

    def fill(self, group: Prepared) -> Prepared:
        """Decode and process; where that breaks, one request at a time, so that the breaking ones alone are lost."""
        try:
            return self._process(group)
        except Exception as error:  # noqa: BLE001 - rules meet whatever applications send: one must not stop the stack
            if len(group.fresh) == 1:
                # Its type only: a message may quote content.
                log.error("a request was lost: rules failed with %s", type(error).__name__)
                group.outcomes = _all(group.fresh, Refused(FAILED, "the request could not be processed"))
                return group
        return _merge(group, [self.fill(replace(group, fresh={n: r})) for n, r in group.fresh.items()])

    def _process(self, group: Prepared) -> Prepared:
        fresh, line = group.fresh, self._line
        prepared = Prepared(group.requests, group.digests, fresh)
        spans = chosen(fresh, Signal.TRACES)
        if spans:
            found = decode.gathered_spans([r.body for r in spans.values()], arrival(spans), line.rules.reads)
            _settle(prepared, list(spans), found)
            if found.arrays.rows:
                batch = line.rules.batch(found.arrays)
                prepared.spans = batch.table()
                prepared.increments.append(line.derive.from_spans(batch))
        logs = chosen(fresh, Signal.LOGS)
        if logs:
            found = decode.gathered_evaluations([r.body for r in logs.values()], arrival(logs))
            _settle(prepared, list(logs), found)
            if found.arrays.rows:
                prepared.evaluations = line.rules.evaluations(found.table)
                prepared.increments.append(line.derive.from_evaluations(prepared.evaluations))
        return prepared


def _settle(prepared: Prepared, numbers: list[int], found: Decoded) -> None:
    """Note the outcome of each decoded request."""
    # One object for all that have nothing to say: hundreds of small requests come from a worker in a pickle.
    prepared.outcomes |= dict.fromkeys(numbers, Accepted())
    for at, rejected in found.refused.items():
        reason = "trace ids must have 16 bytes, span ids 8, and not be zero"
        prepared.outcomes[numbers[at]] = Accepted(rejected, reason)
    for at, reason in found.errors.items():
        prepared.outcomes[numbers[at]] = Refused(INVALID, reason)
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


def _united(tables: Sequence[pa.Table | Packed | None]) -> pa.Table | None:
    found = [table for table in tables if isinstance(table, pa.Table)]  # packed ones are whole groups already
    return pa.concat_tables(found, promote_options="default") if found else None


def chosen(requests: dict[int, Request], signal: Signal) -> dict[int, Request]:
    """Those of one signal."""
    return {number: request for number, request in requests.items() if request.signal is signal}


def arrival(requests: dict[int, Request]) -> int:
    """The group's arrival: that of its last request, so that times never run behind what was answered before."""
    return max(request.arrival_ms for request in requests.values())


def _all(requests: dict[int, Request], outcome: Outcome) -> dict[int, Outcome]:
    return dict.fromkeys(requests, outcome)
