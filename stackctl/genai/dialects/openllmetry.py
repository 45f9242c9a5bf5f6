"""OpenLLMetry (Traceloop): opentelemetry-instrumentation-openai 0.62 and its older key names as of 0.44, traceloop-sdk.

The first token is the time of the first chunk event. A stream that broke is sent as OK; its span has neither finish
reason nor usage. Scopes are `opentelemetry.instrumentation.<library>`, which others use too, so the keys tell it,
not the scope. Calls of the Responses API (`openai.response`) name no operation in the older release, and in the newer
one none where the stream broke; a read of a stored answer has the same name, but no model asked for and no prompt.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    AddTo,
    All,
    Any,
    Const,
    Dialect,
    Equals,
    Erase,
    EventOffset,
    EventTime,
    Extract,
    Field,
    Has,
    JsonList,
    Less,
    MapValue,
    Not,
    Row,
    SpanAttr,
)

_OPENAI: Final = r"^opentelemetry\.instrumentation\.openai\.v[01]$"
_RESPONSE: Final = Equals(Field("name"), ("openai.response",))
_MESSAGES: Final = SpanAttr(semconv.INPUT_MESSAGES)
_READ_AGAIN: Final = All(
    (
        _RESPONSE,
        Not(Has(SpanAttr(semconv.REQUEST_MODEL))),
        Not(Has(SpanAttr("gen_ai.prompt.0.role"))),
        Any((Not(Has(_MESSAGES)), Equals(_MESSAGES, ("[]",)))),
    )
)
_GOOGLE: Final = r"^opentelemetry\.instrumentation\.google_generativeai$"
_TOTAL: Final = SpanAttr("gen_ai.usage.total_tokens")
LANGCHAIN: Final = r"^opentelemetry\.instrumentation\.langchain$"
_HOST: Final = Extract(r"^[a-z]+://([^/:]+)")

DIALECT: Final = Dialect(
    name="OpenLLMetry",
    erases=(
        Erase(semconv.OPERATION, _READ_AGAIN, _OPENAI, "it says `chat` of a stored answer that is read again"),
        *(
            Erase(key, Equals(SpanAttr(key), ("unknown",)), LANGCHAIN, "its word for a model that it was not told")
            for key in (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL)
        ),
        Erase(
            semconv.OUTPUT_TOKENS,
            All((Has(_TOTAL), Has(SpanAttr(semconv.INPUT_TOKENS)))),
            _GOOGLE,
            "it leaves out what Gemini thought, which the total has",
        ),
        Erase(
            semconv.RESPONSE_MODEL,
            Equals(Field("status"), (2,)),
            LANGCHAIN,
            "a copy of the model asked for, until an answer is whole",
        ),
    ),
    rows=(
        Row(semconv.OPERATION, SpanAttr(semconv.RESPONSE_ID), Const("fetch_response"), _READ_AGAIN, _OPENAI),
        Row(
            semconv.OPERATION,
            SpanAttr(semconv.REQUEST_MODEL),
            Const("chat"),
            _RESPONSE,
            _OPENAI,
            "0.44 names no operation of the Responses API, 0.62 none of a stream that broke",
        ),
        Row(semconv.API_TYPE, SpanAttr(semconv.REQUEST_MODEL), Const("responses"), _RESPONSE, _OPENAI),
        Row(
            semconv.OPERATION,
            SpanAttr("llm.request.type"),
            Const("chat"),
            Equals(Field("name"), ("anthropic.chat",)),
            r"^opentelemetry\.instrumentation\.anthropic$",
            "0.44 says `completion` of the Messages API too",
        ),
        Row(
            semconv.OPERATION,
            SpanAttr("llm.request.type"),
            MapValue((("chat", "chat"), ("completion", "text_completion"), ("embedding", "embeddings")), closed=True),
        ),
        Row(semconv.SERVER_ADDRESS, SpanAttr("gen_ai.openai.api_base"), _HOST),
        Row(semconv.STREAM, SpanAttr("gen_ai.is_streaming")),
        Row(semconv.STREAM, SpanAttr("llm.is_streaming")),
        Row(semconv.CACHE_READ_TOKENS, SpanAttr("gen_ai.usage.cache_read_input_tokens")),
        Row(semconv.CACHE_WRITE_TOKENS, SpanAttr("gen_ai.usage.cache_creation_input_tokens")),
        Row(semconv.REASONING_TOKENS, SpanAttr("gen_ai.usage.reasoning_tokens")),
        Row(semconv.OUTPUT_TOKENS, _TOTAL, Less(SpanAttr(semconv.INPUT_TOKENS)), scope=_GOOGLE),
        Row(semconv.FINISH_REASONS, SpanAttr("gen_ai.completion.0.finish_reason"), JsonList()),
        Row(semconv.TIME_TO_FIRST_CHUNK, EventTime("gen_ai.content.completion.chunk"), EventOffset()),
        Row(semconv.TIME_TO_FIRST_CHUNK, EventTime("llm.content.completion.chunk"), EventOffset()),
        Row(semconv.USER_ID, SpanAttr("gen_ai.user")),
        Row(semconv.USER_ID, SpanAttr("llm.user")),
        Row(semconv.USER_ID, SpanAttr("traceloop.association.properties.user_id")),
        Row(semconv.SESSION_ID, SpanAttr("traceloop.association.properties.session_id")),
    ),
    sums=(
        AddTo(
            semconv.INPUT_TOKENS,
            (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
            scope=r"^opentelemetry\.instrumentation\.bedrock$",
            why="it copies Bedrock's inputTokens, which leave cached tokens out",
        ),
    ),
    content=(
        r"gen_ai\.(prompt|completion)\..*",
        r"traceloop\.entity\.(input|output)",
        r"llm\.(headers|request\.functions.*)",
    ),
    verbatim=("traceloop.workflow.name", "traceloop.span.kind", "traceloop.entity.name", "traceloop.entity.path"),
)
