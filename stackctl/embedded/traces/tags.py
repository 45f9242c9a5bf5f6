"""Which attributes there are, and which values they have: what a query editor completes from."""

from typing import Any, Final

from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.session import EVERYTHING, Session
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters
from stackctl.errors import QueryInvalid
from stackctl.traceql import ast, parse

MAX_VALUES: Final = 1000
# Intrinsics with values worth completing, by the names that Tempo lists.
INTRINSIC_TAGS: Final = (
    "duration",
    "instrumentation:name",
    "instrumentation:version",
    "kind",
    "name",
    "rootName",
    "rootServiceName",
    "span:duration",
    "span:id",
    "span:kind",
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
)


def tag_names(session: Session) -> dict[str, list[str]]:
    """Return the keys of attributes that a span other than the probe's has, for `resource` and `span`."""
    schema = session.tags()
    found: dict[str, set[str]] = {scope: set(schema.rest_keys[scope]) for scope in ("resource", "span")}
    for column in schema.attributes():
        found[column.scope].add(column.key)
    return {scope: sorted(keys) for scope, keys in found.items()}


def tag_values(
    session: Session, field: ast.Attribute | ast.Intrinsic, within: ast.Pipeline, window: Window = EVERYTHING
) -> list[dict[str, str]]:
    """Return the values of a field.

    Args:
        within: only spans that this pipeline finds are looked at.
        window: the time in which they must be.

    Returns:
        `type` (Tempo's: string, int, float, bool, duration, keyword) and `value` of each, at most MAX_VALUES.
    """
    parameters = Parameters()
    compiler = SpansetCompiler(session, parameters, Bounds(window))
    columns = compiler.carry_values(field)
    found = compiler.compile(within)
    values = []
    for column in columns:
        sql = f"""SELECT DISTINCT {column} AS value FROM {found}
            WHERE value IS NOT NULL ORDER BY value LIMIT {MAX_VALUES}"""
        values += [_value(field, row["value"]) for row in session.rows(compiler.statement(sql), parameters.values)]
    return values[:MAX_VALUES]


def tag_field(name: str) -> ast.Attribute | ast.Intrinsic:
    """Return the field that a tag's name means: `span.x`, `.x`, an intrinsic, or a bare key as `.key`.

    Raises:
        QueryInvalid: the name is none of them.
    """
    try:
        query = parse(f"{{ {name} }}")
    except QueryInvalid:
        return ast.Attribute(0, "", name)
    condition = query.body.stages[0].condition  # type: ignore[union-attr]  # one filter was parsed
    if isinstance(condition, ast.Attribute | ast.Intrinsic):
        return condition
    return ast.Attribute(0, "", name)


def _value(field: ast.Attribute | ast.Intrinsic, value: Any) -> dict[str, str]:
    if isinstance(field, ast.Intrinsic):
        if field.kind in ast.ENUM_NAMES:
            return {"type": "keyword", "value": ast.ENUM_NAMES[field.kind][value]}
        if field.kind == ast.Kind.DURATION:
            return {"type": "duration", "value": f"{value}ns"}
    match value:
        case bool():
            return {"type": "bool", "value": str(value).lower()}
        case int():
            return {"type": "int", "value": str(value)}
        case float():
            return {"type": "float", "value": repr(value)}
    return {"type": "string", "value": str(value)}
