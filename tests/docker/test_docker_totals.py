"""Totals over containers: with the Collector restarted under load, with a full queue, and with most traces left out."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from secrets import token_bytes

import httpx2
import pytest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.collector.sampling import WAIT_SECONDS
from stackctl.errors import NotFound
from stackctl.runtime import state
from tests.conftest import Finished, run_stackctl
from tests.docker.engine import containers, docker
from tests.embedded.otlp_messages import span_request

pytestmark = [pytest.mark.docker, pytest.mark.slow]
Command = Callable[..., Finished]
SENDERS, REQUESTS, SPANS = 8, 400, 25
PROBES = 12  # that `up` sends at most
BATCH_SECONDS = 1.0  # what a count waits in the Collector before it can be scraped: a batch of 0.2 s, and its way
SETTLE_SECONDS = 90.0
HEADERS = {"content-type": "application/x-protobuf"}
CALL = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "openai",
    semconv.REQUEST_MODEL: "gpt-4o-mini",
    semconv.RESPONSE_MODEL: "gpt-4o-mini",
    semconv.STREAM: True,
    semconv.TIME_TO_FIRST_CHUNK: 0.25,
    semconv.INPUT_TOKENS: 100,
    semconv.OUTPUT_TOKENS: 10,
}


@dataclass(frozen=True)
class Request:
    """A request of one trace."""

    trace_id: bytes
    body: bytes


def requests(service: str, count: int, spans: int, attributes: dict | None = None, **fields: int) -> list[Request]:
    """Return requests of calls that end now, each a trace of its own."""
    made = []
    for _ in range(count):
        trace_id, now = token_bytes(16), time.time_ns()
        message = span_request(
            spans, CALL | (attributes or {}), {"service.name": service}, kind=3, trace_id=trace_id, **fields
        )
        for span in message.resource_spans[0].scope_spans[0].spans:
            span.start_time_unix_nano, span.end_time_unix_nano = now - 1_000_000_000, now
        made.append(Request(trace_id, message.SerializeToString()))
    return made


@dataclass
class Senders:
    """Applications side by side that send again, a second later, what nobody answered, as an SDK does.

    Attributes:
        pause: seconds between the requests of one.
        acknowledged: trace id and the moment of its answer.
        unanswered: how often nobody knows whether a request was taken.
        refused: answers that were none of success.
    """

    url: str
    pause: float = 0.0
    acknowledged: dict[bytes, float] = field(default_factory=dict)
    unanswered: int = 0
    refused: list[int] = field(default_factory=list)

    def send(self, all_of: Sequence[Request]) -> None:
        """Send everything, a share by each."""
        with ThreadPoolExecutor(SENDERS) as pool:
            list(pool.map(self._share, (all_of[at::SENDERS] for at in range(SENDERS))))

    def _share(self, share: Sequence[Request]) -> None:
        with httpx2.Client(base_url=self.url, headers=HEADERS, trust_env=False, timeout=30) as http:
            for request in share:
                while (status := self._try(http, request)) is None:
                    time.sleep(1)
                if status == 200:
                    self.acknowledged[request.trace_id] = time.time()
                else:
                    self.refused.append(status)
                time.sleep(self.pause)

    def _try(self, http: httpx2.Client, request: Request) -> int | None:
        try:
            return http.post("/v1/traces", content=request.body).status_code
        except httpx2.ConnectError:
            return None  # nobody was there to take it
        except httpx2.TransportError:
            self.unanswered += 1
            return None


@dataclass(frozen=True)
class Stack:
    """A stack of containers, and the command over it."""

    command: Command
    up: Sequence[str]
    project: str
    endpoints: dict[str, str]
    config: Path

    def healthy(self, component: str) -> bool:
        """True when `status` says so."""
        rows = self.command("status", "--json").json()["components"]
        return {row["name"]: row["state"] for row in rows}[component] == state.HEALTHY

    def total(self, query: str) -> float:
        """Return a sum's increase over the last quarter of an hour; 0 where there is no such series."""
        with PrometheusClient(self.endpoints["prometheus"]) as prometheus:
            found = prometheus.instant(f"sum(increase({query}[15m] anchored))")
        return found[0].value if found else 0.0

    def spans(self, trace_ids: Sequence[bytes]) -> int:
        """Return how many spans of some traces are stored; one that came twice counts once."""
        with TempoClient(self.endpoints["tempo"]) as tempo, ThreadPoolExecutor(4) as pool:
            return sum(pool.map(lambda trace_id: _spans(tempo, trace_id.hex()), trace_ids))


