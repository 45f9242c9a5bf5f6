"""The two executors of rows, operation by operation: each over every kind of value that a sender may write."""

import itertools
import math

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from stackctl import semconv
from stackctl.collector import normalise as collector_normalise
from stackctl.collector.group import listed
from stackctl.embedded.columns import Batch
from stackctl.embedded.columns.normalise import normalise
from stackctl.embedded.columns.planning import Planner
from stackctl.embedded.otlp import decode
from stackctl.genai.rows import (
    KEY_TYPES,
    AddTo,
    All,
    Any,
    Const,
    Convert,
    Copy,
    Dialect,
    Equals,
    EventAttr,
    EventOffset,
    EventTime,
    Extract,
    Field,
    Has,
    IsoOffset,
    JsonField,
    JsonList,
    Less,
    MapValue,
    Matches,
    Not,
    ResourceAttr,
    Row,
    Scale,
    Source,
    SpanAttr,
    When,
)
from tests.collector.real import SPANS, to_files, until, written

pytestmark = pytest.mark.realstack

SOURCE = SpanAttr("app.source")
CASE = SpanAttr("app.case")
EVENT = "app.event"
# One target of each type; none of which anything else follows from.
TARGETS = {"s": semconv.CONVERSATION_ID, "i": semconv.SERVER_PORT, "d": semconv.SENT_COST_USD, "b": semconv.NESTED}
CONVERSIONS: tuple[tuple[Convert, str], ...] = (
    *itertools.product((Copy(), JsonField(("a", "b")), JsonField(("a",))), "sidb"),
    *itertools.product((Scale(0.001), Scale(2.0)), "di"),
    *((Const(value), kind) for value, kind in (("fixed", "s"), (7, "i"), (1.5, "d"), (True, "b"), (False, "b"))),
    *((MapValue((("stop", "halt"), ("5", "five"), ("true", "yes")), closed), "s") for closed in (True, False)),
    (JsonList(), "s"),
    (IsoOffset(), "d"),
    (EventOffset(), "d"),
    *((Less(SpanAttr(key)), "i") for key in (semconv.INPUT_TOKENS, semconv.CACHE_READ_TOKENS)),
    *((Extract(r"'cached': ([0-9]+)"), kind) for kind in "si"),
    (Extract(r"^[a-z]+://([^/:]+)"), "s"),
)
CONDITIONS: tuple[When, ...] = (
    Has(SOURCE),
    Equals(SOURCE, ("stop",)),
    Equals(SOURCE, (0, 5)),
    Equals(SOURCE, (1.5,)),
    Equals(SOURCE, (True,)),
    Matches(SOURCE, "^st"),
    Matches(SOURCE, "[0-9]$"),
    Not(Has(SOURCE)),
    Not(Matches(SOURCE, "o")),
    All((Has(SOURCE), Not(Equals(SOURCE, ("stop", "abc"))))),
    All(),
    Any((Equals(SOURCE, ("stop",)), All((Matches(SOURCE, "b"), Matches(SOURCE, "c"))))),
    Any(),
    Equals(Field("kind"), (3,)),
    Equals(Field("status"), (2,)),
    Matches(Field("name"), "^chat"),
    Matches(Field("scope"), "^app"),
    Equals(Field("scope"), ("app.scope", "other")),
    Has(ResourceAttr("app.resource")),
    Equals(ResourceAttr("app.resource"), ("here",)),
    Has(EventTime(EVENT)),
    Equals(EventAttr(EVENT, "app.key"), ("first",)),
)
REWRITTEN: tuple[Convert, ...] = (JsonList(), MapValue((("stop", "halt"),)), MapValue((("stop", "halt"),), closed=True))
# Scope, and whether only what cannot be included is added.
PARTS = (("", False), ("", True), ("^app", False), ("^other", False))
SOURCES: tuple[Source, ...] = (Field("name"), Field("scope"), ResourceAttr("app.resource"), EventAttr(EVENT, "app.key"))
VALUES: tuple[str | int | float | bool | None, ...] = (
    *(None, "", "stop", "abc", "a b", "STOP", "5", "0", "-5", "+7", "1.5", ".5", "1e3", "12x", "123456789012345678"),
    *("5.0", "-12.00", "123456789012345678.0", "['stop']", "['a', 'b']", "[None]"),
    *("true", "TRUE", "tRuE", "false", "yes", "null", "[]", "{}", '"stop"', '["stop"]', '["stop", "length"]', "[1, 2]"),
    *('{"a": {"b": 3}}', '{"a": {"b": "x"}}', '{"a": {"b": true}}', '{"a": {"b": 1.5}}', '{"a": [1]}', '{"a": "12"}'),
    *("{'cached': 12}", "https://api.example:8080/v1", "not://", '{"a": null}', '{"broken', "Zürich"),
    *("2026-11-25T10:00:00Z", "2026-11-25T10:00:00.123456Z", '"2026-11-25T10:00:00.5+02:00"', "2026-11-25 10:00:00"),
    *(0, 5, -3, 2**40, 1_795_636_800_000_000_000, 0.0, 1.5, 3.0, -0.5, True, False),
)
# No list and no word either: in columns a list of it, which redaction masks; in the Collector nothing.
BROKEN = ("{'cached': 12}", '{"broken', "[None]")
START_NS = 1_795_636_700_000_000_000


