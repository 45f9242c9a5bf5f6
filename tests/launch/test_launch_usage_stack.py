"""`stackctl run --ask-usage` into a real stack: streams have tokens there, and the Responses API a first token."""

import sys
import time
from pathlib import Path

from stream_server import TEXT_SECONDS, stream_server

from stackctl.clients import PrometheusClient
from tests.conftest import LiveStack, run_stackctl

APP = """
import openai, os
client = openai.OpenAI(base_url=os.environ["TEST_BASE_URL"], api_key="x")
ask = dict(model="gpt-4o-mini", messages=[{"role": "user", "content": "Where are they?"}])
for chunk in client.chat.completions.create(stream=True, **ask):
    print(chunk.choices[0].delta.content or "", end="")
for event in client.responses.create(model="gpt-4o-mini", input="?", stream=True):
    print(event.type)
"""
OURS = 'service_name="usage_shop"'


def test_streams_are_counted_with_their_tokens_and_first_token(stack: LiveStack, tmp_path: Path) -> None:
    """A program that never asks for usage has its tokens counted, and no call of it is `no_usage`."""
    app = tmp_path / "usage_shop.py"
    app.write_text(APP)
    with stream_server() as server:
        env = {"TEST_BASE_URL": server.url + "/v1", "OTEL_SERVICE_NAME": "usage_shop", "NO_PROXY": "127.0.0.1"}
        command = ("run", "--ask-usage", "--data-dir", stack.data_dir, "--", sys.executable, app)
        done = run_stackctl(*command, home=tmp_path, env=env)
    assert (done.code, done.stderr) == (0, "")
    assert done.stdout.startswith("Two parcels left.response.created")
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:

        def value(query: str) -> float:
            return sum(sample.value for sample in prometheus.instant(query))

        deadline = time.monotonic() + 15  # a total stands at the next tick, which a reader hastens
        while value(f"llm_requests_total{{{OURS}}}") < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert value(f"llm_requests_total{{{OURS}}}") == 2
        assert value(f'llm_tokens_total{{{OURS},gen_ai_token_type="input"}}') == 24
        assert value(f'llm_cost_requests_total{{{OURS},cost_status="no_usage"}}') == 0
        assert value(f"llm_time_to_first_token_seconds_count{{{OURS}}}") == 2
        assert value(f"llm_time_to_first_token_seconds_sum{{{OURS}}}") > TEXT_SECONDS
