"""How much the embedded ingest takes: unique requests from a generator beside it, then all counted again."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import psutil

from stackctl import semconv
from stackctl.bench.ports import free_port
from stackctl.bench.reports import IngestReport, OneSpanRun
from stackctl.bench.rest import await_rest
from stackctl.embedded.store.layout import lock_writer
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.retention import Retention
from stackctl.embedded.store.writer import SealLimits, SpanStore
from stackctl.errors import ComponentUnhealthy
from stackctl.stack import EngineConfig

READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 60.0
_SAMPLE_SECONDS: Final = 0.5
# The last requests are answered after the time for sending is over: a part of a percent of a run of half a minute.
RATE_TOLERANCE: Final = 0.01
_LATE_SECONDS: Final = 1.0
_SAMPLED_SEGMENTS: Final = 3

# What is promised of two cores, the load generator on the same: spans a second at full speed; the time within which 99
# of 100 requests are acknowledged at half of that; memory; the disk that a span takes, as a multiple of plain Parquet;
# and the same of applications that send every span by itself.
FULL_RATE: Final = 100_000
PACED_RATE: Final = 50_000
ACK_MS: Final = 50
RSS_MIB: Final = 600
DISK_RATIO: Final = 1.2
ONE_SPAN_RATE: Final = 4_000
ONE_SPAN_BYTES: Final = 250


@dataclass
class Watch:
    """What was seen of the ingest process while it worked.

    Attributes:
        queue_bytes: its queue, every half second.
        rss_bytes: its resident memory and its workers', every half second.
        cpu_seconds: processor time of all of them.
        seconds: how long it was watched.
        stolen_share: of the machine's processor time, what its host gave to others; None where it does not tell.
    """

    queue_bytes: list[int] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0
    seconds: float = 1.0
    stolen_share: float | None = None

    def grows(self) -> bool:
        """True where the queue's last third stands clearly above its first: the process cannot keep up."""
        third = len(self.queue_bytes) // 3
        if not third:
            return False
        first, last = self.queue_bytes[:third], self.queue_bytes[-third:]
        return sum(last) / third > 2 * sum(first) / third + 8 * 1024**2


