"""TraceQL filters on DuckDB against a plain evaluator in Python, over random spans and random filters."""

import math
import operator
from collections.abc import Iterator
from pathlib import Path

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st
from span_store import Given, span_hex, write_store

from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.search import SearchRequest, search
from stackctl.embedded.traces.session import Session
from stackctl.traceql import ast, compile_query

COMPARE = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
ARITHMETIC = {"+": operator.add, "-": operator.sub, "*": operator.mul}
# Every key has values of several types, absent ones, and stands on the span, on the resource or on both.
STRINGS, NUMBERS, BOOLS = (
    ["", "a", "ab", "ä'\"", "1", "%"],
    [0, 1, -3, 2**53 + 1, 0.5, -2.0, math.inf, math.nan],
    [True, False],
)
VALUES = [*STRINGS, *NUMBERS, *BOOLS]


def corpus() -> list[Given]:
    """Spans that hold each value of each key in some combination; deterministic."""
    spans = []
    for number in range(1, 121):
        pick = lambda step, number=number: (number * step) % (len(VALUES) + 4)  # noqa: E731
        attributes = {key: VALUES[pick(step)] for key, step in (("k", 7), ("deep.key", 11)) if pick(step) < len(VALUES)}
        if number % 9 == 0:
            attributes["list"] = ["a", "b"][: number % 4]
        resource = {"service.name": f"s{number % 3}"} | ({"k": VALUES[pick(9)]} if pick(9) < len(VALUES) else {})
        spans.append(
            Given(
                trace=number,
                span=number,
                parent=0 if number % 2 else 1,
                name=["ask", "chat", "search"][number % 3],
                start_ms=number,
                duration_ms=number % 7 * 100,
                kind=number % 6,
                status=number % 3,
                message="boom" if number % 3 == 2 else "",
                attributes=attributes,
                resource=resource,
            )
        )
    return spans


class Duration(int):
    """Nanoseconds: Tempo calculates with integers only where they are no durations."""


def calculated(op: str, left: object, right: object) -> object:
    """Calculate as Tempo does: in 64 bits with two integers, else in doubles."""
    if not (number(left) and number(right)):
        return None
    if type(left) is int and type(right) is int:
        return (ARITHMETIC[op](left, right) + 2**63) % 2**64 - 2**63
    return ARITHMETIC[op](float(left), float(right))


class Evaluator:
    """What a filter means, span by span, as Tempo's documentation has it."""

    def __init__(self, span: Given) -> None:
        self.span = span

    def value(self, node: ast.Expression) -> object:
        match node:
            case ast.Literal():
                if node.kind == ast.Kind.DURATION:
                    return Duration(node.value)
                return (node.kind, node.value) if node.kind in ast.ENUM_NAMES else node.value
            case ast.Attribute(scope="span"):
                return self.span.attributes.get(node.name)
            case ast.Attribute(scope="resource"):
                return self.span.resource.get(node.name)
            case ast.Attribute():
                return self.span.attributes.get(node.name, self.span.resource.get(node.name))
            case ast.Intrinsic():
                return {
                    "span:name": self.span.name,
                    "span:duration": Duration(round(self.span.duration_ms * 1e6)),
                    "span:status": (ast.Kind.STATUS, self.span.status),
                    "span:kind": (ast.Kind.SPAN_KIND, self.span.kind),
                    "span:statusMessage": self.span.message,
                    "span:id": span_hex(self.span.span),
                }[node.name]
            case ast.Unary(op="-"):
                value = self.value(node.operand)
                if isinstance(value, Duration):
                    return Duration(-value)
                return -value if number(value) else None
            case ast.Unary(op="!"):
                value = self.value(node.operand)
                return (not value) if isinstance(value, bool) else False
        return self.binary(node)

    def binary(self, node: ast.Binary) -> object:
        left, right = self.value(node.left), self.value(node.right)
        if node.op == "&&":
            return left is True and right is True
        if node.op == "||":
            return left is True or right is True
        if node.op in ARITHMETIC:
            return calculated(node.op, left, right)
        nil = [side for side in (node.left, node.right) if isinstance(side, ast.Literal) and side.kind == ast.Kind.NIL]
        if nil:
            return (left is None and right is None) == (node.op == "=")
        if left is None or right is None or family(left) != family(right):
            return False
        if node.op in ("=~", "!~"):
            return isinstance(left, str) and (re2.fullmatch(right, left) is not None) == (node.op == "=~")
        if family(left) in ("bool", "enum") and node.op not in ("=", "!="):
            return False
        if isinstance(left, float) or isinstance(right, float):
            left, right = float(left), float(right)
        return COMPARE[node.op](left, right)


