"""The captures of real libraries, sent to the real Collector: the same calls, tokens and money as from the engine."""

import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.clients.traces import Span
from stackctl.errors import NotFound
from tests.conftest import LiveStack, run_stackctl
from tests.test_captures import (
    NAMES,
    _shown,
    _stack_with_captures,
    _trace_ids,
    calls,
    test_calls_are_counted_once,
    test_evaluations_are_counted_by_verdict,
    test_sums_equal_the_spans,
)

__all__ = [
    "calls",
    "test_calls_are_counted_once",
    "test_evaluations_are_counted_by_verdict",
    "test_sums_equal_the_spans",
]
pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture(scope="module")
def captured(docker_runtime: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """A stack of containers with every capture sent once, and arrived in Tempo's place."""
    home = tmp_path_factory.mktemp("docker-captures")
    try:
        for stack in _stack_with_captures(home, *docker_runtime, "--console", "none"):
            _wait_for_traces(stack)
            yield stack
    finally:
        run_stackctl("down", "--delete-data", "--data-dir", home / "data", home=home)


@pytest.fixture(scope="module")
def total(captured: LiveStack, calls: dict[str, list[Span]]) -> Callable[[str], float | None]:
    """Sum of a metric over everything that was sent, once calls and, flushed apart, first tokens are counted."""
    prometheus = PrometheusClient(captured.endpoints["prometheus"])

    def ask(query: str) -> float | None:
        found = prometheus.instant(f"sum(increase({query}[15m] anchored))")
        return found[0].value if found else None

    spans = [span for found in calls.values() for span in found]
    wanted = {
        semconv.LLM_REQUESTS: len(spans),
        f"{semconv.LLM_TIME_TO_FIRST_TOKEN}_count": sum(_shown(span)["first_chunk"] is not None for span in spans),
    }
    deadline = time.monotonic() + 90
    while {query: ask(query) for query in wanted} != wanted and time.monotonic() < deadline:
        time.sleep(1)
    assert {query: ask(query) for query in wanted} == wanted
    return ask


def _wait_for_traces(stack: LiveStack) -> None:
    missing = {trace_id for name in NAMES for trace_id in _trace_ids(name)}
    deadline = time.monotonic() + 120
    with TempoClient(stack.endpoints["tempo"]) as tempo:
        while missing := {trace_id for trace_id in missing if not _found(tempo, trace_id)}:
            assert time.monotonic() < deadline, f"{len(missing)} traces did not arrive"
            time.sleep(1)


def _found(tempo: TempoClient, trace_id: str) -> bool:
    try:
        return bool(tempo.trace(trace_id).spans)
    except NotFound:
        return False
