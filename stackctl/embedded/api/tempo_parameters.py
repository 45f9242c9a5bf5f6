"""What the Tempo API is asked: query parameters and ids, checked and turned into our terms."""

import re
import time
from datetime import datetime
from typing import Final

from starlette.requests import Request

from stackctl.embedded.traces.measuring import Steps
from stackctl.embedded.traces.search import SearchRequest
from stackctl.embedded.traces.segments import Window
from stackctl.embedded.traces.spansets import Bounds
from stackctl.embedded.traces.tags import ATTRIBUTE_SCOPES, TagsRequest
from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.traceql import ast, compile_query
from stackctl.traceql.parse import MAX_CHARACTERS

MAX_LIMIT: Final = 10_000
MAX_STEPS: Final = 11_000
_SCOPES: Final = frozenset({"", "none", "intrinsic", "trace", "instrumentation", *ATTRIBUTE_SCOPES})
_PATIENCE_SECONDS: Final = 0.25
# Possessive throughout, so that no text takes longer to read than its length.
_STRING: Final = re.compile(r'"(?:\\.|[^"\\])*+"|`[^`]*+`', re.S)
_LETTER: Final = r"""[^\s"`{}()=!<>~&|,^]"""
# A string; a name and an operator with no value behind them; or a string that has no end.
_UNFINISHED: Final = re.compile(
    rf"""(?P<string>{_STRING.pattern})
    |(?P<unfinished>(?<!["`])(?<!{_LETTER}){_LETTER}(?:"(?:\\.|[^"\\])*+"|{_LETTER})*+
        \s*+(?:=~|!~|!=|>=|<=|=|>|<)\s*+(?=["`][^"`]*+\Z|[)}}]|&&|\||\Z))
    |["`].*\Z""",
    re.S | re.X,
)
_UNIT_NS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9}


def trace_id(text: str) -> str:
    """Return a trace id as 32 hex digits: shorter ones are padded on the left, as Tempo does."""
    wrong = re.search(r"[^0-9a-fA-F]", text)
    if wrong:
        raise bad(
            f"trace IDs can only contain hex characters: invalid character {wrong[0]!r} at position {wrong.start()}"
        )
    if len(text) > 32:
        raise bad("trace IDs can't be larger than 128 bits")
    return text.lower().zfill(32)


def search_request(request: Request) -> SearchRequest:
    """Read the parameters of `/api/search`.

    Raises:
        QueryInvalid: a parameter or the query is malformed.
    """
    parameters = request.query_params
    text = parameters.get("q", "")
    pipeline = _searchable(text) if text else _by_tags(parameters.get("tags", ""))
    window = time_window(request)
    limit = _count(request, "limit", 20)
    if not limit or limit > MAX_LIMIT:
        raise bad(f"invalid limit: must be a positive number up to {MAX_LIMIT}")
    return SearchRequest(
        pipeline,
        Bounds(window, _duration(request, "minDuration"), _duration(request, "maxDuration")),
        limit,
        _count(request, "spss", 3) or 0,
    )


def time_window(request: Request) -> Window:
    """Read `start` and `end`, in seconds; without one there is no bound.

    Raises:
        QueryInvalid: one is no number, or the end is not after the start.
    """
    start, end = _count(request, "start", None), _count(request, "end", None)
    if start is not None and end is not None and end <= start:
        raise bad(f"invalid start/end: end {end} must be after start {start}")
    return Window(None if start is None else start * 10**9, None if end is None else end * 10**9)


def tags_request(request: Request) -> tuple[str, TagsRequest]:
    """Read the parameters of `/api/search/tags`.

    Returns:
        the scope, empty for all of them, and what is asked of attributes.

    Raises:
        QueryInvalid: a parameter is malformed, or there is no such scope.
    """
    scope = request.query_params.get("scope", "")
    if scope not in _SCOPES:
        raise bad(f"invalid scope: {scope}")
    scope = "" if scope == "none" else scope
    chosen = ATTRIBUTE_SCOPES if not scope else tuple(name for name in ATTRIBUTE_SCOPES if name == scope)
    # Who asks for no scope in particular shall not wait for the events of the whole store.
    patience = None if scope else _PATIENCE_SECONDS
    return scope, TagsRequest(chosen, time_window(request), lenient(request.query_params.get("q", "")), patience)


def metrics_request(request: Request, instant: bool = False) -> tuple[ast.Pipeline | ast.MetricsMath, Steps]:
    """Read the parameters of `/api/metrics/query_range` and `/api/metrics/query`: the last hour if no range is said.

    Args:
        instant: the whole range is one interval.

    Raises:
        QueryInvalid: a parameter or the query is malformed, or the query measures nothing.
    """
    body = compile_query(request.query_params.get("q") or request.query_params.get("query", "")).body
    if isinstance(body, ast.Pipeline) and not any(isinstance(stage, ast.Metrics) for stage in body.stages):
        raise bad("not a metrics query: it ends in no function such as rate()")
    end = _time(request, "end", time.time_ns())
    start = _time(request, "start", end - (_duration(request, "since") or 3600 * 10**9))
    if end <= start:
        raise bad("invalid start/end: the end must be after the start")
    if instant:
        return body, Steps(end, end - start, 1)
    step = _step(request.query_params.get("step", ""), end - start)
    first, last = start // step * step, -(-end // step) * step
    count = (last - first) // step + 1
    if count > MAX_STEPS:
        raise bad(f"invalid step: {count} steps, more than {MAX_STEPS}")
    return body, Steps(first, step, count)


