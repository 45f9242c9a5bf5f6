"""LiteLLM 1.106: its older OpenTelemetry callback (`callbacks=["otel"]`) and the newer one (LITELLM_OTEL_V2).

The older one writes usage details as a Python literal and the server's address inside JSON; both give the request's
model as response model on streams, which nothing in the span can mend.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Dialect,
    Equals,
    Erase,
    Extract,
    Field,
    MapValue,
    Row,
    SpanAttr,
    Wrapper,
)

SCOPE: Final = r"^litellm$"

_CALL_TYPES: Final = MapValue(
    (
        *(("completion", "chat"), ("acompletion", "chat"), ("responses", "chat"), ("aresponses", "chat")),
        *(("embedding", "embeddings"), ("aembedding", "embeddings")),
        *(("text_completion", "text_completion"), ("atext_completion", "text_completion")),
    ),
    closed=True,
)
_RESPONSES: Final = MapValue((("responses", "responses"), ("aresponses", "responses")), closed=True)
_USAGE: Final = SpanAttr("metadata.usage_object")

DIALECT: Final = Dialect(
    name="LiteLLM",
    erases=(
        Erase(
            semconv.OPERATION,
            Equals(SpanAttr(semconv.OPERATION), ("embedding", "responses")),
            SCOPE,
            "not the conventions' values; the call type says it right",
        ),
    ),
    rows=(
        Row(semconv.OPERATION, SpanAttr("llm.request.type"), _CALL_TYPES, scope=SCOPE),
        Row(semconv.OPERATION, SpanAttr("litellm.call_type"), _CALL_TYPES, scope=SCOPE),
        Row(semconv.API_TYPE, SpanAttr("llm.request.type"), _RESPONSES, scope=SCOPE),
        Row(semconv.API_TYPE, SpanAttr("litellm.call_type"), _RESPONSES, scope=SCOPE),
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
