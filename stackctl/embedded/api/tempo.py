"""The Tempo HTTP API over the span store: https://grafana.com/docs/tempo/latest/api_docs/.

Paths, parameters, JSON shapes and status codes are Tempo's; errors are plain text, as there. 422 is ours: a query that
is valid TraceQL and not built.
"""

import math
import threading
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stackctl import __version__
from stackctl.embedded.api.tempo_parameters import (
    lenient,
    metrics_request,
    search_request,
    tags_request,
    time_window,
    trace_id,
)
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.traces import otlp
from stackctl.embedded.traces.database import SpanDatabase
from stackctl.embedded.traces.fields import LISTS
from stackctl.embedded.traces.following import Following
from stackctl.embedded.traces.measuring import Steps
from stackctl.embedded.traces.metrics import MetricSeries, measure, series_json
from stackctl.embedded.traces.search import search
from stackctl.embedded.traces.session import Session
from stackctl.embedded.traces.tags import INTRINSIC_TAGS, tag_field, tag_names, tag_values
from stackctl.embedded.traces.tracejson import trace_json
from stackctl.errors import NotFound, QueryInvalid, QueryUnsupported, StackctlError, UpstreamFailed
from stackctl.stack import COMPONENTS, EngineConfig

INTRINSIC: Final = "intrinsic"
PROTOBUF: Final = "application/protobuf"
# Statements at one time: each may use both cores and the whole memory limit.
_AT_ONCE: Final = 2

_STATUS: Final[tuple[tuple[type[StackctlError], int], ...]] = (
    (QueryInvalid, 400),
    (NotFound, 404),
    (QueryUnsupported, 422),
    (UpstreamFailed, 503),
)

Endpoint = Callable[["TempoApi", Request], Response]


def app(config: EngineConfig) -> Starlette:
    """Return the API over the span store of a data directory."""
    data_dir = Path(config.data_dir)
    return TempoApi(SpanDatabase(SpanReader(data_dir), data_dir / "spans")).app()


def _answered(endpoint: Endpoint) -> Endpoint:
    """Turn our errors into Tempo's answers: status code and plain text."""

    @wraps(endpoint)
    def answer(self: "TempoApi", request: Request) -> Response:
        try:
            return endpoint(self, request)
        except StackctlError as error:
            status = next((code for kind, code in _STATUS if isinstance(error, kind)), 500)
            return PlainTextResponse(error.message, status)

    return answer


