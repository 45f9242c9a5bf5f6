"""`stackctl demo` as a user runs it: against a real stack, without one, interrupted, and misused."""

import os
import signal
import subprocess
import time
from decimal import Decimal
from pathlib import Path

import pytest

from stackctl.clients import PrometheusClient, TempoClient
from tests.conftest import COMMAND, LiveStack, hostile_environment, run_stackctl


def _total(prometheus: PrometheusClient, selector: str) -> float:
    found = prometheus.instant(f"sum({selector})")
    return found[0].value if found else 0.0


DEMO = 'service_name="stackctl-demo"'
TOTALS = {
    "calls": f"llm_requests_total{{{DEMO}}}",
    "input": f'llm_tokens_total{{{DEMO},gen_ai_token_type="input"}}',
    "output": f'llm_tokens_total{{{DEMO},gen_ai_token_type="output"}}',
    "unpriced_calls": f'llm_cost_requests_total{{{DEMO},cost_status="unpriced"}}',
    "cost_usd": f"llm_cost_usd_total{{{DEMO}}}",
}


@pytest.fixture(scope="module")
def before(stack: LiveStack) -> dict[str, float]:
    """The totals that demos of other tests left on the shared stack."""
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        return {name: _total(prometheus, selector) for name, selector in TOTALS.items()}


@pytest.fixture(scope="module")
def report(stack: LiveStack, before: dict[str, float]) -> dict:
    """What a short demo in a poisoned shell reports."""
    done = run_stackctl("demo", "--requests", "20", "--json", "--data-dir", stack.data_dir, home=stack.data_dir.parent)
    assert done.code == 0, done.stderr
    return done.json()


def test_the_report_has_the_demos_own_counts(report):
    """Every key of the contract is there, and the counts hang together."""
    assert report["requests"] == len(report["trace_ids"]) == len(set(report["trace_ids"])) == 20
    assert report["calls"] > 40
    assert report["tokens"].keys() == {"input", "output", "cache_read", "cache_write", "reasoning"}
    assert Decimal(report["cost_usd"]) > 0
    assert 0 < report["ttft_seconds"]["p50"] <= report["ttft_seconds"]["p95"]
    assert report["evaluations"]["total"] == 20


def test_the_stack_shows_exactly_what_the_demo_counted(report, stack, before):
    """As soon as demo returns, calls, tokens, cost and coverage at the Prometheus endpoint equal its report."""
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        shown = {name: _total(prometheus, selector) - before[name] for name, selector in TOTALS.items()}
    counted = {**report, **report["tokens"], "cost_usd": pytest.approx(float(report["cost_usd"]), abs=1e-9)}
    assert shown == {name: counted[name] for name in TOTALS}


def test_every_trace_is_found_by_its_id(report, stack):
    """Each trace at the Tempo endpoint has one root and at least five spans below it."""
    with TempoClient(stack.endpoints["tempo"]) as tempo:
        for trace_id in report["trace_ids"]:
            spans = tempo.trace(trace_id).spans
            assert len(spans) >= 6
            assert sum(span.parent_id is None for span in spans) == 1


def test_the_scenarios_are_listed_without_a_stack(stackctl_cli):
    """`--list` needs nothing running."""
    done = stackctl_cli("demo", "--list")
    assert done.code == 0
    assert [line.split()[0] for line in done.stdout.splitlines()][:2] == ["default", "errors"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("demo",), 3),
        (("demo", "--requests", "0"), 2),
        (("demo", "--duration", "soon"), 2),
        (("demo", "--nonsense"), 2),
    ],
)
def test_a_demo_that_cannot_run_says_why_once(stackctl_cli, arguments, code):
    """No stack, a senseless flag: one message, one next step, the right exit code, nothing on stdout."""
    done = stackctl_cli(*arguments)
    assert (done.code, done.stdout) == (code, "")
    assert done.stderr.count("error:") == done.stderr.count("next:") == 1


@pytest.mark.parametrize("arguments", [("--scenario", "storm"), ("--base-url", "http://127.0.0.1:9")])
def test_misuse_is_told_before_any_traffic(stack, arguments):
    """An unknown scenario or half a real endpoint is exit 2."""
    done = run_stackctl("demo", *arguments, "--data-dir", stack.data_dir, home=stack.data_dir.parent)
    assert (done.code, done.stdout) == (2, "")


def test_ctrl_c_stops_every_process_of_the_demo(stack, tmp_path: Path):
    """An interrupted demo exits with 130 and leaves neither simulator nor application behind."""
    command = [COMMAND, "demo", "--requests", "400", "--data-dir", str(stack.data_dir)]
    env = hostile_environment(tmp_path) | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + 20
        while len(_children(process.pid)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        children = _children(process.pid)
        assert len(children) == 2
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    assert not [pid for pid in children if os.path.exists(f"/proc/{pid}")]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
