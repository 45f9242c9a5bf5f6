"""LiteLLM 1.106: its older OpenTelemetry callback (`callbacks=["otel"]`) and the newer one (LITELLM_OTEL_V2).

The older one writes usage details as a Python literal and the server's address inside JSON; both give the request's
model as response model on streams, which nothing in the span can mend. Of embeddings and of the Responses API the
older one leaves the provider out; the prefix of its model says it, and on streams the answer's id, into which LiteLLM
writes the provider in base 64.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Const,
    Dialect,
    Equals,
    Erase,
    Extract,
    Field,
    MapValue,
    Matches,
    Row,
    SpanAttr,
    Wrapper,
)

SCOPE: Final = r"^litellm$"

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
_USAGE: Final = SpanAttr("metadata.usage_object")
_MODEL: Final = SpanAttr("litellm.provider.model")
_ANSWER: Final = SpanAttr(semconv.RESPONSE_ID)
# LiteLLM's words for providers that the conventions call otherwise: docs.litellm.ai/docs/providers.
RENAMED: Final = (
    ("text-completion-openai", "openai"),
    ("azure", "azure.ai.openai"),
    ("azure_text", "azure.ai.openai"),
    ("azure_ai", "azure.ai.inference"),
    ("bedrock", "aws.bedrock"),
    ("bedrock_converse", "aws.bedrock"),
    ("vertex_ai", "gcp.vertex_ai"),
    ("gemini", "gcp.gemini"),
    ("mistral", "mistral_ai"),
    ("xai", "x_ai"),
    ("moonshot", "moonshot_ai"),
    ("watsonx", "ibm.watsonx.ai"),
)
# Of a call that failed it counts the tokens itself.
ESTIMATED: Final = All((Equals(Field("scope"), ("litellm",)), Equals(Field("status"), (2,))))
# How ids begin that say `litellm:custom_llm_provider:<name>;` in base 64.
_ENCODED: Final = (
    ("openai", "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOm9wZW5haTt"),
    ("azure.ai.openai", "bGl0ZWxsbTpjdXN0b21fbGxtX3Byb3ZpZGVyOmF6dXJlO2"),
)

DIALECT: Final = Dialect(
    name="LiteLLM",
    erases=(
        Erase(
            semconv.OPERATION,
            Equals(SpanAttr(semconv.OPERATION), _NOT_CONVENTIONAL),
            SCOPE,
            "not the conventions' values; the call type says it right",
        ),
        *(
            Erase(key, ESTIMATED, SCOPE, "a call that failed brought no usage")
            for key in (
                semconv.INPUT_TOKENS,
                semconv.OUTPUT_TOKENS,
                semconv.CACHE_READ_TOKENS,
                semconv.CACHE_WRITE_TOKENS,
            )
        ),
    ),
    rows=(
        Row(semconv.OPERATION, SpanAttr("llm.request.type"), _CALL_TYPES, scope=SCOPE),
        Row(semconv.OPERATION, SpanAttr("litellm.call_type"), _CALL_TYPES, scope=SCOPE),
        Row(semconv.API_TYPE, SpanAttr("llm.request.type"), _RESPONSES, scope=SCOPE),
        Row(semconv.API_TYPE, SpanAttr("litellm.call_type"), _RESPONSES, scope=SCOPE),
        Row(semconv.PROVIDER, SpanAttr("gen_ai.system"), MapValue(RENAMED), scope=SCOPE),
        *(
            Row(semconv.PROVIDER, _MODEL, Const(name), Matches(_MODEL, f"^{prefix}/"), SCOPE)
            for prefix, name in RENAMED
        ),
        Row(semconv.PROVIDER, _MODEL, Extract(r"^([a-z][a-z0-9_]*)/"), scope=SCOPE),
        *(
            Row(semconv.PROVIDER, _ANSWER, Const(name), Matches(_ANSWER, f"^resp_{text}"), SCOPE)
            for name, text in _ENCODED
        ),
        Row(semconv.STREAM, SpanAttr("litellm.request.streaming"), scope=SCOPE),
        Row(
            semconv.SERVER_ADDRESS,
            SpanAttr("hidden_params"),
            Extract(r'"api_base": "[a-z]+://([^/:"]+)'),
            scope=SCOPE,
        ),
        Row(semconv.CACHE_READ_TOKENS, _USAGE, Extract(r"'cached_tokens': ([0-9]+)"), scope=SCOPE),
        Row(semconv.CACHE_WRITE_TOKENS, _USAGE, Extract(r"'cache_write_tokens': ([0-9]+)"), scope=SCOPE),
        Row(semconv.CACHE_WRITE_TOKENS, _USAGE, Extract(r"'cache_creation_tokens': ([0-9]+)"), scope=SCOPE),
        Row(semconv.REASONING_TOKENS, _USAGE, Extract(r"'reasoning_tokens': ([0-9]+)"), scope=SCOPE),
        Row(semconv.SENT_COST_USD, SpanAttr("gen_ai.cost.total_cost"), scope=SCOPE),
        Row(semconv.SENT_COST_USD, SpanAttr("litellm.cost.total"), scope=SCOPE),
    ),
    wrappers=(
        Wrapper(
            All((Equals(Field("scope"), ("litellm",)), Equals(Field("name"), ("raw_gen_ai_request",)))),
            "it repeats the request inside litellm_request",
        ),
        Wrapper(
            All((Equals(Field("scope"), ("litellm",)), Equals(Field("name"), ("Received Proxy Server Request",)))),
            "the proxy's server span around a call",
        ),
    ),
    content=(r"llm\.[a-z_]+\.(messages|choices|extra_body|tools)", r"hidden_params", r"metadata\..*"),
)
