"""What is read, what is refused by name, and where errors are said to be."""

from collections import Counter
from pathlib import Path
from random import Random

import numpy as np
import pytest
import realstack

from stackctl.bench import promql_corpus, promql_features
from stackctl.bench.promql_series import START_MS, Samples
from stackctl.bench.promql_server import FEATURES, running
from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import ExecutionFailed, Series, functions, instant, metric_names, range_, tree
from stackctl.promql.aggregate import NAMES as AGGREGATIONS
from stackctl.promql.parse import parse, selectors
from stackctl.promql.signatures import EXPERIMENTAL, EXPERIMENTAL_MODIFIERS, REFUSED, SIGNATURES

ONE = Samples([Series({"__name__": "m", "a": "b"}, np.array([START_MS], np.int64), np.array([1.0]))])
FAULTY = Path(__file__).with_name("faulty.txt").read_text().splitlines()
SEED = 5


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
        ("anchored anchored + smoothed{fill='x'} + fill_left", ["anchored", None, None]),
    ],
)
def test_extended_words_stay_with_their_selector(query: str, words: list[str | None]) -> None:
    """anchored and smoothed are modifiers only behind a selector and belong to it; elsewhere they are names."""
    assert [selector.extended for selector in selectors(parse(query))] == words


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ("sum(up", 6),
        ("sum(up)) + 1", 8),
        ("up +", 4),
        ("up{a='b}", 5),
        ("up[5m", 5),
        ("a b", 2),
        ("a +\n nosuch(b)", 5),
        ("rate(up[5m:1m]) + rate(up)", 23),
        ("", 0),
    ],
)
def test_syntax_errors_say_where(query: str, position: int) -> None:
    """A text that does not parse is refused with the place, also as line and column."""
    with pytest.raises(QueryInvalid, match=r"^\d+:\d+: parse error: ") as caught:
        parse(query)
    assert caught.value.position == position
    assert not isinstance(caught.value, ExecutionFailed)


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_functions_without_a_float_sample_are_refused_by_name(name: str) -> None:
    """What could only answer about native histograms or start timestamps is never answered empty."""
    with pytest.raises(QueryUnsupported, match=name):
        instant(f"sum({name}(m))", START_MS, ONE)


def test_the_operators_of_native_histograms_are_refused_by_name() -> None:
    """`</` and `>/` trim native histograms, which are not stored."""
    for operator in ("</", ">/"):
        with pytest.raises(QueryUnsupported, match=f"operator {operator} of native histograms"):
            instant(f"m {operator} m", START_MS, ONE)


def test_every_function_is_evaluated_or_refused() -> None:
    """The table of signatures, the evaluator's tables and the refusals name the same functions."""
    assert set(SIGNATURES) == functions.NAMES | set(REFUSED)
    assert not functions.NAMES & set(REFUSED)


@pytest.mark.realstack
def test_the_tables_are_those_of_the_real_prometheus(tmp_path: Path) -> None:
    """Functions, aggregations, modifiers and what of them is experimental are what the real server says it has."""
    with running(realstack.program("prometheus"), tmp_path / "all", FEATURES) as server:
        every = server.http.get(f"{server.url}/api/v1/features").json()["data"]
    with running(realstack.program("prometheus"), tmp_path / "plain", realstack.FEATURES) as server:
        plain = server.http.get(f"{server.url}/api/v1/features").json()["data"]
    kinds = ("promql_functions", "promql_operators", "promql")
    more = {name for kind in kinds for name, on in every[kind].items() if on and not plain[kind][name]}
    assert set(every["promql_functions"]) == set(SIGNATURES)
    assert set(every["promql_operators"]) >= AGGREGATIONS
    assert more == EXPERIMENTAL | EXPERIMENTAL_MODIFIERS


@pytest.mark.parametrize(
    "query",
    [
        "rate(m)",
        "sum(1)",
        "1 == 2",
        "m and 1",
        "'a' + 1",
        "+'a'",
        "m{a='b' or a='c'}",
        "{}",
        "m offset 500y",
        "m @ 1e30",
        "label_replace(m, 'a', '', 'b')",
        "topk(m)",
        "rate(m[5m] anchored smoothed)",
        "m[1m - 1m]",
        "m[step()]",
        "m offset (1m / range())",
        "m{a=~'['}",
        "a or fill (1) b",
        "(" * 200 + "m" + ")" * 200,
        "+".join(["m"] * 400),
    ],
)
def test_ill_formed_queries_are_invalid(query: str) -> None:
    """Wrong types, arities, bounds and depths are the text's fault, never an internal error."""
    with pytest.raises(QueryInvalid):
        instant(query, START_MS, ONE)


