"""TraceQL beyond one filter: structure, grouping, aggregates, metrics, over a small store whose answers can be seen."""

from collections.abc import Callable, Iterator

import pytest
from span_store import BASE_NS, Given, span_hex, trace_hex, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.measuring import Steps
from stackctl.embedded.traces.metrics import measure
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters
from stackctl.errors import QueryUnsupported
from stackctl.traceql import compile_query

# Trace 1: ask -> (retrieve -> embed, chat -> tool); 2: ask -> chat (failed); 3: a chat alone, its parent lost.
SPANS = [
    Given(1, 1, 0, "ask", 0, 1000),
    Given(1, 2, 1, "retrieve", 10, 100, attributes={"n": 3}),
    Given(1, 3, 2, "embed", 20, 50, attributes={"model": "e", "tokens": 10, "cost": 0.5}),
    Given(
        1,
        4,
        1,
        "chat",
        200,
        700,
        attributes={"model": "m", "tokens": 100, "cost": 2.5},
        events=[("first", {"k": 1, "word": "a"}), ("second", {"k": 2, "b": True})],
        links=[(9, 9)],
    ),
    Given(1, 5, 4, "tool", 300, 100, resource={"service.name": "tools"}),
    Given(2, 1, 0, "ask", 2000, 400),
    Given(2, 2, 1, "chat", 2010, 300, status=2, attributes={"model": "m", "tokens": 40, "cost": 1.0}),
    Given(3, 7, 99, "chat", 4000, 50, attributes={"model": "x", "tokens": 7}),
    Given(4, 8, 0, "probe", 4500, 1, resource={"service.name": "stackctl-probe"}),
]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    data_dir = tmp_path_factory.mktemp("spansets")
    write_store(data_dir, sealed=SPANS[:4], hot=SPANS[4:])
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    with database.session() as session:
        yield session
    database.close()


