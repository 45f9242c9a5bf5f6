"""Which segments a question opens: told from their footers and bloom filters, and never one too few."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from span_store import BASE_NS, Given, trace_hex, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.asking import Asking
from stackctl.embedded.traces.bloom import Probe, xxh64
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.fields import looks_beyond
from stackctl.embedded.traces.otlp import signed
from stackctl.embedded.traces.pruning import weakened
from stackctl.embedded.traces.segments import Segment, Window, read
from stackctl.embedded.traces.session import Session
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import ast, compile_query

SECOND = 10**9
# Four segments, an hour apart, of one trace each; the last of them holds the probe's span too.
SPANS = [
    [Given(1, 1, 0, "ask", 0, 500, attributes={"gen_ai.response.id": "resp-1", "model": "a", "tokens": 10})],
    [Given(2, 1, 0, "chat", 3_600_000, 2000, status=2, attributes={"gen_ai.response.id": "resp-2", "model": "b"})],
    [Given(3, 1, 0, "ask", 7_200_000, 10, attributes={"tokens": 900, "ok": True, "list": ["x"]})],
    [
        Given(4, 1, 0, "ask", 10_800_000, 10, attributes={"model": "a", "tokens": 0.5}),
        Given(9, 1, 0, "probe", 10_800_000, 10, resource={"service.name": PROBE_SERVICE}),
    ],
]


@pytest.fixture(scope="module")
def segments(tmp_path_factory: pytest.TempPathFactory) -> list[Segment]:
    data_dir = tmp_path_factory.mktemp("segments")
    for spans in SPANS:
        write_store(data_dir, sealed=spans)
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    with database.session() as session:
        yield list(session.segments)
    database.close()


@pytest.fixture
def opened(segments: list[Segment]) -> Callable[..., list[int]]:
    """Return which of the four segments a filter opens."""
    numbers = {str(segment.path): number for number, segment in enumerate(segments, 1)}

    def run(condition: str, window: Window | None = None) -> list[int]:
        filtered = compile_query(f"{{ {condition} }}").body.stages[0].condition
        session = Session(None, None, tuple(segments), (), (), (), None)  # type: ignore[arg-type]  # asks no SQL
        text = session.spans(["span_id"], window or Window(), filtered)
        looked_up = {str(part.segment.path) for parts, _ in session._named for part in parts}
        return [number for path, number in numbers.items() if path in text or path in looked_up]

    return run


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ('span.gen_ai.response.id = "resp-2"', [2]),
        ('.gen_ai.response.id = "resp-3"', []),
        (f'trace:id = "{trace_hex(3)}"', [1, 2, 3, 4]),  # ids of these tests have one upper half, which is asked for
        (f'trace:id = "{"0" * 31}3"', []),
        ('.model = "b"', [2]),
        ('.model != "b"', [1, 2, 4]),
        (".model != nil", [1, 2, 3, 4]),
        ('.model =~ "[ab]"', [1, 2, 4]),
        ("span.tokens > 100", [3]),
        ("100 < span.tokens", [3]),
        ("span.tokens <= 10", [1, 4]),
        ("span.tokens = 0.5", [4]),
        ("span.tokens + 1 > 0", [1, 3, 4]),
        ('.model = "a" && .tokens > 5', [1]),
        ('.model = "b" || .tokens > 100', [2, 3]),
        ('!(.model = "a")', [1, 2, 3, 4]),
        (".ok", [3]),
        (".ok = true", [3]),
        ('.list = "x"', [3]),
        ("status = error", [2]),
        ("duration > 1s", [2]),
        ('name = "chat"', [2, 4]),  # between "ask" and "probe"
        ('.absent = "x"', []),
        ('parent.model = "zz"', [1, 2, 3, 4]),
        ('event:name = "zz"', [1, 2, 3, 4]),
        ("false", []),
    ],
)
def test_only_segments_that_may_match_are_opened(
    opened: Callable[..., list[int]], condition: str, expected: list[int]
) -> None:
    """Ids by bloom filter, values by smallest and largest, attributes by their column; what is not known is opened."""
    assert opened(condition) == expected


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(BASE_NS + 3_000 * SECOND, BASE_NS + 4_000 * SECOND), [2]),
        (Window(BASE_NS + 3_601 * SECOND, BASE_NS + 3_601 * SECOND), [2]),  # still running then
        (Window(BASE_NS + 3_601 * SECOND, BASE_NS + 8_000 * SECOND, by_start=True), [3]),
        (Window(None, BASE_NS), [1]),
        (Window(BASE_NS + 7_200 * SECOND, None), [3, 4]),
        (Window(BASE_NS + 4_000 * SECOND, BASE_NS + 5_000 * SECOND).widened(3_600 * SECOND), [2, 3]),
    ],
)
def test_only_segments_of_the_time_are_opened(
    opened: Callable[..., list[int]], window: Window, expected: list[int]
) -> None:
    """A time range opens the segments with a span that runs in it, or starts in it."""
    assert opened("true", window) == expected


def test_a_segment_within_the_time_needs_no_condition(segments: list[Segment]) -> None:
    """Where every span of a segment is in the window and none is the probe's, neither times nor services are read."""
    session = Session(None, None, tuple(segments), (), (), (), None)  # type: ignore[arg-type]  # asks no SQL
    whole, cut = session.spans(["span_id"], Window(BASE_NS - 1, BASE_NS + 10**15)).split(" UNION ALL ")
    assert "WHERE" not in whole
    assert whole.count(".parquet") == 3
    assert PROBE_SERVICE in cut


