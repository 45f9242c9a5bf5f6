"""What an ingest process holds and does, from its start to its last flush."""

import asyncio
import errno
import gc
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from stackctl.embedded.columns import Pipeline, kept_by
from stackctl.embedded.commit import Committer
from stackctl.embedded.nursery import Nursery
from stackctl.embedded.otlp.front import Front, Unfinished, listen
from stackctl.embedded.otlp.grpc_server import serve_grpc
from stackctl.embedded.otlp.http_server import serve_http
from stackctl.embedded.otlp.limits import guard_of
from stackctl.embedded.otlp.receive import Intake, Outcome, Request
from stackctl.embedded.prepare import Line, Prepared
from stackctl.embedded.sealing import L, Sealer
from stackctl.embedded.series import blocks
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.sidethread import SideThread
from stackctl.embedded.store.asked import Asked
from stackctl.embedded.store.grain import grain_ms
from stackctl.embedded.store.layout import lock_writer
from stackctl.embedded.store.removal import shrink_away
from stackctl.embedded.store.retention import Retention
from stackctl.embedded.store.seal import seal
from stackctl.embedded.store.writer import DEFAULT_LIMITS, SealLimits, SpanStore
from stackctl.embedded.workers import Workforce
from stackctl.embedded.workwire import Setup, Tally, WorkerLost
from stackctl.errors import StoreUnusable

log = logging.getLogger("stackctl.ingest")

# How often due things are looked for; each has its own period.
_BEAT_SECONDS: Final = 0.1
_SEAL_EVERY_SECONDS: Final = 0.5
_RETAIN_EVERY_SECONDS: Final = 60.0
_STOP_GRACE_SECONDS: Final = 5.0
_SHOWN_KEYS: Final = 100


def now_ms() -> int:
    """The wall clock, unix milliseconds."""
    return time.time_ns() // 1_000_000


