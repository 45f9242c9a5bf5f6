"""TraceQL's grammar and checks: what parses, to what, and where what does not is wrong."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl.errors import QueryInvalid
from stackctl.traceql import ast, compile_query, parse
from stackctl.traceql.ast import Kind

VALID = [
    "{}",
    "{ true || false && !true }",
    '{ .a = "x" && span.b != 2 || resource.c >= 1.5 }',
    "{ .a-b.c/d = nil }",
    '{ span."with space".rest =~ `raw.*` }',
    "{ parent.span.a = 1 || parent.resource.b = 2 || parent.c = 3 }",
    '{ event.exception.type = "x" && link.a = 1 && instrumentation.b = 2 }',
    "{ event:timeSinceStart > 1ms && link:spanID = `ab` && trace:rootService != `` }",
    "{ name = `a` && kind = client && status != error && statusMessage =~ `x` }",
    "{ duration > 1h30m && traceDuration < 1.5s && span:duration >= 10us }",
    "{ -(.a + 1) * 2 ^ 3 % 4 / 5 < -1 }",
    "{ nestedSetLeft > 1 && childCount = 2 }",
    "{ .a } && { .b } || { .c }",
    "{ .a } >> { .b } > { .c } << { .d } < { .e } ~ { .f }",
    "{ .a } !>> { .b } !> { .c } !<< { .d } !< { .e } !~ { .f }",
    "{ .a } &>> { .b } &> { .c } &<< { .d } &< { .e } &~ { .f }",
    "({ .a } | count() > 1) && ({ .b } | avg(.x) < 2)",
    "{ .a } | by(.b) | max(duration) - min(duration) > 1s | coalesce() | select(.c, status)",
    "count() > 2 | { .a }",
    "({ .a } | count()) / ({ .b } | sum(.x)) >= 0.5",
    "{} | rate() by (name, .b) with (exemplars=true, sample=0.1)",
    "{} | quantile_over_time(duration, 0.5, .99) by (span.a) | topk(3)",
    "{} | histogram_over_time(duration) | bottomk(1)",
    "{} | count_over_time() >= 5",
    "{} | compare({ status = error }, 10)",
    "({} | rate()) / ({ status = error } | rate())",
    "{ .a = 1 } // to the end of the line",
    "{ /* within */ .a = 1 }",
]


@pytest.mark.parametrize("text", VALID)
def test_the_language_is_accepted(text: str) -> None:
    """Every part of the published language parses and passes the checks."""
    assert compile_query(text).body


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("", 0, "unexpected end"),
        ("true", 0, "unexpected 'true'"),
        ("{ .a = }", 7, "unexpected '}'"),
        ("{ .a == 1 }", 6, "unexpected '='"),
        ("{ .a < 3", 8, "unexpected end"),
        ("{ attribute = 4 }", 2, "unexpected 'attribute'"),
        ("{ .a = 1 } + { .b }", 11, "unexpected '+'"),
        ("{ .a = 1 } | count()", 20, "unexpected end"),
        ("{\n  .a =\n  && }", 11, "line 3, col 3"),
        ("{ span:rootName = `a` }", 2, "unknown intrinsic 'span:rootName'"),
        ('{ .a = "\\q" }', 7, "escape"),
        ("{ .a = 99999999999999999999 }", 7, "64 bits"),
        ("{ status }", 2, "a filter needs a condition"),
        ('{ 1 = "a" }', 4, "one type"),
        ("{ status > ok }", 9, "does not work on a status"),
        ("{ -true }", 2, "does not work on a bool"),
        ("{ .a && 1 }", 5, "does not work on a int"),
        ('{ .a =~ "[" }', 8, "invalid regular expression"),
        ("{ .a =~ .b }", 8, "must be a string"),
        ("{} | sum(3) > 2", 9, "must look at the span"),
        ("{} | max(name) > 2", 9, "needs numbers"),
        ("{} | by(1)", 8, "must look at the span"),
        ("coalesce() | {}", 0, "cannot begin"),
        ("{} | rate() | {}", 14, "nothing but topk"),
        ("({} | rate()) | {}", 16, "nothing but topk"),
        ("({} | count() > 1) > 5", 19, "needs a metrics function"),
        ("{} | topk(3)", 5, "needs a metrics function"),
        ("({} ~ {}) - ({} !>> {})", 4, "calculates with metrics functions"),
        ("({} | rate()) / ({} && {})", 20, "calculates with metrics functions"),
        ("({ .a = 1 }) - ({} | rate())", 1, "calculates with metrics functions"),
        ("{} | quantile_over_time(duration)", 5, "number of arguments"),
        ("{} | quantile_over_time(duration, .5, 2)", 38, "between 0 and 1"),
        ("{" + "!" * 400 + ".a }", None, "nested deeper"),
        ("{ " + "(" * 3000, None, "unexpected end"),
        ("{ .a = 1 }" + " " * 70_000, None, "characters"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(text: str, position: int | None, reason: str) -> None:
    """An invalid query names what is wrong, and the offset of the very token."""
    with pytest.raises(QueryInvalid) as caught:
        compile_query(text)
    assert reason in caught.value.message
    if position is not None:
        assert caught.value.position == position


def condition(text: str) -> ast.Expression:
    return parse(f"{{ {text} }}").body.stages[0].condition


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (".a = 1 || .b = 2 && .c = 3", "(.a = 1 || .b = 2) && .c = 3"),
        ("1 + 2 * 3 ^ 2 ^ 2 - 4", "(1 + (2 * (3 ^ (2 ^ 2)))) - 4"),
        ("-.a * 2 = 1", "(-(.a * 2)) = 1"),
        ("!.a = .b", "(!.a) = .b"),
        ("2 * -3 = 1", "(2 * (-3)) = 1"),
    ],
)
def test_precedence(written: str, meant: str) -> None:
    """Operators bind as in Tempo's parser; `&&` and `||` equally, from the left."""
    assert condition(written) == condition(meant)


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("1h30m", 5400 * 10**9, Kind.DURATION),
        ("1.5ms", 1_500_000, Kind.DURATION),
        ("2d", 172_800 * 10**9, Kind.DURATION),
        ("1.5", 1.5, Kind.FLOAT),
        ("7", 7, Kind.INT),
        ('"a\\"b\\n\\u00e4\\x41"', 'a"b\nä\x41', Kind.STRING),
        ("`a\\n`", "a\\n", Kind.STRING),
        ("error", 2, Kind.STATUS),
        ("consumer", 5, Kind.SPAN_KIND),
        ("nil", None, Kind.NIL),
    ],
)
def test_literals(text: str, value: object, kind: Kind) -> None:
    """Literals have the value and the type that they are written as."""
    literal = condition(f".a = {text}").right
    assert (literal.value, literal.kind) == (value, kind)


