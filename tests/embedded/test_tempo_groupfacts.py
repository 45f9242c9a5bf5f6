"""What a search says of spansets: their groups, the values these were made by, and what was measured of them."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from span_store import Given, served, write_store

from stackctl.embedded.api.tempo import app
from stackctl.embedded.traces.session import Session
from stackctl.errors import UpstreamFailed
from stackctl.stack import EngineConfig
from stackctl.traceql import parse
from stackctl.traceql.spelling import duration_text, spelled

VALUES: tuple[Any, ...] = (1, "1", 1.0, True, "true", "nil", None, float("nan"), 'a\x1f"b"')
MIXED = [
    Given(1, 10 + i, name=f"x{i % 2}", attributes={} if value is None else {"x": value})
    for i, value in enumerate(VALUES)
] + [Given(1, 30, attributes={"x": 1}), Given(1, 31)]
NUMBERS = [
    Given(2, 1, 0, "root", 0, 1000, kind=2, attributes={"n": 1, "k": "a"}, events=[("e", {})]),
    Given(2, 2, 1, "call", 1, 250, kind=3, status=2, attributes={"n": 4, "k": "a"}),
    Given(2, 3, 1, "call", 2, 0.5, kind=3, attributes={"n": 2.5, "k": "b"}),
    Given(2, 4, 1, "call", 3, 0.0015, kind=3, attributes={"k": "b"}),
]


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data_dir = tmp_path_factory.mktemp("groups")
    write_store(data_dir, sealed=[*MIXED, *NUMBERS[:2]], hot=NUMBERS[2:])
    with served(app(EngineConfig(str(data_dir)))) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        yield client


def spansets(http: httpx2.Client, query: str, trace: int = 2) -> list[dict[str, Any]]:
    answer = http.get("/api/search", params={"q": query, "spss": 0})
    assert answer.status_code == 200, answer.text
    for one in answer.json()["traces"]:
        if one["traceID"].endswith(f"{trace:08x}"):
            assert one["spanSet"] == one["spanSets"][0]
            found: list[dict[str, Any]] = one["spanSets"]
            return found
    return []


def attributes(spanset: dict[str, Any]) -> list[tuple[str, Any]]:
    return [(one["key"], one["value"]) for one in spanset.get("attributes", [])]


def test_groups_are_those_of_a_type(http: httpx2.Client) -> None:
    """by() tells numbers from texts of them, integers from doubles, and what is absent from every text."""
    found = [(one["attributes"][0]["value"], one["matched"]) for one in spansets(http, "{} | by(.x)", trace=1)]
    expected = [
        ({"intValue": "1"}, 2),
        ({"stringValue": "1"}, 1),
        ({"doubleValue": 1.0}, 1),
        ({"boolValue": True}, 1),
        ({"stringValue": "true"}, 1),
        ({"stringValue": "nil"}, 1),
        ({"stringValue": "nil"}, 2),  # Tempo shows what is absent like this too
        ({"doubleValue": "NaN"}, 1),
        ({"stringValue": 'a\x1f"b"'}, 1),
    ]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert [one["matched"] for one in spansets(http, "{} | by(.x) | count() > 1", trace=1)] == [2, 2]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("{ name != nil }", [[]]),
        ("{} | count() > 1", [[("count()", {"intValue": "4"})]]),
        ("{} | max(duration) > 1ms", [[("max(duration)", {"stringValue": "1s"})]]),
        ("{} | min(span:duration) < 1ms", [[("min(duration)", {"stringValue": "1.5µs"})]]),
        ("{} | avg(duration) > 1ms", [[("avg(duration)", {"stringValue": "312.625375ms"})]]),
        ("{ .k = `a` } | sum(.n) > 1", [[("sum(.n)", {"intValue": "5"})]]),
        ("{ .k = `a` } | avg(span.n) > 1", [[("avg(span.n)", {"doubleValue": 2.5})]]),
        ("{ .k = `b` } | max(.n) > 1", [[("max(.n)", {"doubleValue": 2.5})]]),
        ("{} | max(.n) > 1 | min(.n) < 2", [[("max(.n)", {"intValue": "4"}), ("min(.n)", {"intValue": "1"})]]),
        ("{} | by(kind)", [[("by(kind)", {"stringValue": "server"})], [("by(kind)", {"stringValue": "client"})]]),
        (
            "{ name = `call` } | by(.k) | count() > 0",
            [
                [("by(.k)", {"stringValue": "a"}), ("count()", {"intValue": "1"})],
                [("by(.k)", {"stringValue": "b"}), ("count()", {"intValue": "2"})],
            ],
        ),
        (
            "{} | by(status = error) | by(.k) | count() > 1",
            [
                [
                    ("by(status = error)", {"boolValue": False}),
                    ("by(.k)", {"stringValue": "b"}),
                    ("count()", {"intValue": "2"}),
                ]
            ],
        ),
        (
            "{} | by(duration) | count() > 0 | { .k = `a` && name = `root` }",
            [[("by(duration)", {"stringValue": "1s"}), ("count()", {"intValue": "1"})]],
        ),
        # What was measured stays, though later stages take spans away, and split what is left.
        ("{} | count() > 1 | { name = `root` }", [[("count()", {"intValue": "4"})]]),
        ("{} | max(.n) > 1 | { name = `root` }", [[("max(.n)", {"intValue": "4"})]]),
        (
            "{} | count() > 1 | { .n = 4 } | by(.k) | count() > 0",
            [[("count()", {"intValue": "4"}), ("by(.k)", {"stringValue": "a"}), ("count()", {"intValue": "1"})]],
        ),
        ("{} | by(.k) | count() > 1 | coalesce()", [[]]),
        ("({} | count() > 1) && ({ .k = `a` } | by(.k))", [[]]),
        ("({} | count() > 1)", [[("count()", {"intValue": "4"})]]),
    ],
)
def test_attributes_of_spansets(http: httpx2.Client, query: str, expected: list[list[tuple[str, Any]]]) -> None:
    """A spanset has the values that it was split by, and what was measured of it, named as Tempo names them."""
    found = [attributes(one) for one in spansets(http, query)]
    assert sorted(found, key=str) == sorted(expected, key=str)
    assert all("attributes" in one for one in spansets(http, query)) == bool(expected[0])


def test_measures_together_have_the_time_of_a_query(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each measure of earlier spansets is a statement of its own: a hundred in time took minutes together."""
    begun: list[float] = []

    def check_time(_: Session, began: float) -> None:
        begun.append(began)
        if len(begun) == 2:
            raise UpstreamFailed("too long", next_step="ask for less")

    monkeypatch.setattr(Session, "check_time", check_time)
    query = "{} | count() > 0 | by(name) | count() > 0 | by(.k) | count() > 0 | { true }"
    assert http.get("/api/search", params={"q": query}).status_code == 503
    assert len(begun) == 2
    assert begun[0] == begun[1]