class TempoApi:
    """The endpoints.

    Args:
        database: the stored spans.
    """

    def __init__(self, database: SpanDatabase) -> None:
        self._database = database
        self._slots = threading.BoundedSemaphore(_AT_ONCE)
        self._following = Following(database.catch_up)

    def app(self) -> Starlette:
        """Return the routes. Handlers are plain functions, so Starlette runs them in threads."""
        return Starlette(
            lifespan=lambda _: self._following.running(),
            routes=[
                Route("/ready", lambda _: PlainTextResponse("ready\n")),
                Route("/api/echo", lambda _: PlainTextResponse("echo")),
                Route("/api/status/buildinfo", _build_info),
                Route("/api/traces/{trace_id}", self.trace),
                Route("/api/v2/traces/{trace_id}", self.trace_v2),
                Route("/api/search", self.search),
                Route("/api/metrics/query_range", self.metrics_range),
                Route("/api/metrics/query", self.metrics_instant),
                Route("/api/search/tags", self.tags),
                Route("/api/v2/search/tags", self.tags_v2),
                Route("/api/search/tag/{tag:path}/values", self.values),
                Route("/api/v2/search/tag/{tag:path}/values", self.values_v2),
            ],
        )

    @_answered
    def trace(self, request: Request) -> Response:
        """`/api/traces/{id}`: the trace as JSON, or as protobuf where that is accepted."""
        found = self._trace(request)
        if PROTOBUF in request.headers.get("accept", ""):
            return Response(otlp.message(found).SerializeToString(), media_type=PROTOBUF)
        return _json(trace_json(found, "batches"))

    @_answered
    def trace_v2(self, request: Request) -> Response:
        """`/api/v2/traces/{id}`: the trace inside an envelope that could say that it is partial."""
        found = self._trace(request)
        if PROTOBUF in request.headers.get("accept", ""):
            return Response(_field(1, otlp.message(found).SerializeToString()), media_type=PROTOBUF)
        return _json({"trace": trace_json(found, "resourceSpans"), "metrics": {}})

    @_answered
    def search(self, request: Request) -> Response:
        """`/api/search`: by TraceQL in `q`, or by the older `tags` and durations."""
        asked = search_request(request)
        found = self._run(lambda session: search(session, asked))
        return _json({"traces": found, "metrics": {"inspectedTraces": len(found), "completedJobs": 1, "totalJobs": 1}})

    @_answered
    def metrics_range(self, request: Request) -> Response:
        """`/api/metrics/query_range`: a TraceQL metrics query at every step."""
        body, steps = metrics_request(request)
        found = self._run(lambda session: measure(session, body, steps))
        return _json({"series": [_range_json(series, steps) for series in found], "metrics": {}})

    @_answered
    def metrics_instant(self, request: Request) -> Response:
        """`/api/metrics/query`: a TraceQL metrics query over the whole range at once."""
        body, steps = metrics_request(request, instant=True)
        found = self._run(lambda session: measure(session, body, steps))
        rows = [{**series_json(one), "value": _double(value)} for one in found for value in one.points.values()]
        return _json({"series": rows, "metrics": {}})

    @_answered
    def tags(self, request: Request) -> Response:
        """`/api/search/tags`: attribute keys without their scopes; the intrinsics only where they are asked for."""
        scope, asked = tags_request(request)
        names = self._run(lambda session: tag_names(session, asked))
        if scope == INTRINSIC:
            names = {INTRINSIC: INTRINSIC_TAGS}
        return _json({"tagNames": sorted({key for keys in names.values() for key in keys}), "metrics": {}})

    @_answered
    def tags_v2(self, request: Request) -> Response:
        """`/api/v2/search/tags`: attribute keys by scope, and the intrinsics."""
        scope, asked = tags_request(request)
        names = self._run(lambda session: tag_names(session, asked))
        if scope in ("", INTRINSIC):
            names = {**names, INTRINSIC: INTRINSIC_TAGS}
        scopes = [{"name": name, "tags": tags} for name, tags in names.items() if tags or name not in LISTS]
        return _json({"scopes": scopes, "metrics": {}})

    @_answered
    def values(self, request: Request) -> Response:
        """`/api/search/tag/{tag}/values`: the values as text."""
        return _json({"tagValues": [row["value"] for row in self._values(request)], "metrics": {}})

    @_answered
    def values_v2(self, request: Request) -> Response:
        """`/api/v2/search/tag/{tag}/values`: the values with their types."""
        return _json({"tagValues": self._values(request), "metrics": {}})

    def _run(self, question: Callable[[Session], Any]) -> Any:
        self._following.asked()
        with self._slots, self._database.session() as session:
            return question(session)

    def _trace(self, request: Request) -> otlp.StoredTrace:
        wanted = trace_id(request.path_params["trace_id"])
        found: otlp.StoredTrace | None = self._run(lambda session: otlp.trace(session, wanted))
        if found is None:
            raise NotFound(f"trace {wanted} not found", next_step="search for traces: /api/search")
        return found

    def _values(self, request: Request) -> list[dict[str, str]]:
        field = tag_field(request.path_params["tag"])
        condition, window = lenient(request.query_params.get("q", "")), time_window(request)
        values: list[dict[str, str]] = self._run(lambda session: tag_values(session, field, condition, window))
        return values


def _build_info(_: Request) -> Response:
    # Grafana reads the version to know what it may ask for; what follows the plus says that this is not Tempo itself.
    tempo = next(component for component in COMPONENTS if component.name == "tempo")
    return _json({"version": f"{tempo.tag}+stackctl.{__version__}", "revision": "", "branch": "", "goVersion": ""})


def _range_json(series: MetricSeries, steps: Steps) -> dict[str, Any]:
    samples = [
        {"timestampMs": str(steps.end_ms(step)), "value": _double(value)}
        for step, value in sorted(series.points.items())
    ]
    return {**series_json(series), "samples": samples, "exemplars": []}


def _double(value: float) -> float | str:
    """Return a double as protobuf's JSON has it: a number without an end is a text."""
    return value if math.isfinite(value) else "Infinity" if value > 0 else "-Infinity"


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json")


def _field(number: int, payload: bytes) -> bytes:
    """Return a protobuf field of length-delimited bytes, for Tempo's TraceByIDResponse, which OTLP does not define."""
    length, size = bytearray(), len(payload)
    while size > 0x7F:
        length.append(size & 0x7F | 0x80)
        size >>= 7
    length.append(size)
    return bytes([number << 3 | 2]) + bytes(length) + payload
