"""How fast the query process answers over a large store, through its HTTP API, and with spans coming in beside it.

Machines differ and are busy, so that each figure has two more beside it: the processor time that the query process
needed, and how many times as long as bare DuckDB it took for the same over the same files. DuckDB takes all cores for
its part: it is asked behind everything that is measured, under the same load.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import psutil

from stackctl import semconv
from stackctl.bench import home
from stackctl.bench.asking import Asker
from stackctl.bench.console import make_day
from stackctl.bench.ingest import RATE_TOLERANCE, READY_SECONDS, IngestProcess, disk_bytes
from stackctl.bench.ports import free_port
from stackctl.bench.reports import AnswerReport, QueryReport
from stackctl.bench.requests import SPANS_PER_REQUEST
from stackctl.bench.stored import RARE_KEY, Corpus, Sample, write_corpus
from stackctl.embedded.series.head import Head
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store.reader import SpanReader
from stackctl.errors import ComponentUnhealthy, Misuse
from stackctl.stack import EngineConfig

# As many as the spans that have RARE_KEY: each is asked about once.
LEAST_REPETITIONS: Final = 25
_BARE_REPETITIONS: Final = 10
DAY_SECONDS: Final = 86_400
_CORPUS_FILE: Final = "corpus.json"
_TRACE_BAR_MS, _RARE_BAR_MS, _QUANTILE_BAR_MS = 20.0, 20.0, 400.0
_SETTLE_SECONDS: Final = 3.0
# What boards ask takes a third of the time, and is looked at for the rest. An open board asks again every half a minute
# (`boards.policy.REFRESH`), thirty times as seldom; without a pause, who asks has a core of two for himself throughout.
_LOOKED_AT: Final = 2
_SEED: Final = 7
_MODEL: Final = f"span.{semconv.REQUEST_MODEL}"
_P95: Final = f"{{ }} | quantile_over_time(duration, 0.95) by ({_MODEL})"
Parameters = dict[str, str | int]


@dataclass(frozen=True)
class Question:
    """What is asked again and again, each time of another span or another time.

    Attributes:
        bar_ms: the median must not be above it; None where nothing is promised.
        path: of the Tempo API, from a span and the corpus.
        parameters: of the request.
        bare: the same as SQL over `files`; None where there is none.
        rare: asked of spans that have RARE_KEY.
        long: asked in turn with the others that take long.
    """

    name: str
    bar_ms: float | None
    path: Callable[[Sample, Corpus], str]
    parameters: Callable[[Sample, Corpus], Parameters]
    bare: Callable[[Sample, Corpus], str] | None = None
    rare: bool = False
    long: bool = False


def _day(corpus: Corpus) -> Parameters:
    end = corpus.end_ns // 10**9 + 1
    return {"start": end - DAY_SECONDS - 1, "end": end}


def _hour(sample: Sample) -> Parameters:
    start = sample.start_ns // 10**9
    return {"start": start - 1800, "end": start + 1800}


def _trace_id(sample: Sample) -> str:
    return "".join(f"{half & (2**64 - 1):016x}" for half in (sample.tid_hi, sample.tid_lo))


def _search(condition: str) -> Callable[[Sample, Corpus], Parameters]:
    return lambda sample, corpus: {"q": f'{{ {condition} = "{sample.response_id}" }}', **_day(corpus)}


QUESTIONS: Final[Sequence[Question]] = (
    Question(
        "trace by id",
        _TRACE_BAR_MS,
        lambda sample, _: f"/api/traces/{_trace_id(sample)}",
        lambda *_: {},
        lambda sample, _: f"SELECT * FROM files WHERE tid_hi = {sample.tid_hi} AND tid_lo = {sample.tid_lo}",
    ),
    Question(
        "rare attribute",
        _RARE_BAR_MS,
        lambda *_: "/api/search",
        _search(f"span.{RARE_KEY}"),
        lambda sample, _: f"""SELECT tid_hi, span_id FROM files WHERE "s:{RARE_KEY}:s" = '{sample.response_id}'""",
        rare=True,
    ),
    Question(
        # Told, not promised: ids are five times as long here as real ones, and a row group's column is read whole.
        "response by id",
        None,
        lambda *_: "/api/search",
        _search(f"span.{semconv.RESPONSE_ID}"),
        lambda sample, _: (
            f"""SELECT tid_hi, span_id FROM files WHERE "s:{semconv.RESPONSE_ID}:s" = '{sample.response_id}'"""
        ),
    ),
    Question(
        "search of an hour",
        None,
        lambda *_: "/api/search",
        lambda sample, _: {"q": f'{{ {_MODEL} = "gpt-4o" && duration > 2s }}', **_hour(sample)},
    ),
    Question(
        "p95 by model, 24 h",
        _QUANTILE_BAR_MS,
        lambda *_: "/api/metrics/query",
        lambda _, corpus: {"q": _P95, **_day(corpus)},
        lambda *_: f"""SELECT "s:{semconv.REQUEST_MODEL}:s", quantile_cont(dur_ns, 0.95) FROM files GROUP BY 1""",
        long=True,
    ),
    Question(
        "p95 by model, 24 h in 96 steps",
        None,
        lambda *_: "/api/metrics/query_range",
        lambda _, corpus: {"q": _P95, "step": "15m", **_day(corpus)},
        long=True,
    ),
)

_PROMISED: Final = tuple((question.name, question.bar_ms) for question in QUESTIONS)


def measure(spans: int, rate: float, runs: int, directory: Path | None, tell: Callable[[str], None]) -> QueryReport:
    """Make a store, ask it, and tell how long the answers took.

    Args:
        spans: how many are stored.
        rate: spans a second that come in meanwhile; 0 for none.
        runs: repetitions of each question, at least LEAST_REPETITIONS.
        directory: where the store is kept for another time; a temporary one if None.
        tell: called with what is being done.

    Raises:
        ComponentUnhealthy: a process failed, or answered with an error.
        Misuse: the directory holds something else.
    """
    repetitions = max(runs, LEAST_REPETITIONS)
    with _directory(directory) as place:
        data_dir = place / "data"
        began = time.monotonic()
        corpus = _corpus(place, spans, tell)
        made = time.monotonic() - began
        with _ingest(data_dir, rate) as taken, _query(data_dir) as (process, clients):
            before = taken()
            asking = _asking(corpus, clients, repetitions)
            first = [ask(0) for ask in asking]
            time.sleep(_SETTLE_SECONDS)  # the process reads in the background what it needs the first time
            tell(f"asking {repetitions} times for each of {len(asking)} answers")
            timed = _timed(asking, process, repetitions)
            after = taken()
            asked_seconds = after[1] - before[1]
            tell("asking bare DuckDB")
            bare = [_bare_ms(question, corpus, data_dir) for question in QUESTIONS]
            return QueryReport(
                spans=corpus.spans,
                disk_bytes=disk_bytes(data_dir),
                made_seconds=made,
                asked_seconds=asked_seconds,
                ingest_spans_per_second=(after[0] - before[0]) / asked_seconds,
                load_average=os.getloadavg()[0],
                query_rss_bytes=process.memory_info().rss,
                answers=tuple(map(_report, [*_PROMISED, (home.NAME, home.BAR_MS)], timed, first, [*bare, None])),
            )


def problems(report: QueryReport, rate: float = 0) -> list[str]:
    """What of a run breaks the promise: answers that took longer than they may, or beside less load than was asked for.

    Args:
        report: of the run.
        rate: spans a second that were to come in.
    """
    found = [
        f"{answer.name}: {answer.median_ms:.0f} ms, {answer.bar_ms:.0f} ms promised"
        for answer in report.answers
        if answer.bar_ms is not None and answer.median_ms > answer.bar_ms
    ]
    expected = rate * (1 - RATE_TOLERANCE) * report.asked_seconds - SPANS_PER_REQUEST
    if report.ingest_spans_per_second * report.asked_seconds < expected:
        found.append(f"{report.ingest_spans_per_second:.0f} of {rate:.0f} spans/s came in")
    return found


@dataclass
class _Timed:
    """Milliseconds that answers to one question took, and processor time of them all."""

    times: list[float] = field(default_factory=list)
    cpu_ms: float = 0.0


def _asking(corpus: Corpus, clients: Mapping[str, Asker], repetitions: int) -> list[Callable[[int], float]]:
    """What asks each question, Home's behind the others, by number of the round: in each about another span."""

    def one(question: Question) -> Callable[[int], float]:
        samples = _samples(corpus, repetitions + 1, question.rare)
        return lambda number: _asked(question, samples[number], corpus, clients["tempo"])

    at_home = home.visitor(clients["prometheus"], corpus.series_end_ms)
    return [*map(one, QUESTIONS), lambda _: at_home()]


