"""What libraries sent of calls to a local simulator, beyond the captures: 1200 tokens in, 1024 of them read from the
cache and 100 written to it, 57 out, of which Gemini thought 50.
"""

import json
from typing import Any

import pytest

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.stack import EngineConfig
from tests.embedded.span_tables import spans_of

CONFIG = EngineConfig("unused")


def _one(attributes: dict[str, Any], scope: str, name: str = "chat", **more: Any) -> dict[str, Any]:
    """The stored columns of one span."""
    (row,) = Pipeline(CONFIG).process(spans_of(attributes, scope=scope, name=name, **more)).to_pylist()
    return {key[2:-2]: value for key, value in row.items() if key.startswith("s:")}


# --- Anthropic's client -----------------------------------------------------------------------------------------------
CLAUDE = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "anthropic",
    semconv.REQUEST_MODEL: "claude-sonnet-4-5",
    semconv.RESPONSE_MODEL: "claude-sonnet-4-5-20250929",
    semconv.INPUT_TOKENS: 1200,
    semconv.CACHE_READ_TOKENS: 1024,
    semconv.CACHE_WRITE_TOKENS: 100,
}
FINISHED = {semconv.OUTPUT_TOKENS: 57, "anthropic.message.stop_reason": "end_turn"}
CLIENTS = ("com.anthropic.sdk.python", "com.anthropic.sdk.python.bedrock", "com.anthropic.sdk.typescript")
CLAUDE_USD = 0.0017652
GEMINI_USD = 0.00022602


@pytest.mark.parametrize("scope", CLIENTS)
def test_anthropics_client_tells_a_whole_call(scope: str) -> None:
    """Its finish reason stands under a name of its own."""
    shown = _one({**CLAUDE, **FINISHED, semconv.STREAM: True}, scope, "anthropic.messages.create")
    assert (shown[semconv.ACCOUNTED], shown[semconv.FINISH_REASONS]) == (True, '["end_turn"]')
    assert shown[semconv.COST_USD] == pytest.approx(CLAUDE_USD)
    assert semconv.STREAM_INCOMPLETE not in shown


@pytest.mark.parametrize("scope", CLIENTS)
def test_a_closed_stream_of_anthropics_client_is_incomplete(scope: str) -> None:
    """The first event brought an input, so that only the finish reason tells."""
    shown = _one({**CLAUDE, semconv.STREAM: True, semconv.TIME_TO_FIRST_CHUNK: 0.3}, scope)
    assert shown[semconv.STREAM_INCOMPLETE] is True


@pytest.mark.parametrize("operation", ["invoke_agent", "execute_tool", None])
def test_other_spans_of_anthropics_client_are_no_calls(operation: str | None) -> None:
    """The tool runner, a tool, and a count of tokens, which has no operation."""
    named = {} if operation is None else {semconv.OPERATION: operation}
    attributes = {semconv.PROVIDER: "anthropic", semconv.REQUEST_MODEL: "claude-sonnet-4-5", **named}
    assert semconv.ACCOUNTED not in _one(attributes, CLIENTS[0], "anthropic.messages.tool_runner")


# --- pydantic-ai ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("provider", "more", "incomplete"),
    [
        ("anthropic", {}, True),
        ("google", {}, True),
        ("google-cloud", {}, True),
        ("anthropic", {semconv.FINISH_REASONS: '["stop"]'}, None),
        # Its model for tests, which finishes without a reason.
        ("test", {}, None),
    ],
)
def test_a_broken_stream_of_pydantic_ai_brings_a_usage(
    provider: str, more: dict[str, str], incomplete: bool | None
) -> None:
    """Claude's first event and each of Gemini's have one."""
    call = {semconv.OPERATION: "chat", semconv.PROVIDER: provider, semconv.INPUT_TOKENS: 1200, semconv.OUTPUT_TOKENS: 1}
    shown = _one({**call, "gen_ai.client.operation.time_to_first_chunk": 0.15, **more}, "pydantic-ai")
    assert shown.get(semconv.STREAM_INCOMPLETE) == incomplete


