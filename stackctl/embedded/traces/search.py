"""Search: the traces that a TraceQL pipeline matches, newest first, in the shape of Tempo's answer."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from stackctl import semconv
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import Session
from stackctl.embedded.traces.fields import TRACE_FACTS, FieldCompiler, Parameters
from stackctl.embedded.traces.spansets import NO_ROOT, Bounds, SpansetCompiler
from stackctl.traceql import ast
from stackctl.traceql.check import mentions

# Intrinsics that an answer shows in fields of their own, not as attributes of the span.
_OWN_FIELD: Final = TRACE_FACTS | {"span:name", "span:duration", "span:id", "trace:id"}
_INTRINSIC_KEY: Final = {"span:status": "status", "span:kind": "kind", "span:statusMessage": "statusMessage"}
_TraceKey = tuple[int, int]


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
    matches = _matches(session, request)
    if not matches:
        return []
    spansets: dict[_TraceKey, dict[str, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for row in matches:
        spansets[row["tid_hi"], row["tid_lo"]][row["grp"]].append(row)
    columns = _mentioned(session, request.pipeline)
    spans: dict[_TraceKey, dict[int, dict[str, Any]]] = defaultdict(dict)
    for row in _spans_of(session, spansets, columns):
        spans[row["tid_hi"], row["tid_lo"]][row["span_id"]] = row
    return [_trace(key, groups, spans[key], columns) for key, groups in spansets.items()]


def _matches(session: Session, request: SearchRequest) -> list[dict[str, Any]]:
    """Return the matched spans of the newest traces: newest trace first, then in order of their start."""
    parameters = Parameters()
    compiler = SpansetCompiler(session.schema, parameters, request.bounds)
    found = compiler.compile(request.pipeline)
    limit, most = parameters.bind(request.limit), parameters.bind(request.spans_per_spanset or 2**31)
    sql = f"""{compiler.with_clause()},
        chosen AS (SELECT tid_hi, tid_lo, max(start_ns) AS newest FROM {found} GROUP BY ALL
                   ORDER BY newest DESC, tid_hi, tid_lo LIMIT {limit})
        SELECT tid_hi, tid_lo, grp, span_id, count(*) OVER spanset AS matched
        FROM {found} JOIN chosen USING (tid_hi, tid_lo)
        WINDOW spanset AS (PARTITION BY tid_hi, tid_lo, grp)
        QUALIFY row_number() OVER (PARTITION BY tid_hi, tid_lo, grp ORDER BY start_ns, span_id) <= {most}
        ORDER BY newest DESC, tid_hi, tid_lo, grp, start_ns, span_id"""
    return session.rows(sql, parameters.values)


@dataclass(frozen=True)
class _Column:
    """A value that the query mentions, and the SQL of each type that it may have."""

    key: str
    kind: ast.Kind
    sql: tuple[str, ...]
    parameters: Parameters


def _mentioned(session: Session, pipeline: ast.Pipeline) -> list[_Column]:
    parameters = Parameters()
    fields = FieldCompiler(session.schema, parameters)
    columns = {}
    for node in mentions(pipeline):
        if isinstance(node, ast.Intrinsic):
            if node.name not in _OWN_FIELD:
                key = _INTRINSIC_KEY.get(node.name, node.name)
                columns[key] = _Column(key, node.kind, fields.values(node), parameters)
        else:
            columns[str(node)] = _Column(node.name, ast.Kind.ANY, fields.values(node), parameters)
    return list(columns.values())


def _spans_of(session: Session, traces: Iterable[_TraceKey], columns: list[_Column]) -> list[dict[str, Any]]:
    """Return every span of some traces, with the mentioned values as `v<column>_<type>`."""
    service = session.schema.typed("resource", semconv.SERVICE_NAME).get("s", "NULL")
    values = [f"{sql} AS v{i}_{j}" for i, column in enumerate(columns) for j, sql in enumerate(column.sql)]
    selected = ", ".join(
        ["tid_hi, tid_lo, span_id, parent_id, start_ns, dur_ns, name, status", f"{service} AS service", *values]
    )
    ids = list(traces)
    highs, lows = (", ".join(str(int(key[part])) for key in ids) for part in (0, 1))
    sql = f"SELECT {selected} FROM stored WHERE tid_hi IN ({highs}) AND tid_lo IN ({lows}) ORDER BY start_ns, span_id"
    return session.rows(sql, columns[0].parameters.values if columns else {})


def _trace(
    key: _TraceKey,
    groups: Mapping[str, list[dict[str, Any]]],
    spans: Mapping[int, dict[str, Any]],
    columns: list[_Column],
) -> dict[str, Any]:
    start = min(row["start_ns"] for row in spans.values())
    end = max(row["start_ns"] + row["dur_ns"] for row in spans.values())
    root = next((row for row in spans.values() if row["parent_id"] == 0), None)
    spansets = [
        {
            "spans": [_span(spans[row["span_id"]], columns) for row in rows],
            "matched": rows[0]["matched"],
        }
        for rows in groups.values()
    ]
    return {
        "traceID": otlp.trace_id_hex(*key),
        "rootServiceName": (root["service"] or "") if root else NO_ROOT,
        "rootTraceName": root["name"] if root else "",
        "startTimeUnixNano": str(start),
        "durationMs": (end - start) // 1_000_000,
        "spanSet": spansets[0],
        "spanSets": spansets,
        "serviceStats": _service_stats(spans.values()),
    }


def _span(row: dict[str, Any], columns: list[_Column]) -> dict[str, Any]:
    attributes = []
    for i, column in enumerate(columns):
        value = next((row[f"v{i}_{j}"] for j in range(len(column.sql)) if row[f"v{i}_{j}"] is not None), None)
        if value is not None:
            named = ast.ENUM_NAMES.get(column.kind)
            attributes.append(otlp.key_value_json(column.key, named[value] if named else value))
    found = {
        "spanID": otlp.span_id_hex(row["span_id"]),
        "name": row["name"],
        "startTimeUnixNano": str(row["start_ns"]),
        "durationNanos": str(row["dur_ns"]),
    }
    return found | ({"attributes": attributes} if attributes else {})


def _service_stats(rows: Iterable[dict[str, Any]]) -> dict[str, dict[str, int]]:
    stats: dict[str, dict[str, int]] = {}
    for row in rows:
        counts = stats.setdefault(row["service"] or "", {"spanCount": 0})
        counts["spanCount"] += 1
        if row["status"] == 2:
            counts["errorCount"] = counts.get("errorCount", 0) + 1
    return stats
