"""Tags of the Tempo API: which keys and values there are, and what a request leaves out of them."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from span_store import BASE_NS, Given, served, write_store

from stackctl.embedded.api.tempo import app
from stackctl.embedded.api.tempo_parameters import lenient
from stackctl.stack import EngineConfig
from stackctl.traceql.spelling import spelled

HOUR_MS = 3_600_000
SPANS = [
    Given(
        1,
        1,
        name="r",
        attributes={"i": 1, "map": {"x": 1}},
        events=[("e1", {"t": "p", "only.sealed": True}), ("e2", {"t": "q"}), ("e3", {"t": 3})],
        links=[(9, 8), (9, 9)],
    ),
    Given(2, 2, name="s", start_ms=HOUR_MS, attributes={"later": 2.5}, events=[("e4", {"t": "q", "only.hot": 1})]),
]
FIRST_HOUR = {"start": BASE_NS // 10**9 - 1, "end": BASE_NS // 10**9 + 60}


@pytest.fixture(scope="module")
def http(tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx2.Client]:
    data_dir = tmp_path_factory.mktemp("tags")
    write_store(data_dir, sealed=SPANS[:1], hot=SPANS[1:])
    with served(app(EngineConfig(str(data_dir)))) as url, httpx2.Client(base_url=url, trust_env=False) as client:
        yield client


def values(http: httpx2.Client, tag: str, **asked: Any) -> list[str]:
    found = http.get(f"/api/v2/search/tag/{tag}/values", params=asked).json()["tagValues"]
    return [row["value"] for row in found]


def scopes(http: httpx2.Client, **asked: Any) -> dict[str, list[str]]:
    found = http.get("/api/v2/search/tags", params=asked).json()["scopes"]
    return {scope["name"]: scope["tags"] for scope in found if scope["name"] != "intrinsic"}


def test_every_event_and_link_has_values(http: httpx2.Client) -> None:
    """Values are those of all events and links that a span has, by type, not of the first one alone."""
    assert values(http, "event.t") == ["p", "q", "3"]
    assert values(http, "event:name") == ["e1", "e2", "e3", "e4"]
    assert values(http, "event:name", q="{ name = `r` }") == ["e1", "e2", "e3"]
    assert [value[-1] for value in values(http, "link:spanID")] == ["8", "9"]
    assert http.get("/api/v2/search/tag/event:timeSinceStart/values").json()["tagValues"] == [
        {"type": "duration", "value": "1ns"}
    ]


@pytest.mark.parametrize(
    ("text", "narrowed"),
    [
        ('{ name="r" } | rate()', "name = `r`"),
        ('({ name="r" } | rate() by (.x))', "name = `r`"),
        ('{ name="r" } | { name="s" }', "name = `r`"),
        ('{ name="r" && span.i =  }', "(name = `r`) && true"),
        ('{ name="r" && span."a b" =~ "x', "(name = `r`) && true"),
        ('{ (.a = ) || name = "b }" }', "true || (name = `b }`)"),
        (r'{ .x = "a\"" && .y > } | rate()', '(.x = `a"`) && true'),
        ("{ name = 1 }", None),
        ("{ name = `r` } && { .x = 1 }", None),
        ("{ name = `r` && . }", None),
        ("", None),
        ("{ " + 'a"' * 30_000, None),
        ("{ " + "a=" * 60_000, None),
    ],
)
def test_a_query_narrows_by_its_first_filter(text: str, narrowed: str | None) -> None:
    """What follows the first filter is left out, and so is a comparison whose value is not typed yet."""
    condition = lenient(text)
    assert (condition and spelled(condition)) == narrowed


def test_values_of_a_query_that_is_typed_or_measures(http: httpx2.Client) -> None:
    """Neither a metrics query nor an unfinished one is an error, and both narrow."""
    for query in ('{ name="r" } | rate()', '{ name="r" && span.i =  }'):
        assert values(http, "name", q=query) == ["r"]
    assert values(http, "name", q="{} && {}") == ["r", "s"]


def test_keys_of_every_scope(http: httpx2.Client) -> None:
    """Keys of events and links are listed with the others, and each scope alone."""
    everything = scopes(http)
    assert everything == {
        "resource": ["service.name"],
        "span": ["i", "later", "map"],
        "event": ["only.hot", "only.sealed", "t"],
    }
    assert scopes(http, scope="") == scopes(http, scope="none") == everything
    for scope in ("resource", "span", "event"):
        assert scopes(http, scope=scope) == {scope: everything[scope]}
    assert scopes(http, scope="link") == scopes(http, scope="instrumentation") == {}


def test_keys_without_scopes(http: httpx2.Client) -> None:
    """v1 asks by scope too; intrinsics are in its answer only where they are asked for."""

    def names(**asked: Any) -> list[str]:
        found: list[str] = http.get("/api/search/tags", params=asked).json()["tagNames"]
        return found

    assert names(scope="resource") == ["service.name"]
    assert names() == ["i", "later", "map", "only.hot", "only.sealed", "service.name", "t"]
    assert "status" in names(scope="intrinsic")
    assert http.get("/api/search/tags?scope=nonsense").status_code == 400


def test_time_and_query_narrow_keys(http: httpx2.Client) -> None:
    """Keys are those of the time that is asked for, and of spans that the query's first filter finds."""
    first = {"resource": ["service.name"], "span": ["i", "map"], "event": ["only.sealed", "t"]}
    assert scopes(http, **FIRST_HOUR) == scopes(http, q="{ name = `r` } | rate()") == first
    assert scopes(http, q="{ name = `s` && .i = }", scope="span") == {"span": ["later"]}
    assert scopes(http, q="{ name = `r` }", start=FIRST_HOUR["end"]) == {"resource": [], "span": []}
    assert scopes(http, q="{ name = ") == scopes(http)


def test_time_narrows_values(http: httpx2.Client) -> None:
    """Values are those of spans in the time that is asked for."""
    assert values(http, "name", **FIRST_HOUR) == ["r"]
    assert values(http, "event:name", start=FIRST_HOUR["end"]) == ["e4"]
    for path in ("/api/search/tag/name/values", "/api/v2/search/tags", "/api/search/tags"):
        assert http.get(path, params={"start": 10, "end": 5}).status_code == 400
        assert http.get(path, params={"start": "yesterday"}).status_code == 400
