"""Which keys and texts may be stored."""

import pytest
import re2

from stackctl import semconv
from stackctl.genai import content
from stackctl.genai.content import MASKED, OTHER, SECRETS, UNNAMED, Form, clean, keep_key, label_word, mask, span_name
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import KEY_TYPES

CONTENT_KEYS = (
    semconv.INPUT_MESSAGES,
    semconv.OUTPUT_MESSAGES,
    semconv.SYSTEM_INSTRUCTIONS,
    semconv.TOOL_DEFINITIONS,
    semconv.TOOL_ARGUMENTS,
    semconv.TOOL_RESULT,
    semconv.RETRIEVAL_QUERY,
    semconv.RETRIEVAL_DOCUMENTS,
    semconv.EVALUATION_EXPLANATION,
    "gen_ai.prompt.0.content",
    "gen_ai.completion.0.content",
    "gen_ai.prompt",
    "llm.input_messages.0.message.content",
    "llm.output_messages",
    "input.value",
    "output.value",
    "exception.message",
    "exception.stacktrace",
    "db.query.text",
    "db.statement",
    "url.full",
    "http.url",
    "embedding.embeddings.0.embedding.vector",
    "langfuse.observation.input",
    "ai.prompt.messages",
    "traceloop.entity.input",
    "gen_ai.request.stop_sequences",
    "process.command_line",
)
KEPT_KEYS = (
    semconv.OPERATION,
    semconv.INPUT_TOKENS,
    semconv.CACHE_READ_TOKENS,
    semconv.SERVICE_NAME,
    semconv.DEPLOYMENT_ENVIRONMENT,
    semconv.USER_ID,
    semconv.SESSION_ID,
    semconv.CONVERSATION_ID,
    semconv.ERROR_TYPE,
    semconv.RETRIEVED_DOCUMENTS,
    "http.response.status_code",
    "telemetry.sdk.name",
    "k8s.pod.name",
    *KEY_TYPES,
    *DERIVED_TYPES,
)


@pytest.mark.parametrize("key", CONTENT_KEYS)
def test_content_keys_never_pass_by_default(key: str) -> None:
    """Keys that carry prompts, answers, documents or free text are dropped, even where the user allows everything."""
    assert not keep_key(key)
    assert not keep_key(key, (".*",))
    assert keep_key(key, (), True) or key == "process.command_line"


@pytest.mark.parametrize("key", KEPT_KEYS)
def test_keys_of_the_conventions_pass(key: str) -> None:
    """What the conventions define without content is kept without any setting."""
    assert keep_key(key)


@pytest.mark.parametrize(
    "key",
    ["acme.tenant", "gen_ai.brand.new", "llm.user", "x" * 200, "a key with blanks", "", "otel.status_description"],
)
def test_unknown_keys_do_not_pass(key: str) -> None:
    """The allow list is closed: what nobody named is dropped."""
    assert not keep_key(key)


def test_a_users_pattern_lets_an_applications_keys_through() -> None:
    """`content.allow_keys` keeps an application's own keys, matched as a whole, and never one of odd characters."""
    assert keep_key("acme.tenant", (r"acme\..*",))
    assert not keep_key("not.acme.tenant", (r"acme\..*",))
    assert not keep_key("acme.what is this", (r"acme\..*",))


def test_every_shipped_pattern_is_re2() -> None:
    """Both executors can run every pattern of forms, secrets and dialects."""
    patterns = [form.value for form in Form] + [secret.pattern for secret in SECRETS]
    patterns += [content.SPAN_NAME, content.SCOPE_NAME, content.SCOPE_VERSION, content.SECRET_LEAD]
    patterns += [content.METRIC_NAME, content.METRIC_UNIT]
    patterns += [pattern for dialect in DIALECTS for pattern in dialect.content]
    patterns += [row.scope for dialect in DIALECTS for row in dialect.rows]
    for pattern in patterns:
        assert re2.compile(pattern) is not None


# Put together from pieces, so that no scanner takes this file for a leak.
SECRET_TEXTS = (
    "sk-" + "proj-Abc123Def456Ghi789Jkl",
    "AKIA" + "IOSFODNN7EXAMPLE",
    "AIza" + "SyA1234567890abcdefghijklmnopqrstuvw",
    "ghp_" + "abcdefghijklmnopqrst1234567890",
    "xoxb-" + "1234567890-abcdefghij",
    "eyJ" + "hbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxMjM0NTY3ODkwIn0.sig",
    "Authorization: Bearer " + "abcdef0123456789",
    "password=" + "hunter22",
    "api_key: " + "0123456789abcdef",
    "https://user:" + "pass1234@host.example/x",
    "alice@example.com",
    "-----BEGIN " + "PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
)


@pytest.mark.parametrize("secret", SECRET_TEXTS)
def test_secrets_are_masked_wherever_they_stand(secret: str) -> None:
    """Keys, tokens, passwords and mail addresses are replaced inside any text, and the cheap first look misses none."""
    masked = mask(f"before {secret} after")
    assert secret not in masked
    assert masked.startswith("before ")
    assert masked.endswith(" after")
    assert re2.compile(content.SECRET_LEAD).search(secret)


