"""The benchmark measures what it says: unique requests that cannot be compressed away, and everything counted again."""

import subprocess
import sys
import zlib
from collections import namedtuple
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import orjson
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl import semconv
from stackctl.bench.ingest import IngestProcess, Watch, _stolen_share, compact, count_spans, problems
from stackctl.bench.reports import IngestReport, OneSpanRun
from stackctl.bench.requests import CALLS_PER_REQUEST, SPANS_PER_REQUEST, RequestSource
from stackctl.bench.singles import SingleSource
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.stack import EngineConfig

FIELDS = IngestReport(50_000.0, 1024, 1024, 640, 640, 640.0, 0, 0, {}, 0.0, 1.0, 0.2, 1, 1, False, 100.0)


def test_requests_are_unique_and_keep_their_size_through_redaction() -> None:
    """512 spans of about 1 kB, none like another, of each of which 500 incompressible bytes are stored."""
    source = RequestSource(seed=5)
    bodies = [source.make(number) for number in range(2)]
    assert all(900 < len(body) / SPANS_PER_REQUEST < 1600 for body in bodies)
    table = Pipeline(EngineConfig("")).process(decode.spans(bodies, 1))
    keys = np.stack([table["tid_hi"].to_numpy(), table["span_id"].to_numpy()], axis=1)
    assert len(np.unique(keys, axis=0)) == table.num_rows == 2 * SPANS_PER_REQUEST
    assert np.array_equal(keys, np.concatenate([source.span_keys(0), source.span_keys(1)]))
    accounted = table.column("s:stackctl.accounted:b")
    assert table.num_rows - accounted.null_count == 2 * CALLS_PER_REQUEST
    assert table.nbytes / table.num_rows >= 500
    text = "".join(v or "" for name in table.column_names if name.endswith("id:s") for v in table[name].to_pylist())
    assert len(text) / table.num_rows >= 400
    # Hexadecimal digits carry half a byte each; repetition would bring it far below that.
    assert len(zlib.compress(text.encode())) > 0.49 * len(text)


def test_what_is_random_stands_in_its_place() -> None:
    """Each trace has one root, its other spans are the root's; times, durations and numbers are those of calls."""
    now = 1_700_000_000_000_000_000
    request = ExportTraceServiceRequest.FromString(RequestSource(seed=5).make(3, clock_ns=lambda: now))
    spans = request.resource_spans[0].scope_spans[0].spans
    keys = np.array([(span.trace_id.hex(), span.span_id.hex()) for span in spans])
    assert len(set(keys[:, 0])) == SPANS_PER_REQUEST / 8
    for trace in (spans[at : at + 8] for at in range(0, SPANS_PER_REQUEST, 8)):
        assert len({span.trace_id for span in trace}) == 1
        assert [span.parent_span_id for span in trace] == [b"", *[trace[0].span_id] * 7]
    assert all(now - 10**7 < span.end_time_unix_nano <= now for span in spans)
    lasted = [span.end_time_unix_nano - span.start_time_unix_nano for span in spans]
    assert 10**7 < min(lasted) < 5e8 < max(lasted) < 10**11
    found: dict[str, list[float]] = {}
    for span in spans:
        for pair in span.attributes:
            if pair.value.WhichOneof("value") in ("int_value", "double_value"):
                found.setdefault(pair.key, []).append(pair.value.int_value or pair.value.double_value)
    for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS):
        assert len(found[key]) == CALLS_PER_REQUEST
        assert 128 <= min(found[key]) < 600 < 7500 < max(found[key]) < 8192
    seconds = found[semconv.TIME_TO_FIRST_CHUNK]
    assert len(set(seconds)) == CALLS_PER_REQUEST
    assert 0 < min(seconds) < max(seconds) < 10


def test_memory_is_filled_again_only_when_it_was_given_back() -> None:
    """A request that is still being sent stays as it is; what is made in memory of another is as if made anew."""
    one, other = RequestSource(seed=7), RequestSource(seed=7)
    first = one.lend(0, lambda: 1)
    kept = first.tobytes()
    second = one.lend(6, lambda: 1)
    assert second.tobytes() == other.make(6, lambda: 1)
    one.give_back(6, second)
    third = one.lend(12, lambda: 1)
    assert np.shares_memory(second, third)
    assert third.tobytes() == other.make(12, lambda: 1)
    assert first.tobytes() == kept == other.make(0, lambda: 1)


def test_texts_never_come_twice() -> None:
    """The pool of random text begins elsewhere each time around, so that no store can recognise a text."""
    source = RequestSource(seed=6)
    around = len(source._pool) // (SPANS_PER_REQUEST * 480) - 1
    texts = [source.make(number)[-400:] for number in (0, around, 2 * around)]
    assert len(set(texts)) == 3


def test_two_seeds_share_no_span() -> None:
    """Several load generators beside one another send different spans."""
    first, second = RequestSource(1), RequestSource(2)
    assert not set(map(tuple, first.span_keys(0).tolist())) & set(map(tuple, second.span_keys(0).tolist()))


