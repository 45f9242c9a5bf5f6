"""Values of TraceQL as Tempo compares and calculates them: by the types that they turn out to have in a span."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from span_store import Given, span_hex, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.embedded.traces.session import Session
from stackctl.errors import QueryUnsupported
from stackctl.traceql import compile_query

MOST = 2**63 - 1
REASONS = "gen_ai.response.finish_reasons"
# All in one trace, by their number: their attributes.
SPANS = [
    {"i": 3, "x": 2, "n": 3, "m": "a\nb foo c"},
    {"i": 3, "x": 0, "n": 3.0, "m": "foo"},
    {"i": -7, "x": 2, "n": "3", "m": "b"},
    {"i": MOST, "x": 1, "n": 0.5},
    {"i": -(2**63), "x": -1, "n": 2},
    {"nums": [1, 2], "strs": ["p", "q"], "flags": [True, False], "reals": [0.5, 2.5]},
    {"nums": [3], "strs": ["a\nb"], "flags": [True], "mixed": [1, "1"]},
    {"nums": [], REASONS: ["stop", "length"]},
    {"nums": 1, REASONS: "[stop"},
    {"nums": "1", REASONS: [1, 2]},
]


def finding(session: Session, query: str) -> set[int]:
    """Return the numbers of the spans that a query finds."""
    numbers = {span_hex(number): number for number in range(1, len(SPANS) + 1)}
    found = search(session, SearchRequest(compile_query(query).body, limit=100, spans_per_spanset=0))
    return {numbers[span["spanID"]] for trace in found for one in trace["spanSets"] for span in one["spans"]}


def opened(data_dir: Path, *, sealed: list[Given], hot: list[Given]) -> Iterator[Session]:
    write_store(data_dir, sealed=sealed, hot=hot)
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    with database.session() as session:
        yield session
    database.close()


@pytest.fixture(scope="module", params=["sealed", "hot"])
def session(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    spans = [Given(1, number, attributes=attributes) for number, attributes in enumerate(SPANS, 1)]
    sealed = request.param == "sealed"
    yield from opened(tmp_path_factory.mktemp("values"), sealed=spans if sealed else [], hot=[] if sealed else spans)


@pytest.fixture
def found(session: Session) -> Callable[[str], set[int]]:
    return lambda query: finding(session, query)


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        (".i / .x = 1", {1}),
        (".i / .x = 1.5", set()),
        (".i / .x = -3", {3}),  # towards zero
        (".i % .x = -1", {3}),
        (".i % .x = 1", {1}),
        (".i / 2 * 2 = 2", {1, 2}),
        (".i / 2.0 = 1.5", {1, 2}),
        (".i * 1.0 / .x = 1.5", {1}),
        (".i ^ .x = 9", {1}),
        (".i ^ 2 / 2 = 4", {1, 2}),  # the power is an integer
        (".x ^ -1 = 0.5", {1, 3}),
        (".i / .x > 100", {4}),  # by 0 there is no value, nor for -2^63 / -1
        (".i / .x < 100", {1, 3}),
        (".i % .x = 0", {4, 5}),  # -2^63 % -1 is 0, as in Go
        (".i / 0 = nil", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),
        (".i / 0.0 > 1000", {1, 2, 4}),
        (".n % 0.0 != 1", {1, 2, 4, 5}),  # NaN is not anything
        (".n % 0.0 > 1 || .n % 0.0 <= 1", set()),
        (f".i + 1 > {MOST - 1}", set()),  # wraps around
        (".i + 1 < -100", {4, 5}),
        (".i * .i = 1", {4}),
        ("-.i > 100", set()),
        ("-.i = -3", {1, 2}),
        (".n / 2 = 1", {1, 5}),  # an integer here, a double there
        (".n / 2 = 1.5", {2}),
        (".n / 2 = 0.25", {4}),
        ("(.n + .n) / 4 = 1", {1, 5}),
        ("(.n + .n) / 4 = 1.5", {2}),
        ("-.n = -3", {1, 2}),
        ("duration / 3ms > 3.3", {1, 2, 3, 4, 5, 6, 7, 8, 9, 10}),  # durations are doubles
        ("duration / .i > 3333333.3 && duration / .i < 3333333.4", {1, 2}),
        ("-duration < -5ms && .i = -7", {3}),
    ],
)
def test_arithmetic_goes_by_type(found: Callable[[str], set[int]], condition: str, numbers: set[int]) -> None:
    """Two integers give an integer of 64 bits, all else doubles; what nobody can calculate has no value."""
    assert found(f"{{ {condition} }}") == numbers


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ('.m =~ ".*foo.*"', {1, 2}),
        ('.m !~ ".*foo.*"', {3}),
        ('.m =~ "a.b.*"', {1}),
        ('.m =~ "foo"', {2}),  # the whole value
        ('.strs =~ "a.b"', {7}),
        ('.strs !~ "a.b"', {6}),
        ('.m =~ "(?-s)a.b.*"', set()),
    ],
)
def test_a_dot_is_a_newline_too(found: Callable[[str], set[int]], condition: str, numbers: set[int]) -> None:
    """`.` of a regular expression matches every character, as in Prometheus."""
    assert found(f"{{ {condition} }}") == numbers


@pytest.mark.parametrize(
    ("condition", "numbers"),
    [
        ('.nums = "1"', {10}),
        (".nums = 1", {6, 9}),
        (".nums = 1.0", {6, 9}),
        (".nums > 1", {6, 7}),
        (".nums >= 3", {7}),
        ("2 < .nums", {7}),
        (".nums != 1", {7, 8}),  # none of an empty one is
        ('.strs > "p"', {6}),
        ('"p" < .strs', {6}),
        ('.strs = "q"', {6}),
        ('.strs != "q"', {7}),
        ('.strs =~ "[pq]"', {6}),
        ('.strs !~ "q|z"', {7}),
        (".strs = 1", set()),
        (".flags = false", {6}),
        (".flags != false", {7}),
        (".reals = 2.5", {6}),
        (".reals < 1", {6}),
        (".reals > duration", set()),
        ('.mixed = "1" && .mixed = 1', {7}),
        ('.mixed != "2"', set()),  # 1 is no string
        (".nums = span.i", set()),
        (".nums + 1 = 2", {9}),
        (".nums = nil && .i = nil", set()),
        (f'."{REASONS}" = "stop"', {8}),
        (f'."{REASONS}" != "stop"', {9}),
        (f'."{REASONS}" !~ "st.*"', {9}),
        (f'."{REASONS}" != "halt"', {8, 9}),
        (f'."{REASONS}" = "[stop"', {9}),
        (f'."{REASONS}" = 1', {10}),
        (f'."{REASONS}" > 1', {10}),
        (f'."{REASONS}" != nil', {8, 9, 10}),
    ],
)
def test_arrays_compare_by_element(found: Callable[[str], set[int]], condition: str, numbers: set[int]) -> None:
    """An array meets a comparison where an element of the type does; `!=` and `!~` where all of them do."""
    assert found(f"{{ {condition} }}") == numbers


@pytest.mark.parametrize(
    ("stage", "holds"),
    [
        ("count() % 0 > 1", False),
        ("count() % 0 != 1", True),  # NaN is not 1
        ("count() / 0 > 1", True),
        ("count() % 3 = 1", True),
        (f"count() > {MOST} + 1", False),
        (f"count() < {MOST} * {MOST}", True),
        ("count() > 10 ^ 400", False),
        ("count() / 4 = 2.5", True),
        ("sum(.i / 0) > 1", False),
        (f"max(.i * {MOST}) > 1", True),
        ("count() < 9999y", True),
        ("min(duration) < 9999y", True),
        ("sum(.absent) != 1", False),
    ],
)
def test_scalars_are_calculated_without_end(found: Callable[[str], set[int]], stage: str, holds: bool) -> None:
    """Scalars that overflow or are divided by 0 are infinite or no number, as doubles are."""
    assert bool(found(f"{{}} | {stage}")) == holds


def test_what_no_number_holds_is_refused_by_name(session: Session) -> None:
    """What DuckDB cannot calculate or convert is an error that names it."""
    with pytest.raises(QueryUnsupported, match="fits into no number"):
        session.rows("SELECT $p0 + 1 AS n", {"p0": MOST})
    with pytest.raises(QueryUnsupported, match="fits into no number"):
        session.table("SELECT $p0::BIGINT AS n", {"p0": "a"})


def test_long_sums_are_calculated(found: Callable[[str], set[int]]) -> None:
    """A sum of many values of several types takes no longer with each than its place in the text."""
    assert found(f"{{ {' + '.join(['.n'] * 30)} = 90 }}") == {1, 2}


def test_what_nests_too_deep_is_refused_by_name(session: Session) -> None:
    """What nests as deep as the parser takes and deeper than DuckDB does is an error that says so."""
    with pytest.raises(QueryUnsupported, match="nests too deep"):
        finding(session, f"{{ {'-(' * 140}.i{')' * 140} > 0 }}")


@pytest.mark.parametrize("own", [5, 0.5, True, ["y"], "y"])
@pytest.mark.parametrize("condition", ['.a = "x"', '.a = "x" && true', '.a =~ "x"'])
def test_a_spans_own_value_wins_over_its_resources(tmp_path: Path, own: object, condition: str) -> None:
    """A text on the resource is not found by its key where the span has that key in any type."""
    resource = {"service.name": "shop", "a": "x"}
    spans = [Given(1, 1, attributes={"a": own}, resource=resource)]
    for session in opened(tmp_path, sealed=spans, hot=[]):
        assert finding(session, f"{{ {condition} }}") == set()
        assert finding(session, '{ resource.a = "x" }') == {1}


def test_a_resources_text_is_found_where_the_span_has_none(tmp_path: Path) -> None:
    """Of spans in one segment, those without the key show their resource's value."""
    resource = {"service.name": "shop", "a": "x"}
    spans = [Given(1, 1, attributes={"a": 5}, resource=resource), Given(1, 2, resource=resource)]
    for session in opened(tmp_path, sealed=spans, hot=[]):
        assert finding(session, '{ .a = "x" }') == {2}
