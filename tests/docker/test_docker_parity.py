"""The same OTLP bytes into both runtimes: the same series with the same numbers, and boards that show the same."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import httpx2
import pytest

from stackctl import semconv
from stackctl.boards import queries, render
from stackctl.boards.queries import Query
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.demo import conductor
from stackctl.demo.job import Job, Load
from stackctl.demo.scenarios import scenario
from stackctl.genai.metrics import CATALOGUE
from tests.conftest import LiveStack, run_stackctl
from tests.otlp_sink import otlp_sink
from tests.test_captures import CAPTURES, TOML

pytestmark = [pytest.mark.docker, pytest.mark.slow]
SEED, REQUESTS = 11, 80
SENDERS = 4
SETTLE_SECONDS = 120.0
RANGE = "15m"
Numbers = dict[frozenset[tuple[str, str]], float]
Recorded = Sequence[tuple[str, bytes]]


@pytest.fixture(scope="module")
def recorded() -> Recorded:
    """Path and body of each OTLP request: of a demo with a seed, recorded on its way, and of every capture."""
    chosen = scenario("default")
    with otlp_sink() as sink, conductor.simulator(chosen.seeded(SEED)) as port:
        target = conductor.Target(sink.url.removeprefix("http://"), sink.url, None, False)
        conductor.perform(Job(SEED, "default", Load(REQUESTS), port), target, lambda _: None)
    captures = [(f"/v1/{path.suffixes[-2][1:]}", path.read_bytes()) for path in sorted(CAPTURES.glob("*/*.pb"))]
    assert {path for path, _ in sink.requests} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    assert {path for path, _ in captures} == {"/v1/traces", "/v1/metrics", "/v1/logs"}
    return [*sink.requests, *captures]


@dataclass(frozen=True)
class Both:
    """Both stacks after the replay.

    Attributes:
        began, ended: the window that holds all of it, seconds since the epoch.
    """

    embedded: LiveStack
    docker: LiveStack
    began: float
    ended: float

    def ask(self, question: Callable[[LiveStack], object]) -> tuple[object, object]:
        """Return what each answers."""
        return question(self.embedded), question(self.docker)


@pytest.fixture(scope="module")
def both(recorded: Recorded, docker_runtime: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """Both runtimes, which were sent the same and have counted it."""
    home = tmp_path_factory.mktemp("parity")
    (home / "stackctl.toml").write_text(TOML)
    runtimes = {"embedded": ("--runtime", "embedded"), "docker": docker_runtime}
    with ExitStack() as ending:
        stacks = {}
        for name, flags in runtimes.items():
            data = home / name
            ending.callback(run_stackctl, "down", "--delete-data", "--data-dir", data, home=home)
            up = ("up", *flags, "--console", "none", "--ports", "auto", "--data-dir", data, "--json")
            started = run_stackctl(*up, home=home, timeout=400)
            assert started.code == 0, started.stderr
            stacks[name] = LiveStack(data, started.json()["endpoints"])
        began = time.time()
        for stack in stacks.values():
            _replay(stack, recorded)
        both = Both(**stacks, began=began - 5, ended=0.0)
        deadline = time.monotonic() + SETTLE_SECONDS
        while len(set(map(str, both.ask(_counted)))) > 1 or _counted(both.docker) is None:
            assert time.monotonic() < deadline, both.ask(_counted)
            time.sleep(1)
        # The last step of a range is its end: what arrived last in one of them must not lie behind it.
        ended = time.time()
        steps = math.ceil((ended - began) / queries.SCRAPE_SECONDS) + 1
        yield Both(**stacks, began=ended - steps * queries.SCRAPE_SECONDS, ended=ended)


def _replay(stack: LiveStack, recorded: Recorded) -> None:
    headers = {"content-type": "application/x-protobuf"}
    with (
        httpx2.Client(base_url=stack.endpoints["otlp_http"], headers=headers, trust_env=False, timeout=60) as http,
        ThreadPoolExecutor(SENDERS) as pool,
    ):
        answers = list(pool.map(lambda request: http.post(request[0], content=request[1]).status_code, recorded))
    assert answers == [200] * len(recorded)


def _counted(stack: LiveStack) -> dict[str, float]:
    """How much each name of the catalogue counts: what is waited for until both say the same."""
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        asked = {name: prometheus.instant(f"sum(increase({name}[{RANGE}] anchored))") for name in _whole_names()}
    return {name: found[0].value for name, found in asked.items() if found}


def _whole_names() -> list[str]:
    """Series of the catalogue that count whole things."""
    return [name for name in _names() if name != semconv.LLM_COST and not name.endswith(("_sum", "_bucket"))]


def _names() -> list[str]:
    parts = {"counter": ("",), "histogram": ("_bucket", "_count", "_sum")}
    return list(dict.fromkeys(f"{row.name}{part}" for row in CATALOGUE for part in parts[row.kind]))


@pytest.mark.parametrize("name", _names())
def test_the_increase_over_the_replay_is_the_same(both: Both, name: str) -> None:
    """Every series of the catalogue has the same labels in both; counters and buckets are equal, sums to 1e-9."""

    def increase(stack: LiveStack) -> Numbers:
        with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
            found = prometheus.instant(f"increase({name}[{RANGE}] anchored)", both.ended)
        return {_labels(sample.labels): sample.value for sample in found}

    embedded, docker = increase(both.embedded), increase(both.docker)
    assert embedded, "the replay fills every metric"
    assert docker.keys() == embedded.keys()
    exact = name != semconv.LLM_COST and not name.endswith("_sum")
    assert docker == (embedded if exact else pytest.approx(embedded, rel=1e-12, abs=1e-9))


def _labels(labels: dict[str, str]) -> frozenset[tuple[str, str]]:
    """Labels with bounds as numbers: `1` and `1.0` are one bucket."""
    return frozenset((key, str(float(value)) if key == "le" else value) for key, value in labels.items())


def test_every_board_query_gives_the_same_label_sets(both: Both) -> None:
    """Panels and variables of all boards: the same series, choices and traces, whichever runtime is asked."""
    differing, filled = [], 0
    seconds = round(both.ended - both.began)
    for board in render.boards():
        macros = queries.values(board, seconds)
        for query in queries.of(board):
            text = queries.substituted(query.text, macros)
            embedded, docker = both.ask(lambda stack, query=query, text=text: _shown(stack, query, text, both))
            filled += bool(embedded)
            if embedded != docker:
                differing.append((query.board, query.panel, text, embedded, docker))
    assert differing == []
    assert filled > 50, "most of the boards show something"


def _shown(stack: LiveStack, query: Query, text: str, both: Both) -> set[object]:
    """What a query finds: label sets, a variable's choices, or ids of traces."""
    with (
        PrometheusClient(stack.endpoints["prometheus"]) as prometheus,
        TempoClient(stack.endpoints["tempo"]) as tempo,
    ):
        match query.language:
            case "traceql":
                return {found.trace_id for found in tempo.search(text, both.began - 60, both.ended, limit=1000)}
            case "label_values":
                metric, label = queries.label_values(text)
                form = {"match[]": metric, "start": f"{both.began:.3f}", "end": f"{both.ended:.3f}"}
                return set(prometheus.get(f"/api/v1/label/{label}/values", form)["data"])
            case "promql" if query.instant:
                return {_labels(sample.labels) for sample in prometheus.instant(text, both.ended)}
            case "promql":
                lines = prometheus.range(text, both.began, both.ended, queries.SCRAPE_SECONDS)
                return {_labels(line.labels) for line in lines}
