"""The work of processes beside ingest: groups in, prepared groups out; a closed log file in, its segments out."""

import gc
import importlib
import socket
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, Self

import pyarrow as pa

from stackctl.embedded.columns import Pipeline
from stackctl.embedded.offspring import WORK_NICE, give_way
from stackctl.embedded.otlp.receive import Request
from stackctl.embedded.otlp.signals import Serialised
from stackctl.embedded.prepare import Line, Prepared, Preparer
from stackctl.embedded.rehearsal import rehearse
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.frame import Packed
from stackctl.embedded.turns import take_short_turns
from stackctl.embedded.workwire import READY, Done, Job, SealJob, Setup, Tally, Wire, WorkerLost

_REHEARSALS: Final = 3  # the interpreter makes code faster once it was run a few times
_REHEARSED_SPANS: Final = 1024  # two requests as SDKs send them
_LEAST_NICE: Final = 19  # the least share there is of a core that others want, one part in seventy
_SEAL_TURN_NS: Final = 100_000  # and whoever wants it waits no longer than that


@dataclass(frozen=True)
class Bench:
    """What a process prepares groups with, made before the first one comes."""

    pipeline: Pipeline
    preparer: Preparer

    @classmethod
    def of(cls, setup: Setup) -> Self:
        """Set one up."""
        pipeline = Pipeline(setup.config, book=setup.book)
        bench = cls(pipeline, Preparer(Line(pipeline, Derivation(setup.config.extra_models, book=setup.book))))
        rehearse(bench.preparer, 1)
        gc.freeze()  # as in the ingest process
        return bench

    def settle(self) -> None:
        """Make the memory that a copy writes to its own, and its code warm, before a group waits for either."""

        def gently() -> None:
            give_way(_LEAST_NICE)  # a stack that starts has better things to do
            for _ in range(_REHEARSALS):
                rehearse(self.preparer, _REHEARSED_SPANS)

        # A process that gave way would do so for good, a thread ends.
        settling = threading.Thread(target=gently)
        settling.start()
        settling.join()

    def serve(self, wire: Wire) -> None:
        """Answer the parent's groups until it closes the wire."""
        wire.send(READY)
        while True:
            wire.send(_done(self.pipeline, self.preparer, *wire.receive()))


def serve(channel: socket.socket, bench: Bench | None = None) -> None:
    """Answer the parent's groups until it closes the channel.

    Args:
        bench: to work at, the copy of another's; set up as the parent says when None.
    """
    with suppress(WorkerLost):
        wire = Wire.join(channel)
        if bench is None:
            bench = Bench.of(wire.receive()[0])
        else:
            bench.settle()
        give_way(WORK_NICE)  # to an answer, which a person waits for; an exporter sends beside its application's work
        bench.serve(wire)


def serve_seal(channel: socket.socket, _: Bench) -> None:
    """Seal one log file; answer None, or the number and text of the system's error."""
    with suppress(WorkerLost):
        wire = Wire(channel)
        job: SealJob = wire.receive()[0]
        try:
            job.seal(job.layout, job.number)
        except OSError as error:
            wire.send((error.errno, error.strerror))
        else:
            wire.send(None)


def serve_gentle_seal(channel: socket.socket, bench: Bench) -> None:
    """Do as `serve_seal` does, when there is nothing else to do."""
    give_way(_LEAST_NICE)
    take_short_turns(_SEAL_TURN_NS)
    serve_seal(channel, bench)


def load_seal() -> None:
    """Load what sealing needs and nothing else does."""
    importlib.import_module("pyarrow.parquet")


def _done(pipeline: Pipeline, preparer: Preparer, job: Job, bodies: Sequence[Serialised]) -> Done:
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