@pytest.fixture
def found(session: Session) -> Callable[..., set[tuple[int, int]]]:
    """Return what a query finds as (trace, span) of the small numbers given above."""
    traces = {trace_hex(span.trace): span.trace for span in SPANS}
    spans = {span_hex(span.span): span.span for span in SPANS}

    def run(query: str, bounds: Bounds | None = None) -> set[tuple[int, int]]:
        request = SearchRequest(compile_query(query).body, bounds or Bounds(), limit=100, spans_per_spanset=0)
        return {
            (traces[trace["traceID"]], spans[span["spanID"]])
            for trace in search(session, request)
            for spanset in trace["spanSets"]
            for span in spanset["spans"]
        }

    return run


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{ name = "ask" } > { name = "chat" }', {(1, 4), (2, 2)}),
        ('{ name = "chat" } < { name = "ask" }', {(1, 1), (2, 1)}),
        ('{ name = "ask" } >> { name =~ "embed|tool" }', {(1, 3), (1, 5)}),
        ('{ name = "tool" } << { true }', {(1, 1), (1, 4)}),
        ('{ name = "chat" } ~ { true }', {(1, 2)}),
        ('{ name = "ask" } !> { name =~ "chat|tool" }', {(1, 5), (3, 7)}),
        ('{ name = "ask" } !>> { true }', {(1, 1), (2, 1), (3, 7)}),
        ('{ name = "retrieve" } !~ { name = "chat" }', {(2, 2), (3, 7)}),
        ('{ name = "chat" } &> { name = "tool" }', {(1, 4), (1, 5)}),
        ('{ name = "ask" } &>> { name = "embed" }', {(1, 1), (1, 3)}),
        ('{ name = "retrieve" } &~ { name = "chat" }', {(1, 2), (1, 4)}),
        ('{ name = "chat" } && { name = "tool" }', {(1, 4), (1, 5)}),
        ('{ name = "embed" } || { status = error }', {(1, 3), (2, 2)}),
        ('{ name = "ask" } > { name = "chat" } > { name = "tool" }', {(1, 5)}),
    ],
)
def test_structure(found: Callable[..., set[tuple[int, int]]], query: str, expected: set[tuple[int, int]]) -> None:
    """Structural operators keep the spans of the right side that stand so to one of the left, within one trace."""
    assert found(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ .model != nil } | count() > 1", {(1, 3), (1, 4)}),
        ("{ .model != nil } | sum(.tokens) >= 110", {(1, 3), (1, 4)}),
        ("{ .model != nil } | avg(.cost) = 1.5", {(1, 3), (1, 4)}),
        ("{ .model != nil } | max(duration) < 400ms", {(2, 2), (3, 7)}),
        ("{ .model != nil } | min(.tokens) * 2 = 14", {(3, 7)}),
        ("{} | by(resource.service.name) | count() = 1", {(1, 5), (3, 7)}),
        ("{} | by(resource.service.name) | coalesce() | count() = 5", {(1, n) for n in (1, 2, 3, 4, 5)}),
        ('{} | count() > 1 | { name = "chat" }', {(1, 4), (2, 2)}),
        ('({} | count() > 4) && { name = "chat" }', {(1, n) for n in (1, 2, 3, 4, 5)}),
        ('{ traceDuration >= 1s && name = "chat" }', {(1, 4)}),
        ('{ rootName = "ask" && rootServiceName = "shop" && name = "chat" }', {(1, 4), (2, 2)}),
        (f'{{ trace:id = "{trace_hex(3)}" }}', {(3, 7)}),
        ('{ span:parentID = "" }', {(1, 1), (2, 1)}),
        ("{ -.tokens + 200 * 2 > 390 - 1 }", {(1, 3), (3, 7)}),
    ],
)
def test_pipelines(found: Callable[..., set[tuple[int, int]]], query: str, expected: set[tuple[int, int]]) -> None:
    """Aggregates, groups, trace facts and arithmetic decide over whole spansets."""
    assert found(query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('{ parent.model = "m" }', {(1, 5)}),
        ('{ parent.resource.service.name = "shop" && name = "chat" }', {(1, 4), (2, 2)}),
        ("{ parent.n + 1 = 4 }", {(1, 3)}),
        ("{ parent.n = nil && parent.tokens = nil && span:parentID != `` }", {(1, 2), (1, 4), (2, 2), (3, 7)}),
        ("{ parent = nil }", {(1, 1), (2, 1)}),
        ("{ parent != nil } && { status = error }", {(2, 2)}),
        ("{ childCount = 2 }", {(1, 1)}),
        ("{ span:childCount = 0 && .model != nil }", {(1, 3), (2, 2), (3, 7)}),
        ("{ nestedSetParent < 0 }", {(1, 1), (2, 1)}),
        ("{ nestedSetParent = -1 } >> { .model != nil }", {(1, 3), (1, 4), (2, 2)}),
        ("{ 0 < nestedSetParent && name != `chat` }", {(1, 2), (1, 3), (1, 5)}),
        ("{ nestedSetParent != 0 && .model = `e` }", {(1, 3)}),
        ('{ event:name = "second" }', {(1, 4)}),
        ("{ event.k > 1 }", {(1, 4)}),
        ("{ event.k > 2 }", set()),
        ("{ event.k != 1 }", {(1, 4)}),  # one event has another
        ('{ event.word =~ "[ab]" && event.b }', {(1, 4)}),
        ("{ event.k = 1 && event.k = 2 }", {(1, 4)}),  # by two events
        ("{ event.k + event.k = 3 }", set()),  # within one event
        ("{ event.word = nil && .model = `m` }", {(2, 2)}),
        ("{ event.word != nil }", {(1, 4)}),
        ("{ !(event.k > 0) && .model = `m` }", {(2, 2)}),
        ("{ event:timeSinceStart < 1us }", {(1, 4)}),
        (f'{{ link:traceID = "{trace_hex(9)}" && link:spanID = "{span_hex(9)}" }}', {(1, 4)}),
        ("{ link.a = nil && .model = `m` }", {(1, 4), (2, 2)}),
        ('{ instrumentation:name = "tests" && instrumentation:version = "1.0" && .n = 3 }', {(1, 2)}),
        ("{} | max(event.k) = 1", {(1, n) for n in (1, 2, 3, 4, 5)}),  # a value is that of the first event
        ("{ .model != nil } | by(.model, name) | count() = 1", {(1, 3), (1, 4), (2, 2), (3, 7)}),
        ("{} | by(resource.service.name, name) | max(duration) < 60ms", {(1, 3), (3, 7)}),
        ('({ name = "ask" } | count()) < ({ .model != nil } | count())', {(1, 1), (1, 3), (1, 4), (3, 7)}),
        ('({ name = "ask" } | count()) = ({ name = "chat" } | count())', {(1, 1), (1, 4), (2, 1), (2, 2)}),
        ("({ .tokens > 50 } | sum(.cost)) / ({ .tokens > 0 } | sum(.cost)) > 0.8", {(1, 3), (1, 4)}),
        ("count() = ({ .model != nil } | count())", {(3, 7)}),
    ],
)
def test_beyond_the_span(
    found: Callable[..., set[tuple[int, int]]], query: str, expected: set[tuple[int, int]]
) -> None:
    """Parents, children, roots, events, links and other pipelines decide as their documentation has it."""
    assert found(query) == expected


