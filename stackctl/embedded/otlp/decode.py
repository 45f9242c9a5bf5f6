"""OTLP requests to tables, each judged by itself: a bad one in a gathered batch does not hurt its neighbours."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import pyarrow as pa
from google.protobuf.message import DecodeError

from stackctl.embedded.arrays import Arrays
from stackctl.embedded.otlp import evaluations as evaluation_records
from stackctl.embedded.otlp import plain, wide
from stackctl.embedded.otlp.message import Panicked
from stackctl.embedded.otlp.shape import CORE, Reads, all_are_read, unite
from stackctl.embedded.otlp.signals import Serialised
from stackctl.embedded.otlp.wide import Flat

T = TypeVar("T")

DECODERS: dict[str, Callable[[Sequence[Serialised], int, Reads], Flat]] = {
    "ptars": wide.flatten,
    "protobuf": plain.flatten,
}
# ptars raises ValueError for bytes that are no message, Arrow for columns beyond 2 GB, protobuf DecodeError.
NOT_OTLP = "not a valid OTLP protobuf message"
_UNDECODABLE = (ValueError, DecodeError, RecursionError)


class Undecodable(Exception):
    """Bytes that are no OTLP request of the expected kind."""


@dataclass(frozen=True)
class Decoded:
    """What came out of several requests.

    Attributes:
        arrays: their rows together.
        refused: per request number, how many of its records were refused (ids of a wrong length); only where any.
        errors: per request number, why all of it was refused.
        dropped: log records that are no evaluation.
    """

    arrays: Arrays
    refused: dict[int, int] = field(default_factory=dict)
    errors: dict[int, str] = field(default_factory=dict)
    dropped: int = 0

    @cached_property
    def table(self) -> pa.Table:
        """The rows as a table."""
        return self.arrays.table()


def spans(requests: Sequence[Serialised], arrival_ms: int) -> pa.Table:
    """Spans of trace requests; spans without valid ids are left out.

    Raises:
        Undecodable: one of the requests is none.
    """
    found = gathered_spans(requests, arrival_ms)
    for number, reason in found.errors.items():
        raise Undecodable(f"request {number}: {reason}")
    return found.table


def gathered_spans(
    requests: Sequence[Serialised], arrival_ms: int, reads: Reads = all_are_read, decoder: str | None = None
) -> Decoded:
    """Spans of trace requests that were gathered.

    Args:
        requests: serialised ExportTraceServiceRequest messages.
        arrival_ms: when they arrived, unix milliseconds.
        reads: whether the texts of a span attribute's key are of any use in spans of some scopes; in a column, others
            are empty.
        decoder: `ptars` or `protobuf`; STACKCTL_DECODER or ptars when None.
    """
    flatten = DECODERS[decoder or os.environ.get("STACKCTL_DECODER", "ptars")]

    def flat(batch: Sequence[Serialised]) -> Flat:
        try:
            return flatten(batch, arrival_ms, reads)
        except Panicked:
            if len(batch) > 1:
                raise
            return plain.flatten(batch, arrival_ms, reads)

    flats, errors = _apart(flat, requests)
    refused: dict[int, int] = {}
    for numbers, found in flats:
        if found.valid.all():
            continue
        for bad in found.request((~found.valid).nonzero()[0]).tolist():
            refused[numbers[bad]] = refused.get(numbers[bad], 0) + 1
    return Decoded(_united([found for _, found in flats]), refused, errors)


def evaluations(requests: Sequence[Serialised], arrival_ms: int) -> pa.Table:
    """Evaluations of log requests.

    Raises:
        Undecodable: one of the requests is none.
    """
    found = gathered_evaluations(requests, arrival_ms)
    for number, reason in found.errors.items():
        raise Undecodable(f"request {number}: {reason}")
    return found.table


def gathered_evaluations(requests: Sequence[Serialised], arrival_ms: int) -> Decoded:
    """Evaluation records of log requests that were gathered; other records are counted and dropped.

    Args:
        requests: serialised ExportLogsServiceRequest messages.
        arrival_ms: when they arrived, unix milliseconds.
    """
    found, errors = _apart(evaluation_records.records, requests)
    rows = [row for _, (batch, _) in found for row in batch]
    dropped = sum(others for _, (_, others) in found)
    return Decoded(Arrays.of(evaluation_records.table(rows, arrival_ms)), {}, errors, dropped)


def _united(flats: Sequence[Flat]) -> Arrays:
    """The valid spans. Where rows are put together or left out, what was known of texts is not followed."""
    if len(flats) == 1 and flats[0].valid.all():
        return flats[0].arrays
    return Arrays.of(unite([flat.arrays.table().filter(pa.array(flat.valid)) for flat in flats], CORE))


def _apart(
    decode: Callable[[Sequence[Serialised]], T], requests: Sequence[Serialised]
) -> tuple[list[tuple[list[int], T]], dict[int, str]]:
    """Decode requests together; when that fails, one by one, so that the bad ones are known."""
    if not requests:
        return [], {}
    try:
        return [(list(range(len(requests))), decode(requests))], {}
    except _UNDECODABLE as error:
        if len(requests) == 1:
            return [], {0: _reason(error)}
    parts: list[tuple[list[int], T]] = []
    errors: dict[int, str] = {}
    for number, request in enumerate(requests):
        found, failed = _apart(decode, [request])
        parts += [([number], part) for _, part in found]
        if failed:
            errors[number] = failed[0]
    return parts, errors


def _reason(error: Exception) -> str:
    """A sentence without any of the request's content."""
    return "nested too deeply" if isinstance(error, RecursionError) else NOT_OTLP
