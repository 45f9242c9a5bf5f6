"""Kill -9 at random points of everything that ingest does: nothing acknowledged is lost, nothing is counted twice."""

import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import httpx2
import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from killed_ingest import PHASES, Marks
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality
from otlp_messages import call_request, log_request, put

from stackctl import semconv
from stackctl.bench.ingest import IngestProcess, count_spans
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.series.reader import SampleReader
from stackctl.embedded.store.reader import SpanReader
from stackctl.errors import ComponentUnhealthy
from stackctl.promql import Matcher, Series

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("STACKCTL_KILLS", "6"))
SEED = int(os.environ.get("STACKCTL_KILL_SEED", "11"))
CALLS = 8
"""Spans of a request."""
# What a kill waits for, how long it then waits at most (seconds), and its share of all kills.
AIMS: tuple[tuple[str, float, int], ...] = (
    ("", 1.5, 4),
    ("recovery", 0.25, 3),
    ("sealing", 0.03, 3),
    ("compaction", 0.02, 3),
    ("series block", 0.01, 2),
    ("series roll", 0.004, 2),
    ("append", 0.004, 2),
    ("trimming", 0.001, 1),
    ("workers", 0.5, 2),
)
_AIM_SECONDS = 8.0
# Kills after which each phase must have been met, and not only most of them.
_MANY = 60


class Sender(threading.Thread):
    """Sends numbered requests; each is repeated until it is acknowledged.

    Args:
        attempt: sends a request; True where it was acknowledged.
        make: returns the request of a number.

    Attributes:
        acknowledged: how many, from number 0 on without a hole.
        repeats: how often a request was sent again.
    """

    def __init__(self, attempt: Callable[[bytes], bool], make: Callable[[int], bytes]) -> None:
        super().__init__(daemon=True)
        self._attempt, self._make, self._stopping = attempt, make, threading.Event()
        self.acknowledged = self.repeats = 0

    def run(self) -> None:
        """Send until told to stop and the last request is acknowledged."""
        while not self._stopping.is_set():
            body = self._make(self.acknowledged)
            while not self._attempt(body):
                self.repeats += 1
                time.sleep(0.2)
            self.acknowledged += 1
            time.sleep(0.01)

    def stop(self) -> None:
        """End after the request under way."""
        self._stopping.set()
        self.join(60)
        assert not self.is_alive()


def over_http(ingest: IngestProcess, path: str) -> Callable[[bytes], bool]:
    """Return what sends over HTTP."""
    url = f"http://127.0.0.1:{ingest.ports['otlp_http']}{path}"
    client = httpx2.Client(trust_env=False, timeout=20, headers={"content-type": "application/x-protobuf"})

    def attempt(body: bytes) -> bool:
        try:
            return client.post(url, content=body).status_code == 200
        except httpx2.TransportError:
            return False

    return attempt


def over_grpc(ingest: IngestProcess, signal: Signal) -> Callable[[bytes], bool]:
    """Return what sends over gRPC."""
    options = [
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 50),
        ("grpc.max_reconnect_backoff_ms", 200),
    ]
    call = grpc.insecure_channel(f"127.0.0.1:{ingest.ports['otlp_grpc']}", options).unary_unary(
        f"/{signal.service}/Export"
    )

    def attempt(body: bytes) -> bool:
        try:
            call(body, timeout=20)
        except grpc.RpcError:
            return False
        return True

    return attempt


def calls_request(sender: int) -> Callable[[int], bytes]:
    """Return what makes requests of a sender's inference calls, their span ids in one row over all requests."""
    return lambda number: call_request(CALLS, first_id=first_id(sender, number))


def first_id(sender: int, number: int) -> int:
    """The first span id of a request."""
    return (sender + 1 << 40) + number * CALLS


def metrics_request(instance: str) -> Callable[[int], bytes]:
    """Return what makes a delta counter that grows by a request's number, and a gauge that is the number."""

    def make(number: int) -> bytes:
        request = ExportMetricsServiceRequest()
        resource = request.resource_metrics.add()
        put(resource.resource.attributes, {"service.name": "shop", "service.instance.id": instance})
        metrics = resource.scope_metrics.add().metrics
        work = metrics.add(name="app.work").sum
        work.aggregation_temporality, work.is_monotonic = AggregationTemporality.AGGREGATION_TEMPORALITY_DELTA, True
        work.data_points.add(as_int=number)
        metrics.add(name="app.mark").gauge.data_points.add(as_int=number)
        return request.SerializeToString()

    return make