def _timed(asking: Sequence[Callable[[int], float]], process: psutil.Process, repetitions: int) -> list[_Timed]:
    """Ask in turn, so that each meets whatever the store does meanwhile: the short ones, then the others and Home.

    After each round of the others somebody looks at what he got.
    """
    found = [_Timed() for _ in asking]
    short = [place for place, question in enumerate(QUESTIONS) if not question.long]
    long = [place for place in range(len(asking)) if place not in short]
    for turn, looked_at in ((short, 0), (long, _LOOKED_AT)):
        for number in range(1, repetitions + 1):
            began = time.monotonic()
            for place in turn:
                cpu = sum(process.cpu_times()[:2])
                found[place].times.append(asking[place](number))
                found[place].cpu_ms += (sum(process.cpu_times()[:2]) - cpu) * 1000
            time.sleep(looked_at * (time.monotonic() - began))
    return found


def _report(promised: tuple[str, float | None], timed: _Timed, first: float, bare: float | None) -> AnswerReport:
    count = len(timed.times)
    return AnswerReport(*promised, count, median(timed.times), max(timed.times), first, timed.cpu_ms / count, bare)


def _samples(corpus: Corpus, count: int, rare: bool) -> list[Sample]:
    """Spans from all over the corpus, again from the first where there are too few."""
    found = [sample for sample in corpus.samples if sample.rare or not rare]
    step = max(1, len(found) // count)
    return [found[number * step % len(found)] for number in range(count)]


def _asked(question: Question, sample: Sample, corpus: Corpus, client: Asker) -> float:
    """Return how many milliseconds an answer took; it must have found something."""
    began = time.perf_counter()
    answer = client.get(question.path(sample, corpus), question.parameters(sample, corpus))
    took = (time.perf_counter() - began) * 1000
    found = answer.ok and any(answer.json().get(k) for k in ("batches", "traces", "series"))
    if not found:
        raise ComponentUnhealthy(f"{question.name}: {answer}", next_step="see its log on stderr")
    return took


def _bare_ms(question: Question, corpus: Corpus, data_dir: Path) -> float | None:
    """Return the median of the same on DuckDB alone, in this process, over sealed segments; None without SQL for it."""
    import duckdb

    if question.bare is None:
        return None
    times = []
    with duckdb.connect(":memory:") as connection:
        connection.execute("SET threads = 2")
        connection.execute("SET parquet_metadata_cache = true")
        source = f"read_parquet('{data_dir}/spans/spans-*.parquet', union_by_name = true)"
        connection.execute(f"CREATE VIEW files AS SELECT * FROM {source}")
        for sample in _samples(corpus, _BARE_REPETITIONS, question.rare):
            began = time.perf_counter()
            connection.execute(question.bare(sample, corpus)).fetchall()
            times.append((time.perf_counter() - began) * 1000)
    return median(times[1:] or times)


@contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    if given is None:
        with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as made:
            yield Path(made)
        return
    if given.exists() and any(given.iterdir()) and not (given / _CORPUS_FILE).exists():
        raise Misuse(f"{given} holds something else", next_step="name a directory that is empty, or not there yet")
    given.mkdir(parents=True, exist_ok=True)
    yield given


def _corpus(place: Path, spans: int, tell: Callable[[str], None]) -> Corpus:
    """Write the store, or take the one that is there if it is as large."""
    file = place / _CORPUS_FILE
    if file.exists():
        corpus = Corpus.read(file)
        if corpus.spans < spans:
            raise Misuse(f"{place} has {corpus.spans:,} spans only", next_step="name another directory")
        return corpus
    tell("writing a day of series")
    series_end_ms = time.time_ns() // 1_000_000
    make_day(place / "data")
    corpus = replace(write_corpus(place / "data", spans, _SEED, tell), series_end_ms=series_end_ms)
    _take_as_counted(place / "data")
    corpus.write(file)
    return corpus


def _take_as_counted(data_dir: Path) -> None:
    """Let the counters have seen what was sealed without them: ingest would tell at its start that they lack it."""
    head = Head(data_dir)
    head.start()
    head.apply(Increments(0), SpanReader(data_dir).snapshot().last_seq)
    head.close()


@contextmanager
def _ingest(data_dir: Path, rate: float) -> Iterator[Callable[[], tuple[int, float]]]:
    """Let spans come in at a rate; yields what tells how many came, and when."""
    if not rate:
        yield lambda: (0, time.monotonic())
        return
    ingest = IngestProcess(data_dir)
    try:
        ingest.wait_ready()
        target = f"127.0.0.1:{ingest.ports['otlp_grpc']}"
        command = [sys.executable, "-m", "stackctl.bench.load", target, "100000", str(rate), str(_SEED)]
        sender = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            time.sleep(_SETTLE_SECONDS)
            yield lambda: (int(ingest.status()["spans_total"]), time.monotonic())
        finally:
            sender.kill()
            sender.wait()
    finally:
        ingest.kill()


@contextmanager
def _query(data_dir: Path) -> Iterator[tuple[psutil.Process, dict[str, Asker]]]:
    """Run the query process over the store; yields it, and clients of its APIs by endpoint."""
    ports = {"prometheus": free_port(), "tempo": free_port()}
    config = data_dir.parent / "query.json"
    EngineConfig(str(data_dir), ports=ports).write(config)
    process = subprocess.Popen([sys.executable, "-m", "stackctl.embedded.query", str(config)])
    try:
        with ExitStack() as stack:
            clients = {name: stack.enter_context(closing(Asker(port))) for name, port in ports.items()}
            _wait_ready(process, clients["tempo"])
            yield psutil.Process(process.pid), clients
    finally:
        process.terminate()
        process.wait()


def _wait_ready(process: subprocess.Popen[Any], client: Asker) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            client.get("/ready")
            return
        except OSError:
            time.sleep(0.02)
    raise ComponentUnhealthy("the query process does not come up", next_step="see its log on stderr")