@pytest.mark.realstack
def test_faults_are_worded_and_placed_as_in_the_real_prometheus(tmp_path: Path) -> None:
    """Every faulty text of the list is refused by the real server too, with the same words at the same place."""
    with running(realstack.program("prometheus"), tmp_path, FEATURES) as server:
        differing = [(query, _fault(query), real) for query in FAULTY if _fault(query) != (real := server.fault(query))]
    assert not differing


def _fault(query: str) -> str | None:
    try:
        parse(query)
    except QueryUnsupported:
        return None
    except QueryInvalid as error:
        return error.message
    return None


def _damaged(query: str, rng: Random) -> str:
    at = rng.randrange(len(query) + 1)
    piece = rng.choice(
        ("(", ")", "[", "]", "{", "}", ",", ":", "-", "^", "==", "@", "offset ", " by ", "5m", '"', "#", "$")
    )
    return query[:at] + rng.choice((piece, "", f" {piece} ")) + query[at + rng.randrange(4) :]


@pytest.mark.realstack
def test_damaged_queries_parse_where_the_real_prometheus_parses_them(tmp_path: Path) -> None:
    """Of queries damaged by chance the same ones are valid, and nearly all faults are at the same place."""
    rng = Random(SEED)
    features = promql_features.ALL + promql_features.COMPOSED
    seen: Counter[str] = Counter()
    with running(realstack.program("prometheus"), tmp_path, FEATURES) as server:
        for query in promql_corpus.queries(SEED, 1500, features):
            text = _damaged(query.text, rng)
            mine, real = _fault(text), server.fault(text)
            assert (mine is None) == (real is None), f"{text}: {mine}, not {real}"
            seen["faulty"] += mine is not None
            seen["same place"] += mine is not None and real is not None and mine.split(" ")[0] == real.split(" ")[0]
    assert seen["faulty"] > 500
    assert seen["same place"] >= 0.99 * seen["faulty"]


def test_a_range_query_needs_numbers() -> None:
    """Ranges and strings cannot be evaluated over steps."""
    for query in ("m[5m]", "'text'", "m[5m:1m]"):
        with pytest.raises(QueryInvalid, match="for range query, must be Scalar or instant Vector"):
            range_(query, START_MS, START_MS + 1000, 500, ONE)


def test_text_and_scalar_results() -> None:
    """Strings and scalars are results of their own kind."""
    assert instant("`a\\d`", START_MS, ONE).text == "a\\d"
    assert instant(r"'\x41\u00e9\101\''", START_MS, ONE).text == "A\u00e9A'"
    scalar = instant("1_000 + 0x10 + 017", START_MS, ONE)
    assert (scalar.kind, scalar.series[0].v.tolist()) == ("scalar", [1031.0])


def test_duration_expressions_follow_the_query() -> None:
    """step() and range() in a duration are those of the query; the same text means another window in another one."""
    text = "count_over_time(m[step() + range()] offset -step())"
    counted = range_(text, START_MS, START_MS + 2000, 1000, ONE)
    assert [one.v.tolist() for one in counted.series] == [[1.0, 1.0]]
    counted = range_(text, START_MS + 2000, START_MS + 2000, 1000, ONE)
    assert not counted.series


def test_too_large_queries_are_refused() -> None:
    """A query that would need billions of values fails at once, with Prometheus' words."""
    with pytest.raises(ExecutionFailed, match="too many samples"):
        instant("avg_over_time(m[1y:1ms])", START_MS, ONE)


def test_metric_names() -> None:
    """The names a query selects by equality, also in nested places, as a matcher, and in unresolved ranges."""
    query = 'sum(rate(a_total[step()] anchored)) / on () group_left () max_over_time(b[5m:1m]) or {__name__="c", x="y"}'
    assert metric_names(query) == {"a_total", "b", "c"}


def test_the_tree_has_no_parentheses() -> None:
    """Parentheses order the tree and leave no node; precedence is Prometheus'."""
    assert parse("((m))") == parse("m")
    assert isinstance(parse("-1 ^ 2"), tree.Unary)
    assert parse("a + b * c ^ d ^ e") == parse("a + (b * (c ^ (d ^ e)))")
    assert parse("a or b and c unless d") == parse("a or ((b and c) unless d)")
