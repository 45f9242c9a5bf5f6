"""OpenInference beyond the recorded captures: which spans are calls, whose model a name is, what is a stream.

Names and attributes are as openinference-instrumentation-openai 0.1.66, -anthropic 3.1.0, -google-genai 1.4.14,
-litellm 0.1.51 and -bedrock 0.1.61 write them; those of OpenAI's were seen on the real library's spans.
"""

from typing import Any

import pytest

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.stack import EngineConfig
from tests.embedded.span_tables import spans_of

CONFIG = EngineConfig("unused", price_hosts={"127.0.0.1": "openai"})
LLM = {"openinference.span.kind": "LLM", "llm.system": "openai"}
PARAMETERS = "llm.invocation_parameters"
FIRST_TOKEN: list[tuple[str, float, dict[str, Any]]] = [("First Token Stream Event", 0.2, {})]


def _one(attributes: dict[str, Any], library: str, name: str, **more: Any) -> dict[str, Any]:
    """The stored columns of one span."""
    scope = f"openinference.instrumentation.{library}"
    (row,) = Pipeline(CONFIG).process(spans_of(attributes, scope=scope, name=name, **more)).to_pylist()
    return {key[2:-2]: value for key, value in row.items() if key.startswith("s:")}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("SyncPage[Model]", "{}"),
        ("Model", "{}"),
        ("ModerationCreateResponse", '{"input": "x"}'),
        ("ImagesResponse", '{"model": "gpt-image-1", "prompt": "x"}'),
        ("SyncCursorPage[ChatCompletion]", "{}"),
        ("SyncCursorPage[Batch]", "{}"),
        ("Conversation", "{}"),
        ("InputTokenCountResponse", '{"model": "gpt-4o-mini", "input": "hi"}'),
        ("ChatCompletionDeleted", "{}"),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_other_requests_of_openais_client_are_no_calls(name: str, parameters: str, failed: bool) -> None:
    """The instrumentor gives every HTTP request kind LLM; lists and moderations are not counted, failed or not."""
    shown = _one({**LLM, PARAMETERS: parameters, "output.value": "{}"}, "openai", name, failed=failed)
    assert semconv.OPERATION not in shown
    assert semconv.ACCOUNTED not in shown


@pytest.mark.parametrize(
    ("name", "operation"),
    [
        ("ChatCompletion", "chat"),
        ("ParsedChatCompletion[Answer]", "chat"),
        ("Response", "chat"),
        ("ParsedResponse[Answer]", "chat"),
        ("Completion", "text_completion"),
    ],
)
@pytest.mark.parametrize("failed", [False, True])
def test_openais_calls_are_counted_whether_they_failed_or_not(name: str, operation: str, failed: bool) -> None:
    """The span's name is known before an answer, so a call that failed has it too."""
    shown = _one({**LLM, PARAMETERS: '{"model": "gpt-4o-mini"}'}, "openai", name, failed=failed)
    assert (shown[semconv.OPERATION], shown[semconv.ACCOUNTED]) == (operation, True)
    assert shown[semconv.REQUEST_MODEL] == "gpt-4o-mini"


def test_openais_embeddings_are_counted() -> None:
    """They have a kind of their own."""
    shown = _one({"openinference.span.kind": "EMBEDDING"}, "openai", "CreateEmbeddings")
    assert (shown[semconv.OPERATION], shown[semconv.ACCOUNTED]) == ("embeddings", True)


@pytest.mark.parametrize("failed", [False, True])
def test_a_failed_embedding_was_answered_by_no_model(failed: bool) -> None:
    """What the instrumentor calls the model is the one that answered, and of a call that failed the one asked for."""
    given = {"openinference.span.kind": "EMBEDDING", "embedding.model_name": "text-embedding-3-small"}
    shown = _one(given, "openai", "CreateEmbeddings", failed=failed)
    key = semconv.REQUEST_MODEL if failed else semconv.RESPONSE_MODEL
    other = semconv.RESPONSE_MODEL if failed else semconv.REQUEST_MODEL
    assert (shown[key], other in shown) == ("text-embedding-3-small", False)


@pytest.mark.parametrize("name", ["Response", "ChatCompletion"])
def test_a_stored_answer_is_no_call(name: str) -> None:
    """It repeats its usage and has no parameters."""
    shown = _one({**LLM, PARAMETERS: "{}", "llm.token_count.prompt": 9}, "openai", name)
    assert shown[semconv.OPERATION] == "fetch_response"
    assert semconv.ACCOUNTED not in shown


@pytest.mark.parametrize(
    ("parameters", "operation"),
    [
        ('{"metadata": {"a": "b"}}', "fetch_response"),
        ('{"metadata": null}', "fetch_response"),
        ('{"model": "gpt-4o-mini", "metadata": {"a": "b"}}', "chat"),
        ("__REDACTED__", "chat"),
    ],
)
def test_a_stored_chat_given_other_metadata_is_no_call(parameters: str, operation: str) -> None:
    """It answers with the whole stored chat, usage and all."""
    assert _one({**LLM, PARAMETERS: parameters}, "openai", "ChatCompletion")[semconv.OPERATION] == operation


