"""Containers killed under load: `status` tells, `up` mends, nothing acknowledged is lost, and totals are exact."""

import http.client
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from secrets import token_bytes
from urllib.parse import urlsplit

import pytest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.errors import NotFound
from tests.conftest import Finished, run_stackctl
from tests.docker.engine import containers, docker
from tests.embedded.otlp_messages import span_request

pytestmark = [pytest.mark.docker, pytest.mark.slow]
Command = Callable[..., Finished]
SPANS = 5  # of one request, which is one trace
PAUSE_SECONDS = 0.2
BEFORE_SECONDS = 8.0
# The long form, STACKCTL_KILLS=1: Tempo is away for two minutes.
AWAY_SECONDS = {"otelcol": 5.0, "prometheus": 20.0, "tempo": 120.0 if os.environ.get("STACKCTL_KILLS") else 25.0}
UNWRITTEN_SECONDS = 0.1  # what the Collector answered just before its death may not be in the queue's file yet
BATCH_SECONDS = 1.0  # what a count waits in the Collector before it can be scraped: a batch of 0.2 s, and its way
CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.provider.name": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.usage.input_tokens": 100,
    "gen_ai.usage.output_tokens": 10,
}


@dataclass
class Sender:
    """An application that sends one trace after the other.

    Attributes:
        acknowledged: trace id and the time it was answered with 200.
        unanswered: how many requests failed, so that nobody knows whether they were taken.
        refused: how many were answered with something else.
    """

    url: str
    service: str
    acknowledged: dict[str, float] = field(default_factory=dict)
    unanswered: int = 0
    refused: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        """Send until told to stop."""
        parts = urlsplit(self.url)
        while not self.stop.wait(PAUSE_SECONDS):
            trace_id = token_bytes(16)
            body = span_request(SPANS, CALL, {"service.name": self.service}, kind=3, trace_id=trace_id)
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
            try:
                headers = {"Content-Type": "application/x-protobuf"}
                connection.request("POST", "/v1/traces", body.SerializeToString(), headers)
                if connection.getresponse().status == 200:
                    self.acknowledged[trace_id.hex()] = time.time()
                else:
                    self.refused += 1
            except (OSError, http.client.HTTPException):
                self.unanswered += 1
            finally:
                connection.close()


@pytest.fixture(scope="module")
def up(docker_runtime: Sequence[str]) -> Sequence[str]:
    return ("up", *docker_runtime, "--console", "none", "--ports", "auto", "--json")


@pytest.fixture(scope="module")
def command(up: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command over a stack of real containers."""
    home: Path = tmp_path_factory.mktemp("docker-kills")

    def run(*arguments: str) -> Finished:
        return run_stackctl(*arguments, "--data-dir", home / "data", home=home, timeout=400)

    started = run(*up)
    assert started.code == 0, started.stderr
    yield run
    run("down", "--delete-data")


@pytest.mark.parametrize("component", ["prometheus", "otelcol", "tempo"])
def test_a_killed_container(command: Command, up: Sequence[str], component: str) -> None:
    """SIGKILL under load, then `up`: acknowledged traces are whole, and the counter is exact or lacks one scrape."""
    before = command("status", "--json").json()
    sender = Sender(before["endpoints"]["otlp_http"], f"killed-{component}")
    thread = threading.Thread(target=sender.run)
    thread.start()
    try:
        time.sleep(BEFORE_SECONDS)
        docker("kill", "-s", "KILL", containers(before["network"])[component])
        killed = time.time()
        told = command("status", "--json")
        time.sleep(max(0.0, killed + AWAY_SECONDS[component] - time.time()))
        mended = command(*up)
        time.sleep(BEFORE_SECONDS)
    finally:
        sender.stop.set()
        thread.join()
    assert told.code == 1
    assert {row["name"]: row["state"] for row in told.json()["components"]}[component] == "stopped"
    assert mended.code == 0, mended.stderr
    assert sender.refused == 0, "while the queue has room nothing is refused"
    _assert_all_stored(before["endpoints"]["tempo"], sender, killed, component)
    _assert_counted(before["endpoints"]["prometheus"], sender, killed if component == "otelcol" else None)


def _assert_all_stored(url: str, sender: Sender, killed: float, component: str) -> None:
    """Every acknowledged trace is found by its id, with all its spans; the queue may still be sending."""
    unwritten = killed - UNWRITTEN_SECONDS if component == "otelcol" else killed
    missing = {trace_id for trace_id, moment in sender.acknowledged.items() if not unwritten < moment < killed}
    deadline = time.monotonic() + 120
    with TempoClient(url) as tempo:
        while missing := {trace_id for trace_id in missing if not _whole(tempo, trace_id)}:
            ages = sorted(round(sender.acknowledged[trace_id] - killed, 3) for trace_id in missing)
            told = f"{len(missing)} of {len(sender.acknowledged)} traces are lost, acknowledged {ages} s after the kill"
            assert time.monotonic() < deadline, told
            time.sleep(1)


def _whole(tempo: TempoClient, trace_id: str) -> bool:
    """True when every span is there; one that a killed Collector sends again may be there twice."""
    try:
        return len({span.span_id for span in tempo.trace(trace_id).spans}) == SPANS
    except NotFound:
        return False


def _assert_counted(url: str, sender: Sender, collector_killed: float | None) -> None:
    """The counter says what was acknowledged; of what the Collector held when it died it lacks what was not scraped."""
    sent, unscraped = SPANS * len(sender.acknowledged), 0
    query = f'sum(increase({semconv.LLM_REQUESTS}{{service_name="{sender.service}"}}[15m] anchored))'
    deadline = time.monotonic() + 60
    with PrometheusClient(url) as prometheus:
        if collector_killed is not None:
            reached = _last_scrape(prometheus, collector_killed) - BATCH_SECONDS
            unscraped = SPANS * sum(reached < moment < collector_killed for moment in sender.acknowledged.values())
        while True:
            found = prometheus.instant(query)
            counted = found[0].value if found else 0.0
            if sent - unscraped <= counted <= sent + SPANS * sender.unanswered:
                break
            assert time.monotonic() < deadline, f"{counted} of {sent}, at most {unscraped} may lack"
            time.sleep(1)
    if collector_killed is not None:
        print(f"the last scrape was {collector_killed - reached - BATCH_SECONDS:.1f} s before the kill")
    print(f"{sender.service}: {sent:.0f} acknowledged, {counted:.0f} counted, {unscraped} might lack")


def _last_scrape(prometheus: PrometheusClient, moment: float) -> float:
    """Return when the catalogue was last scraped before a moment, in seconds since the epoch."""
    query = 'timestamp(up{job="stackctl-catalogue"})'  # of a selector alone: of an expression it is the query's time
    return max(sample.value for sample in prometheus.instant(query, moment))
