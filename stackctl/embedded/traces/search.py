"""Search: the traces that a TraceQL pipeline matches, newest first, in the shape of Tempo's answer."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from stackctl import semconv
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.fields import NESTED_SETS, TRACE_FACTS
from stackctl.embedded.traces.groupfacts import GroupFacts, shown
from stackctl.embedded.traces.nestedsets import nested_sets
from stackctl.embedded.traces.session import Session, TraceKey
from stackctl.embedded.traces.spansets import AROUND_NS, NO_ROOT, Bounds, SpansetCompiler
from stackctl.embedded.traces.values import Parameters, plain
from stackctl.traceql import ast
from stackctl.traceql.check import mentions

# Intrinsics that an answer shows in fields of their own, not as attributes of the span.
_OWN_FIELD: Final = TRACE_FACTS | {"span:name", "span:duration", "span:id", "trace:id", "parent"}
_INTRINSIC_KEY: Final = {"span:status": "status", "span:kind": "kind", "span:statusMessage": "statusMessage"}
_SERVICE: Final = f"r:{semconv.SERVICE_NAME}:s"
_MOST_SPANS: Final = 100_000  # of one spanset; DuckDB takes no more than ten times that
_FEW: Final = 500  # spans
# A row of SQL: what matched of a group, and how many.
_Spanset = dict[str, Any]
_FOUND: Final = ("tid_hi", "tid_lo", "span_id", "start_ns")
_OF_SPAN: Final = ("tid_hi", "tid_lo", "span_id", "parent_id", "start_ns", "dur_ns", "name", "status", _SERVICE)


@dataclass(frozen=True)
class SearchRequest:
    """What is asked for.

    Attributes:
        limit: at most so many traces.
        spans_per_spanset: at most so many of a spanset's spans; `matched` still counts all. 0 for no limit.
    """

    pipeline: ast.Pipeline
    bounds: Bounds = field(default_factory=Bounds)
    limit: int = 20
    spans_per_spanset: int = 3


def search(session: Session, request: SearchRequest) -> list[dict[str, Any]]:
    """Run a search.

    Returns:
        the elements of `traces` in the JSON of Tempo's `/api/search`, newest first.

    Raises:
        QueryUnsupported: the query uses what the engine does not run.
        UpstreamFailed: time or memory ran out.
    """
    facts = GroupFacts(session, request.pipeline, request.bounds)
    matches, columns = _matches(session, request, facts)
    if not matches:
        return []
    facts.look_up(list(matches))
    around = request.bounds.window.widened(AROUND_NS)
    spans: dict[TraceKey, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in session.spans_of(list(matches), _OF_SPAN, around):
        spans[row["tid_hi"], row["tid_lo"]][row["span_id"]] = row
    if any(column.key in NESTED_SETS for column in columns):
        for rows in spans.values():
            nested_sets(rows)
    return [
        _trace(
            key, [_spanset(spans[key], group, columns, facts.attributes(key, group)) for group in groups], spans[key]
        )
        for key, groups in matches.items()
    ]


@dataclass(frozen=True)
class _Column:
    """A value that the query mentions: its key in the answer, and where a row has it, by type."""

    key: str
    kind: ast.Kind
    places: tuple[str, ...]


def _matches(
    session: Session, request: SearchRequest, facts: GroupFacts
) -> tuple[dict[TraceKey, list[_Spanset]], list[_Column]]:
    """Return the spansets of the newest traces, newest trace first, and what the query mentions."""
    parameters = Parameters()
    compiler = SpansetCompiler(session, parameters, request.bounds)
    columns = _mentioned(compiler, request.pipeline)
    values = {place for column in columns if column.key not in NESTED_SETS for place in column.places}
    looked_up = _looked_up(session, request, columns)
    if looked_up is not None:
        return _grouped(looked_up, request), columns
    measures = facts.columns(compiler)
    found = compiler.compile(request.pipeline)
    if session.narrow() and not measures:
        # Planned in a third of the time that the grouping below takes.
        spans = session.rows(compiler.statement(f"SELECT * FROM {found} LIMIT {_FEW + 1}"), parameters.values)
        if len(spans) <= _FEW:
            return _grouped(spans, request), columns
    grouped = f"""SELECT tid_hi, tid_lo, grp, count(*) AS matched, max(start_ns) AS newest,
        {"".join(f"{measure} AS {name}, " for name, measure in measures.items())}
        {_earliest(request.spans_per_spanset, values)} AS spans FROM {found} GROUP BY ALL"""
    kept = "".join(f"'{name}': {name}, " for name in measures)
    sql = f"""SELECT tid_hi, tid_lo, max(newest) AS newest,
        list({{'grp': grp, 'matched': matched, {kept}'spans': spans}} ORDER BY grp) AS spansets
        FROM ({grouped}) GROUP BY ALL ORDER BY newest DESC, tid_hi, tid_lo LIMIT {int(request.limit)}"""
    rows = session.rows(compiler.statement(sql), parameters.values)
    return {(row["tid_hi"], row["tid_lo"]): row["spansets"] for row in rows}, columns


def _looked_up(session: Session, request: SearchRequest, columns: Sequence[_Column]) -> Sequence[dict[str, Any]] | None:
    """Return the spans of a search for one text, as the statement in `_matches` gives them; None for other searches.

    Who looks for an id asks nothing else, and to plan a statement takes longer than to find it.
    """
    stages, bounds = request.pipeline.stages, request.bounds
    if len(stages) > 1 or bounds.min_duration_ns is not None or bounds.max_duration_ns is not None:
        return None
    match stages[0]:
        case ast.Filter(
            condition=ast.Binary(
                op="=", left=ast.Attribute(), right=ast.Literal(kind=ast.Kind.STRING, value=value)
            ) as condition
        ):
            rows = session.rows_of_text(_FOUND, bounds.window, condition)
        case _:
            return None
    if rows is None or len(rows) > _FEW:
        return None
    if not rows:
        return rows
    given: dict[str, Any] = dict.fromkeys(place for column in columns for place in column.places)
    for column in columns:
        given[column.places[0]] = value  # of the one attribute that is mentioned
    return [row | given | {"grp": ""} for row in rows]


def _grouped(spans: Iterable[dict[str, Any]], request: SearchRequest) -> dict[TraceKey, list[_Spanset]]:
    """Return the spansets of the newest traces as the statement in `_matches` does.

    Args:
        spans: all that match.
    """
    found: dict[TraceKey, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    newest: dict[TraceKey, int] = {}
    for span in sorted(spans, key=lambda span: (span["start_ns"], span["span_id"])):
        key = span["tid_hi"], span["tid_lo"]
        found[key][span["grp"]].append(span)
        newest[key] = span["start_ns"]
    shown = request.spans_per_spanset or None
    return {
        key: [{"grp": grp, "matched": len(group), "spans": group[:shown]} for grp, group in sorted(found[key].items())]
        for key in sorted(found, key=lambda key: (-newest[key], key))[: request.limit]
    }


def _earliest(count: int, values: Iterable[str]) -> str:
    """Return SQL of the first spans of a spanset, as structs with what the query mentions; all of them for 0."""
    span = "{" + ", ".join(f"'{name}': {name}" for name in ("span_id", *sorted(values))) + "}"
    if not count:
        return f"list({span} ORDER BY start_ns, span_id)"
    return f"min_by({span}, {{'start': start_ns, 'id': span_id}}, {min(count, _MOST_SPANS)})"


def _mentioned(compiler: SpansetCompiler, pipeline: ast.Pipeline) -> list[_Column]:
    columns = {}
    for node in mentions(pipeline):
        if isinstance(node, ast.Attribute):
            columns[str(node)] = _Column(node.name, ast.Kind.ANY, compiler.carry_values(node))
        elif node.name not in _OWN_FIELD:
            key = _INTRINSIC_KEY.get(node.name, node.name)
            places = (key,) if key in NESTED_SETS else compiler.carry_values(node)
            columns[key] = _Column(key, node.kind, places)
    return list(columns.values())


def _spanset(
    spans: Mapping[int, dict[str, Any]],
    group: _Spanset,
    columns: Sequence[_Column],
    attributes: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    found: dict[str, Any] = {
        "spans": [_span(spans[row["span_id"]], row, columns) for row in group["spans"]],
        "matched": group["matched"],
    }
    return found | ({"attributes": attributes} if attributes else {})


def _trace(key: TraceKey, spansets: Sequence[dict[str, Any]], spans: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    start = min(row["start_ns"] for row in spans.values())
    end = max(row["start_ns"] + _length(row) for row in spans.values())
    root = next((row for row in spans.values() if row["parent_id"] == 0), None)
    return {
        "traceID": otlp.trace_id_hex(*key),
        "rootServiceName": (root[_SERVICE] or "") if root else NO_ROOT,
        "rootTraceName": root["name"] if root else "",
        "startTimeUnixNano": str(start),
        "durationMs": (end - start) // 1_000_000,
        "spanSet": spansets[0],
        "spanSets": spansets,
        "serviceStats": _service_stats(spans.values()),
    }


def _span(row: Mapping[str, Any], match: Mapping[str, Any], columns: Sequence[_Column]) -> dict[str, Any]:
    """Return a matched span.

    Args:
        row: the span as it is stored.
        match: the values that the query mentions.
    """
    attributes = []
    for column in columns:
        source = row if column.key in NESTED_SETS else match
        value = next((source[place] for place in column.places if source[place] is not None), None)
        if value is not None:
            attributes.append(otlp.key_value_json(column.key, shown(column.kind, plain(value))))
    found = {
        "spanID": otlp.span_id_hex(row["span_id"]),
        "name": row["name"],
        "startTimeUnixNano": str(row["start_ns"]),
        "durationNanos": str(_length(row)),
    }
    return found | ({"attributes": attributes} if attributes else {})


def _length(row: Mapping[str, Any]) -> int:
    """Return a span's duration. The answer's numbers have no sign: one that ends before it begins has none."""
    return max(int(row["dur_ns"]), 0)


def _service_stats(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    stats: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = stats.setdefault(row[_SERVICE] or "", {"spanCount": 0})
        counts["spanCount"] += 1
        if row["status"] == 2:
            counts["errorCount"] = counts.get("errorCount", 0) + 1
    return stats
