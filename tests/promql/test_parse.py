"""What is read, what is refused by name, and where errors are said to be."""

import numpy as np
import pytest
from samples import START_MS, Samples

from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import ExecutionFailed, Series, instant, metric_names, range_, tree
from stackctl.promql.parse import parse, selectors

ONE = Samples([Series({"__name__": "m", "a": "b"}, np.array([START_MS], np.int64), np.array([1.0]))])


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("increase(x[5m] anchored)", ["anchored"]),
        ("increase(x{a='anchored'}[5m] offset 1m smoothed) / sum by (job) (y)", ["smoothed", None]),
        ("rate(x[5m] anchored @ end()) + y", ["anchored", None]),
        ("sum(rate(x[5m])) / on (job) group_left (a) sum(rate({job=`y`}[5m] Anchored))", [None, "anchored"]),
        ("x @ 5 smoothed - y offset -5m anchored", ["smoothed", "anchored"]),
        ("sum by (a) (x) + topk(3, y) # z anchored\n > bool rate(z[1m] anchored)", [None, None, "anchored"]),
        ("max_over_time(rate(x[5m] anchored)[10m:1m])", ["anchored"]),
    ],
)
def test_extended_words_stay_with_their_selector(query: str, words: list[str | None]) -> None:
    """anchored and smoothed are taken for modifiers only behind a selector, and belong to that one."""
    assert [selector.extended for selector in selectors(parse(query))] == words


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("sum(up", 3),
        ("sum(up)) + 1", 7),
        ("up +", 4),
        ("up{a='b}", 5),
        ("up[5m", 2),
        ("a b", 2),
        ("a +\n nosuch(b)", 5),
        ("", 0),
    ],
)
def test_syntax_errors_say_where(query: str, position: int) -> None:
    """A text that does not parse is refused with the place, also as line and column."""
    with pytest.raises(QueryInvalid, match=r"^\d+:\d+: parse error: ") as caught:
        parse(query)
    assert caught.value.position == position
    assert not isinstance(caught.value, ExecutionFailed)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("info(m)", "info"),
        ("histogram_count(m)", "histogram_count"),
        ("limit_ratio(0.5, m)", "limit_ratio"),
        ("m + fill (0) m", "fill"),
        ("rate(m[5m + 1m])", "duration expressions"),
        ("m offset (1m)", "duration expressions"),
        ("m </ m", "native histogram operators"),
        ("step()", "step"),
    ],
)
def test_what_is_not_built_is_refused_by_name(query: str, name: str) -> None:
    """A valid query with something this engine lacks is never answered, and the message names what it lacks."""
    with pytest.raises(QueryUnsupported, match=name):
        instant(query, START_MS, ONE)


@pytest.mark.parametrize(
    "query",
    [
        "rate(m)",
        "sum(1)",
        "1 == 2",
        "m and 1",
        "'a' + 1",
        "m{a='b' or a='c'}",
        "{}",
        "m offset 500y",
        "m @ 1e30",
        "label_replace(m, 'a', '', 'b')",
        "topk(m)",
        "rate(m[5m] anchored smoothed)",
    ],
)
def test_ill_typed_queries_are_invalid(query: str) -> None:
    """Wrong types, arities and bounds are the text's fault, never an internal error."""
    with pytest.raises(QueryInvalid):
        instant(query, START_MS, ONE)


def test_a_range_query_needs_numbers() -> None:
    """Ranges and strings cannot be evaluated over steps."""
    for query in ("m[5m]", "'text'", "m[5m:1m]"):
        with pytest.raises(QueryInvalid, match="for range query, must be Scalar or instant Vector"):
            range_(query, START_MS, START_MS + 1000, 500, ONE)


def test_text_and_scalar_results() -> None:
    """Strings and scalars are results of their own kind."""
    assert instant("`a\\d`", START_MS, ONE).text == "a\\d"
    scalar = instant("1_000 + 0x10", START_MS, ONE)
    assert (scalar.kind, scalar.series[0].v.tolist()) == ("scalar", [1016.0])


def test_too_large_queries_are_refused() -> None:
    """A query that would need billions of values fails at once, with Prometheus' words."""
    with pytest.raises(ExecutionFailed, match="too many samples"):
        instant("avg_over_time(m[1y:1ms])", START_MS, ONE)


def test_metric_names() -> None:
    """The names a query selects by equality, also in nested places and as a matcher."""
    query = 'sum(rate(a_total[5m] anchored)) / on () group_left () max_over_time(b[5m:1m]) or {__name__="c", x="y"}'
    assert metric_names(query) == {"a_total", "b", "c"}


def test_the_tree_has_no_parentheses() -> None:
    """Parentheses order the tree and leave no node; precedence is Prometheus'."""
    assert parse("((m))") == parse("m")
    assert isinstance(parse("-1 ^ 2"), tree.Negation)
