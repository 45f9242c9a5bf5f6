"""The dialects' rows where the recorded captures do not reach: LiteLLM's words for providers, stored answers read."""

import base64
import json
from typing import Any

import pytest

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.genai.dialects import litellm
from stackctl.stack import EngineConfig
from tests.embedded.span_tables import spans_of

CONFIG = EngineConfig("unused", price_hosts={"127.0.0.1": "openai"})
OPENLLMETRY = "opentelemetry.instrumentation.openai.v1"


def _one(attributes: dict[str, Any], scope: str, name: str = "chat", **more: Any) -> dict[str, Any]:
    """The stored columns of one span."""
    (row,) = Pipeline(CONFIG).process(spans_of(attributes, scope=scope, name=name, **more)).to_pylist()
    return {key[2:-2]: value for key, value in row.items() if key.startswith("s:")}


@pytest.mark.parametrize("word", ["completion", "acompletion", "embedding", "aembedding", "responses", "aresponses"])
def test_each_word_of_litellm_for_a_call_counts(word: str) -> None:
    """A call is counted under the conventions' operation, awaited or not."""
    shown = _one({"gen_ai.operation.name": word, "llm.request.type": word}, "litellm", "litellm_request")
    assert shown[semconv.OPERATION] == ("embeddings" if "embedding" in word else "chat")
    assert shown[semconv.ACCOUNTED] is True


@pytest.mark.parametrize(("name", "prefix"), [("openai", "openai"), ("azure.ai.openai", "azure")])
def test_litellm_says_the_provider_in_an_answers_id(name: str, prefix: str) -> None:
    """The provider that LiteLLM writes into ids of the Responses API in base 64 is read by their beginning."""
    text = base64.b64encode(f"litellm:custom_llm_provider:{prefix};model_id:None;response_id:resp_1".encode()).decode()
    attributes = {"llm.request.type": "responses", "gen_ai.system": "", "gen_ai.response.id": f"resp_{text}"}
    assert _one(attributes, "litellm")[semconv.PROVIDER] == name


@pytest.mark.parametrize(("word", "name"), litellm.RENAMED)
def test_litellms_words_for_providers_are_the_conventions(word: str, name: str) -> None:
    """A provider has one name on boards, whether LiteLLM says it alone or before a model."""
    assert _one({"llm.request.type": "completion", "gen_ai.system": word}, "litellm")[semconv.PROVIDER] == name
    attributes = {"llm.request.type": "embedding", "litellm.provider.model": f"{word}/some-model"}
    assert _one(attributes, "litellm")[semconv.PROVIDER] == name


@pytest.mark.parametrize(
    ("attributes", "operation"),
    [
        ({"gen_ai.request.model": "gpt-4o-mini"}, "chat"),
        ({"gen_ai.operation.name": "chat", "gen_ai.input.messages": "[{}]"}, "chat"),
        ({"gen_ai.operation.name": "chat", "gen_ai.input.messages": "[]"}, "fetch_response"),
        ({"gen_ai.operation.name": "chat"}, "fetch_response"),
    ],
)
def test_a_stored_answer_read_again_is_no_call(attributes: dict[str, Any], operation: str) -> None:
    """OpenLLMetry's `openai.response` is a call with a model or a prompt; without both it is a read."""
    answer = {"gen_ai.response.id": "resp_1", "gen_ai.response.model": "gpt-4o-mini", "gen_ai.usage.input_tokens": 9}
    shown = _one({**answer, **attributes}, OPENLLMETRY, "openai.response")
    assert shown[semconv.OPERATION] == operation
    assert shown.get(semconv.ACCOUNTED) == (True if operation == "chat" else None)


def test_an_error_has_a_type_whatever_told_it() -> None:
    """Boards count errors by `error.type`: it is the exception's where a library records only that, else `_OTHER`."""
    call = {"gen_ai.operation.name": "chat"}
    told = [("exception", 0.5, {"exception.type": "openai.RateLimitError"})]
    assert semconv.ERROR_TYPE not in _one(call, "some.scope", events=told)
    assert _one(call, "some.scope", events=told, failed=True)[semconv.ERROR_TYPE] == "openai.RateLimitError"
    assert _one(call, "some.scope", failed=True)[semconv.ERROR_TYPE] == "_OTHER"
    assert _one({**call, "error.type": "Mine"}, "some.scope", events=told, failed=True)[semconv.ERROR_TYPE] == "Mine"


