"""How much the embedded ingest takes: unique requests from a generator beside it, then all counted again."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import httpx2
import orjson
import psutil

from stackctl import semconv
from stackctl.bench.ports import free_port
from stackctl.embedded.store.reader import SpanReader
from stackctl.errors import ComponentUnhealthy
from stackctl.reports import IngestReport
from stackctl.stack import EngineConfig

READY_SECONDS: Final = 20.0
STOP_SECONDS: Final = 60.0
_SAMPLE_SECONDS: Final = 0.5
# The last requests are answered after the time for sending is over: a part of a percent of a run of half a minute.
_RATE_TOLERANCE: Final = 0.01
_LATE_SECONDS: Final = 1.0


@dataclass
class Watch:
    """What was seen of the ingest process while it worked.

    Attributes:
        queue_bytes: its queue, every half second.
        rss_bytes: its resident memory and its workers', every half second.
    """

    queue_bytes: list[int] = field(default_factory=list)
    rss_bytes: list[int] = field(default_factory=list)

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
    """Load an ingest process of its own and count what it stored.

    Args:
        seconds: how long the load runs.
        rate: spans a second; 0 for as fast as they are taken.
        tell: called with what is being done.

    Raises:
        ComponentUnhealthy: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home, _running(Path(home) / "data") as ingest:
        tell(f"sending for {seconds:.0f} s" + (f" at {rate:.0f} spans/s" if rate else " at full speed"))
        watch, load, cores = _load(ingest, seconds, rate)
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
            ingest_cores=cores,
            sender_cores=load["cpu_cores"],
            ingest_rss_bytes=max(watch.rss_bytes, default=0),
            queue_bytes_max=max(watch.queue_bytes, default=0),
            queue_grew=watch.grows(),
            disk_bytes_per_span=disk_bytes(ingest.data_dir) / max(stored, 1),
            repeated_requests=status["repeated_requests_total"],
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
    if report.spans_per_second < rate * (1 - _RATE_TOLERANCE):
        found.append(f"{report.spans_per_second:.0f} of {rate:.0f} spans/s were taken")
    if report.sender_late_seconds > _LATE_SECONDS:
        found.append(f"the sender ended {report.sender_late_seconds:.1f} s late")
    return found


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


@contextmanager
def _running(data_dir: Path) -> Iterator[IngestProcess]:
    ingest = IngestProcess(data_dir)
    try:
        ingest.wait_ready()
        yield ingest
    finally:
        if ingest.process.poll() is None:
            ingest.kill()


def _load(ingest: IngestProcess, seconds: float, rate: float) -> tuple[Watch, dict[str, Any], float]:
    """Run the load generator; return what was watched, what it says, and the cores that ingest used."""
    seed = int.from_bytes(os.urandom(4), "big")
    target = f"127.0.0.1:{ingest.ports['otlp_grpc']}"
    command = [sys.executable, "-m", "stackctl.bench.load", target, str(seconds), str(rate), str(seed)]
    seen = psutil.Process(ingest.process.pid)
    watch, began, before = Watch(), time.monotonic(), _cpu_seconds(seen)
    sender = subprocess.Popen(command, stdout=subprocess.PIPE)
    while sender.poll() is None:
        time.sleep(_SAMPLE_SECONDS)
        watch.queue_bytes.append(ingest.status()["queue_bytes"])
        watch.rss_bytes.append(sum(_of_each(seen, lambda one: one.memory_info().rss)))
    cores = (_cpu_seconds(seen) - before) / (time.monotonic() - began)
    answer = sender.communicate()[0]
    if sender.returncode:
        raise ComponentUnhealthy("the load generator failed", next_step="see its traceback on stderr")
    return watch, orjson.loads(answer), cores


def _cpu_seconds(process: psutil.Process) -> float:
    """Processor time of a process and of its workers."""
    times = _of_each(process, lambda one: one.cpu_times())
    return float(sum(one.user + one.system for one in times))


def _of_each(process: psutil.Process, read: Callable[[psutil.Process], Any]) -> list[Any]:
    """What is read of a process and of each process below it that is still there."""
    found = [read(process)]
    for child in process.children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # a worker may end at any time
            found.append(read(child))
    return found