def _rows() -> tuple[Row, ...]:
    """A row for each operation, which applies to the spans that name its number."""
    rows = [(TARGETS[kind], SOURCE, how, All()) for how, kind in CONVERSIONS]
    rows += [(semconv.CONVERSATION_ID, CASE, Const("holds"), when) for when in CONDITIONS]
    rows += [(semconv.CONVERSATION_ID, source, Copy(), All()) for source in SOURCES]
    rows.append((semconv.SENT_COST_USD, EventTime(EVENT), EventOffset(), All()))
    rows += [(TARGETS[kind], SOURCE, Copy(), All()) for kind in ("s" * len(REWRITTEN) + "i" * len(PARTS))]
    return tuple(
        Row(key, source, how, All((Equals(CASE, (number,)), when)))
        for number, (key, source, how, when) in enumerate(rows)
    )


ROWS = _rows()
# The last rows' targets are rewritten, or added to.
REWRITES = tuple(
    Row(TARGETS["s"], SpanAttr(TARGETS["s"]), how, Equals(CASE, (number,)))
    for number, how in enumerate(REWRITTEN, len(ROWS) - len(REWRITTEN) - len(PARTS))
)
LISTS = {number for number, row in enumerate(ROWS) if row.convert == JsonList()}
LISTS.add(len(ROWS) - len(REWRITTEN) - len(PARTS))
SUMS = tuple(
    AddTo(TARGETS["i"], (semconv.RETRIEVED_DOCUMENTS, semconv.REASONING_TOKENS), of_case, scope, beyond=beyond)
    for of_case, (scope, beyond) in zip(
        (Equals(CASE, (number,)) for number in range(len(ROWS) - len(PARTS), len(ROWS))), PARTS, strict=True
    )
)
ADDED = (
    Row(semconv.RETRIEVED_DOCUMENTS, CASE, Const(4)),
    Row(semconv.REASONING_TOKENS, SOURCE, when=Equals(SOURCE, (5, "-5", -3, "1.5", 2**40, 1_795_636_800_000_000_000))),
)
DIALECT = Dialect("of the test", rows=(*ROWS, *REWRITES, *ADDED), sums=SUMS)


def _request() -> bytes:
    """A span for each row and value."""
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="app.resource").value.string_value = "here"
    scope = resource.scope_spans.add()
    scope.scope.name = "app.scope"
    pairs = enumerate(itertools.product(range(len(ROWS)), VALUES), 1)
    for at, (number, value) in pairs:
        odd = at % 2
        span = scope.spans.add(trace_id=at.to_bytes(16), span_id=at.to_bytes(8), kind=3 if odd else 1)
        span.name, span.status.code = ("chat x", 2) if odd else ("other", 1)
        span.start_time_unix_nano, span.end_time_unix_nano = START_NS, START_NS + 10**9
        span.attributes.add(key="app.case").value.int_value = number
        span.attributes.add(key=semconv.INPUT_TOKENS).value.int_value = 4 if odd else -4
        if value is not None:
            kind = {str: "string_value", bool: "bool_value", int: "int_value", float: "double_value"}[type(value)]
            setattr(span.attributes.add(key="app.source").value, kind, value)
        if at % 3:
            for second in (1, 2):
                event = span.events.add(name=EVENT, time_unix_nano=START_NS + second * 10**8)
                event.attributes.add(key="app.key").value.string_value = ("first", "second")[second - 1]
    return request.SerializeToString()


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[int, tuple[object, ...]], dict[int, tuple[object, ...]]]:
    """What each executor makes of every span: number of the span to the values of the targets."""
    directory, body = tmp_path_factory.mktemp("operations"), _request()
    batch = Batch(decode.spans([body], 1))
    normalise(batch, Planner((DIALECT,)).of(batch))
    statements = listed(collector_normalise.groups((DIALECT,))[:-1], 6)
    override = f"""\
processors:
  transform/normalise:
    error_mode: silent
    trace_statements:
{statements}
service:
  pipelines:
    traces/in: {{processors: [transform/normalise], exporters: [file/spans, forward/counted, forward/store]}}
    traces/store: {{exporters: [nop]}}
exporters: {{nop: {{}}}}
"""
    with to_files(directory, overrides=[override]) as collector:
        assert collector.send("traces", body) == 200
        until(lambda: bool(written(directory / SPANS, ExportTraceServiceRequest)), "the spans")
    requests = written(directory / SPANS, ExportTraceServiceRequest)
    return _targets(Batch(decode.spans([r.SerializeToString() for r in requests], 1))), _targets(batch)


def _targets(batch: Batch) -> dict[int, tuple[object, ...]]:
    rows = batch.table().to_pylist()
    names = [f"s:{key}:{KEY_TYPES[key]}" for key in TARGETS.values()]
    return {row["span_id"]: tuple(row.get(name) for name in names) for row in rows}


def test_every_operation_gives_the_same(
    both: tuple[dict[int, tuple[object, ...]], dict[int, tuple[object, ...]]],
) -> None:
    """Each conversion and condition, over each value, leaves the same value in the Collector as in columns."""
    collector, embedded = both
    cases = list(itertools.product(range(len(ROWS)), VALUES))
    assert len(collector) == len(embedded) == len(cases)
    differing = [
        f"{ROWS[number].convert} of {value!r} when {ROWS[number].when}: {collector[at]}, in columns {embedded[at]}"
        for at, (number, value) in enumerate(cases, 1)
        if not all(map(_alike, collector[at], embedded[at])) and not (number in LISTS and value in BROKEN)
    ]
    assert not differing, "\n".join(differing)


def _alike(one: object, other: object) -> bool:
    """Equal, numbers but for their last bits."""
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-6)
    return one == other
