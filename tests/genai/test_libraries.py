"""LiteLLM's call on a span of the application, and words of OpenLLMetry, Vercel and pydantic-ai beyond the captures."""

from typing import Any

import pytest

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.stack import EngineConfig
from tests.embedded.span_tables import spans_of

CONFIG = EngineConfig("unused", price_hosts={"127.0.0.1": "openai"})
APP = "my.app"
USAGE = (
    "{'completion_tokens': 57, 'prompt_tokens': 1200, 'total_tokens': 1257, 'completion_tokens_details': "
    "{'reasoning_tokens': 50}, 'prompt_tokens_details': {'audio_tokens': None, 'cached_tokens': 1024, "
    "'cache_write_tokens': 100}}"
)
# As seen on a span of the real library's; `litellm.call_id` is left out where `hidden_params` must do.
CALL = {
    "llm.request.type": "completion",
    "gen_ai.operation.name": "chat",
    "gen_ai.system": "openai",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 57,
    "metadata.usage_object": USAGE,
    "hidden_params": '{"model_id": null, "api_base": "http://127.0.0.1:38209/v1", "response_cost": 0.0001374}',
}


def _one(attributes: dict[str, Any], scope: str, name: str = "handle request", **more: Any) -> dict[str, Any]:
    """The stored columns of one span."""
    (row,) = Pipeline(CONFIG).process(spans_of(attributes, scope=scope, name=name, **more)).to_pylist()
    return {key[2:-2]: value for key, value in row.items() if key.startswith("s:")}


def test_litellms_call_on_the_applications_span_is_whole() -> None:
    """It writes onto the span that is active: the scope is the application's, the keys are its own."""
    shown = _one(CALL, APP)
    assert shown[semconv.ACCOUNTED] is True
    assert shown[semconv.CACHE_READ_TOKENS] == 1024
    assert shown[semconv.CACHE_WRITE_TOKENS] == 100
    assert shown[semconv.REASONING_TOKENS] == 50
    assert shown[semconv.SERVER_ADDRESS] == "127.0.0.1"
    assert shown[semconv.COST_USD] == pytest.approx(0.0001374)


@pytest.mark.parametrize(
    ("word", "operation"), [("embedding", "embeddings"), ("acompletion", "chat"), ("aresponses", "chat")]
)
@pytest.mark.parametrize("sign", [{"litellm.call_id": "8a45"}, {"hidden_params": "{}"}])
def test_litellms_words_are_read_on_the_applications_span(word: str, operation: str, sign: dict[str, str]) -> None:
    """Its word for a call is no operation of the conventions."""
    shown = _one({"gen_ai.operation.name": word, "llm.request.type": word, **sign}, APP)
    assert (shown[semconv.OPERATION], shown[semconv.ACCOUNTED]) == (operation, True)
    assert shown.get(semconv.API_TYPE) == ("responses" if word == "aresponses" else None)


@pytest.mark.parametrize(("word", "provider"), [("azure", "azure.ai.openai"), ("together_ai", "together")])
def test_litellms_providers_are_read_on_the_applications_span(word: str, provider: str) -> None:
    """From the old key of the provider, or the prefix of the model."""
    assert _one({**CALL, "gen_ai.system": word}, APP)[semconv.PROVIDER] == provider
    assert _one({**CALL, "gen_ai.system": "", "litellm.provider.model": f"{word}/x"}, APP)[semconv.PROVIDER] == provider


def test_litellms_own_count_of_a_failed_call_is_no_usage() -> None:
    """Nor on the application's span, where the old names must not bring it back."""
    counted = {"gen_ai.usage.prompt_tokens": 12, "gen_ai.usage.input_tokens": 12}
    assert semconv.INPUT_TOKENS not in _one({**CALL, **counted}, APP, failed=True)


def test_others_spans_are_not_taken_for_litellms() -> None:
    """A span of another library with the same request type keeps its usage and its words."""
    other = {key: value for key, value in CALL.items() if key != "hidden_params"}
    shown = _one(other, APP, failed=True)
    assert shown[semconv.INPUT_TOKENS] == 1200
    assert semconv.CACHE_READ_TOKENS not in shown
    assert semconv.SERVER_ADDRESS not in _one({"gen_ai.operation.name": "chat", **_only("hidden_params")}, APP)


def _only(key: str) -> dict[str, Any]:
    return {key: CALL[key]}


def test_the_proxys_span_counts_where_the_call_is_written_onto_it() -> None:
    """Without a request type it stands around a span that counts."""
    name = "Received Proxy Server Request"
    assert _one(CALL, "litellm", name)[semconv.ACCOUNTED] is True
    assert semconv.ACCOUNTED not in _one({"gen_ai.operation.name": "chat"}, "litellm", name)


@pytest.mark.parametrize(
    ("name", "word", "operation"),
    [
        ("anthropic.chat", "completion", "chat"),
        ("anthropic.completion", "completion", "text_completion"),
    ],
)
def test_openllmetrys_messages_api_is_a_chat(name: str, word: str, operation: str) -> None:
    """0.44 says `completion` of both of Anthropic's APIs."""
    shown = _one({"llm.request.type": word}, "opentelemetry.instrumentation.anthropic", name)
    assert shown[semconv.OPERATION] == operation


def test_openllmetrys_unknown_model_is_none() -> None:
    """LangChain's instrumentor says `unknown` where it was not told a model; another's model may be called so."""
    models = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "unknown", semconv.RESPONSE_MODEL: "unknown"}
    shown = _one(models, "opentelemetry.instrumentation.langchain")
    assert semconv.REQUEST_MODEL not in shown
    assert semconv.RESPONSE_MODEL not in shown
    assert (
        _one({**models, semconv.REQUEST_MODEL: "gpt-4o"}, "opentelemetry.instrumentation.langchain")[
            semconv.REQUEST_MODEL
        ]
        == "gpt-4o"
    )
    assert _one(models, APP)[semconv.RESPONSE_MODEL] == "unknown"