@pytest.mark.parametrize(
    "text", ["gpt-4o@2024", "task-1", "the sky is blue", "tokenizer", "basic", "claude-haiku-4-5@20251001"]
)
def test_ordinary_words_are_not_masked(text: str) -> None:
    """Masks hit secrets, not words that look a little like them."""
    assert mask(text) == text


@pytest.mark.parametrize(
    ("key", "text", "stored"),
    [
        (semconv.REQUEST_MODEL, "meta-llama/Llama-3.1-8B:free", "meta-llama/Llama-3.1-8B:free"),
        (semconv.REQUEST_MODEL, "What is the capital of France?", MASKED),
        (semconv.ERROR_TYPE, "openai.RateLimitError", "openai.RateLimitError"),
        (semconv.ERROR_TYPE, "Error: the prompt was too long", MASKED),
        (semconv.SERVICE_NAME, "Checkout service", "Checkout service"),
        (semconv.SERVICE_NAME, "Bürger-Büro", "Bürger-Büro"),
        (semconv.USER_ID, "alice@example.com", "[email]"),
        (semconv.USER_ID, "Please tell me how to cook rice", MASKED),
        *((semconv.SERVER_ADDRESS, kept, kept) for kept in ("[::1]", "[2001:db8::1]:8000", "http://[::1]:8000/v1")),
        ("network.peer.address", "fe80::1%eth0", "fe80::1%eth0"),
        (semconv.SERVER_ADDRESS, "[what is this]", MASKED),
        (semconv.SERVER_ADDRESS, "http://u:" + "pass1234@[::1]/v1", MASKED),
        (semconv.FINISH_REASONS, '["stop","tool_calls"]', '["stop","tool_calls"]'),
        (semconv.FINISH_REASONS, '["a whole sentence"]', MASKED),
        (semconv.CONVERSATION_ID, "c" * 300, MASKED),
        (semconv.USER_ID, "jürgen|42", "jürgen|42"),
        (semconv.USER_ID, "hello my friend", MASKED),
        (semconv.AGENT_NAME, "订单服务", "订单服务"),
        (semconv.AGENT_NAME, "法国的首都是什么城市", MASKED),
        (semconv.ERROR_TYPE, "ERR_HTTP2_STREAM", "ERR_HTTP2_STREAM"),
        (semconv.ERROR_TYPE, "req7f3a9c", MASKED),
        (semconv.OPERATION, "call4711x", MASKED),
        ("gen_ai.usage.details.kind", "q7f3a1", MASKED),
        ("acme.note", "a" * 5000, "a" * content.TEXT_CAP),
    ],
)
def test_text_of_kept_keys_has_their_form(key: str, text: str, stored: str) -> None:
    """An allowed key does not let prose through: a model is a model's name, an error a class, a user an id."""
    assert clean(key, text) == stored


@pytest.mark.parametrize(
    "name",
    [
        *("rag.answer", "GET /v", "handle request", "ai.generateText.doGenerate", "step 1", "POST"),
        *("answer from passage", "POST /v1/chat/completions", "GET /users/{id}"),
    ],
)
def test_names_that_code_gives_stay(name: str) -> None:
    """Span names as programmers write them can be read in a trace."""
    assert span_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "What is the capital of France?",
        "the capital of France",
        "order-8471",
        "q7f3a1",
        "zebra crossing 7",
        "Paris!",
        "x" * 100,
        "",
    ],
)
def test_names_that_may_hold_content_go(name: str) -> None:
    """A question, an id or anything longer than three words is no span name."""
    assert span_name(name) == UNNAMED


@pytest.mark.parametrize(
    ("scope", "stored"),
    [
        *((name, name) for name in ("ai", "pydantic-ai", "opentelemetry.instrumentation.openai.v1", "dev.langchain4j")),
        *((name, name) for name in ("@opentelemetry/instrumentation-http", "io.opentelemetry.netty-4.1")),
        *((name, None) for name in ("a sentence", "q7f3a1", "lib.q7f3a1", "x" * 200)),
    ],
)
def test_scopes_are_names_of_packages(scope: str, stored: str | None) -> None:
    """An instrumentation scope stays where it looks like a package; an id or a sentence does not."""
    assert content.scope_name(scope) == stored


@pytest.mark.parametrize(("version", "stored"), [("1.3b0", "1.3b0"), ("1.0.0-rc.1", "1.0.0-rc.1"), ("q7f3a1", None)])
def test_versions_begin_with_a_number(version: str, stored: str | None) -> None:
    """A scope's version stays where it is one."""
    assert content.scope_version(version) == stored


def test_labels_of_applications_are_bounded() -> None:
    """A label value is short and of few characters, else `other`."""
    assert label_word("checkout") == "checkout"
    assert label_word("x" * 129) == OTHER
    assert label_word("a sentence is not a label value") == OTHER
