"""The Prometheus HTTP API over the sample store: https://prometheus.io/docs/prometheus/latest/querying/api/.

Paths, parameters, JSON shapes and status codes are Prometheus' own, GET and POST forms alike. What the evaluator does
not have is refused by name with 422, never answered empty.
"""

import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qs

import orjson
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stackctl import __version__
from stackctl.embedded.rules.group import Group
from stackctl.embedded.rules.load import load
from stackctl.embedded.rules.manager import Rules
from stackctl.embedded.rules.storage import BothStorages
from stackctl.embedded.series.reader import FoundExemplars, SampleReader
from stackctl.errors import QueryInvalid, QueryUnsupported, StackctlError
from stackctl.files import shipped
from stackctl.promql import ExecutionFailed, Labels, Matcher, Series, instant, range_
from stackctl.promql.parse import parse, selectors
from stackctl.promql.select import LOOKBACK_MS
from stackctl.promql.values import NAME, spelled
from stackctl.stack import COMPONENTS, EngineConfig

from .lanes import Allowance, Lanes, TimedOut
from .parameters import DEFAULT_TIMEOUT_MS, Parameters, invalid, simple_enough, steps
from .promjson import Json, data, exemplars_json, in_pieces
from .rules import alerts_json, rules_json

# Of what the data directory may hold, one part in so many is for recorded series.
RECORDED_SHARE: Final = 20
MAX_FORM_BYTES: Final = 4 * 1024**2
_VERSION: Final = next(one.tag for one in COMPONENTS if one.name == "prometheus").removeprefix("v")

# What an endpoint gives: the `data` member and warnings.
Answer: TypeAlias = tuple[Json, Sequence[str]]


class _Failed(Exception):
    """A request that ends in an error answer.

    Args:
        status: HTTP status.
        kind: Prometheus' `errorType`.
    """

    def __init__(self, status: int, kind: str, message: str) -> None:
        super().__init__(message)
        self.status, self.kind, self.message = status, kind, message


@dataclass(frozen=True)
class _Allowed:
    """A storage that gives what a question may still read, in the time it may take: evaluations look here each time.

    Args:
        steps: that the question has.
    """

    samples: SampleReader | BothStorages
    until: float
    allowance: Allowance
    steps: int = 1

    def select(self, matchers: Sequence[Matcher], start_ms: int, end_ms: int) -> Sequence[Series]:
        """Select as the reader does, within the time that is left."""
        if time.monotonic() > self.until:
            raise _Failed(503, "timeout", "query timed out in expression evaluation")
        return self.samples.select(matchers, start_ms, end_ms, self._take)

    def _take(self, series: int) -> None:
        self.allowance.take(series, self.steps)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def app(config: EngineConfig) -> Starlette:
    """Return the API over the samples of a data directory, with the shipped rules evaluated beside it.

    Raises:
        StackctlError: a rule file is wrong, or another process evaluates rules there.
    """
    from stackctl.embedded.rules.recorded import Recorded

    data_dir = Path(config.data_dir)
    reader = SampleReader(data_dir)
    rules = Rules(
        load(shipped("provisioning") / "prometheus" / "rules"),
        Recorded(data_dir, reader, _now_ms, config.retention_seconds),
        retention_seconds=config.retention_seconds,
        most_bytes=config.retention_bytes // RECORDED_SHARE,
    )
    return PrometheusApi(reader, _now_ms, rules).app()