def evaluation_request(number: int) -> bytes:
    """One evaluation, told from others by the response that it judges."""
    name, score = "gen_ai.evaluation.name", "gen_ai.evaluation.score.value"
    return log_request({name: "grounded", score: 0.25, "gen_ai.response.id": f"response-{number}"})


def aims(chance: random.Random) -> Iterator[tuple[str, float]]:
    """Return what to kill in: every phase once, then by their shares."""
    first = list(AIMS)
    chance.shuffle(first)
    yield from ((phase, seconds) for phase, seconds, _ in first)
    while True:
        ((phase, seconds, _),) = chance.choices(AIMS, [share for _, _, share in AIMS])
        yield phase, seconds


@dataclass
class Killer:
    """Kills an ingest process in a phase, starts it again, and keeps count.

    Attributes:
        met: how many kills fell into each phase.
        torn_bytes: what starts after kills found to be no whole frame.
    """

    ingest: IngestProcess
    marks: Marks
    chance: random.Random
    met: Counter[str] = field(default_factory=Counter)
    torn_bytes: int = 0

    def kill(self, phase: str, seconds: float) -> None:
        """Kill once, then start again."""
        if phase == "recovery":  # a start that is killed itself
            self._end()
            self.ingest.start_again()
        deadline = time.monotonic() + _AIM_SECONDS
        while phase and phase not in self.marks.active() and time.monotonic() < deadline:
            time.sleep(0.0003)
        time.sleep(self.chance.uniform(0, seconds))
        self._end()
        met = self.marks.active()
        self.met.update(met or ["nothing else"])
        self.marks.clear()
        self.ingest.start_again()
        if phase != "recovery" or self.chance.random() < 0.5:  # else the next kill may meet this start too
            wait_ready(self.ingest)
            self.torn_bytes += self.ingest.status()["torn_bytes"]

    def _end(self) -> None:
        left = psutil.Process(self.ingest.process.pid).children(recursive=True)
        self.ingest.kill()
        assert psutil.wait_procs(left, 60)[1] == []  # workers die with their parent, at their first step at the latest


def wait_ready(ingest: IngestProcess) -> None:
    """Wait for a start, however busy the machine is; one that ends by itself is an error."""
    for _ in range(10):
        with suppress(ComponentUnhealthy):
            ingest.wait_ready()
            return
        assert ingest.process.poll() is None
    raise AssertionError("ingest does not come up")


class Onlooker:
    """A query process's view over all the kills: what was seen once stays."""

    def __init__(self, data_dir: Path) -> None:
        self._spans, self._samples = SpanReader(data_dir), SampleReader(data_dir)
        self._rows = 0

    def look(self, spans: int, marks: int) -> None:
        """Fail where less is seen than before, or than was acknowledged before."""
        rows = self._count()
        assert rows >= max(self._rows, spans)
        self._rows = rows
        assert sum(len(one.v) for one in series(self._samples, "app_mark")) >= marks

    def _count(self) -> int:
        while True:
            found = self._spans.snapshot()
            try:
                sealed = sum(pq.read_metadata(path).num_rows for path in found.segments)
            except FileNotFoundError:  # merged meanwhile: there is a newer view
                continue
            return sealed + (0 if found.hot is None else found.hot.num_rows)


def series(reader: SampleReader, name: str) -> list[Series]:
    """All samples of a metric."""
    return reader.select([Matcher("__name__", "=", name)], 0, 2**60)


def counted(reader: SampleReader, name: str) -> float:
    """Sum of the last values of a counter's series, none of which ever fell."""
    found = series(reader, name)
    assert found
    assert not any((np.diff(one.v) < 0).any() for one in found)
    return float(sum(one.v[-1] for one in found))


def stored_ids(data_dir: Path) -> list[int]:
    """Every stored span, ascending."""
    snapshot = SpanReader(data_dir).snapshot()
    tables = [pq.ParquetFile(path).read(["span_id"]) for path in snapshot.segments]
    tables += [snapshot.hot] if snapshot.hot is not None else []
    return sorted(one for table in tables for one in table["span_id"].to_pylist())


