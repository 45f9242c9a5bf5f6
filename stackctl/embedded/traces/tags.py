"""Which attributes there are, and which values they have: what a query editor completes from."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, MutableMapping, Set
from dataclasses import dataclass, replace
from typing import Any, Final
from weakref import WeakKeyDictionary

from stackctl.embedded.traces.fields import LISTS, FieldCompiler
from stackctl.embedded.traces.hot import HotPiece
from stackctl.embedded.traces.partials import Partial
from stackctl.embedded.traces.schema import REST_COLUMN, identifier
from stackctl.embedded.traces.segments import Segment, Window
from stackctl.embedded.traces.session import EVERYTHING, Session
from stackctl.embedded.traces.spansets import Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters, plain
from stackctl.errors import QueryInvalid
from stackctl.traceql import ast, parse
from stackctl.traceql.spelling import duration_text

MAX_VALUES: Final = 1000
ATTRIBUTE_SCOPES: Final = ("resource", "span", *LISTS)
_SPAN: Final = ("tid_hi", "tid_lo", "span_id")
_SPAN_KEY: Final = ", ".join(_SPAN)
_KEY_BYTES: Final = 100  # of a key as Python holds it, beside its characters
# What hot pieces have in a column of LISTS, as long as they are there.
_HOT_KEYS: Final[MutableMapping[HotPiece, dict[str, Set[str]]]] = WeakKeyDictionary()
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


@dataclass(frozen=True)
class TagsRequest:
    """Which attribute keys are asked for.

    Attributes:
        scopes: some of ATTRIBUTE_SCOPES.
        window: when they must be on a span: by the time of whole segments, as in Tempo, unless a condition is given.
        condition: what the span must meet; None for any.
        patience: seconds after which keys of events and links that are not known yet are left out; None for never.
    """

    scopes: Collection[str] = ATTRIBUTE_SCOPES
    window: Window = EVERYTHING
    condition: ast.Expression | None = None
    patience: float | None = None


def tag_names(session: Session, request: TagsRequest) -> dict[str, list[str]]:
    """Return the keys of attributes that a span other than the probe's has, by scope.

    Raises:
        QueryUnsupported: the condition uses what the engine does not run.
        UpstreamFailed: time or memory ran out.
    """
    found = _keys_where(session, request) if request.condition is not None else _keys(session, request)
    return {scope: sorted(found[scope]) for scope in ATTRIBUTE_SCOPES if scope in request.scopes}


def _keys(session: Session, request: TagsRequest) -> dict[str, set[str]]:
    window = request.window
    if window != EVERYTHING:
        segments = tuple(part for part in session.segments if window.touches(part))
        session = replace(session, segments=segments, hot=tuple(part for part in session.hot if window.touches(part)))
    found: dict[str, set[str]] = defaultdict(set)
    if not {"resource", "span"}.isdisjoint(request.scopes):
        schema = session.tags()
        for scope in REST_COLUMN:
            found[scope] |= schema.rest_keys[scope]
        for column in schema.attributes():
            found[column.scope].add(column.key)
    began = time.monotonic()
    for scope in LISTS.keys() & set(request.scopes):
        found[scope] = _keys_of_list(session, scope, began, request.patience)
    return found


def _keys_of_list(session: Session, scope: str, began: float, patience: float | None) -> set[str]:
    """Return the keys of attributes of events or links.

    They stand in no schema. What a segment or a piece has is kept, since it never changes.
    """
    column = LISTS[scope]
    found: set[str] = set()
    parts: list[HotPiece | Segment] = [*session.segments, *session.hot]
    for part in reversed(parts):  # the newest first
        if column not in part.tags:
            continue
        kept = _kept(session, part, column)
        if kept is None:
            if patience is not None and time.monotonic() - began > patience:
                continue
            session.check_time(began)
            kept = _keep(session, part, column)
        found |= kept
    return found


def _kept(session: Session, part: HotPiece | Segment, column: str) -> Set[str] | None:
    if isinstance(part, HotPiece):
        return _HOT_KEYS.get(part, {}).get(column)
    partial = session.partials.get(("keys", column), part.path)
    return None if partial is None else partial.found


def _keep(session: Session, part: HotPiece | Segment, column: str) -> Set[str]:
    if isinstance(part, HotPiece):
        keys = _listed(replace(session, segments=(), hot=(part,)), column)
        _HOT_KEYS.setdefault(part, {})[column] = keys
        return keys
    keys = _listed(replace(session, segments=(part,), hot=()), column)
    session.partials.put(("keys", column), part.path, Partial(keys, sum(len(key) + _KEY_BYTES for key in keys)))
    return keys


def _listed(session: Session, column: str) -> Set[str]:
    keys = f"flatten(json_keys({column}, '$[*].attributes'))"
    spans = session.spans([column])
    rows = session.rows(f"SELECT DISTINCT unnest({keys}) AS key FROM {spans} WHERE {column} IS NOT NULL")
    return {row["key"] for row in rows}


def _keys_where(session: Session, request: TagsRequest) -> dict[str, set[str]]:
    """Return the keys on the spans that meet a condition."""
    parameters = Parameters()
    compiler = SpansetCompiler(session, parameters, Bounds(request.window))
    matched = compiler.compile(ast.Pipeline(0, (ast.Filter(0, request.condition),)))
    columns = [column for column in session.schema.attributes() if column.scope in request.scopes]
    lists = {**REST_COLUMN, **LISTS}
    jsons = {scope: lists[scope] for scope in request.scopes if lists[scope] in session.schema.columns}
    spans = session.spans(
        [*_SPAN, *(column.name for column in columns), *jsons.values()], request.window, request.condition
    )
    counts = [f"count({identifier(column.name)}) AS c{i}" for i, column in enumerate(columns)]
    paths = {scope: ", '$[*].attributes'" if scope in LISTS else "" for scope in jsons}
    keys = {scope: f"json_keys({jsons[scope]}{paths[scope]})" for scope in jsons}
    # Lists of lists of keys: `flatten` takes one level off, `list` puts one on.
    asked = [
        f"list_distinct(flatten(list({f'flatten({sql})' if scope in LISTS else sql}))) AS {scope}"
        for scope, sql in keys.items()
    ]
    if not counts and not asked:
        return defaultdict(set)
    sql = f"""SELECT {", ".join([*counts, *asked])} FROM {spans}
        WHERE ({_SPAN_KEY}) IN (SELECT ({_SPAN_KEY}) FROM {matched})"""
    (row,) = session.rows(compiler.statement(sql), parameters.values)
    found: dict[str, set[str]] = defaultdict(set, {scope: set(row[scope] or ()) for scope in keys})
    for i, column in enumerate(columns):
        if row[f"c{i}"]:
            found[column.scope].add(column.key)
    return found


def tag_values(
    session: Session,
    field: ast.Attribute | ast.Intrinsic,
    condition: ast.Expression | None = None,
    window: Window = EVERYTHING,
) -> list[dict[str, str]]:
    """Return the values of a field; of events and links, those of all that a span has.

    Args:
        condition: only spans that meet it are looked at.
        window: the time in which they must be.

    Returns:
        `type` (Tempo's: string, int, float, bool, duration, keyword) and `value` of each, at most MAX_VALUES.

    Raises:
        QueryUnsupported: the field or the condition is what the engine does not run.
        UpstreamFailed: time or memory ran out.
    """
    parameters = Parameters()
    compiler = SpansetCompiler(session, parameters, Bounds(window))
    scope = field.scope if isinstance(field, ast.Attribute) else field.name.partition(":")[0]
    places = _item_places(session, parameters, field) if scope in LISTS else compiler.carry_values(field)
    source = compiler.compile(ast.Pipeline(0, (ast.Filter(0, condition),)))
    if scope in LISTS:
        source = _items(session, scope, "" if condition is None else source, condition, window)
    values = []
    for place in places:
        sql = (
            f"SELECT DISTINCT {place} AS value FROM {source} WHERE value IS NOT NULL ORDER BY value LIMIT {MAX_VALUES}"
        )
        for row in session.rows(compiler.statement(sql), parameters.values):
            value = plain(row["value"])
            # An array stands in a relation where an element does: those are its values.
            values += [_value(field, one) for one in (value if isinstance(value, list) else [value]) if one is not None]
    return _once(values)[:MAX_VALUES]


def _once(values: Iterable[dict[str, str]]) -> list[dict[str, str]]:
    """Return values without those that came before."""
    return list({(one["type"], one["value"]): one for one in values}.values())


def _item_places(session: Session, parameters: Parameters, field: ast.Expression) -> list[str]:
    """Return SQL of a field's value, by type, over the rows of `_items`."""
    return [sql for place in FieldCompiler(session.schema, parameters).operand(field) for sql in place.present()]


def _items(session: Session, scope: str, matched: str, condition: ast.Expression | None, window: Window) -> str:
    """Return SQL of the events or links of spans, each a row.

    Args:
        matched: the relation of the spans; empty for any.
    """
    column = LISTS[scope]
    spans = session.spans([*_SPAN, "start_ns", column], window, condition)
    among = f" AND ({_SPAN_KEY}) IN (SELECT ({_SPAN_KEY}) FROM {matched})" if matched else ""
    return f"""(SELECT start_ns, unnest(json_extract({column}, '$[*]')) AS {scope} FROM {spans}
        WHERE {column} IS NOT NULL{among})"""


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
            return {"type": "duration", "value": duration_text(value)}
    match value:
        case bool():
            return {"type": "bool", "value": str(value).lower()}
        case int():
            return {"type": "int", "value": str(value)}
        case float():
            return {"type": "float", "value": repr(value)}
    return {"type": "string", "value": str(value)}