# --- LiteLLM ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("word", ["anthropic_messages", "aanthropic_messages"])
@pytest.mark.parametrize(
    ("answer", "provider"), [("msg_01", "anthropic"), ("msg_bdrk_01", "aws.bedrock"), ("msg_vrtx_01", "gcp.vertex_ai")]
)
def test_litellms_messages_api_has_a_provider(word: str, answer: str, provider: str) -> None:
    """It leaves it out; the answer's id tells who served a Claude."""
    call = {"llm.request.type": word, "gen_ai.system": "", "litellm.provider.model": "claude-sonnet-4-5"}
    usage = {**CLAUDE, semconv.OUTPUT_TOKENS: 57, semconv.PROVIDER: "", semconv.RESPONSE_ID: answer}
    shown = _one({**usage, **call, semconv.OPERATION: word}, "litellm", "litellm_request")
    assert (shown[semconv.OPERATION], shown[semconv.PROVIDER]) == ("chat", provider)
    assert shown[semconv.COST_STATUS] == "priced"


@pytest.mark.parametrize(
    ("word", "stream"), [("agenerate_content", False), ("agenerate_content_stream", True), ("generate_content", False)]
)
def test_litellms_google_calls_have_a_provider(word: str, stream: bool) -> None:
    """And of a stream it says that it is none."""
    call = {"llm.request.type": word, "litellm.provider.model": "gemini-2.5-flash", "llm.is_streaming": "False"}
    shown = _one({**call, "gen_ai.system": ""}, "litellm", "litellm_request")
    assert (shown[semconv.PROVIDER], shown[semconv.STREAM]) == ("gcp.gemini", stream)


def test_only_litellms_calls_in_a_providers_format_are_told_by_their_model() -> None:
    """Of others it says the provider, or nobody knows it."""
    call = {"llm.request.type": "completion", "litellm.provider.model": "claude-sonnet-4-5"}
    assert semconv.PROVIDER not in _one(call, "litellm", "litellm_request")


UNTOLD = "{'completion_tokens': 7, 'prompt_tokens': 22, 'total_tokens': 29, 'prompt_tokens_details': None}"
TOLD = (
    "{'completion_tokens': 7, 'prompt_tokens': 22, 'total_tokens': 29, 'prompt_tokens_details': {'cached_tokens': 0}}"
)
OPENAI = "https://api.openai.com/v1/"


@pytest.mark.parametrize(
    ("address", "usage", "streaming", "tokens"),
    [
        (OPENAI, UNTOLD, "True", None),
        (OPENAI, UNTOLD, True, None),
        (OPENAI, TOLD, "True", 22),
        (OPENAI, UNTOLD, "False", 22),
        # A server of the same API whose usage has no details.
        ("http://vllm.internal:8000/v1/", UNTOLD, "True", 22),
        ("https://api.openai.com.evil.example/v1/", UNTOLD, "True", 22),
    ],
)
def test_litellms_own_count_of_a_stream_is_no_usage(
    address: str, usage: str, streaming: str | bool, tokens: int | None
) -> None:
    """Where the usage was not asked for it counts words, cached and reasoning tokens unknown."""
    call = {semconv.OPERATION: "chat", "llm.request.type": "completion", "llm.is_streaming": streaming}
    sent = {"gen_ai.usage.input_tokens": 22, "gen_ai.usage.prompt_tokens": 22, "gen_ai.usage.output_tokens": 7}
    more = {"metadata.usage_object": usage, "hidden_params": json.dumps({"model_id": None, "api_base": address})}
    shown = _one({**call, **sent, **more}, "litellm", "litellm_request")
    assert shown.get(semconv.INPUT_TOKENS) == tokens
    assert (semconv.OUTPUT_TOKENS in shown) == (tokens is not None)