class PrometheusApi:
    """The endpoints over one reader.

    Args:
        clock_ms: unix milliseconds, what `now` means in a query without a time.
        rules: evaluated while the application's lifespan lasts; what they record is queried too. None for no rules.
    """

    def __init__(self, reader: SampleReader, clock_ms: Callable[[], int] = _now_ms, rules: Rules | None = None) -> None:
        self._reader = reader
        self._clock_ms = clock_ms
        self._rules = rules
        self._samples = rules.recorded.storage if rules else reader
        heavy = threading.BoundedSemaphore()
        self._evaluating, self._listing = Lanes(heavy), Lanes(heavy)  # light lists do not wait for light queries

    def app(self) -> Starlette:
        """Return the application."""
        both, get = ["GET", "POST"], ["GET"]
        endpoints: dict[str, tuple[Callable[[Parameters], Answer], list[str]]] = {
            "query": (self.query, both),
            "query_range": (self.query_range, both),
            "query_exemplars": (self.query_exemplars, both),
            "series": (self.series, both),
            "labels": (self.labels, both),
            "metadata": (self.metadata, get),
            "rules": (lambda parameters: (rules_json(self._groups, parameters), ()), get),
            "alerts": (lambda _: (alerts_json(self._groups), ()), get),
            "targets": (lambda _: ({"activeTargets": [], "droppedTargets": []}, ()), get),
            "status/buildinfo": (build_info, get),
            "status/config": (lambda _: ({"yaml": ""}, ()), get),
            "status/flags": (lambda _: ({}, ()), get),
        }
        routes = [
            Route(f"/api/v1/{path}", self._route(endpoint), methods=methods)
            for path, (endpoint, methods) in endpoints.items()
        ]
        routes.append(Route("/api/v1/label/{name}/values", self._values_route, methods=get))
        for path, text in (("/-/ready", "stackctl is ready.\n"), ("/-/healthy", "stackctl is healthy.\n")):
            routes.append(Route(path, _saying(text), methods=get))
        rules = self._rules
        return Starlette(routes=routes, lifespan=(lambda _: rules.running()) if rules else None)

    @property
    def _groups(self) -> Sequence[Group]:
        return self._rules.groups if self._rules else ()

    # --- queries ------------------------------------------------------------------------------------------------------
    def query(self, parameters: Parameters) -> Answer:
        """Evaluate at one moment."""
        at = parameters.time_ms("time", self._clock_ms())
        limit, query = parameters.limit(), _checked(parameters)
        return self._answer(parameters, lambda samples: data(instant(query, at, samples), at, limit))

    def query_range(self, parameters: Parameters) -> Answer:
        """Evaluate at steps."""
        start, end, step = steps(parameters)
        limit, query = parameters.limit(), _checked(parameters)
        return self._answer(
            parameters,
            lambda samples: data(range_(query, start, end, step, samples), end, limit),
            (end - start) // step + 1,
        )

    def query_exemplars(self, parameters: Parameters) -> Answer:
        """Exemplars of the series that a query selects."""
        start, end = parameters.range_ms()
        if end < start:
            raise QueryInvalid("end timestamp must not be before start timestamp", next_step="Swap start and end.")
        node = parse(_checked(parameters))
        self._reader.touch_wanted()

        def list_them(_: Allowance) -> Answer:
            found: dict[int, FoundExemplars] = {}
            for selector in selectors(node):
                found |= self._reader.exemplars(selector.matchers, start, end)
            labels = self._reader.index.labels
            return [exemplars_json(labels[number], *few) for number, few in found.items()], ()

        return self._listing.answer(list_them, _until(DEFAULT_TIMEOUT_MS))

    def _answer(self, parameters: Parameters, evaluate: Callable[[_Allowed], Answer], steps: int = 1) -> Answer:
        if parameters.duration_ms("lookback_delta", LOOKBACK_MS) != LOOKBACK_MS:
            raise QueryUnsupported("lookback_delta other than 5m is not supported", next_step="Leave it out.")
        timeout_ms = min(parameters.duration_ms("timeout", DEFAULT_TIMEOUT_MS), DEFAULT_TIMEOUT_MS)
        self._reader.touch_wanted()
        until = _until(timeout_ms)
        try:
            return self._evaluating.answer(
                lambda allowance: evaluate(_Allowed(self._samples, until, allowance, steps)), until
            )
        except ExecutionFailed:
            raise
        except QueryInvalid as error:  # a string over a range, or a duration expression that gives none
            raise invalid("query", error.message) from error

    # --- labels and series --------------------------------------------------------------------------------------------
    def series(self, parameters: Parameters) -> Answer:
        """Label sets of the series that selectors choose."""

        def sets(found: Sequence[Labels]) -> Sequence[Json]:
            return sorted(found, key=spelled)

        return self._listed(parameters, sets, required=True)

    def labels(self, parameters: Parameters) -> Answer:
        """Names of labels."""
        return self._listed(parameters, lambda found: sorted({name for labels in found for name in labels}))

    def values(self, name: str, parameters: Parameters) -> Answer:
        """Values of one label."""
        if not name:
            raise QueryInvalid('invalid label name: ""', next_step="Give the name of a label.")
        return self._listed(parameters, lambda found: sorted({one[name] for one in found if name in one}))

    def _listed(
        self, parameters: Parameters, pick: Callable[[Sequence[Labels]], Sequence[Json]], required: bool = False
    ) -> Answer:
        """What is picked of the label sets that any of the selectors chooses; of all series without a selector."""
        start, end = parameters.range_ms()
        chosen, limit = parameters.matchers(required) or [()], parameters.limit()
        self._reader.touch_wanted()

        def list_them(allowance: Allowance) -> Answer:
            sets = (self._samples.series(matchers, start, end, allowance.take) for matchers in chosen)
            return _limited(pick(list({id(one): one for some in sets for one in some}.values())), limit)

        return self._listing.answer(list_them, _until(DEFAULT_TIMEOUT_MS))

    def metadata(self, parameters: Parameters) -> Answer:
        """Kind, help and unit of each metric."""
        from stackctl.genai.metrics import BY_NAME

        limit, wanted = parameters.limit(), parameters.text("metric")
        self._reader.series((Matcher(NAME, "=", wanted),), *parameters.range_ms())  # reads what is new
        found = {}
        for name, kind in sorted(self._reader.kinds.items()):
            if wanted in ("", name):
                rows = BY_NAME.get(name)
                found[name] = [{"type": kind, "unit": "", "help": rows[0].help if rows else ""}]
        return dict(list(found.items())[:limit]), ()

    # --- HTTP ---------------------------------------------------------------------------------------------------------
    def _route(self, endpoint: Callable[[Parameters], Answer]) -> Callable[[Request], Awaitable[Response]]:
        async def route(request: Request) -> Response:
            return await _respond(request, endpoint)

        return route

    async def _values_route(self, request: Request) -> Response:
        return await _respond(request, lambda parameters: self.values(request.path_params["name"], parameters))


