"""The main job from outside: the installed command, plain HTTP, and numbers that agree to the last digit."""

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from tests.conftest import Finished, run_stackctl

REQUESTS = 200
COUNTED = {  # a key of the demo's own tally, and the total it must equal
    "calls": f"sum(increase({semconv.LLM_REQUESTS}[15m] anchored))",
    "unpriced_calls": f'sum(increase({semconv.LLM_COST_REQUESTS}{{cost_status="unpriced"}}[15m] anchored))',
    "no_usage_calls": f'sum(increase({semconv.LLM_COST_REQUESTS}{{cost_status="no_usage"}}[15m] anchored))',
    "errors": f'sum(increase({semconv.LLM_REQUESTS}{{error_type!=""}}[15m] anchored))',
}
TOKENS = {
    "input": semconv.LLM_TOKENS,
    "output": semconv.LLM_TOKENS,
    "cache_read": semconv.LLM_TOKEN_DETAILS,
    "cache_write": semconv.LLM_TOKEN_DETAILS,
    "reasoning": semconv.LLM_TOKEN_DETAILS,
}
COST = f"sum(increase({semconv.LLM_COST}[15m] anchored))"
Command = Callable[..., Finished]


@pytest.fixture(scope="module", params=["embedded", pytest.param("docker", marks=pytest.mark.docker)])
def up(request: pytest.FixtureRequest) -> Sequence[str]:
    """The command that starts a stack, on either runtime."""
    flags = ("--runtime", "embedded")
    if request.param == "docker":
        flags = (*request.getfixturevalue("docker_runtime"), "--console", "none")
    return ("up", *flags, "--ports", "auto")


@pytest.fixture(scope="module")
def command(up: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """The command over a stack of its own, so that its totals are this module's demo alone."""
    home: Path = tmp_path_factory.mktemp("main-job")

    def run(*arguments: str) -> Finished:
        return run_stackctl(*arguments, "--data-dir", home / "data", home=home, timeout=400)

    started = run(*up, "--json")
    assert started.code == 0, started.stderr
    yield run
    run("down", "--delete-data")


@pytest.fixture(scope="module")
def demo(command: Command) -> dict:
    """The report of one demo of 200 requests."""
    finished = command("demo", "--requests", str(REQUESTS), "--seed", "1", "--json")
    assert finished.code == 0, finished.stderr
    return finished.json()


def _endpoints(command: Command) -> dict[str, str]:
    return command("status", "--json").json()["endpoints"]


def _value(prometheus: PrometheusClient, query: str) -> float:
    """Return the one value of a query; 0 where a counter never came to be."""
    found = prometheus.instant(query)
    return found[0].value if found else 0.0


def _assert_totals(command: Command, demo: dict) -> None:
    prometheus = PrometheusClient(_endpoints(command)["prometheus"])
    assert {key: _value(prometheus, query) for key, query in COUNTED.items()} == {key: demo[key] for key in COUNTED}
    tokens = {
        kind: _value(prometheus, f'sum(increase({metric}{{gen_ai_token_type="{kind}"}}[15m] anchored))')
        for kind, metric in TOKENS.items()
    }
    assert tokens == demo["tokens"]
    assert abs(Decimal(_value(prometheus, COST)) - Decimal(demo["cost_usd"])) < Decimal("1e-9")


def test_an_idle_stack_has_no_trace_and_no_total(command: Command) -> None:
    """The readiness probe leaves nothing a person sees."""
    if not command("traces", "list", "--json").json()["traces"]:
        prometheus = PrometheusClient(_endpoints(command)["prometheus"])
        assert [s for s in prometheus.instant('{__name__=~"llm_.*_total"}') if s.value] == []


def test_totals_equal_the_tally_as_soon_as_demo_returns(command: Command, demo: dict) -> None:
    """Calls, errors, tokens by type and cost at the Prometheus endpoint equal what the client counted."""
    assert demo["requests"] == REQUESTS
    assert demo["unpriced_calls"] > 0, "the mix holds a model that no price book knows"
    assert demo["no_usage_calls"] > 0, "the mix holds streams without usage"
    assert demo["errors"] > 0
    _assert_totals(command, demo)


def test_every_trace_is_whole(command: Command, demo: dict) -> None:
    """200 traces, each with one root and at least five descendants reachable by parent ids, found by id."""
    assert len(set(demo["trace_ids"])) == REQUESTS
    tempo = TempoClient(_endpoints(command)["tempo"])
    for trace_id in demo["trace_ids"]:
        spans = tempo.trace(trace_id).spans
        roots = [span for span in spans if span.parent_id is None]
        assert len(roots) == 1, trace_id
        reached, frontier = set(), {roots[0].span_id}
        while frontier:
            reached |= frontier
            frontier = {span.span_id for span in spans if span.parent_id in frontier} - reached
        assert len(reached) == len(spans) > 5, trace_id


def test_an_unknown_model_adds_nothing_to_cost(command: Command, demo: dict) -> None:
    """The calls of the model without a price stand as unpriced, and no money stands under its name."""
    prometheus = PrometheusClient(_endpoints(command)["prometheus"])
    unpriced = f'sum by (gen_ai_request_model) ({semconv.LLM_COST_REQUESTS}{{cost_status="unpriced"}})'
    models = {sample.labels[semconv.LABEL_REQUEST_MODEL] for sample in prometheus.instant(unpriced)}
    assert models
    for model in models:
        assert prometheus.instant(f'{semconv.LLM_COST}{{gen_ai_request_model="{model}"}} > 0') == []


def test_every_panel_of_every_board_has_data(command: Command, demo: dict) -> None:
    """`dashboards verify` after the demo: each query answers, but for the few that a healthy stack leaves empty."""
    verified = command("dashboards", "verify", "--json")
    report = verified.json()
    assert (verified.code, report["problems"]) == (0, [])
    assert len(report["empty"]) <= 5


def test_cost_report_equals_the_demo(command: Command, demo: dict) -> None:
    """`cost` tells the same money, with the coverage beside it."""
    text = command("cost", "--by", "model", "--window", "1h", "--json").stdout
    report = json.loads(text, parse_float=Decimal)
    assert abs(Decimal(report["total"]["cost_usd"]) - Decimal(demo["cost_usd"])) < Decimal("1e-9")


def test_totals_survive_down_and_up(command: Command, up: Sequence[str], demo: dict) -> None:
    """After `down` and `up` the same totals and the same traces."""
    assert command("down").code == 0
    assert command(*up).code == 0
    _assert_totals(command, demo)
    assert TempoClient(_endpoints(command)["tempo"]).trace(demo["trace_ids"][0]).spans


def test_the_same_seed_gives_the_same_numbers(command: Command, demo: dict) -> None:
    """Tokens, cost and errors of a seed do not depend on when or how concurrently it runs."""
    again = command("demo", "--requests", str(REQUESTS), "--seed", "1", "--json").json()
    same = ("calls", "errors", "unpriced_calls", "no_usage_calls", "tokens", "cost_usd", "evaluations")
    assert {key: again[key] for key in same} == {key: demo[key] for key in same}