# --- Vercel AI SDK ----------------------------------------------------------------------------------------------------
def _vercel(provider: str, model: str, metadata: dict[str, Any], **more: Any) -> dict[str, Any]:
    call = {"ai.operationId": "ai.generateObject.doGenerate", "ai.model.provider": provider, "ai.response.model": model}
    text = json.dumps(metadata, separators=(",", ":"))
    return _one({**call, "ai.response.providerMetadata": text, **more}, "ai", "ai.generateObject.doGenerate")


RAW_CLAUDE = {
    "usage": {
        "input_tokens": 76,
        "output_tokens": 57,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1024,
        "cache_creation": {"ephemeral_5m_input_tokens": 100},
    },
    "cacheCreationInputTokens": 100,
}
RAW_GEMINI = {
    "promptFeedback": None,
    "usageMetadata": {
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 1200}],
        "cachedContentTokenCount": 1024,
        "thoughtsTokenCount": 50,
        "promptTokenCount": 1200,
        "candidatesTokenCount": 7,
    },
}


@pytest.mark.parametrize(
    "sent",
    [
        {"gen_ai.usage.input_tokens": 76},  # version 5
        {"gen_ai.usage.input_tokens": 76, "ai.usage.cachedInputTokens": 1024},  # a stream of version 5
        {"gen_ai.usage.input_tokens": 1200},  # an object of version 6
        {  # version 6
            "gen_ai.usage.input_tokens": 1200,
            "ai.usage.inputTokenDetails.noCacheTokens": 76,
            "ai.usage.inputTokenDetails.cacheReadTokens": 1024,
            "ai.usage.inputTokenDetails.cacheWriteTokens": 100,
        },
    ],
)
def test_vercels_claude_costs_what_it_should(sent: dict[str, int]) -> None:
    """Cached tokens are part of the input whichever version wrote it."""
    usage = {**sent, "gen_ai.usage.output_tokens": 57}
    shown = _vercel("anthropic.messages", "claude-sonnet-4-5-20250929", {"anthropic": RAW_CLAUDE}, **usage)
    assert (shown[semconv.INPUT_TOKENS], shown[semconv.OUTPUT_TOKENS]) == (1200, 57)
    assert (shown[semconv.CACHE_READ_TOKENS], shown[semconv.CACHE_WRITE_TOKENS]) == (1024, 100)
    assert shown[semconv.COST_USD] == pytest.approx(CLAUDE_USD)


@pytest.mark.parametrize("name", ["google", "vertex"])
@pytest.mark.parametrize(
    "sent",
    [
        {"gen_ai.usage.output_tokens": 7},  # version 5
        {"gen_ai.usage.output_tokens": 7, "ai.usage.reasoningTokens": 50, "ai.usage.cachedInputTokens": 1024},
        {"gen_ai.usage.output_tokens": 57},  # an object of version 6
        {  # version 6
            "gen_ai.usage.output_tokens": 57,
            "ai.usage.outputTokenDetails.textTokens": 7,
            "ai.usage.outputTokenDetails.reasoningTokens": 50,
            "ai.usage.inputTokenDetails.cacheReadTokens": 1024,
        },
    ],
)
def test_vercels_gemini_costs_what_it_should(name: str, sent: dict[str, int]) -> None:
    """Thoughts are part of the output whichever version wrote it."""
    usage = {**sent, "gen_ai.usage.input_tokens": 1200}
    shown = _vercel("google.generative-ai", "gemini-2.5-flash", {name: RAW_GEMINI}, **usage)
    assert (shown[semconv.INPUT_TOKENS], shown[semconv.OUTPUT_TOKENS]) == (1200, 57)
    assert (shown[semconv.CACHE_READ_TOKENS], shown[semconv.REASONING_TOKENS]) == (1024, 50)
    assert shown[semconv.COST_USD] == pytest.approx(GEMINI_USD)


def test_vercels_usage_stays_where_no_metadata_tell_more() -> None:
    """OpenAI's have none of it; what is no number is no usage."""
    usage = {"gen_ai.usage.input_tokens": 1200, "gen_ai.usage.output_tokens": 57}
    for metadata in ({"openai": {"acceptedPredictionTokens": 0}}, {"anthropic": {"usage": {"input_tokens": None}}}):
        shown = _vercel("openai.chat", "gpt-4o-mini", metadata, **usage)
        assert (shown[semconv.INPUT_TOKENS], shown[semconv.OUTPUT_TOKENS]) == (1200, 57)