def build_info(_: Parameters) -> Answer:
    """Which Prometheus this answers like, and what it is; Grafana reads the version to know what it may ask."""
    return {
        "application": "stackctl",
        "version": _VERSION,
        "revision": f"stackctl-{__version__}",
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }, ()


async def _respond(request: Request, endpoint: Callable[[Parameters], Answer]) -> Response:
    """Answer in Prometheus' envelope."""
    try:
        parameters = await _parameters(request)
        return Response(await run_in_threadpool(_envelope, endpoint, parameters), media_type="application/json")
    except _Failed as failed:
        return _error(failed)
    except TimedOut:
        return _error(_Failed(503, "timeout", "query timed out in query queue"))
    except (QueryUnsupported, ExecutionFailed) as refused:
        return _error(_Failed(422, "execution", refused.message))
    except QueryInvalid as error:
        return _error(_Failed(400, "bad_data", error.message))
    except RecursionError:
        return _error(_Failed(400, "bad_data", "the query is nested too deeply"))
    except StackctlError as error:
        return _error(_Failed(500, "internal", error.message))


def _envelope(endpoint: Callable[[Parameters], Answer], parameters: Parameters) -> bytes:
    answer, warnings = endpoint(parameters)
    envelope = {"status": "success", "data": answer}
    if warnings:
        envelope["warnings"] = list(warnings)
    return orjson.dumps(envelope)


def _error(failed: _Failed) -> Response:
    body = {"status": "error", "errorType": failed.kind, "error": failed.message}
    return Response(orjson.dumps(body), failed.status, media_type="application/json")


async def _parameters(request: Request) -> Parameters:
    values = parse_qs(request.url.query, keep_blank_values=True)
    form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if request.method == "POST" and form:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_FORM_BYTES:
                raise _Failed(413, "bad_data", "the form is too large")
        try:
            posted = parse_qs(body.decode(), keep_blank_values=True)
        except UnicodeDecodeError as error:
            raise _Failed(400, "bad_data", "the form is not UTF-8") from error
        values = {name: [*posted.get(name, ()), *values.get(name, ())] for name in posted | values}
    return Parameters(values)


def _checked(parameters: Parameters) -> str:
    """The query's text, after it was seen to parse: errors after that are the evaluation's."""
    query = parameters.text("query")
    try:
        parse(simple_enough(query))
    except QueryInvalid as error:
        raise invalid("query", error.message) from error
    return query


def _until(timeout_ms: int) -> float:
    return time.monotonic() + timeout_ms / 1000


def _limited(found: Sequence[Json], limit: int | None) -> Answer:
    """The first of what was found, as text already: a list of a hundred thousand label sets is not held for long."""
    less = limit is not None and len(found) > limit
    some = found[:limit] if less else found
    written = in_pieces(some, lambda _: 1, lambda few: few)
    return written, ("results truncated due to limit",) if less else ()


def _saying(text: str) -> Callable[[Request], Awaitable[Response]]:
    async def say(_: Request) -> Response:
        return PlainTextResponse(text)

    return say