@pytest.mark.parametrize(
    ("library", "name", "operation"),
    [
        ("anthropic", "messages.count_tokens", None),
        ("anthropic", "beta.messages.count_tokens", None),
        ("anthropic", "messages.create", "chat"),
        ("anthropic", "beta.messages.parse", "chat"),
        ("litellm", "image_generation", None),
        ("litellm", "aimage_generation", None),
        ("litellm", "acompletion", "chat"),
        ("google_genai", "InteractionsResource.get", None),
        ("google_genai", "AsyncInteractionsResource.get", None),
        ("google_genai", "InteractionsResource.create", "chat"),
        ("langchain", "SyncPage[Model]", "chat"),
    ],
)
def test_others_spans_that_are_no_calls_are_told_by_name(library: str, name: str, operation: str | None) -> None:
    """Counts of tokens, images and reads have kind LLM as well; another library's span may have any name."""
    shown = _one(LLM, library, name)
    assert shown.get(semconv.OPERATION) == operation
    assert shown.get(semconv.ACCOUNTED) == (True if operation else None)


@pytest.mark.parametrize(
    ("library", "name", "parameters", "stream"),
    [
        ("anthropic", "messages.stream", '{"max_tokens": 10}', True),
        ("anthropic", "beta.messages.stream", '{"max_tokens": 10}', True),
        ("anthropic", "messages.create", '{"stream": true}', True),
        ("anthropic", "messages.create", '{"max_tokens": 10}', None),
        ("google_genai", "AsyncGenerateContentStream", "{}", True),
        ("google_genai", "GenerateContent", "{}", None),
        ("bedrock", "bedrock.converse_stream", "{}", True),
        ("bedrock", "bedrock.invoke_model_with_response_stream", "{}", True),
        ("bedrock", "bedrock.converse", "{}", None),
        ("openai", "ChatCompletion", '{"model": "gpt-4o-mini"}', False),
        ("openai", "ChatCompletion", '{"model": "gpt-4o-mini", "stream": true}', True),
        ("openai", "ChatCompletion", "__REDACTED__", None),
    ],
)
def test_only_openais_parameters_say_that_nothing_was_streamed(
    library: str, name: str, parameters: str, stream: bool | None
) -> None:
    """Others have no `stream` among their parameters even of streams, some of which their names tell."""
    assert _one({**LLM, PARAMETERS: parameters}, library, name).get(semconv.STREAM) is stream


@pytest.mark.parametrize("parameters", ["__REDACTED__", '{"model": "gpt-4o-mini"}'])
def test_a_first_token_says_that_something_was_streamed(parameters: str) -> None:
    """Whatever is left of the parameters."""
    assert _one({**LLM, PARAMETERS: parameters}, "openai", "ChatCompletion", events=FIRST_TOKEN)[semconv.STREAM] is True


@pytest.mark.parametrize("library", ["anthropic", "bedrock", "langchain", "google_genai"])
def test_no_model_answered_a_call_that_failed(library: str) -> None:
    """`llm.model_name` is the model asked for until an answer begins."""
    shown = _one({**LLM, "llm.model_name": "claude-sonnet-4-5"}, library, "messages.create", failed=True)
    assert semconv.RESPONSE_MODEL not in shown
    assert shown[semconv.REQUEST_MODEL] == "claude-sonnet-4-5"


@pytest.mark.parametrize(
    "answer", [{"output.value": "hi"}, {"llm.token_count.prompt": 9}, {"llm.token_count.completion": 9}]
)
def test_the_model_of_an_answer_is_the_one_that_answered(answer: dict[str, Any]) -> None:
    """An output or a usage is the sign of an answer."""
    shown = _one({**LLM, "llm.model_name": "claude-sonnet-4-5", **answer}, "anthropic", "messages.create")
    assert shown[semconv.RESPONSE_MODEL] == "claude-sonnet-4-5"
    assert semconv.REQUEST_MODEL not in shown


def test_the_newer_names_of_models_are_read() -> None:
    """Anthropic's instrumentor names the model asked for and the one that answered apart."""
    asked = {**LLM, "llm.model_name": "claude-sonnet-4-5", "llm.request.model_name": "claude-sonnet-4-5"}
    answered = {
        **{"llm.model_name": "claude-sonnet-4-5-20250929", "llm.response.model_name": "claude-sonnet-4-5-20250929"},
        "output.value": "hi",
    }
    shown = _one({**asked, **answered}, "anthropic", "messages.create")
    assert shown[semconv.REQUEST_MODEL] == "claude-sonnet-4-5"
    assert shown[semconv.RESPONSE_MODEL] == "claude-sonnet-4-5-20250929"
    failed = _one(asked, "anthropic", "messages.create", failed=True)
    assert failed[semconv.REQUEST_MODEL] == "claude-sonnet-4-5"
    assert semconv.RESPONSE_MODEL not in failed


