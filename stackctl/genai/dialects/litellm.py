"""LiteLLM 1.106 and 1.110: its older OpenTelemetry callback (`callbacks=["otel"]`) and the newer one (LITELLM_OTEL_V2).

The older one writes usage details as a Python literal and the server's address inside JSON; both give the request's
model as response model on streams, which nothing in the span can mend. Of embeddings and of the Responses API the older
one leaves the provider out; the prefix of its model says it, and on streams the answer's id, into which LiteLLM writes
the provider in base 64. Of the Messages API and of Google's own it leaves the provider out too: the answer's id tells
who served a Claude, else the model's maker stands for it. Where a span of the application is active it writes the call
onto that one, whatever its scope (unless USE_OTEL_LITELLM_REQUEST_SPAN is set), so the keys tell it too; of two calls
within the span the last stays.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Any,
    Const,
    Dialect,
    Equals,
    Erase,
    Extract,
    Field,
    Has,
    MapValue,
    Matches,
    Not,
    Row,
    SpanAttr,
    Wrapper,
)

_OWN: Final = Equals(Field("scope"), ("litellm",))
_REQUEST_TYPE: Final = SpanAttr("llm.request.type")
# A span that holds a call of LiteLLM's, its own or the application's.
_LITELLM: Final = Any(
    (_OWN, All((Has(_REQUEST_TYPE), Any((Has(SpanAttr("litellm.call_id")), Has(SpanAttr("hidden_params")))))))
)

# Its word for a call, which it may write as operation too; with an `a` before it where the call was awaited.
_CALLS: Final = (
    ("completion", "chat"),
    ("responses", "chat"),
    ("anthropic_messages", "chat"),
    ("text_completion", "text_completion"),
    ("generate_content", "generate_content"),
    ("generate_content_stream", "generate_content"),
    ("embedding", "embeddings"),
)
_AWAITED: Final = tuple((f"a{word}", operation) for word, operation in _CALLS)
_CALL_TYPES: Final = MapValue((*_CALLS, *_AWAITED), closed=True)
_NOT_CONVENTIONAL: Final = tuple(word for word, operation in (*_CALLS, *_AWAITED) if word != operation)
_RESPONSES: Final = MapValue((("responses", "responses"), ("aresponses", "responses")), closed=True)
_STREAMS: Final = r"^a?generate_content_stream$"
_USAGE: Final = SpanAttr("metadata.usage_object")
_STREAMING: Final = SpanAttr("llm.is_streaming")
_MODEL: Final = SpanAttr("litellm.provider.model")
_ANSWER: Final = SpanAttr(semconv.RESPONSE_ID)
# LiteLLM's words for providers that the conventions call otherwise: docs.litellm.ai/docs/providers.
RENAMED: Final = (
    ("text-completion-openai", "openai"),
    ("text-completion-codestral", "mistral_ai"),
    ("codestral", "mistral_ai"),
    ("azure", "azure.ai.openai"),
    ("azure_text", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("vertex_ai_beta", "gcp.vertex_ai"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("xai", "x_ai"),
    ("moonshot", "moonshot_ai"),
    ("watsonx", "ibm.watsonx.ai"),
    ("cohere_chat", "cohere"),
    # These have no name in the conventions, so theirs is the price book's.
    ("together_ai", "together"),
    ("fireworks_ai", "fireworks"),
    ("voyage", "voyageai"),
    ("github_copilot", "github-copilot"),
)
# A stream whose usage was not asked for: OpenAI itself gives every usage its details, other servers may not.
_NOT_ASKED: Final = All(
    (
        Matches(SpanAttr("hidden_params"), r'"api_base": "https://([a-z0-9.-]+\.)?api\.openai\.com[/"]'),
        Matches(_USAGE, r"'prompt_tokens_details': None"),
        Any((Equals(_STREAMING, (True,)), Equals(_STREAMING, ("True",)))),
        Equals(_REQUEST_TYPE, ("completion", "acompletion")),
    )
)
# Of a call that brought no usage it counts the tokens itself.
ESTIMATED: Final = All((_LITELLM, Any((Equals(Field("status"), (2,)), _NOT_ASKED))))
# How ids begin that say `litellm:custom_llm_provider:<name>;` in base 64.
_ENCODED: Final = (
    ("openai", "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haTt"),
    ("azure.ai.openai", "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOmF6dXJlO2"),
)
# Calls in the provider's own format, of which it says no provider.
_NATIVE: Final = All((_LITELLM, Matches(_REQUEST_TYPE, r"^a?(anthropic_messages|generate_content(_stream)?)$")))
_SERVED: Final = ((r"^msg_vrtx_", "gcp.vertex_ai"), (r"^msg_bdrk_", "aws.bedrock"))
_MAKERS: Final = ((r"^claude-", "anthropic"), (r"^gemini-", "gcp.gemini"))

DIALECT: Final = Dialect(
    name="LiteLLM",
    erases=(
        Erase(
            semconv.OPERATION,
            All((Equals(SpanAttr(semconv.OPERATION), _NOT_CONVENTIONAL), _LITELLM)),
            why="not the conventions' values; the call type says it right",
        ),
        *(
            Erase(key, ESTIMATED, why="what it counted itself is no usage")
            for key in (
                semconv.INPUT_TOKENS,
                semconv.OUTPUT_TOKENS,
                semconv.CACHE_READ_TOKENS,
                semconv.CACHE_WRITE_TOKENS,
            )
        ),
    ),
    rows=(
        Row(semconv.OPERATION, _REQUEST_TYPE, _CALL_TYPES, _LITELLM),
        Row(semconv.OPERATION, SpanAttr("litellm.call_type"), _CALL_TYPES, when=_LITELLM),
        Row(semconv.API_TYPE, _REQUEST_TYPE, _RESPONSES, _LITELLM),
        Row(semconv.API_TYPE, SpanAttr("litellm.call_type"), _RESPONSES, when=_LITELLM),
        Row(semconv.PROVIDER, SpanAttr("gen_ai.system"), MapValue(RENAMED), _LITELLM),
        *(
            Row(semconv.PROVIDER, _MODEL, Const(name), All((Matches(_MODEL, f"^{prefix}/"), _LITELLM)))
            for prefix, name in RENAMED
        ),
        Row(semconv.PROVIDER, _MODEL, Extract(r"^([a-z][a-z0-9_]*)/"), when=_LITELLM),
        *(
            Row(semconv.PROVIDER, _ANSWER, Const(name), All((Matches(_ANSWER, f"^resp_{text}"), _LITELLM)))
            for name, text in _ENCODED
        ),
        *(
            Row(semconv.PROVIDER, _ANSWER, Const(name), All((Matches(_ANSWER, pattern), _NATIVE)))
            for pattern, name in _SERVED
        ),
        *(
            Row(semconv.PROVIDER, _MODEL, Const(name), All((Matches(_MODEL, pattern), _NATIVE)), why="its maker")
            for pattern, name in _MAKERS
        ),
        Row(semconv.STREAM, SpanAttr("litellm.request.streaming"), when=_LITELLM),
        Row(
            semconv.STREAM,
            _REQUEST_TYPE,
            Const(True),
            All((Matches(_REQUEST_TYPE, _STREAMS), _LITELLM)),
            why="llm.is_streaming is False there",
        ),
        Row(
            semconv.SERVER_ADDRESS,
            SpanAttr("hidden_params"),
            Extract(r'"api_base": "[a-z]+://([^/:"]+)'),
            when=_LITELLM,
        ),
        Row(semconv.CACHE_READ_TOKENS, _USAGE, Extract(r"'cached_tokens': ([0-9]+)"), when=_LITELLM),
        Row(semconv.CACHE_WRITE_TOKENS, _USAGE, Extract(r"'cache_write_tokens': ([0-9]+)"), when=_LITELLM),
        Row(semconv.CACHE_WRITE_TOKENS, _USAGE, Extract(r"'cache_creation_tokens': ([0-9]+)"), when=_LITELLM),
        Row(semconv.REASONING_TOKENS, _USAGE, Extract(r"'reasoning_tokens': ([0-9]+)"), when=_LITELLM),
        Row(semconv.SENT_COST_USD, SpanAttr("gen_ai.cost.total_cost"), when=_LITELLM),
        Row(semconv.SENT_COST_USD, SpanAttr("litellm.cost.total"), when=_LITELLM),
    ),
    wrappers=(
        Wrapper(
            All((_OWN, Equals(Field("name"), ("raw_gen_ai_request",)))),
            "it repeats the request inside litellm_request",
        ),
        Wrapper(
            All((_OWN, Equals(Field("name"), ("Received Proxy Server Request",)), Not(Has(_REQUEST_TYPE)))),
            "the proxy's server span around a call, unless the call is written onto it",
        ),
    ),
    content=(r"llm\.[a-z_]+\.(messages|choices|extra_body|tools)", r"hidden_params", r"metadata\..*"),
)
