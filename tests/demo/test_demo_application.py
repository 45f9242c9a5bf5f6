"""The application's processes: every trace whole, the same seed the same numbers, and nothing of the user's shell."""

from collections import defaultdict
from decimal import Decimal

import pytest
from otlp_sink import OtlpSink, otlp_sink

from stackctl.demo.conductor import Target, clean, perform, simulator
from stackctl.demo.job import Job, Load, Outcome
from stackctl.demo.model import Behaviour
from stackctl.demo.scenarios import SCENARIOS
from stackctl.demo.tally import tally
from stackctl.genai.prices import shipped

FAILING = Behaviour(rate_limited=0.2, retried=0.1, server_error=0.1, broken_stream=0.2, slowness=0.05)


def run(sink: OtlpSink, seed: int, requests: int, behaviour: Behaviour) -> Outcome:
    with simulator(behaviour) as port:
        job = Job(seed, "default", Load(requests=requests, concurrency=4), port=port)
        return perform(job, Target("127.0.0.1:9", sink.url), lambda _: None)


@pytest.fixture(scope="module")
def failing() -> tuple[Outcome, OtlpSink]:
    """A run in which about every second call fails, and what arrived of it."""
    with otlp_sink() as sink:
        return run(sink, 5, 24, FAILING), sink


def test_every_trace_has_one_root_and_five_descendants_though_calls_fail(failing):
    """Each question is one trace: one root, at least five spans below it, none without its parent."""
    outcome, sink = failing
    parents: dict[str, dict[str, str]] = defaultdict(dict)
    for span in sink.spans:
        parents[span.trace_id][span.span_id] = span.parent_id
    assert set(parents) == set(outcome.trace_ids)
    assert len(parents) == 24
    assert outcome.degraded > 0
    for trace in parents.values():
        assert [parent for parent in trace.values() if parent not in trace] == [""]
        assert len(trace) >= 6


def test_the_spans_say_what_the_client_counted(failing):
    """Calls, errors and tokens of the exported spans equal the client's own count: nothing lost, nothing invented."""
    outcome, sink = failing
    counted = tally(outcome.calls, outcome.results, shipped(), "openai")
    spans = [span.attributes for span in sink.inference()]
    assert len(spans) == counted.calls
    assert sum("error.type" in span for span in spans) == counted.errors > 0
    for key, total in (
        ("input_tokens", "input"),
        ("output_tokens", "output"),
        ("cache_read.input_tokens", "cache_read"),
    ):
        assert sum(span.get(f"gen_ai.usage.{key}", 0) for span in spans) == counted.tokens[total]
    assert len(sink.logs) == len(outcome.results) == 3 * 24


def test_evaluations_hang_on_the_answer(failing):
    """Each result's span is the chat call that answered, or the stand-in for one that failed."""
    _, sink = failing
    names = {span.span_id: span.name for span in sink.spans}
    answered = [names[record.span_id.hex()] for record in sink.logs]
    assert all(name.startswith("chat ") or name == "answer from passage" for name in answered)


def test_the_same_seed_gives_the_same_tokens_cost_and_errors(failing):
    """A second run counts the same, whatever order the visitors came in."""
    first = tally(failing[0].calls, failing[0].results, shipped(), "openai")
    with otlp_sink() as sink:
        outcome = run(sink, 5, 24, FAILING)
    second = tally(outcome.calls, outcome.results, shipped(), "openai")
    assert (second.tokens, second.cost, second.errors, second.statuses, second.evaluations) == (
        first.tokens,
        first.cost,
        first.errors,
        first.statuses,
        first.evaluations,
    )
    assert second.cost_usd > Decimal(0)


def test_the_users_shell_does_not_reach_the_demos_processes():
    """Proxies, OTEL_* and OPENAI_* stay outside."""
    shell = {"PATH": "/bin", "HTTP_PROXY": "x", "OTEL_SDK_DISABLED": "true", "OPENAI_API_KEY": "sk", "https_proxy": "x"}
    assert clean(shell) == {"PATH": "/bin"}


def test_the_default_scenario_is_the_first():
    """`demo` without a name runs the row that `--list` shows first."""
    assert next(iter(SCENARIOS)) == "default"