class IngestProcess:
    """An ingest process with a data directory and ports of its own.

    Args:
        data_dir: where it stores.
        program: arguments of the interpreter that run it; tests run it with limits of their own.
    """

    def __init__(self, data_dir: Path, program: Sequence[str] = ("-m", "stackctl.embedded.ingest")) -> None:
        self.data_dir = data_dir
        self.ports = {"otlp_grpc": free_port(), "otlp_http": free_port()}
        self._program = program
        self._config = data_dir.parent / f"{data_dir.name}.engine.json"
        EngineConfig(str(data_dir), ports=self.ports).write(self._config)
        self._client = httpx2.Client(trust_env=False, timeout=5)
        self.process = self._start()

    def start_again(self) -> None:
        """Start a new process over the same data and ports."""
        self.process = self._start()

    def kill(self) -> None:
        """End it as a crash would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it as `down` would.

        Raises:
            ComponentUnhealthy: it did not end cleanly.
        """
        self.process.terminate()
        code = self.process.wait(STOP_SECONDS)
        if code:
            raise ComponentUnhealthy(f"ingest ended with {code}", next_step="see its log on stderr")

    def status(self) -> dict[str, Any]:
        """Its `/-/status`."""
        answer: dict[str, Any] = self._client.get(f"http://127.0.0.1:{self.ports['otlp_http']}/-/status").json()
        return answer

    def wait_ready(self) -> None:
        """Wait until it answers.

        Raises:
            ComponentUnhealthy: it ended or does not answer in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self._client.get(f"http://127.0.0.1:{self.ports['otlp_http']}/-/ready")
                return
            except httpx2.TransportError:
                time.sleep(0.02)
        raise ComponentUnhealthy("ingest does not come up", next_step="see its log on stderr")

    def _start(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, *self._program, str(self._config)])


def measure(seconds: float, rate: float, tell: Callable[[str], None]) -> IngestReport:
    """Load ingest processes of their own and count what they stored.

    Args:
        seconds: how long the load runs.
        rate: spans a second; 0 for as fast as they are taken, then at `PACED_RATE`, then in requests of one span each,
            for half as long.
        tell: called with what is being done.

    Raises:
        ComponentUnhealthy: a process failed.
    """
    report = _measure(seconds, rate, tell)
    if rate:
        return report
    paced = _measure(seconds / 2, PACED_RATE, tell)
    singles = tuple(_measure_singles(protocol, seconds / 2, tell) for protocol in ("grpc", "http"))
    return replace(report, paced=paced, one_span=singles)


def _measure(seconds: float, rate: float, tell: Callable[[str], None]) -> IngestReport:
    if rate:
        # What is promised of a rate is a time, and what was removed before would be in it.
        tell("waiting for the disk to come to rest")
        if not await_rest():
            tell("the disk does not come to rest: acknowledgements will take longer than they would")
    with _running() as ingest:
        tell(f"sending for {seconds:.0f} s" + (f" at {rate:.0f} spans/s" if rate else " at full speed"))
        seed, target = str(_seed()), f"127.0.0.1:{ingest.ports['otlp_grpc']}"
        watch, load = _load(ingest, "load", target, str(seconds), str(rate), seed)
        status = ingest.status()
        ingest.stop()
        tell("counting")
        stored, stored_calls = count_spans(ingest.data_dir)
        return IngestReport(
            spans_per_second=load["acked_spans"] / load["seconds"],
            acked_spans=load["acked_spans"],
            stored_spans=stored,
            accounted_calls=load["acked_calls"],
            stored_calls=stored_calls,
            counted_calls=count_calls(ingest.data_dir),
            refused_requests=sum(load["refused"].values()),
            ack_seconds=load["ack_seconds"],
            sender_late_seconds=load["late_seconds"],
            ingest_cores=watch.cpu_seconds / watch.seconds,
            sender_cores=load["cpu_cores"],
            ingest_rss_bytes=max(watch.rss_bytes, default=0),
            queue_bytes_max=max(watch.queue_bytes, default=0),
            queue_grew=watch.grows(),
            disk_bytes_per_span=disk_bytes(ingest.data_dir) / max(stored, 1),
            repeated_requests=status["repeated_requests_total"],
            cpu_us_per_span=watch.cpu_seconds / max(load["acked_spans"], 1) * 1e6,
            parquet_bytes_per_span=parquet_bytes(ingest.data_dir),
            load_average=os.getloadavg()[0],
            stolen_share=watch.stolen_share,
        )


def _measure_singles(protocol: str, seconds: float, tell: Callable[[str], None]) -> OneSpanRun:
    with _running() as ingest:
        tell(f"sending single spans over {protocol} for {seconds:.0f} s")
        target = f"127.0.0.1:{ingest.ports[f'otlp_{protocol}']}"
        watch, load = _load(ingest, "singles", protocol, target, str(seconds), str(_seed()))
        ingest.stop()
        tell("compacting")
        compact(ingest.data_dir)
        stored, _ = count_spans(ingest.data_dir)
        return OneSpanRun(
            protocol=protocol,
            requests_per_second=load["acked_spans"] / load["seconds"],
            acked_spans=load["acked_spans"],
            stored_spans=stored,
            refused_requests=sum(load["refused"].values()),
            ack_seconds=load["ack_seconds"],
            ingest_rss_bytes=max(watch.rss_bytes, default=0),
            cpu_us_per_span=watch.cpu_seconds / max(load["acked_spans"], 1) * 1e6,
            sender_cores=load["cpu_cores"],
            disk_bytes_per_span=disk_bytes(ingest.data_dir) / max(stored, 1),
        )


def problems(report: IngestReport, rate: float = 0) -> list[str]:
    """What of a run breaks the promise: nothing refused, nothing lost, everything counted, no growing queue, in time.

    Args:
        report: of the run.
        rate: spans a second that were asked for; 0 for as fast as they are taken.
    """
    found = []
    if report.refused_requests:
        found.append(f"{report.refused_requests} requests were refused")
    if report.stored_spans != report.acked_spans:
        found.append(f"{report.acked_spans} spans were acknowledged, {report.stored_spans} are stored")
    if not report.accounted_calls == report.stored_calls == report.counted_calls:
        found.append(
            f"{report.accounted_calls} calls were sent, {report.stored_calls} are stored as accounted, "
            f"{semconv.LLM_REQUESTS} says {report.counted_calls:.0f}"
        )
    if report.queue_grew:
        found.append("the queue kept growing")
    if report.spans_per_second < rate * (1 - RATE_TOLERANCE):
        found.append(f"{report.spans_per_second:.0f} of {rate:.0f} spans/s were taken")
    if report.sender_late_seconds > _LATE_SECONDS:
        found.append(f"the sender ended {report.sender_late_seconds:.1f} s late")
    return [*found, *_missed(report)]


def _missed(report: IngestReport) -> Iterator[str]:
    """What of a whole measurement is below what is promised of two cores that do nothing else."""
    if report.paced is None:
        return
    yield from (f"at {PACED_RATE} spans/s: {one}" for one in problems(report.paced, PACED_RATE))
    rss = max(report.ingest_rss_bytes, report.paced.ingest_rss_bytes) / 1024**2
    ack_ms = report.paced.ack_seconds.get("p99", float("inf")) * 1000
    disk = report.disk_bytes_per_span / (report.parquet_bytes_per_span or float("nan"))
    if report.spans_per_second < FULL_RATE:
        yield f"{report.spans_per_second:.0f} spans/s are below {FULL_RATE}"
    if ack_ms > ACK_MS:
        yield f"99 % were acknowledged within {ack_ms:.0f} ms at {PACED_RATE} spans/s, more than {ACK_MS}"
    if rss > RSS_MIB:
        yield f"{rss:.0f} MiB of memory are more than {RSS_MIB}"
    if disk > DISK_RATIO:
        yield f"the disk holds {disk:.2f} times what plain Parquet takes, more than {DISK_RATIO}"
    for one in report.one_span:
        if one.stored_spans != one.acked_spans or one.refused_requests:
            yield f"{one.protocol}: {one.acked_spans} single spans acknowledged, {one.stored_spans} stored, " + (
                f"{one.refused_requests} requests refused"
            )
        if one.requests_per_second < ONE_SPAN_RATE:
            yield f"{one.requests_per_second:.0f} single spans/s over {one.protocol} are below {ONE_SPAN_RATE}"
        if one.disk_bytes_per_span > ONE_SPAN_BYTES:
            yield f"{one.disk_bytes_per_span:.0f} bytes of disk a single span are more than {ONE_SPAN_BYTES}"


def count_spans(data_dir: Path) -> tuple[int, int]:
    """Stored spans of a data directory, and the accounted ones among them."""
    import pyarrow.parquet as pq

    accounted = f"s:{semconv.ACCOUNTED}:b"
    snapshot = SpanReader(data_dir).snapshot()
    tables = [pq.ParquetFile(path).read([accounted]) for path in snapshot.segments]
    tables += [] if snapshot.hot is None else [snapshot.hot.select([accounted])]
    calls = sum(table.num_rows - table.column(0).null_count for table in tables)
    return sum(table.num_rows for table in tables), calls


def count_calls(data_dir: Path) -> float:
    """The last values of `llm_requests_total`, summed over its series."""
    from stackctl.embedded.series.reader import SampleReader
    from stackctl.promql import Matcher

    now_ms = time.time_ns() // 1_000_000
    matcher = Matcher("__name__", "=", semconv.LLM_REQUESTS)
    found = SampleReader(data_dir).select([matcher], now_ms - 24 * 3600 * 1000, now_ms + 60_000)
    return float(sum(series.v[-1] for series in found if len(series.v)))


def disk_bytes(data_dir: Path) -> int:
    """Bytes of all files of a data directory."""
    return sum(path.stat().st_size for path in data_dir.rglob("*") if path.is_file())


def parquet_bytes(data_dir: Path) -> float:
    """Bytes a span that the stored rows take when somebody writes them to Parquet files by hand.

    Some segments stand for all: their rows are alike.
    """
    import pyarrow.parquet as pq

    snapshot = SpanReader(data_dir).snapshot()
    sealed = snapshot.segments[:_SAMPLED_SEGMENTS]
    tables: Iterable[Any] = map(pq.read_table, sealed) if sealed else [snapshot.hot]
    rows = size = 0
    with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home:
        path = Path(home) / "spans.parquet"
        for table in tables:
            if table is not None:
                pq.write_table(table, path, compression="zstd", compression_level=1)
                rows, size = rows + table.num_rows, size + path.stat().st_size
    return size / max(rows, 1)


def compact(data_dir: Path) -> None:
    """Do to a stopped store what time would: seal its log, and merge what is small."""
    held = lock_writer(data_dir)
    store = SpanStore(data_dir, SealLimits(rows=1))
    store.roll_if_due()
    store.seal_closed()
    store.trim(store.last_seq)
    store.close()
    config = EngineConfig(str(data_dir))
    Retention(store.layout, config.retention_seconds, config.retention_bytes).run(time.time_ns() // 1_000_000)
    os.close(held)


@contextmanager
def _running() -> Iterator[IngestProcess]:
    with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home:
        ingest = IngestProcess(Path(home) / "data")
        try:
            ingest.wait_ready()
            yield ingest
        finally:
            if ingest.process.poll() is None:
                ingest.kill()


def _seed() -> int:
    return int.from_bytes(os.urandom(4), "big")


def _load(ingest: IngestProcess, generator: str, *arguments: str) -> tuple[Watch, dict[str, Any]]:
    """Run a load generator; return what was watched, and what it says."""
    command = [sys.executable, "-m", f"stackctl.bench.{generator}", *arguments]
    seen = psutil.Process(ingest.process.pid)
    watch, began, before, machine = Watch(), time.monotonic(), _cpu_seconds(seen), psutil.cpu_times()
    sender = subprocess.Popen(command, stdout=subprocess.PIPE)
    while sender.poll() is None:
        time.sleep(_SAMPLE_SECONDS)
        watch.queue_bytes.append(ingest.status()["queue_bytes"])
        watch.rss_bytes.append(sum(_of_each(seen, lambda one: one.memory_info().rss)))
    watch.cpu_seconds, watch.seconds = _cpu_seconds(seen) - before, time.monotonic() - began
    watch.stolen_share = _stolen_share(machine, psutil.cpu_times())
    answer = sender.communicate()[0]
    if sender.returncode:
        raise ComponentUnhealthy("the load generator failed", next_step="see its traceback on stderr")
    return watch, orjson.loads(answer)


def _cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process, of its workers, and of those that have ended."""
    times = _of_each(process, lambda one: one.cpu_times())
    return float(sum(one.user + one.system + one.children_user + one.children_system for one in times))


def _stolen_share(before: Any, after: Any) -> float | None:
    """What a virtual machine's host gave to others between two readings (proc(5), `steal`; Linux alone has it)."""
    if not hasattr(after, "steal"):
        return None
    passed = sum(after) - sum(before)
    return (after.steal - before.steal) / passed if passed > 0 else 0.0


def _of_each(process: psutil.Process, read: Callable[[psutil.Process], Any]) -> list[Any]:
    """What is read of a process and of each process below it that is still there."""
    found = [read(process)]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a worker may end at any time
            found.append(read(child))
    return found
