"""Clients that send spans by themselves, as anthropic 2.14.0 and mistralai 3.7.0 do."""

from typing import Any

import pytest

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.stack import EngineConfig
from tests.embedded.span_tables import spans_of

CONFIG = EngineConfig("unused")
ANTHROPIC, MISTRAL = "com.anthropic.sdk.python", "mistralai_sdk_tracer"
MESSAGE = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "anthropic",
    semconv.REQUEST_MODEL: "claude-sonnet-4-5",
    semconv.RESPONSE_MODEL: "claude-sonnet-4-5-20250929",
    semconv.SERVER_ADDRESS: "api.anthropic.com",
    semconv.SERVER_PORT: 443,
    semconv.INPUT_TOKENS: 1200,
    semconv.CACHE_READ_TOKENS: 150,
    semconv.CACHE_WRITE_TOKENS: 50,
}
ANSWERED = {semconv.OUTPUT_TOKENS: 57, semconv.REASONING_TOKENS: 50, "anthropic.message.stop_reason": "end_turn"}
STREAM = {semconv.STREAM: True, semconv.TIME_TO_FIRST_CHUNK: 0.2}
MISTRALS = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "mistral_ai",
    semconv.REQUEST_MODEL: "mistral-large-latest",
    semconv.SERVER_ADDRESS: "127.0.0.1:18765",
    "http.url": "http://127.0.0.1:18765/v1/chat/completions",
}
STREAMED = {"http.url": "http://127.0.0.1:18765/v1/chat/completions#stream"}
HTTP_OK = {"http.response.status_code": 200}


def _one(attributes: dict[str, Any], scope: str, **more: Any) -> dict[str, Any]:
    """The stored columns of one span."""
    (row,) = Pipeline(CONFIG).process(spans_of(attributes, scope=scope, **more)).to_pylist()
    return {key[2:-2]: value for key, value in row.items() if key.startswith("s:")}


def test_anthropics_client_tells_all_of_a_call() -> None:
    """Its input has what was cached, so nothing is added to it."""
    shown = _one({**MESSAGE, **ANSWERED}, ANTHROPIC, name="anthropic.messages.create")
    assert (shown[semconv.ACCOUNTED], shown[semconv.INPUT_TOKENS]) == (True, 1200)
    assert shown[semconv.FINISH_REASONS] == '["end_turn"]'
    assert shown[semconv.COST_USD] == pytest.approx((1000 * 3 + 150 * 0.3 + 50 * 3.75 + 57 * 15) / 1e6)


@pytest.mark.parametrize(
    ("more", "failed", "incomplete"),
    [
        ({**STREAM, **ANSWERED}, False, None),
        (STREAM, True, True),
        (STREAM, False, True),
        ({semconv.STREAM: True}, True, True),  # between the first event and the first text
        (ANSWERED, False, None),
    ],
)
def test_a_stream_of_anthropics_client_without_a_reason_broke_off(
    more: dict[str, Any], failed: bool, incomplete: bool | None
) -> None:
    """Its first event brings a usage, and what it brought is kept."""
    shown = _one({**MESSAGE, **more}, ANTHROPIC, failed=failed)
    assert shown.get(semconv.STREAM_INCOMPLETE) == incomplete
    assert shown[semconv.INPUT_TOKENS] == 1200


def test_a_refused_stream_of_anthropics_client_is_an_error_only() -> None:
    """No usage came, so none of it is a stream."""
    refused = {semconv.OPERATION: "chat", semconv.STREAM: True, semconv.ERROR_TYPE: "rate_limit_error"}
    shown = _one(refused, ANTHROPIC, failed=True)
    assert semconv.STREAM_INCOMPLETE not in shown


def test_a_tools_result_of_anthropics_client_is_content() -> None:
    """Its key is none of the conventions'."""
    assert "anthropic.tool_result.content" not in _one(
        {semconv.OPERATION: "execute_tool", "anthropic.tool_result.content": "18C"}, ANTHROPIC
    )


def test_openinferences_broken_stream_of_anthropic_failed_after_it_began() -> None:
    """It tells no first token, but a usage came before the error."""
    began = {
        "openinference.span.kind": "LLM",
        "llm.request.model_name": "claude-sonnet-4-5",
        "llm.invocation_parameters": '{"stream": true}',
    }
    usage = {"llm.token_count.prompt": 1200, "llm.token_count.completion": 1}
    scope = "openinference.instrumentation.anthropic"
    assert _one({**began, **usage}, scope, failed=True)[semconv.STREAM_INCOMPLETE] is True
    assert semconv.STREAM_INCOMPLETE not in _one(began, scope, failed=True)


@pytest.mark.parametrize(
    ("more", "stream", "error", "incomplete"),
    [
        ({**STREAMED, **HTTP_OK}, True, None, True),
        ({**STREAMED, **HTTP_OK, semconv.FINISH_REASONS: '["stop"]'}, True, None, None),
        (STREAMED, True, "_OTHER", None),
        ({**HTTP_OK, semconv.FINISH_REASONS: '["stop"]'}, None, None, None),
    ],
)
def test_mistrals_client_names_a_stream_in_its_path(
    more: dict[str, Any], stream: bool | None, error: str | None, incomplete: bool | None
) -> None:
    """One that was refused has no HTTP status, and one that broke off no finish reason."""
    shown = _one({**MISTRALS, **more}, MISTRAL)
    assert shown.get(semconv.STREAM) == stream
    assert shown.get(semconv.ERROR_TYPE) == error
    assert shown.get(semconv.STREAM_INCOMPLETE) == incomplete
    assert shown[semconv.SERVER_ADDRESS] == "127.0.0.1"


def test_mistrals_error_keeps_its_type() -> None:
    """Where it tells one."""
    shown = _one({**MISTRALS, semconv.ERROR_TYPE: "rate_limited"}, MISTRAL, failed=True)
    assert shown[semconv.ERROR_TYPE] == "rate_limited"
    assert _one({**MISTRALS, semconv.SERVER_ADDRESS: "api.mistral.ai"}, MISTRAL)[semconv.SERVER_ADDRESS] == (
        "api.mistral.ai"
    )