def number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def family(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "number" if number(value) else "string" if isinstance(value, str) else "enum"


def text(value: str) -> str:
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


FIELDS = st.sampled_from([".k", "span.k", "resource.k", "span.deep.key", '."deep.key"', ".absent"])
STRING = st.one_of(FIELDS, st.sampled_from(STRINGS).map(text), st.sampled_from(["name", "statusMessage", "span:id"]))
NUMBER = st.one_of(
    FIELDS,
    st.sampled_from(["0", "1", "-3", "0.5", "9007199254740993", "200ms", "1h"]),
    st.just("duration"),
)
ORDER = st.sampled_from(["=", "!=", "<", "<=", ">", ">="])
EQUALITY = st.sampled_from(["=", "!="])


def joined(
    left: st.SearchStrategy[str], op: st.SearchStrategy[str], right: st.SearchStrategy[str]
) -> st.SearchStrategy[str]:
    return st.tuples(left, op, right).map(lambda parts: f"({parts[0]} {parts[1]} {parts[2]})")


SUMS = joined(NUMBER, st.sampled_from(list(ARITHMETIC)), NUMBER) | NUMBER.map(lambda inner: f"(-{inner})")
CONDITION = st.recursive(
    st.one_of(
        joined(STRING, ORDER, STRING),
        joined(NUMBER, ORDER, NUMBER),
        joined(SUMS, ORDER, NUMBER),
        joined(STRING, st.sampled_from(["=~", "!~"]), st.sampled_from(['"a.*"', '"(?i)A"', '""', '"[^a]"'])),
        joined(FIELDS, EQUALITY, st.sampled_from(["true", "false", "nil"])),
        joined(st.just("status"), EQUALITY, st.sampled_from(["ok", "error", "unset"])),
        joined(st.just("kind"), EQUALITY, st.sampled_from(["client", "internal", "unspecified"])),
        FIELDS,
        st.just("true"),
    ),
    lambda inner: st.one_of(joined(inner, st.sampled_from(["&&", "||"]), inner), inner.map(lambda one: f"!{one}")),
    max_leaves=6,
)


# Hypothesis keeps a test's arguments to the end, longer than DuckDB likes: so the session is none of them.
_OPEN: dict[str, Session] = {}


@pytest.fixture(scope="module", autouse=True)
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    data_dir: Path = tmp_path_factory.mktemp("filters")
    spans = corpus()
    for start in range(0, 80, 10):  # segments that differ in what they hold, so that few of them are opened
        write_store(data_dir, sealed=spans[start : start + 10])
    write_store(data_dir, hot=spans[80:])
    database = SpanDatabase(SpanReader(data_dir), data_dir / "spans")
    with database.session() as session:
        _OPEN["session"] = session
        yield session
    _OPEN.clear()
    database.close()


@given(CONDITION)
@settings(max_examples=100, deadline=None)
@example("(.k = resource.k)")
@example("!(span.k != 1)")
@example('(span.k = "ä\'\\"")')
def test_filters_find_what_plain_evaluation_finds(condition: str) -> None:
    """A filter finds exactly the spans for which evaluating it span by span gives true."""
    query = compile_query(f"{{ {condition} }}")
    expression = query.body.stages[0].condition
    expected = {span_hex(span.span) for span in corpus() if Evaluator(span).value(expression) is True}
    found = search(_OPEN["session"], SearchRequest(query.body, limit=1000, spans_per_spanset=0))
    assert {span["spanID"] for trace in found for span in trace["spanSet"]["spans"]} == expected


def test_the_corpus_tells_filters_apart(session: Session) -> None:
    """The random filters are not all empty: typical ones find some spans and leave some out."""
    for condition in (
        ".k = 1",
        'span.k =~ "a.*"',
        "resource.k > 0",
        ".k",
        "!(.k = 1)",
        ".k = nil",
        ".deep.key + 1 > 1",
    ):
        found = search(session, SearchRequest(compile_query(f"{{ {condition} }}").body, limit=1000))
        assert 0 < len(found) < len(corpus()), condition


def test_arrays_match_by_element(session: Session) -> None:
    """An array attribute equals a string when one of its elements does, and differs when none does."""
    for condition, numbers in (
        ('.list = "b"', [18, 27, 54, 63, 90, 99]),
        ('.list != "b"', [9, 36, 45, 72, 81, 108, 117]),
    ):
        found = search(session, SearchRequest(compile_query(f"{{ {condition} }}").body, limit=1000))
        ids = {span["spanID"] for trace in found for span in trace["spanSet"]["spans"]}
        assert ids == {span_hex(number) for number in numbers}, condition


def test_values_never_stand_in_the_statement(session: Session) -> None:
    """Quotes, comments and statements inside values and keys are data: nothing breaks and nothing is found."""
    for hostile in ("'; DROP TABLE hot; --", '\\" OR 1=1 --', "$p0", "{}"):
        literal, key = text(hostile), hostile.replace("\\", "\\\\").replace('"', '\\"')
        query = compile_query(f'{{ .k = {literal} || span."{key}" = {literal} }}')
        assert search(session, SearchRequest(query.body)) == []
    assert session.rows(f"SELECT count(*) AS n FROM {session.spans(['span_id'])}")[0]["n"] == len(corpus())
