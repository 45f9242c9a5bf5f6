"""`status`: what the engine took and what it dropped, in words, and what would keep it."""

import httpx2
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue

from stackctl import semconv
from tests.conftest import LiveStack, run_stackctl

DROPPED = {semconv.INPUT_MESSAGES: "capture_content", "acme.tenant": "content.allow_keys"}


def test_status_says_what_redaction_dropped_and_what_keeps_it(stack: LiveStack, tmp_path) -> None:
    """Keys that were dropped are named with the setting that keeps them; what they held is not."""
    request = ExportTraceServiceRequest()
    span = request.resource_spans.add().scope_spans.add().spans.add(trace_id=b"\7" * 16, span_id=b"\7" * 8, name="x")
    for key in DROPPED:
        span.attributes.add(key=key, value=AnyValue(string_value="blue tenants of the moon"))
    answer = httpx2.post(
        f"{stack.endpoints['otlp_http']}/v1/traces",
        content=request.SerializeToString(),
        headers={"content-type": "application/x-protobuf"},
        trust_env=False,
    )
    assert answer.status_code == 200
    report = run_stackctl("status", "--json", "--data-dir", stack.data_dir, home=tmp_path).json()
    settings = {row["key"]: row["setting"] for row in report["engine"]["redacted_keys"]}
    assert settings.items() >= DROPPED.items()
    assert report["engine"]["redacted_values_total"] >= len(DROPPED)
    text = run_stackctl("status", "--data-dir", stack.data_dir, home=tmp_path).stdout
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert any(line.startswith("received") and "span" in line for line in lines)
    assert any(line.endswith(f"{semconv.INPUT_MESSAGES} kept with --capture-content") for line in lines)
    assert any(line.endswith(r"acme.tenant kept with content.allow_keys = ['acme\.tenant']") for line in lines)
    assert "blue tenants" not in text