def _time(request: Request, name: str, default: int) -> int:
    """Return a time in nanoseconds since the epoch, from seconds (also fractions), nanoseconds or RFC 3339."""
    text = request.query_params.get(name, "")
    if not text:
        return default
    if re.fullmatch(r"\d{1,19}(\.\d+)?", text):
        # Tempo's rule: a number too large for seconds is nanoseconds.
        return int(text) if text.isdigit() and len(text) > 13 else round(float(text) * 10**9)
    try:
        return round(datetime.fromisoformat(text).timestamp() * 10**9)
    except ValueError:
        raise bad(f"invalid {name}: {text!r} is no time") from None


def _step(text: str, range_ns: int) -> int:
    """Return a step in nanoseconds: a duration, or seconds; about a hundred steps if none is said."""
    if not text:
        return max(range_ns // 100 // 10**9, 1) * 10**9
    step = round(float(text) * 10**9) if re.fullmatch(r"\d{1,9}(\.\d+)?", text) else go_duration("step", text)
    if step <= 0:
        raise bad("invalid step: must be longer than nothing")
    return step


def _searchable(text: str) -> ast.Pipeline:
    body = compile_query(text).body
    if isinstance(body, ast.MetricsMath):
        raise QueryUnsupported("metrics in a search", next_step="ask /api/metrics/query_range")
    return body


def _by_tags(text: str) -> ast.Pipeline:
    """Return the pipeline of the older search by tags: `key=value key2="another value"`, all of which must hold."""
    condition: ast.Expression | None = None
    for key, quoted, plain in re.findall(r'([^\s="]+)=(?:"((?:\\.|[^"\\])*)"|(\S*))', text):
        value = re.sub(r"\\(.)", r"\1", quoted) or plain
        if key in ("status.code", "status") or (key == "error" and value == "true"):
            wanted = {"unset": 0, "ok": 1}.get(value, 2)
            pair: tuple[ast.Expression, ast.Literal] = (
                ast.Intrinsic(0, "span:status", ast.Kind.STATUS),
                ast.Literal(0, wanted, ast.Kind.STATUS),
            )
        elif key in ("name", "root.name", "root.service.name"):
            intrinsic = {"name": "name", "root.name": "rootName", "root.service.name": "rootServiceName"}[key]
            pair = (ast.Intrinsic(0, *ast.INTRINSICS[intrinsic]), ast.Literal(0, value, ast.Kind.STRING))
        else:
            pair = (ast.Attribute(0, "", key), ast.Literal(0, value, ast.Kind.STRING))
        holds = ast.Binary(0, "=", *pair)
        condition = holds if condition is None else ast.Binary(0, "&&", condition, holds)
    return ast.Pipeline(0, (ast.Filter(0, condition),))


def lenient(text: str) -> ast.Expression | None:
    """Return the condition that narrows a list of keys or values: that of the query's first filter, as in Tempo.

    In a query that is still being typed a comparison without its value holds for everything.

    Returns:
        None where nothing is narrowed: without a query, or where it cannot be read, or begins with something else.
    """
    if not text.strip() or len(text) > MAX_CHARACTERS:
        return None
    try:
        body = compile_query(text).body
    except QueryInvalid:
        try:
            body = compile_query(_completed(text)).body
        except QueryInvalid:
            return None
    first: ast.Node = body
    while isinstance(first, ast.Pipeline):
        first = first.stages[0]
    return first.condition if isinstance(first, ast.Filter) else None


def _completed(text: str) -> str:
    """Return a query with `true` for each comparison that lacks its value, and with its braces closed."""
    text = _UNFINISHED.sub(lambda found: found["string"] or (" true " if found["unfinished"] else ""), text)
    plain = _STRING.sub("", text)
    return text + " }" * (plain.count("{") - plain.count("}"))


def _count(request: Request, name: str, default: int | None) -> int | None:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not re.fullmatch(r"\d{1,18}", text):
        raise bad(f"invalid {name}: must be a non-negative whole number")
    return int(text)


def _duration(request: Request, name: str) -> int | None:
    """Return a parameter that is a duration as Go writes it (`1.5s`, `1h30m`), in nanoseconds."""
    text = request.query_params.get(name, "")
    return go_duration(name, text) if text else None


def go_duration(name: str, text: str) -> int:
    """Return a duration in nanoseconds.

    Raises:
        QueryInvalid: the text is none; the message names the parameter.
    """
    part = r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)"
    if not re.fullmatch(f"(?:{part})+", text):
        raise bad(f"invalid {name}: {text!r} is no duration such as 500ms")
    return sum(round(float(number) * _UNIT_NS[unit]) for number, unit in re.findall(part, text))


def bad(message: str) -> QueryInvalid:
    """Return the error of a malformed parameter: HTTP 400."""
    return QueryInvalid(message, next_step="correct the request")