def test_what_is_the_same_in_every_row_is_known(segments: list[Segment]) -> None:
    """A column without gaps and with one value only is told by the footer; one with a gap is not."""
    known = segments[3].constants
    assert (known["dur_ns"], known["kind"], known["scope"]) == (10_000_000, 1, "tests")
    assert {"name", "s:model:s", "s:tokens:d", "r:service.name:s"}.isdisjoint(known)
    assert segments[1].constants["s:model:s"] == "b"


def test_what_looks_beyond_the_span_is_left_out() -> None:
    """A condition without its parts about trace, parent and children holds wherever the whole condition holds."""
    for whole, rest in (
        (".a = 1 && traceDuration > 1s", ".a = 1"),
        (".a = 1 || parent.b = 2", None),
        ("(.a = 1 && childCount > 1) || (.b = 2 && rootName = `x`)", ".a = 1 || .b = 2"),
        ("!(parent.a = 1)", None),
        ("rootName = `x`", None),
    ):
        found = weakened(condition(whole), looks_beyond)
        assert found == (None if rest is None else condition(rest)), whole


def condition(text: str) -> ast.Expression:
    return compile_query(f"{{ {text} }}").body.stages[0].condition


@pytest.mark.parametrize(
    ("data", "digest"),
    [
        (b"", 0xEF46DB3751D8E999),
        (b"a", 0xD24EC4F1A98C6E5B),
        (b"abc", 0x44BC2CF5AD770999),
        (b"Nobody inspects the spammish repetition", 0xFBCEA83C8A378BF1),
    ],
)
def test_xxh64(data: bytes, digest: int) -> None:
    """The hash is XXH64: its published vectors, of short and of long texts."""
    assert xxh64(data) == digest


def test_bloom_filters_are_read_as_parquet_writes_them(tmp_path: Path) -> None:
    """No value that is there is ever denied, and of those that are not all but a few are."""
    numbers = np.random.default_rng(3).integers(-(2**63), 2**63 - 1, 4000)
    texts = [f"response {number:x}" * (number % 3 + 1) for number in numbers.tolist()]
    table = pa.table({"tid_hi": numbers[:2000], "s:an.id:s": texts[:2000]})
    options = {name: {"ndv": 500, "fpp": 0.01} for name in table.column_names}
    pq.write_table(table, tmp_path / "x", row_group_size=500, bloom_filter_options=options, write_statistics=False)
    segment = read(tmp_path / "x")
    assert all(segment.may_hold("tid_hi", [number]) for number in numbers[:2000].tolist())
    assert all(segment.may_hold("s:an.id:s", [text]) for text in texts[:2000])
    absent = [
        segment.may_hold("tid_hi", [n]) or segment.may_hold("s:an.id:s", [t])
        for n, t in zip(numbers[2000:].tolist(), texts[2000:], strict=True)
    ]
    assert sum(absent) < 0.2 * len(absent)
    filters = segment.columns["tid_hi"].filters
    assert filters is not None
    assert filters.which([Probe.of(int(numbers[700]))]).tolist() == [False, True, False, False]


def test_ids_are_signed_as_the_store_has_them() -> None:
    """The half of an id that a filter is asked for is the number that is stored."""
    assert signed("ffffffffffffffff") == -1


def test_all_segments_are_asked_at_once_as_they_are_one_by_one(segments: list[Segment]) -> None:
    """Ids that are there and others, of columns that all of them have, or some, or none."""
    asking = Asking(segments)
    traces = [signed(trace_hex(trace)[:16]) for trace in (1, 2, 3, 4, 9, 77)]
    asked = [("tid_hi", trace) for trace in traces]
    asked += [("s:gen_ai.response.id:s", text) for text in ("resp-1", "resp-2", "resp-7")] + [("s:absent.id:s", "x")]
    for column, value in asked:
        fresh = [replace(segment) for segment in segments]
        asking.ask(column, value)
        assert [list(one.groups_with(column, [value])) for one in segments] == [
            list(one.groups_with(column, [value])) for one in fresh
        ]
    assert segments[0].groups_with("tid_hi", [float(traces[0])]) == segments[0].columns["tid_hi"].groups