CACHED = {semconv.CACHE_READ_TOKENS: 1000, semconv.CACHE_WRITE_TOKENS: 500, semconv.OUTPUT_TOKENS: 10}
SONNET = {
    **{semconv.OPERATION: "chat", semconv.PROVIDER: "anthropic", semconv.RESPONSE_MODEL: "claude-sonnet-4-5"},
    **CACHED,
}


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ("openlit.instrumentation.anthropic", "chat claude"),
        ("openlit.instrumentation.bedrock", "chat claude"),
        ("opentelemetry.instrumentation.bedrock", "bedrock.converse"),
        ("openinference.instrumentation.bedrock", "bedrock.invoke_model_with_response_stream"),
    ],
)
def test_an_input_without_cached_tokens_gets_them_added(scope: str, name: str) -> None:
    """What the conventions call input includes cached tokens, whatever an instrumentor copied from an API."""
    shown = _one({**SONNET, semconv.INPUT_TOKENS: 2000}, scope, name)
    assert shown[semconv.INPUT_TOKENS] == 3500
    assert (
        _one({**SONNET, semconv.INPUT_TOKENS: 2000}, "openlit.instrumentation.langchain")[semconv.INPUT_TOKENS] == 2000
    )


def test_an_input_with_cached_tokens_costs_what_it_should() -> None:
    """100 ordinary tokens at 3 USD, 1000 read at 0.30, 500 written at 3.75, 10 out at 15."""
    shown = _one({**SONNET, semconv.INPUT_TOKENS: 100}, "openlit.instrumentation.anthropic")
    assert shown[semconv.INPUT_TOKENS] == 1600
    assert shown[semconv.COST_USD] == pytest.approx(0.002625)


@pytest.mark.parametrize(
    ("sent", "stored"), [(100, 1600), (1499, 2999), (1500, 1500), (1600, 1600), (0, 1500), (None, None), (-5, None)]
)
def test_an_input_below_its_cached_tokens_leaves_them_out(sent: int | None, stored: int | None) -> None:
    """Of any library: more cached than sent cannot be; an input that is not known stays unknown."""
    given = {} if sent is None else {semconv.INPUT_TOKENS: sent}
    assert _one({**SONNET, **given}, "some.scope").get(semconv.INPUT_TOKENS) == stored


def test_parts_below_zero_and_sums_too_large_add_nothing() -> None:
    """A negative number of cached tokens is unknown; a sum that no whole number holds is not made."""
    negative = {semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 5, semconv.CACHE_READ_TOKENS: -3}
    assert _one(negative, "openlit.instrumentation.anthropic")[semconv.INPUT_TOKENS] == 5
    large = {semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 5, semconv.CACHE_READ_TOKENS: 2**63 - 1}
    assert _one(large, "openlit.instrumentation.anthropic")[semconv.INPUT_TOKENS] == 5


LANGFUSE = "langfuse-sdk"


def _generation(usage: dict[str, Any], name: str = "ChatOpenAI", **more: str) -> dict[str, Any]:
    text = {"langfuse.observation.type": "generation", "langfuse.observation.usage_details": json.dumps(usage)}
    return _one({**text, "langfuse.observation.model.name": "gpt-4o-mini", **more}, LANGFUSE, name)


@pytest.mark.parametrize(
    "usage",
    [
        {"input": 76, "output": 7, "input_cache_read": 1024, "input_cache_creation": 100, "output_reasoning": 50},
        {
            **{"input": 76, "output": 7, "input_cached_tokens": 1024, "input_cache_write_tokens": 100},
            "output_reasoning_tokens": 50,
        },
        {
            **{"prompt_tokens": 1200, "completion_tokens": 57},
            "prompt_tokens_details": {"cached_tokens": 1024, "cache_write_tokens": 100},
            "completion_tokens_details": {"reasoning_tokens": 50},
        },
    ],
)
def test_langfuses_usage_is_whole(usage: dict[str, Any]) -> None:
    """Its LangChain handler takes the details off, its OpenAI drop-in does not: both are the same call."""
    shown = _generation(usage)
    keys = (semconv.INPUT_TOKENS, semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS)
    assert [shown[key] for key in keys] == [1200, 1024, 100]
    assert [shown[key] for key in (semconv.OUTPUT_TOKENS, semconv.REASONING_TOKENS)] == [57, 50]


def test_langfuse_with_anthropics_usage_is_whole() -> None:
    """Anthropic's own keys leave cached tokens out of the input; LiteLLM's, beside `prompt_tokens`, do not."""
    own = {"input_tokens": 2000, "output_tokens": 1, "cache_read_input_tokens": 1000}
    assert _generation(own)[semconv.INPUT_TOKENS] == 3000
    routed = {"prompt_tokens": 2000, "completion_tokens": 1, "cache_read_input_tokens": 1000}
    assert _generation(routed)[semconv.INPUT_TOKENS] == 2000