def test_moonshot_has_the_conventions_name() -> None:
    """Under which it is priced."""
    shown = _one({**LLM, "llm.provider": "moonshot"}, "openai", "ChatCompletion")
    assert shown[semconv.PROVIDER] == "moonshot_ai"


def test_a_refused_stream_of_bedrock_is_a_call() -> None:
    """Its span has nothing but its name."""
    shown = _one({}, "bedrock", "bedrock.invoke_model_with_response_stream", failed=True)
    assert (shown[semconv.OPERATION], shown[semconv.ACCOUNTED]) == ("chat", True)
    assert shown[semconv.PROVIDER] == "aws.bedrock"


def test_mistrals_provider_is_known_where_a_call_failed() -> None:
    """Its system is told with the answer only."""
    shown = _one({"openinference.span.kind": "LLM"}, "mistralai", "MistralClient.chat", failed=True)
    assert shown[semconv.PROVIDER] == "mistral_ai"


@pytest.mark.parametrize("name", ["bedrock.converse", "bedrock.converse_stream"])
def test_converses_model_is_the_one_asked_for(name: str) -> None:
    """No other is named, before an answer or after it."""
    model = "anthropic.claude-sonnet-4-5-20250929-v1:0"
    shown = _one({**LLM, "llm.model_name": model, "llm.token_count.prompt": 9}, "bedrock", name)
    assert (shown[semconv.REQUEST_MODEL], shown[semconv.RESPONSE_MODEL]) == (model, model)


@pytest.mark.parametrize(
    ("model", "prompt", "read"), [("claude-sonnet-4-5-20250929-v1:0", 1200, 1024), ("amazon.nova-pro-v1:0", 76, None)]
)
def test_bedrocks_stream_of_claude_has_its_cached_tokens_in_the_answer(
    model: str, prompt: int, read: int | None
) -> None:
    """Its input has them already, and Nova's none."""
    answer = '{"id": "msg_1", "usage": {"cache_creation_input_tokens": 100, "cache_read_input_tokens": 1024}}'
    attributes = {**LLM, "llm.model_name": model, "llm.token_count.prompt": prompt, "output.value": answer}
    shown = _one(attributes, "bedrock", "bedrock.invoke_model_with_response_stream")
    assert shown[semconv.INPUT_TOKENS] == prompt
    assert shown.get(semconv.CACHE_READ_TOKENS) == read
    assert shown.get(semconv.CACHE_WRITE_TOKENS) == (100 if read else None)


GOOGLES = {**LLM, "llm.token_count.prompt": 1200, "llm.token_count.completion": 53}


@pytest.mark.parametrize("failed", [False, True])
def test_googles_stream_that_stopped_is_incomplete(failed: bool) -> None:
    """Each chunk has a usage, so a missing finish reason and status are enough."""
    assert _one(GOOGLES, "google_genai", "GenerateContentStream", failed=failed)[semconv.STREAM_INCOMPLETE] is True
    whole = {**GOOGLES, "llm.finish_reason": "STOP"}
    assert semconv.STREAM_INCOMPLETE not in _one(whole, "google_genai", "GenerateContentStream", failed=failed)


def test_groqs_stream_is_not_looked_at() -> None:
    """Its span ends when the answer begins, so nothing of its end is known."""
    shown = _one({**LLM, PARAMETERS: '{"stream": true}', "output.value": "<groq.Stream>"}, "groq", "Completions")
    assert shown[semconv.STREAM] is True
    assert semconv.STREAM_INCOMPLETE not in shown


@pytest.mark.parametrize(("word", "stream"), [("false", None), ("true", True)])
def test_langchains_parameters_do_not_say_that_it_is_no_stream(word: str, stream: bool | None) -> None:
    """They are the model's, and the same for `invoke` and `stream`."""
    shown = _one({**LLM, PARAMETERS: f'{{"model": "gpt-4o-mini", "stream": {word}}}'}, "langchain", "ChatOpenAI")
    assert shown.get(semconv.STREAM) is stream


def test_langchains_failed_call_has_only_the_model_asked_for() -> None:
    """Its output is there, and empty."""
    call = {**LLM, "llm.model_name": "claude-sonnet-4-5", "output.value": '{"generations": [[]]}'}
    failed = _one(call, "langchain", "ChatAnthropic", failed=True)
    assert failed[semconv.REQUEST_MODEL] == "claude-sonnet-4-5"
    assert semconv.RESPONSE_MODEL not in failed
    assert _one(call, "langchain", "ChatAnthropic")[semconv.RESPONSE_MODEL] == "claude-sonnet-4-5"
