"""`stackctl run` as a user runs it."""

import sys
import time
from pathlib import Path

import pytest

from stackctl.clients import PrometheusClient
from stackctl.demo.conductor import simulator
from stackctl.demo.model import Behaviour
from tests.conftest import LiveStack, run_stackctl

APP = """
import openai, os, sys
client = openai.OpenAI(base_url=os.environ["TEST_BASE_URL"], api_key="x")
client.chat.completions.create(model="gpt-4o-mini", messages=[{"role": "user", "content": "Hello there"}])
sys.exit(int(sys.argv[1]))
"""


def test_a_program_without_a_stack_is_not_started(stackctl_cli, tmp_path: Path):
    """No stack to send to: exit 3, and the program did not run."""
    done = stackctl_cli("run", "--", sys.executable, "-c", f"open({str(tmp_path / 'ran')!r}, 'w')")
    assert done.code == 3
    assert "stackctl up" in done.stderr
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("command", [("no-such-program",), ()])
def test_a_command_that_is_none_is_misuse(stackctl_cli, command):
    """A mistyped or forgotten command is exit 2 with one next step."""
    done = stackctl_cli("run", "--", *command)
    assert (done.code, done.stderr.count("next:")) == (2, 1)


def test_a_programs_calls_are_counted_and_its_exit_code_is_its_own(stack: LiveStack, tmp_path: Path):
    """One call of a program with no code of ours is one accounted call of a service with the script's name."""
    app = tmp_path / "corner_shop.py"
    app.write_text(APP)
    with simulator(Behaviour(slowness=0.1, rate_limited=0, server_error=0)) as port:
        done = run_stackctl(
            "run",
            "--data-dir",
            stack.data_dir,
            "--",
            sys.executable,
            app,
            "7",
            home=tmp_path,
            env={
                "TEST_BASE_URL": f"http://127.0.0.1:{port}/v1",
                "OTEL_SERVICE_NAME": "corner_shop",
                "NO_PROXY": "127.0.0.1",
            },
        )
    assert done.code == 7, done.stderr
    deadline = time.monotonic() + 10  # a total stands at the next tick, which a reader hastens
    found: list[float] = []
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        while not any(found) and time.monotonic() < deadline:
            time.sleep(0.1)
            samples = prometheus.instant('sum(llm_requests_total{service_name="corner_shop"})')
            found = [sample.value for sample in samples]
    assert found == [1.0]