@pytest.mark.parametrize(
    ("name", "model", "provider"),
    [
        ("ChatOpenAI", "some-model", "openai"),
        ("AzureChatOpenAI", "gpt-4o", "azure.ai.openai"),
        ("ChatAnthropic", "claude-sonnet-4-5", "anthropic"),
        ("my step", "gpt-4o", "openai"),
        ("my step", "claude-sonnet-4-5", "anthropic"),
        ("my step", "gemini-2.5-flash", "gcp.gemini"),
        ("my step", "some-model", None),
    ],
)
def test_langfuses_names_tell_the_provider(name: str, model: str, provider: str | None) -> None:
    """LangChain's class first, then the model's maker."""
    shown = _generation({"input": 5, "output": 1}, name, **{"langfuse.observation.model.name": model})
    assert shown.get(semconv.PROVIDER) == provider


@pytest.mark.parametrize(("details", "cost"), [('{"total": 0.123}', 0.123), ('{"total":0}', None), ("{}", None)])
def test_langfuses_cost_is_kept_to_compare(details: str, cost: float | None) -> None:
    """Its cost stands beside the computed one; 0 is what it writes for a call that failed."""
    shown = _generation({"input": 5}, **{"langfuse.observation.cost_details": details})
    assert shown.get(semconv.SENT_COST_USD) == cost


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("bedrock", "aws.bedrock"),
        ("google-gla", "gcp.gemini"),
        ("google-cloud", "gcp.vertex_ai"),
        ("google-vertex", "gcp.vertex_ai"),
        ("xai", "x_ai"),
        ("grok", "x_ai"),
        ("azure", "azure.ai.openai"),
        ("vertex_ai", "gcp.vertex_ai"),
        ("gemini", "gcp.gemini"),
        ("mistral", "mistral_ai"),
        ("mistralai", "mistral_ai"),
        ("az.ai.openai", "azure.ai.openai"),
        ("OpenAI", "openai"),
        ("anthropic", "anthropic"),
        ("somebody", "somebody"),
    ],
)
def test_a_provider_has_one_name(word: str, name: str) -> None:
    """Libraries' own words are mapped under the conventions' key too, not only under the older one."""
    assert _one({semconv.OPERATION: "chat", semconv.PROVIDER: word}, "some.scope")[semconv.PROVIDER] == name


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("stop", '["stop"]'),
        ("['stop']", '["stop"]'),
        ("['stop', 'length']", '["stop","length"]'),
        ('"stop"', '["stop"]'),
        ('["stop"]', '["stop"]'),
        ("null", None),
        ("None", None),
        ('"None"', None),
    ],
)
def test_finish_reasons_are_a_list_however_written(text: str, stored: str | None) -> None:
    """A bare word or Python's list is a list, and `null` and `None` are no reason."""
    shown = _one({semconv.OPERATION: "chat", semconv.FINISH_REASONS: text}, "some.scope")
    assert shown.get(semconv.FINISH_REASONS) == stored


@pytest.mark.parametrize("reason", ["null", "None", '"None"', "[None]", '["None"]', "[null]", '[""]', '["stop"]'])
def test_no_reason_is_no_end_of_a_stream(reason: str) -> None:
    """A stream with neither usage nor a finish reason broke off, whatever a library writes for `none`."""
    stream = {semconv.OPERATION: "chat", semconv.STREAM: True, semconv.FINISH_REASONS: reason}
    assert _one(stream, "some.scope").get(semconv.STREAM_INCOMPLETE) == (None if reason == '["stop"]' else True)


@pytest.mark.parametrize(
    ("scope", "more", "incomplete"),
    [
        ("openinference.instrumentation.anthropic", {"llm.request.model_name": "claude-sonnet-4-5"}, True),
        ("openinference.instrumentation.anthropic", {}, None),
        ("openlit.instrumentation.anthropic", {semconv.FINISH_REASONS: '[""]'}, True),
        ("openlit.instrumentation.anthropic", {semconv.FINISH_REASONS: '["end_turn"]'}, None),
        ("openlit.instrumentation.openai", {"openlit.agent.version_hash": "1"}, None),
    ],
)
def test_a_broken_stream_of_anthropic_brings_a_usage(scope: str, more: dict[str, str], incomplete: bool | None) -> None:
    """Its first event has one, so a missing finish reason is enough where whole streams have one."""
    usage = {semconv.INPUT_TOKENS: 1600, semconv.OUTPUT_TOKENS: 1, semconv.CACHE_READ_TOKENS: 1}
    shown = _one({semconv.OPERATION: "chat", semconv.STREAM: True, **usage, **more}, scope)
    assert shown.get(semconv.STREAM_INCOMPLETE) == incomplete


@pytest.mark.parametrize(
    ("text", "number"), [("1200", 1200), ("1200.0", 1200), ("-5.00", None), ("1200.5", None), ("1200.", None)]
)
def test_whole_numbers_may_have_a_point(text: str, number: int | None) -> None:
    """Some senders write every number as a float's text."""
    shown = _one({semconv.OPERATION: "chat", semconv.INPUT_TOKENS: text}, "some.scope")
    assert shown.get(semconv.INPUT_TOKENS) == number
