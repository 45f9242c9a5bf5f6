"""The work of processes beside ingest: groups in, prepared groups out; a closed log file in, its segments out."""

import gc
import importlib
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import pyarrow as pa

from stackctl.embedded.columns import Pipeline
from stackctl.embedded.offspring import give_way
from stackctl.embedded.otlp.receive import Request
from stackctl.embedded.prepare import Line, Prepared, Preparer
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.store.seal import seal
from stackctl.embedded.workwire import READY, Done, Job, SealJob, Setup, Tally, Wire, WorkerLost

_SEAL_NICE: Final = 10  # a tenth of the share of an ordinary process that wants the same core


def serve(channel: socket.socket) -> None:
    """Answer the parent's groups until it closes the channel."""
    with suppress(WorkerLost):
        wire = Wire.join(channel)
        setup: Setup = wire.receive()[0]
        pipeline = Pipeline(setup.config, book=setup.book)
        preparer = Preparer(Line(pipeline, Derivation(setup.config.extra_models, book=setup.book)))
        gc.freeze()  # as in the ingest process
        wire.send(READY)
        while True:
            wire.send(_done(pipeline, preparer, *wire.receive()))


def serve_seal(channel: socket.socket) -> None:
    """Seal one log file; answer None, or the number and text of the system's error."""
    with suppress(WorkerLost):
        wire = Wire(channel)
        job: SealJob = wire.receive()[0]
        if job.gently:
            give_way(_SEAL_NICE)
        try:
            seal(job.layout, job.first)
        except OSError as error:
            wire.send((error.errno, error.strerror))
        else:
            wire.send(None)


def load_seal() -> None:
    """Load what sealing needs and nothing else does."""
    importlib.import_module("pyarrow.parquet")


def _done(pipeline: Pipeline, preparer: Preparer, job: Job, bodies: Sequence[bytes]) -> Done:
    before = Tally.of(pipeline)
    rows = zip(job.numbers, job.signals, bodies, job.arrivals_ms, strict=True)
    # Without digests: the parent knows them, and what was stored before is not in the job.
    group = Prepared((), (), {number: Request(signal, body, b"", ms) for number, signal, body, ms in rows})
    found = preparer.fill(group)
    return Done(
        _packed(found.spans),
        _packed(found.evaluations),
        Increments.merge(found.increments).to_bytes(),
        found.outcomes,
        found.dropped,
        found.rejected,
        Tally.of(pipeline) - before,
    )


def _packed(table: pa.Table | Packed | None) -> Packed | None:
    return Packed.of(table) if isinstance(table, pa.Table) else table