def _spans(tempo: TempoClient, trace_id: str) -> int:
    try:
        return len({span.span_id for span in tempo.trace(trace_id).spans})
    except NotFound:
        return 0


@pytest.fixture(scope="module")
def stack(docker_runtime: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A stack of real containers for the tests of this file, one after the other."""
    home = tmp_path_factory.mktemp("docker-totals")

    def run(*arguments: str) -> Finished:
        return run_stackctl(*arguments, "--data-dir", home / "data", home=home, timeout=400)

    up = ("up", *docker_runtime, "--console", "none", "--ports", "auto", "--json")
    started = run(*up)
    try:
        assert started.code == 0, started.stderr
        report = started.json()
        config = state.compose_directory(home / "data") / "otelcol" / "config.yaml"
        yield Stack(run, up, report["network"], report["endpoints"], config)
    finally:
        run("down", "--delete-data")


def _until(value: Callable[[], float], reached: Callable[[float], bool]) -> float:
    """Ask until it is reached or time is up; return the last answer."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while not reached(found := value()) and time.monotonic() < deadline:
        time.sleep(1)
    return found


def test_a_restarted_collector_lacks_at_most_one_scrape(stack: Stack) -> None:
    """Eight senders, and a SIGTERM among them: what was not scraped yet is all that lacks, and it is told how much."""
    service, sent = "restarted", REQUESTS * SPANS
    calls = f'{semconv.LLM_REQUESTS}{{service_name="{service}"}}'
    senders = Senders(stack.endpoints["otlp_http"], pause=0.3)
    load = threading.Thread(target=senders.send, args=(requests(service, REQUESTS, SPANS),))
    began = time.time()
    load.start()
    time.sleep(7)
    container, stopping = containers(stack.project)["otelcol"], time.time()
    docker("restart", container)
    load.join()
    started = datetime.fromisoformat(docker("inspect", "-f", "{{.State.StartedAt}}", container)).timestamp()
    assert (len(senders.acknowledged), senders.refused) == (REQUESTS, [])
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        # `timestamp` of a selector alone: of an expression it is the query's time.
        scraped = prometheus.instant('timestamp(up{job="stackctl-catalogue"})', stopping)[0].value
    may_lack = SPANS * sum(scraped - BATCH_SECONDS < moment < started for moment in senders.acknowledged.values())
    twice = SPANS * senders.unanswered
    counted = _until(lambda: stack.total(calls), lambda found: sent - may_lack <= found <= sent + twice)
    print(
        f"{sent} sent, {counted:.0f} counted, {sent - counted:.0f} lack, {may_lack} might, {twice} might be there twice"
    )
    assert sent - may_lack <= counted <= sent + twice
    assert stopping - scraped < 6, "the catalogue is scraped every 5 s"
    assert _until(lambda: stack.spans(list(senders.acknowledged)), lambda found: found == sent) == sent
    _assert_exemplars_lead_to_traces(stack, senders, began)


def _assert_exemplars_lead_to_traces(stack: Stack, senders: Senders, began: float) -> None:
    """Samples of first tokens carry ids of traces that Tempo's API knows."""
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        query = f'{semconv.LLM_TIME_TO_FIRST_TOKEN}_bucket{{service_name="restarted"}}'
        found = {row.labels["trace_id"] for row in prometheus.exemplars(query, began, time.time())}
    assert found
    assert found <= {trace_id.hex() for trace_id in senders.acknowledged}
    with TempoClient(stack.endpoints["tempo"]) as tempo:
        assert all(tempo.trace(trace_id).spans for trace_id in found)


def test_a_full_queue_drops_and_counts_but_refuses_nothing(stack: Stack) -> None:
    """Tempo away and little room: every request is answered, totals are exact, and what is not stored is counted."""
    service, sent = "full", REQUESTS * SPANS
    text = stack.config.read_text()
    small = text.replace("queue_size: 500000", "queue_size: 3000").replace(
        "min_size: 1000, max_size: 2000", "min_size: 500, max_size: 500"
    )
    assert text.count("queue_size: 500000") == text.count("min_size: 1000, max_size: 2000") == 1
    stack.config.write_text(small)  # in place: the container has this very file mounted
    docker("restart", containers(stack.project)["otelcol"])
    docker("kill", containers(stack.project)["tempo"])
    assert _until(lambda: stack.healthy("otelcol"), bool)
    senders = Senders(stack.endpoints["otlp_http"])
    senders.send(requests(service, REQUESTS, SPANS))
    assert (len(senders.acknowledged), senders.refused, senders.unanswered) == (REQUESTS, [], 0)
    for query, true in (
        (semconv.LLM_REQUESTS, sent),
        (f"{semconv.LLM_TIME_TO_FIRST_TOKEN}_count", sent),
        (f"{semconv.LLM_REQUEST_DURATION}_count", sent),
        (semconv.LLM_TOKENS, 110 * sent),
    ):
        asked = f'{query}{{service_name="{service}"}}'
        assert _until(lambda asked=asked: stack.total(asked), lambda found, true=true: found == true) == true

    def dropped() -> float:
        return stack.command("status", "--json").json()["collector"].get("queue_full_spans", 0.0)

    assert _until(dropped, lambda found: found > 0) > 0
    mended = stack.command(*stack.up)
    assert mended.code == 0, mended.stderr
    trace_ids = list(senders.acknowledged)
    stored = _until(lambda: stack.spans(trace_ids), lambda found: found + dropped() >= sent)
    print(f"{sent} sent, {stored} stored, {dropped():.0f} dropped and counted")
    assert sent <= stored + dropped() <= sent + PROBES, "the probes of `up` are dropped too until there is room"
    assert 0 < stored < sent


def test_a_sample_keeps_every_error_and_every_count(stack: Stack) -> None:
    """`--sample 10` over 2,000 requests: totals are exact, all errors are stored, and a tenth of the rest."""
    service, fine, failed = "sampled", 1900, 100
    changed = stack.command(*stack.up, "--sample", "10")
    assert changed.code == 0, changed.stderr
    assert "applied: sample: - -> 10" in changed.stderr
    errors = requests(service, failed, 1, {semconv.ERROR_TYPE: "RateLimitError"})
    good = requests(service, fine, 1)
    mixed = [request for at in range(failed) for request in (errors[at], *good[at * 19 : at * 19 + 19])]
    senders = Senders(stack.endpoints["otlp_http"])
    senders.send(mixed)
    assert (len(senders.acknowledged), senders.refused, senders.unanswered) == (fine + failed, [], 0)
    for labels, true in (
        (f'service_name="{service}"', fine + failed),
        (f'service_name="{service}",error_type!=""', failed),
    ):
        query = f"{semconv.LLM_REQUESTS}{{{labels}}}"
        assert _until(lambda query=query: stack.total(query), lambda found, true=true: found == true) == true
    assert _until(lambda: stack.spans([one.trace_id for one in errors]), lambda found: found == failed) == failed
    time.sleep(max(0.0, max(senders.acknowledged.values()) + WAIT_SECONDS + 5 - time.time()))
    share = stack.spans([one.trace_id for one in good]) / fine
    print(f"{share:.1%} of the calls without an error are stored")
    assert 0.07 <= share <= 0.13
