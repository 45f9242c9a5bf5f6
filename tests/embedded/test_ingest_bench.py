"""The benchmark measures what it says: unique requests that cannot be compressed away, and everything counted again."""

import zlib
from collections.abc import Callable

import numpy as np
import pytest

from stackctl.bench.ingest import Watch, problems
from stackctl.bench.requests import CALLS_PER_REQUEST, SPANS_PER_REQUEST, RequestSource
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.reports import IngestReport
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