def test_nested_sets_are_selected(session: Session) -> None:
    """`select()` of the nested set numbers gives each span's place in its tree: what Grafana draws one from."""
    query = compile_query("{} | select(nestedSetParent, nestedSetLeft, nestedSetRight)")
    traces = search(session, SearchRequest(query.body, spans_per_spanset=0))
    numbers = {
        trace["traceID"]: {
            span["spanID"]: tuple(int(row["value"]["intValue"]) for row in span["attributes"])
            for span in trace["spanSet"]["spans"]
        }
        for trace in traces
    }
    assert numbers[trace_hex(1)] == {
        span_hex(1): (-1, 1, 10),
        span_hex(2): (1, 2, 5),
        span_hex(3): (2, 3, 4),
        span_hex(4): (1, 6, 9),
        span_hex(5): (6, 7, 8),
    }
    assert numbers[trace_hex(3)] == {span_hex(7): (0, 0, 0)}  # its parent is lost


@pytest.mark.parametrize("stages", ["{}" + " | count() > 1" * 8, " && ".join(["({} | by(name) | count() > 1)"] * 8)])
def test_stages_upon_one_another_are_read_once(session: Session, stages: str) -> None:
    """Each stage uses the one before at several places: written out at each of them, eight were a plan of gigabytes."""
    parameters = Parameters()
    compiler = SpansetCompiler(session, parameters, Bounds(Window(BASE_NS, BASE_NS + 100_000_000)))
    found = compiler.compile(compile_query(stages).body)
    asked = f"SELECT tid_hi, tid_lo, count(*) AS matched FROM {found} GROUP BY ALL"
    (plan,) = session.rows(f"EXPLAIN {compiler.statement(asked)}", parameters.values)
    assert 1 <= str(plan).count("READ_PARQUET") <= stages.count("{}")


def test_and_or_group_from_the_left(found: Callable[..., set[tuple[int, int]]]) -> None:
    """`a || b && c` is `(a || b) && c`: Tempo's parser gives both operators one precedence."""
    assert found('{ name = "ask" || name = "chat" && status = error }') == {(2, 2)}


def test_bounds(found: Callable[..., set[tuple[int, int]]]) -> None:
    """Time bounds take spans that overlap them; duration bounds are about the whole trace."""
    late = Bounds(Window(BASE_NS + 2_350 * 10**6, BASE_NS + 3_000 * 10**6))
    assert found("{}", late) == {(2, 1)}
    assert found('{ name = "chat" }', Bounds(min_duration_ns=300 * 10**6, max_duration_ns=500 * 10**6)) == {(2, 2)}


def test_newest_first_and_limited(session: Session) -> None:
    """A search gives the newest traces, as many as asked for, and counts matches that it does not list."""
    request = SearchRequest(compile_query("{}").body, limit=2, spans_per_spanset=1)
    answer = search(session, request)
    assert [trace["traceID"] for trace in answer] == [trace_hex(3), trace_hex(2)]
    assert [len(trace["spanSet"]["spans"]) for trace in answer] == [1, 1]
    assert answer[1]["spanSet"]["matched"] == 2
    assert answer[1]["serviceStats"] == {"shop": {"spanCount": 2, "errorCount": 1}}


def test_mentioned_values_come_with_the_spans(session: Session) -> None:
    """Attributes that a query mentions, or selects, stand on the spans it returns, with their types."""
    query = compile_query('{ .model = "e" } | select(span.cost, .tokens, status, .absent)')
    span = search(session, SearchRequest(query.body))[0]["spanSet"]["spans"][0]
    assert {row["key"]: row["value"] for row in span["attributes"]} == {
        "model": {"stringValue": "e"},
        "cost": {"doubleValue": 0.5},
        "tokens": {"intValue": "10"},
        "status": {"stringValue": "unset"},
    }