def test_a_short_run_counts_everything(stackctl_cli: Callable) -> None:
    """`stackctl bench ingest --json` reports rates, and that every span and call is where it belongs."""
    done = stackctl_cli("bench", "ingest", "--seconds", "1", "--rate", "4000", "--json")
    # A busy machine may miss the rate that was asked: a problem found (1), which says nothing about the counts.
    assert done.code in (0, 1), done.stderr
    report = done.json()
    assert report["stored_spans"] == report["acked_spans"] > 0
    assert report["counted_calls"] == report["stored_calls"] == report["accounted_calls"] > 0
    assert report["disk_bytes_per_span"] > 100


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"refused_requests": 2}, "refused"),
        ({"stored_spans": 1023}, "stored"),
        ({"counted_calls": 639.0}, "llm_requests_total"),
        ({"queue_grew": True}, "queue"),
        ({"spans_per_second": 49_000.0}, "spans/s"),
        ({"sender_late_seconds": 1.5}, "late"),
    ],
)
def test_a_broken_promise_is_a_problem(change: dict, word: str) -> None:
    """A refused request, a missing span, a wrong counter, a growing queue or a missed rate fails it by name."""
    assert problems(FIELDS, rate=50_000) == []
    (problem,) = problems(IngestReport(**(vars(FIELDS) | change)), rate=50_000)
    assert word in problem


WHOLE = replace(
    FIELDS,
    spans_per_second=120_000.0,
    parquet_bytes_per_span=95.0,
    paced=replace(FIELDS, ack_seconds={"p99": 0.03}),
    one_span=(OneSpanRun("grpc", 4_500.0, 9, 9, 0, {}, 1, 200.0, 0.5, 200.0),),
)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spans_per_second": 99_000.0}, "below 100000"),
        ({"ingest_rss_bytes": 700 * 1024**2}, "MiB"),
        ({"parquet_bytes_per_span": 80.0}, "plain Parquet"),
        ({"paced": replace(FIELDS, ack_seconds={"p99": 0.06})}, "60 ms"),
        ({"paced": replace(FIELDS, ack_seconds={"p99": 0.03}, queue_grew=True)}, "queue"),
        ({"one_span": (replace(WHOLE.one_span[0], requests_per_second=3_000.0),)}, "over grpc"),
        ({"one_span": (replace(WHOLE.one_span[0], disk_bytes_per_span=300.0),)}, "disk"),
        ({"one_span": (replace(WHOLE.one_span[0], stored_spans=8),)}, "8 stored"),
    ],
)
def test_a_whole_measurement_is_held_against_what_is_promised(change: dict, word: str) -> None:
    """Rate, time of acknowledgement, memory, disk and single spans each fail the benchmark by name."""
    assert problems(WHOLE) == []
    (problem,) = problems(replace(WHOLE, **change))
    assert word in problem


def test_single_spans_are_unique_and_taken_over_both_protocols(tmp_path: Path) -> None:
    """The load of applications that do not batch is stored span for span, and takes little once it is compacted."""
    source = SingleSource(seed=7)
    table = decode.spans([source.make() for _ in range(1500)], 1)
    assert len(set(zip(*(table[name].to_pylist() for name in ("tid_hi", "tid_lo", "span_id")), strict=True))) == 1500
    ingest = IngestProcess(tmp_path / "data")
    try:
        ingest.wait_ready()
        acked = 0
        for protocol in ("grpc", "http"):
            target = f"127.0.0.1:{ingest.ports[f'otlp_{protocol}']}"
            command = [sys.executable, "-m", "stackctl.bench.singles", protocol, target, "1", "9" + str(len(protocol))]
            said = orjson.loads(subprocess.run(command, check=True, capture_output=True).stdout)
            assert said["refused"] == {}
            acked += said["acked_spans"]
        ingest.stop()
    finally:
        ingest.process.kill()
    compact(ingest.data_dir)
    assert not list((ingest.data_dir / "spans" / "log").glob("*.log"))[1:]
    assert count_spans(ingest.data_dir) == (acked, acked)


@pytest.mark.parametrize(("case", "program"), [("promql", "prometheus"), ("collector", "otelcol-contrib")])
def test_a_missing_program_is_named(stackctl_cli: Callable, tmp_path: Path, case: str, program: str) -> None:
    """A benchmark of a real server that is not there says which program it wants, and how to name it."""
    flag = f"--{program.partition('-')[0].replace('otelcol', 'collector')}-program"
    done = stackctl_cli("bench", case, flag, tmp_path / program)
    assert done.code == 3
    assert f"there is no real {program} at {tmp_path / program}" in done.stderr
    assert flag in done.stderr


def test_a_growing_queue_is_told_from_a_busy_one() -> None:
    """A queue that stands still is fine at any height; one that rises to the end is not."""
    mib = 1024**2
    assert not Watch(queue_bytes=[10 * mib, 30 * mib, 5 * mib] * 10).grows()
    assert Watch(queue_bytes=[n * mib for n in range(30)]).grows()


def test_an_unknown_case_is_refused(stackctl_cli: Callable) -> None:
    """A benchmark that does not exist is wrong usage, and the next step names those that do."""
    done = stackctl_cli("bench", "nonsense")
    assert done.code == 2
    assert "ingest" in done.stderr


def test_what_the_host_takes_is_told() -> None:
    """A virtual machine knows the time that it wanted and did not get; elsewhere that is unknown, not 0."""
    linux, other = namedtuple("linux", "user idle steal"), namedtuple("other", "user idle")
    assert _stolen_share(linux(10.0, 5.0, 1.0), linux(25.0, 5.0, 6.0)) == 0.25
    assert _stolen_share(other(1.0, 1.0), other(2.0, 2.0)) is None