def evaluations(data_dir: Path) -> list[str]:
    """Response ids of the stored evaluations."""
    snapshot = SpanReader(data_dir).snapshot()
    tables = [pq.ParquetFile(path).read(["response_id"]) for path in snapshot.evaluation_segments]
    tables += [snapshot.evaluations_hot] if snapshot.evaluations_hot is not None else []
    return [one for table in tables for one in table["response_id"].to_pylist()]


class Traffic:
    """Every signal over both protocols.

    Attributes:
        calls: senders of traces.
        marks: senders of metrics.
        judged: sender of evaluations.
    """

    def __init__(self, ingest: IngestProcess) -> None:
        ways = (over_http(ingest, "/v1/traces"), over_grpc(ingest, Signal.TRACES)) * 3
        self.calls = [Sender(one, calls_request(number)) for number, one in enumerate(ways)]
        ways = (over_http(ingest, "/v1/metrics"), over_grpc(ingest, Signal.METRICS))
        self.marks = [Sender(one, metrics_request(f"m{number}")) for number, one in enumerate(ways)]
        self.judged = Sender(over_http(ingest, "/v1/logs"), evaluation_request)
        self._all = [*self.calls, *self.marks, self.judged]

    def start(self) -> None:
        """Begin to send."""
        for sender in self._all:
            sender.start()

    def stop(self) -> None:
        """End when everything that was sent is acknowledged."""
        for sender in self._all:
            sender.stop()

    @property
    def spans(self) -> int:
        """How many were acknowledged."""
        return CALLS * sum(sender.acknowledged for sender in self.calls)

    @property
    def repeats(self) -> int:
        """How often something was sent again."""
        return sum(sender.repeats for sender in self._all)

    def span_ids(self) -> list[int]:
        """Every acknowledged span, ascending."""
        ends = [(first_id(n, 0), first_id(n, sender.acknowledged)) for n, sender in enumerate(self.calls)]
        return [one for start, end in ends for one in range(start, end)]


def check(data_dir: Path, traffic: Traffic) -> dict[str, float]:
    """Hold what is stored against what was acknowledged, row by row; return figures."""
    sent = traffic.span_ids()
    assert stored_ids(data_dir) == sent  # none is missing, none is there twice
    assert count_spans(data_dir) == (len(sent), len(sent))
    reader = SampleReader(data_dir)
    assert counted(reader, semconv.LLM_REQUESTS) == len(sent)
    judged = traffic.judged.acknowledged
    assert sorted(evaluations(data_dir)) == sorted(f"response-{number}" for number in range(judged))
    assert counted(reader, semconv.LLM_EVALUATIONS) == judged
    marks = {one.labels["instance"]: one.v.tolist() for one in series(reader, "app_mark")}
    assert marks == {f"m{n}": list(range(sender.acknowledged)) for n, sender in enumerate(traffic.marks)}
    assert counted(reader, "app_work_total") == sum(sum(range(sender.acknowledged)) for sender in traffic.marks)
    return {"spans": len(sent), "evaluations": judged, "samples": sum(map(len, marks.values()))}


def test_kill_9_anywhere_loses_and_doubles_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """After kills in every phase, all that was acknowledged is stored once, and every counter equals what was sent.

    STACKCTL_KILLS says how often (6); STACKCTL_KILL_SEED when.
    """
    marks = Marks(tmp_path / "marks")
    program = (str(Path(__file__).with_name("killed_ingest.py")), str(tmp_path / "marks"))
    ingest = IngestProcess(tmp_path / "data", program)
    wait_ready(ingest)
    chance, traffic, onlooker = random.Random(SEED), Traffic(ingest), Onlooker(ingest.data_dir)
    killer = Killer(ingest, marks, chance)
    try:
        traffic.start()
        for _, (phase, seconds) in zip(range(KILLS), aims(chance), strict=False):
            killer.kill(phase, seconds)
            onlooker.look(traffic.spans, sum(one.acknowledged for one in traffic.marks))
        wait_ready(ingest)
        traffic.stop()
        ingest.stop()
    finally:
        if ingest.process.poll() is None:
            ingest.kill()
    figures = check(ingest.data_dir, traffic)
    with capsys.disabled():
        if "STACKCTL_KILLS" in os.environ:
            print(f"\n{KILLS} kills with seed {SEED} in {dict(killer.met)}; {figures}, {traffic.repeats} repeats")
    assert traffic.repeats > 0
    if KILLS >= _MANY:
        assert {phase for phase in PHASES if not killer.met[phase]} == set()