LANGCHAIN = "opentelemetry.instrumentation.langchain"


def test_langchains_failed_call_has_no_model_that_answered() -> None:
    """OpenLLMetry writes the model asked for as both."""
    models = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "gpt-4o", semconv.RESPONSE_MODEL: "gpt-4o"}
    assert semconv.RESPONSE_MODEL not in _one(models, LANGCHAIN, failed=True)
    assert _one(models, LANGCHAIN)[semconv.RESPONSE_MODEL] == "gpt-4o"
    assert _one(models, APP, failed=True)[semconv.RESPONSE_MODEL] == "gpt-4o"


@pytest.mark.parametrize(("total", "output"), [(1257, 57), (1207, 7), ("1257", 57), (1100, None), (None, 7), (1200, 0)])
def test_what_gemini_thought_is_output(total: int | str | None, output: int | None) -> None:
    """OpenLLMetry's output is without it, its total is Google's own, and thoughts are priced as output."""
    usage = {semconv.OPERATION: "generate_content", semconv.INPUT_TOKENS: 1200, semconv.OUTPUT_TOKENS: 7}
    usage |= {} if total is None else {"gen_ai.usage.total_tokens": total}
    shown = _one(usage, "opentelemetry.instrumentation.google_generativeai", "generate_content gemini-2.5-flash")
    assert shown.get(semconv.OUTPUT_TOKENS) == output
    assert _one(usage, APP)[semconv.OUTPUT_TOKENS] == 7


def test_langchains_zero_of_written_tokens_is_unknown() -> None:
    """Its Anthropic client gives them by lifetime and puts 0 where OpenLLMetry looks."""
    key = "gen_ai.usage.cache_creation.input_tokens"
    usage = {semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 1200}
    assert semconv.CACHE_WRITE_TOKENS not in _one({**usage, key: 0}, LANGCHAIN)
    assert _one({**usage, key: 100}, LANGCHAIN)[semconv.CACHE_WRITE_TOKENS] == 100
    assert _one({**usage, key: 0}, APP)[semconv.CACHE_WRITE_TOKENS] == 0


@pytest.mark.parametrize("key", ["gen_ai.system", semconv.PROVIDER])
def test_openllmetrys_word_for_together_is_the_books(key: str) -> None:
    """0.44 writes it under the old key, 0.62 under the conventions'."""
    shown = _one({semconv.OPERATION: "chat", key: "together_ai"}, "opentelemetry.instrumentation.langchain")
    assert shown[semconv.PROVIDER] == "together"


@pytest.mark.parametrize(
    ("word", "provider"),
    [
        ("google.vertex.chat", "gcp.vertex_ai"),
        ("vertex.anthropic.messages", "gcp.vertex_ai"),
        ("google.generative-ai", "gcp.gemini"),
        ("amazon-bedrock", "aws.bedrock"),
        ("bedrock", "aws.bedrock"),
        ("bedrock.anthropic.messages", "aws.bedrock"),
        ("bedrock-mantle.responses", "aws.bedrock"),
        ("togetherai.chat", "together"),
        ("openai.chat", "openai"),
        ("anthropic.messages", "anthropic"),
    ],
)
def test_vercels_providers_have_the_conventions_names(word: str, provider: str) -> None:
    """The host of a model comes first, then its maker."""
    attributes = {"ai.operationId": "ai.generateText.doGenerate", "ai.model.provider": word}
    assert _one(attributes, "ai")[semconv.PROVIDER] == provider


def test_pydantic_ais_thoughts_are_reasoning() -> None:
    """Google's word for it."""
    attributes = {semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 9, "gen_ai.usage.details.thoughts_tokens": 50}
    assert _one(attributes, "pydantic-ai")[semconv.REASONING_TOKENS] == 50


def test_openlits_gemini_thoughts_are_output() -> None:
    """Its output is what Google calls candidates; what was thought stands beside it and is priced as output."""
    usage = {semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 1200, semconv.OUTPUT_TOKENS: 7}
    usage |= {"gen_ai.usage.reasoning_tokens": 50}
    shown = _one(usage, "openlit.instrumentation.google_ai_studio")
    assert (shown[semconv.OUTPUT_TOKENS], shown[semconv.REASONING_TOKENS]) == (57, 50)
    assert _one(usage, "openlit.instrumentation.openai")[semconv.OUTPUT_TOKENS] == 7


@pytest.mark.parametrize(("library", "first"), [("anthropic", None), ("openai", 0.0004)])
def test_openlits_first_token_of_anthropic_is_unknown(library: str, first: float | None) -> None:
    """Its clock starts with the answer, so four streams at once had 0.4 ms where it took 100."""
    stream = {semconv.OPERATION: "chat", semconv.STREAM: True, "gen_ai.server.time_to_first_token": 0.0004}
    shown = _one(stream, f"openlit.instrumentation.{library}")
    assert shown.get(semconv.TIME_TO_FIRST_CHUNK) == first
    assert shown[semconv.STREAM] is True


def test_openlits_langchain_has_no_model_called_anthropic() -> None:
    """The model asked for is not found, so it writes its maker."""
    models = {semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "anthropic", semconv.RESPONSE_MODEL: "claude-opus-4-5"}
    shown = _one(models, "openlit.instrumentation.langchain")
    assert semconv.REQUEST_MODEL not in shown
    assert shown[semconv.RESPONSE_MODEL] == "claude-opus-4-5"