# --- Logfire ----------------------------------------------------------------------------------------------------------
ASKED = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "openai",
    semconv.REQUEST_MODEL: "gpt-4o-mini",
    semconv.RESPONSE_MODEL: "gpt-4o-mini",
    "logfire.span_type": "span",
    "logfire.msg_template": "Chat Completion with {request_data[model]!r}",
}
RECORD = {
    **ASKED,
    "logfire.span_type": "log",
    "logfire.msg_template": "streaming response from {request_data[model]!r} took {duration:.2f}s",
    semconv.RESPONSE_ID: "chatcmpl-1",
    semconv.FINISH_REASONS: '["stop"]',
    semconv.INPUT_TOKENS: 1200,
    semconv.OUTPUT_TOKENS: 57,
    semconv.CACHE_READ_TOKENS: 1024,
    "gen_ai.usage.raw": '{"completion_tokens":57,"completion_tokens_details":{"reasoning_tokens":50}}',
}


@pytest.mark.parametrize("scope", ["logfire.openai", "logfire.anthropic"])
def test_logfires_stream_counts_once(scope: str) -> None:
    """The request has no usage, the record of the stream has it."""
    assert semconv.ACCOUNTED not in _one(ASKED, scope)
    shown = _one(RECORD, scope)
    assert (shown[semconv.ACCOUNTED], shown[semconv.STREAM], shown[semconv.REASONING_TOKENS]) == (True, True, 50)
    assert shown[semconv.COST_USD] == pytest.approx(0.0001374)


def test_logfire_4_tells_details_in_the_raw_usage_and_no_end() -> None:
    """Of a stream whose usage was not asked for it tells neither, and it is not broken for that."""
    request = {**ASKED, "request_data": '{"model":"gpt-4o-mini","stream":true}', "logfire.span_type": "log"}
    record = {**request, "logfire.msg_template": RECORD["logfire.msg_template"]}
    details = {"prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 100}}
    usage = {semconv.INPUT_TOKENS: 1200, semconv.OUTPUT_TOKENS: 57, "gen_ai.usage.raw": json.dumps(details)}
    shown = _one({**record, **usage}, "logfire.openai")
    assert (shown[semconv.CACHE_READ_TOKENS], shown[semconv.CACHE_WRITE_TOKENS]) == (1024, 100)
    assert shown[semconv.COST_USD] == pytest.approx(0.0001374)
    assert semconv.STREAM_INCOMPLETE not in _one(record, "logfire.openai")


def test_logfires_other_calls_count() -> None:
    """What was answered at once, and what failed, which has no record; nobody else's spans are meant."""
    answered = {**RECORD, "logfire.span_type": "span", "logfire.msg_template": ASKED["logfire.msg_template"]}
    assert _one(answered, "logfire.openai")[semconv.ACCOUNTED] is True
    failed = _one(ASKED, "logfire.openai", failed=True)
    assert failed[semconv.ACCOUNTED] is True
    assert semconv.RESPONSE_MODEL not in failed
    assert _one(ASKED, "my.app")[semconv.ACCOUNTED] is True


# --- botocore ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("sent", "whole"), [(76, 1200), (5000, 6124)])
@pytest.mark.parametrize(("method", "stream"), [("Converse", None), ("ConverseStream", True)])
def test_botocores_input_is_whole(sent: int, whole: int, method: str, stream: bool | None) -> None:
    """Bedrock leaves cached tokens out of it, however many there are."""
    call = {**CLAUDE, semconv.PROVIDER: "", "gen_ai.system": "aws.bedrock", "rpc.method": method}
    shown = _one({**call, semconv.INPUT_TOKENS: sent}, "opentelemetry.instrumentation.botocore.bedrock-runtime")
    assert (shown[semconv.INPUT_TOKENS], shown.get(semconv.STREAM)) == (whole, stream)