@pytest.mark.parametrize(
    "query",
    [
        "{ instrumentation.name = 1 }",
        "{ nestedSetLeft > 1 }",
        "{ nestedSetParent = 1 }",
        "{ nestedSetParent > 3 }",
        "{ nestedSetParent = nestedSetLeft }",
        "{ parent = 1 }",
        "{} | by(nestedSetLeft)",
        "{} | rate()",
    ],
)
def test_what_is_not_built_is_refused_by_name(session: Session, query: str) -> None:
    """Valid TraceQL that the engine cannot run is an error that names it, never an empty answer."""
    with pytest.raises(QueryUnsupported, match="not supported by the embedded engine"):
        search(session, SearchRequest(compile_query(query).body))


SECOND = 10**9
STEPS = Steps(BASE_NS + SECOND, SECOND, 5)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{} | rate()", {("rate",): [4, 1, 1, 1, 0]}),  # what starts at 0 ms belongs to the interval before
        ('{ name = "chat" } | count_over_time()', {("count_over_time",): [1, 0, 1, 1, 0]}),
        ("{ .model != nil } | sum_over_time(.tokens) by (.model)", {("e",): [10], ("m",): [100, 40], ("x",): [7]}),
        ("{ status = error } | max_over_time(duration)", {("max_over_time",): [0.3]}),
        ('{ .model = "m" } | quantile_over_time(.cost, 0.5) by (name)', {("chat", 0.5): [2.5, 1.0]}),
        ("{ .model != nil } | sum_over_time(.tokens) by (.model) | topk(1)", {("m",): [100, 40], ("x",): [7]}),
        ("{} | rate() > 2", {("rate",): [4]}),
        ("({} | rate()) > 2", {("rate",): [4]}),
        ("{ status = error } | max_over_time(duration) > 299ms", {("max_over_time",): [0.3]}),
        ("{ status = error } | max_over_time(duration) > 301ms", {}),
        ("{ .model != nil } | sum_over_time(.tokens) by (.model) | topk(1) > 50", {("m",): [100]}),
        (
            "({ .model != nil } | sum_over_time(.tokens) by (.model)) * 2 | bottomk(1) < 50",
            {("e",): [20], ("x",): [14]},
        ),
        (
            "{ .model != nil } | histogram_over_time(duration) by (.model)",
            {
                ("e", 2**26 / 1e9): [1, 0, 0, 0, 0],
                ("m", 2**30 / 1e9): [1, 0, 0, 0, 0],
                ("m", 2**29 / 1e9): [0, 0, 1, 0, 0],
                ("x", 2**26 / 1e9): [0, 0, 0, 1, 0],
            },
        ),
        (
            "{} | histogram_over_time(.cost)",
            {(0.5,): [1, 0, 0, 0, 0], (1.0,): [0, 0, 1, 0, 0], (4.0,): [1, 0, 0, 0, 0]},
        ),
        ("({ .model != nil } | rate()) / ({} | rate()) * 100", {(): [50, 0, 100, 100]}),
        ("({} | count_over_time()) - 1", {(): [3, 0, 0, 0, -1]}),
        (
            "({ .cost > 1 } | sum_over_time(.cost) by (.model)) % ({} | sum_over_time(.tokens) by (.model))",
            {("m",): [2.5, 0]},
        ),
        ("(({} | rate()) + ({} | rate()) * ({} | rate())) - 1", {(): [19, 1, 1, 1, -1]}),
        ("{} | max_over_time(event.k) by (event:name)", {("first",): [1]}),
        ('{ parent.model = "m" } | rate()', {("rate",): [1, 0, 0, 0, 0]}),
    ],
)
def test_metrics(session: Session, query: str, expected: dict[tuple[object, ...], list[float]]) -> None:
    """Metrics functions give a value for each interval, left-open and right-closed; counts are 0 where nothing was."""
    series = measure(session, compile_query(query).body, STEPS)
    found = {tuple(value for _, value in one.labels): [one.points[i] for i in sorted(one.points)] for one in series}
    assert found == expected