def test_durations_are_texts(http: httpx2.Client) -> None:
    """A selected duration is a text as Go writes it."""
    (found,) = spansets(http, "{ name = `root` } | select(event:timeSinceStart)")
    selected = {one["key"]: one["value"] for one in found["spans"][0]["attributes"]}
    assert selected == {"event:timeSinceStart": {"stringValue": "1ns"}}


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5µs"),
        (10_000_000, "10ms"),
        (1_500_000_000, "1.5s"),
        (60 * 10**9, "1m0s"),
        (90_061 * 10**9 + 5, "25h1m1.000000005s"),
        (-1_500_000, "-1.5ms"),
    ],
)
def test_durations_as_go_writes_them(ns: int, text: str) -> None:
    """Durations have Go's units and no zeros at the end."""
    assert duration_text(ns) == text


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("span:name", "name"),
        ("trace:rootService", "rootServiceName"),
        ("span:childCount", "span:childCount"),
        (".x + 1 > 2", "(.x + 1) > 2"),
        ("!(.a = `b`)", "!(.a = `b`)"),
        ("trace:duration > 1h30m", "traceDuration > 1h30m0s"),
        ('parent.span."a b" = 1.0', 'parent.span."a b" = 1.0'),
        ("-.x = -1", "(-.x) = (-1)"),
        ("status = error && .a = nil", "(status = error) && (.a = nil)"),
    ],
)
def test_expressions_as_tempo_writes_them(written: str, text: str) -> None:
    """Expressions are named as Tempo's `String` has them."""
    assert spelled(parse(f"{{ {written} }}").body.stages[0].condition) == text
