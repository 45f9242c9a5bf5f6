"""Grafana's published grammar of TraceQL (`@grafana/lezer-traceql` 1.0.0), production by production: all of it parses.

The queries are derived from that grammar, and its parser takes every one of them but those of `BEYOND`. What Tempo's
parser refuses although the grammar of the editor lets it pass stands in `LOOSE`, with the reason.
"""

import pytest

from stackctl.errors import QueryInvalid
from stackctl.traceql import compile_query, parse

FILTERS = ["{}", "{ }", "{ true }", "{ .a }", "{ (.a) }", "{ !.a }", "{ -.a = 1 }", "{ !(-.a = 1) }", "{ !!.a }"]
STATICS = [
    '"text"',
    "`raw`",
    r'"a\"b\\c"',
    "1",
    "1.5",
    "true",
    "false",
    "nil",
    "ok",
    "error",
    "unset",
    "unspecified",
    "internal",
    "server",
    "client",
    "producer",
    "consumer",
    *(f"2{unit}" for unit in ("ns", "us", "µs", "ms", "s", "m", "h")),
    "1.5s",
]
INTRINSICS = [
    "duration",
    "event:name",
    "event:timeSinceStart",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "link:spanID",
    "link:traceID",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:kind",
    "span:id",
    "span:name",
    "span:parentID",
    "span:status",
    "span:statusMessage",
    "status",
    "statusMessage",
    "trace:duration",
    "trace:id",
    "trace:rootName",
    "trace:rootService",
    "traceDuration",
    "parent",
]
ATTRIBUTES = [
    ".a",
    ".a.b-c/d",
    "event.a",
    "instrumentation.a",
    "link.a",
    "resource.a",
    "span.a",
    "parent.a",
    "parent.link.a",
    "parent.resource.a",
    "parent.span.a",
    '."with space"',
    '.half"quoted "name',
    r".a@#$%*-+_?/:;'`\\",
]
VARIABLES = [
    "{ .a = $model }",
    "{ .a = ${model} }",
    "{ .a = ${model:regex} }",
    "{ .${key} = 1 }",
    "{ .${key:raw} = 1 }",
]
FIELD_OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "=~", "!~", "+", "-", "*", "/", "%", "^", "&&", "||"]
SPANSET_OPERATORS = [
    "&&",
    "||",
    ">",
    ">>",
    "<",
    "<<",
    "~",
    "!>",
    "!>>",
    "!<",
    "!<<",
    "!~",
    "&>",
    "&>>",
    "&<",
    "&<<",
    "&~",
]
SCALARS = [
    *(f"count() {op} 1" for op in ("=", "!=", "<", "<=", ">", ">=")),
    *(f"{function}(.a) > 1" for function in ("max", "min", "avg", "sum")),
    "max(duration) >= -1s",
    "max(duration) >= 1.5",
    "count() > -1",
    *(f"count() {op} 2 > 1" for op in ("+", "-", "*", "/", "%", "^")),
    "(count() + 2) * 3 > 1",
    "max(.a + 1 * .b) > min(.a)",
    "3 > count()",
    "1 = 2",
    "count() > $limit",
]
STAGES = [
    *SCALARS,
    "by(.a)",
    "by(.a, name, .b + 1)",
    "select(.a)",
    "select(.a, name, span.b)",
    "coalesce()",
    "{ .a }",
    "({ .a } || { .b })",
    "(count() > 1)",
]
METRICS = [
    *(f"{function}(){by}" for function in ("rate", "count_over_time") for by in ("", " by(.a)", "by(.a, name)")),
    *(
        f"{function}_over_time({argument}){by}"
        for function in ("min", "max", "avg", "sum", "histogram")
        for argument in ("duration", "span.a")
        for by in ("", " by (.a)")
    ),
    "quantile_over_time(duration, 0.5)",
    "quantile_over_time(.a, 0.5, 1, 0.99) by (name)",
    "compare({ status = error })",
    "compare({ status = error }, 10)",
    "compare({ status = error }, 10, 1, 2)",
    "rate() | topk(3)",
    "rate() | bottomk(3)",
    "rate() with (most_recent=true)",
]
WHOLE = [
    "{ .a } with (most_recent=true)",
    "{ .a } with(most_recent=false)",
    "({ .a } | count() > 1)",
    "(({ .a })) && (({ .b } | count() > 2))",
    "({ .a } | count() > 1 | { .b }) >> ({ .c } | by(.d))",
    "({} | count() > 1) | ({} | count() < 5)",
    "count() > 1 | { .a }",
    "by(.a) | { .b }",
    "select(.a) | { .b }",
    "{ true } // to the end",
    "{ true /* block \n * / // */ }",
]
EVERYTHING = [
    *FILTERS,
    *(f"{{ .a = {static} }}" for static in STATICS),
    *(f"{{ {intrinsic} != nil }}" for intrinsic in INTRINSICS),
    *(f"{{ {attribute} = 1 }}" for attribute in ATTRIBUTES),
    *(f"{{ .a {op} .b }}" for op in FIELD_OPERATORS),
    *VARIABLES,
    *(f"{{ .a }} {op} {{ .b }}" for op in SPANSET_OPERATORS),
    *(f"{{ .a }} {op} {{ .b }} {op} ({{ .c }})" for op in SPANSET_OPERATORS),
    *(f"{{}} | {stage}" for stage in STAGES),
    *(f"{{}} | {metrics}" for metrics in METRICS),
    *WHOLE,
]
# Tempo 3.1 has them, the grammar of the editor not yet.
BEYOND = [
    "{ childCount > 1 && span:childCount > 1 }",
    "{ nestedSetParent < 0 && nestedSetLeft = 1 && nestedSetRight > 1 }",
    "{ parent.event.a = 1 && parent.instrumentation.b = 2 }",
    "({ .a } | count()) > ({ .b } | count()) * 2",
    "({ .a } | count()) > 2",
    "({} | rate()) / ({} | rate()) * 100",
    "(({} | rate()) - ({} | rate())) / ({} | rate())",
    "{} | rate() > 5",
    "{} | rate() by (.a) with (exemplars=true, sample=0.1)",
    "{} | quantile_over_time(duration, .5)",
]
LOOSE = {
    "{ .a ~ .b }": "`~` relates spansets",
    "{} | count() > 1 && {}": "a scalar filter stands in a pipeline, not beside a spanset",
    "{} | count() = 1 > {}": "as before",
}


@pytest.mark.parametrize("text", [*EVERYTHING, *BEYOND])
def test_every_construct_parses(text: str) -> None:
    """No query that the published grammar derives is a syntax error."""
    assert parse(text).body


@pytest.mark.parametrize("text", LOOSE)
def test_what_tempo_does_not_parse_is_refused(text: str) -> None:
    """Where the editor's grammar is wider than Tempo's parser, Tempo's word counts."""
    with pytest.raises(QueryInvalid, match="syntax error"):
        parse(text)


@pytest.mark.parametrize("text", [*VARIABLES, "{} | count() > $limit"])
def test_a_variable_without_a_value_is_refused_by_name(text: str) -> None:
    """Grafana replaces variables before it asks: one that arrives is told from a value, and named."""
    with pytest.raises(QueryInvalid, match=r"\$.* is a variable"):
        compile_query(text)