class Ingest:
    """Everything that one ingest process holds.

    Decoding and rules are one thread's (`_work`), or under load worker processes'; the log and counting another's
    (`_disk`), sealing a third's; the event loop only moves bytes.

    Args:
        setup: where and for how long to keep what, and what to prepare with.
        limits: when spans are sealed into segments.
        nursery: makes processes that work for this one, where there is one.

    Raises:
        StoreUnusable: another process writes there, a newer format, or no usable directory.
    """

    def __init__(self, setup: Setup, limits: SealLimits, nursery: Nursery | None = None) -> None:
        config = setup.config
        self._config, self._setup, self._nursery = config, setup, nursery
        data_dir = Path(config.data_dir)
        self._lock = lock_writer(data_dir)
        grain = grain_ms(config.retention_seconds)
        self._retain_seconds = min(_RETAIN_EVERY_SECONDS, grain / 1000)
        self.store = SpanStore(data_dir, replace(limits, age_ms=min(limits.age_ms, grain)), clock_ms=now_ms)
        self.head = Head(data_dir, pace=Pace.within(grain), clock_ms=now_ms)
        self.store.skip_to(self.head.applied_seq)
        self._uncounted = self.store.missing(self.head.applied_seq)
        self._tell_damage()
        self._replay()
        self._retention = Retention(self.store.layout, config.retention_seconds, config.retention_bytes)
        self._pipelines: list[Pipeline] = []
        self._committer = Committer(self.store, self._line, self.head, config.allow_keys)
        self._work, self._disk = SideThread("work"), SideThread("disk")
        asked = Asked(self.store.layout.asked)
        self._workforce = Workforce(setup, self._prepare_here, nursery=nursery, asked=asked.lately)
        self.intake = Intake(self._prepare, self._store, now_ms, at_once=lambda: self._workforce.at_once)
        self._seal = ThreadPoolExecutor(1, "seal")
        self._sealer = None if nursery is None else Sealer(nursery)

    async def run(self, stop: asyncio.Event) -> None:
        """Serve until `stop` is set, then flush.

        Raises:
            PortTaken: another program listens on one of the ports.
        """
        token = Path(self._config.token_file).read_text().strip() if self._config.token_file else None
        host, ports = self._config.host, self._config.ports
        guard = guard_of(host, token)
        listening = listen(host, ports["otlp_http"], "otlp_http")
        await self._bearing_disk(self._disk.do(self.head.start))
        commits = asyncio.create_task(self.intake.run(), name="commits")
        unfinished = Unfinished()
        fronts = [
            await serve_grpc(self.intake.take, guard, host, ports["otlp_grpc"], unfinished),
            await serve_http(self.intake.take, guard, self.status, listening, unfinished),
        ]
        beat = asyncio.create_task(self._beat(), name="beat")
        gc.freeze()  # what a start made stays: the collector took a thirtieth of the time to look through it
        log.info("ready on %s at frame %d", dict(ports), self.store.last_seq)
        stopping = asyncio.create_task(stop.wait(), name="stop")
        done, _ = await asyncio.wait({stopping, commits, beat}, return_when=asyncio.FIRST_COMPLETED)
        await self._flush(fronts, commits, beat)
        for ended in done - {stopping}:
            ended.result()  # a task that ended by itself failed: the supervisor starts the process again

    def status(self) -> dict[str, Any]:
        """Facts for `/-/status`."""
        totals, tally = self._committer.totals, self._tally()
        return {
            "log_seq": self.store.last_seq,
            "applied_seq": self.head.applied_seq,
            "durable_seq": self.head.durable_seq,
            "queue_bytes": self.intake.queue_bytes,
            "workers": self._workforce.size,
            "spans_total": totals.spans,
            "evaluations_total": totals.evaluations,
            "refused_total": self.intake.refused_total,
            "repeated_requests_total": totals.repeated_requests,
            "rejected_spans_total": totals.rejected_spans,
            "dropped_log_records_total": totals.dropped_log_records,
            "lost_spans_total": tally.lost,
            "redacted_values_total": tally.dropped.total(),
            "redacted_keys": _redacted_keys(tally),
            "torn_bytes": self.store.torn_bytes + self.head.torn_bytes,
            "lost_frames": self.store.lost_frames(),
            "uncounted_frames": self._uncounted,
            "damaged_files": self.head.set_aside,
            "disk_ok": totals.disk_ok,
        }

    def _replay(self) -> None:
        """Count what the span log holds and no sample does, as after a crash.

        Raises:
            StoreUnusable: another version wrote it.
        """
        for seq, raw in self.store.replay(self.head.applied_seq):
            try:
                increments = Increments.from_bytes(raw)
            except ValueError as error:
                raise StoreUnusable(
                    f"spans that no counter holds yet were logged by another version (frame {seq})",
                    next_step="start the stack once with the version that wrote them: it counts them",
                ) from error
            self.head.apply(increments, seq)

    def _tell_damage(self) -> None:
        """Say what the start found damaged; a torn tail is what every crash leaves."""
        if self.store.torn_bytes:
            log.warning("spans: passed over %d bytes that were no whole frame", self.store.torn_bytes)
        if self.head.torn_bytes:
            log.warning("samples: passed over %d bytes that were no whole frame", self.head.torn_bytes)
        if self.store.lost_frames():
            log.error("spans: %d acknowledged frames are damaged and lost", self.store.lost_frames())
        for name in self.head.set_aside:
            log.error(
                "samples: the log file is damaged at its beginning, its samples are not read: series/log/%s", name
            )
        if self._uncounted:
            log.error("counters lack what %d lost frames held", self._uncounted)

    def _line(self) -> Line:
        pipeline = Pipeline(self._config, book=self._setup.book)
        self._pipelines.append(pipeline)
        return Line(pipeline, Derivation(self._config.extra_models, book=self._setup.book))

    def _tally(self) -> Tally:
        """What rules did not let through, here and in workers."""
        return sum(map(Tally.of, list(self._pipelines)), self._workforce.tally)

    async def _prepare(self, requests: Sequence[Request]) -> Prepared:
        return await self._workforce.prepare(self._committer.group(requests))

    async def _prepare_here(self, group: Prepared) -> Prepared:
        return await self._work.do(lambda: self._committer.fill(group))

    async def _store(self, prepared: Prepared) -> Sequence[Outcome]:
        return await self._disk.do(lambda: self._committer.store(prepared))

    async def _beat(self) -> None:
        """Ticks, sealing and retention, each at its time."""
        seal = Every(_SEAL_EVERY_SECONDS)
        retain = Every(self._retain_seconds)
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            self._workforce.look(self.intake.queue_bytes)
            if await self._bearing_disk(self._disk.do(self.head.beat)):
                self._committer.totals.disk_ok = True
            if seal.due() and await self._bearing_disk(self._disk.do(self.store.roll_if_due)):
                asyncio.get_running_loop().run_in_executor(self._seal, self._seal_closed)
            if retain.due():
                asyncio.get_running_loop().run_in_executor(self._seal, self._retain)

    async def _bearing_disk(self, work: Awaitable[Any]) -> Any:
        """Wait for work that a full disk may refuse; it is tried again at its next time."""
        try:
            return await work
        except (OSError, StoreUnusable) as error:
            if self._committer.totals.disk_ok:  # tried again ten times a second
                log.error("the disk refuses: %s", error)
            self._committer.totals.disk_ok = False
            return None

    def _seal_closed(self) -> None:
        """Seal and trim; runs in the sealing thread."""
        try:
            self.store.seal_closed(self._apart(seal))
            self.store.trim(self.head.durable_seq, shrink_away)
            self.head.seal_closed(self._apart(blocks.seal))
        except OSError as error:
            log.error("sealing failed, will be tried again: %s", error.strerror)

    def _apart(self, sealing: Callable[[L, int], object]) -> Callable[[L, int], None]:
        """Seal in a process of its own, here where that cannot be: it would hold up who waits, and keep its memory.

        Returns:
            Seals a log file; raises OSError where the disk refuses.
        """

        def seal_one(layout: L, number: int) -> None:
            try:
                if self._sealer is None or not self._sealer.seal(sealing, layout, number):
                    sealing(layout, number)
            except WorkerLost as error:
                raise OSError(errno.ECHILD, "the sealing process was lost") from error

        return seal_one

    def _retain(self) -> None:
        """Seal what failed before, compact, forget what is too old or too much; runs in the sealing thread."""
        self._seal_closed()
        try:
            self.head.forget(now_ms() - self._config.retention_seconds * 1000, self._config.retention_bytes // 5)
            self._retention.run(now_ms())
        except OSError as error:
            log.error("retention failed, will be tried again: %s", error.strerror)

    async def _flush(self, fronts: Sequence[Front], commits: asyncio.Task[None], beat: asyncio.Task[None]) -> None:
        """Answer what is under way, commit what waits, write the last tick."""
        beat.cancel()
        await asyncio.gather(*(front.stop(_STOP_GRACE_SECONDS) for front in fronts), return_exceptions=True)
        self.intake.drain()
        await asyncio.gather(commits, return_exceptions=True)
        await self._workforce.close()
        await self._bearing_disk(self._disk.do(self.head.close))
        # Behind whatever is being sealed, and not before the last tick holds what the log counted.
        sealing = asyncio.get_running_loop().run_in_executor(self._seal, self.store.trim, self.head.durable_seq)
        await self._bearing_disk(sealing)
        self._work.shutdown()
        self._disk.shutdown()
        self._seal.shutdown()
        self.store.close()
        if self._nursery is not None:
            self._nursery.close()
        log.info("stopped at frame %d", self.store.last_seq)


class Every:
    """True once per period.

    Args:
        seconds: the period.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether the period has passed since the last True."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True


def _redacted_keys(tally: Tally) -> list[dict[str, Any]]:
    """How many values redaction dropped, by attribute key, the most frequent first, and what would keep them."""
    most = tally.dropped.most_common(_SHOWN_KEYS)
    return [{"key": key, "values": values, "setting": kept_by(key)} for key, values in most]


async def serve(setup: Setup, limits: SealLimits | None = None, nursery: Nursery | None = None) -> None:
    """Run an ingest process until SIGTERM or SIGINT.

    Args:
        setup: what the runtime says.
        limits: when spans are sealed into segments; the defaults when None.
        nursery: makes processes that work for this one, where there is one.

    Raises:
        StackctlError: a port is taken, or the store cannot be used.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await Ingest(setup, limits or DEFAULT_LIMITS, nursery).run(stop)