@pytest.mark.parametrize(
    ("text", "scope", "name", "parent"),
    [
        (".a.b-c/d", "", "a.b-c/d", False),
        ("span.span.a", "span", "span.a", False),
        ('resource."a b".c', "resource", "a b.c", False),
        ('."a\\"b\\\\c"', "", 'a"b\\c', False),
        ("parent.span.a", "span", "a", True),
        ("parent.a.b", "", "a.b", True),
        ("instrumentation.a", "instrumentation", "a", False),
        (".error", "", "error", False),
    ],
)
def test_attributes(text: str, scope: str, name: str, parent: bool) -> None:
    """An attribute's scope and key are read as written, quoted parts without their quotes."""
    assert condition(f"{text} = 1").left == ast.Attribute(0, scope, name, parent)


def test_old_and_scoped_intrinsics_are_the_same() -> None:
    """`name` is `span:name`, `traceDuration` is `trace:duration`, and so on."""
    for old, scoped in (("name", "span:name"), ("status", "span:status"), ("rootServiceName", "trace:rootService")):
        assert condition(f"{old} != nil").left == condition(f"{scoped} != nil").left


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("({} | rate() by (.k))", "{} | rate() by (.k)"),
        ("(({} | rate()))", "{} | rate()"),
        ("({} | rate()) > 5", "{} | rate() > 5"),
        ("({} | rate() | topk(2)) > 5 | bottomk(1)", "{} | rate() | topk(2) > 5 | bottomk(1)"),
        ("({} | rate() > 1) < 5", "{} | rate() > 1 < 5"),
        ("(({} | rate()) / ({} | rate())) | topk(1)", "({} | rate()) / ({} | rate()) | topk(1)"),
        ("(({} | rate())) - (({} | rate() | topk(2)))", "({} | rate()) - ({} | rate() | topk(2))"),
    ],
)
def test_parentheses_around_metrics_mean_nothing(written: str, meant: str) -> None:
    """A metrics query may stand in parentheses, with more behind them, as in Tempo's grammar."""
    assert compile_query(written) == compile_query(meant)


def test_what_may_follow_metrics() -> None:
    """Ranks and comparisons follow one another."""
    assert parse("{} | count_over_time() by (.k) >= 2 | topk(1) > -1.5").body.stages[2:] == (
        ast.Threshold(0, ">=", ast.Literal(0, 2, Kind.INT)),
        ast.Rank(0, "topk", 1),
        ast.Threshold(0, ">", ast.Literal(0, -1.5, Kind.FLOAT)),
    )


def test_what_may_follow_arithmetic() -> None:
    """Ranks and comparisons behind arithmetic are of its series, not of the right side's."""
    body = compile_query("({} | rate() by (.k)) / ({} | rate() by (.k)) + ({} | rate()) | topk(1) > 5").body
    assert isinstance(body, ast.MetricsMath)
    assert body.after == (ast.Rank(0, "topk", 1), ast.Threshold(0, ">", ast.Literal(0, 5, Kind.INT)))
    assert not body.left.after
    assert len(body.right.stages) == 2


def test_what_stands_in_parentheses_is_told_by_what_follows() -> None:
    """`>` behind parentheses relates spansets, or compares metrics with a number."""
    structure = parse("({ .a }) > ({ .b }) > { .c }").body.stages[0]
    assert (structure.op, structure.left.op) == (">", ">")
    assert parse("({ .a } | count()) > 5").body.stages[0].op == ">"


@given(st.text(alphabet='{}()|&!=<>~."`\\ \nab1smn:-+*/^%,', max_size=40))
@settings(max_examples=300, deadline=None)
def test_any_text_parses_or_is_refused(text: str) -> None:
    """No text makes the parser fail in another way than QueryInvalid with a position inside the text."""
    try:
        compile_query(text)
        position = 0
    except QueryInvalid as error:
        position = -1 if error.position is None else error.position
    assert 0 <= position <= len(text)
