"""The dialects' rows where the recorded captures do not reach: LiteLLM's words for providers, stored answers read."""

import base64
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
