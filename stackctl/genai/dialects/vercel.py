"""Vercel AI SDK: version 6 with its own `ai.*` keys, version 7 with @ai-sdk/otel and the conventions' keys.

Version 6 and 5 wrap each call (`ai.streamText` around `ai.streamText.doStream`); only the inner ones name a canonical
operation here. Each try of a call is such a span, and none says whether another followed. A stream that broke has none.
Version 7 repeats an embedding's span, and only the one that is the call has tokens. Its first token is
the first part of the answer, on the Responses API too; a stream that was aborted ends without status, finish reason or
usage.

Version 5 leaves cached tokens out of Claude's input and thoughts out of Gemini's output, and neither it nor version 6's
objects tell all details; where the provider's own usage stands beside, as metadata, that is read.
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
    Extract,
    Field,
    Has,
    JsonField,
    MapValue,
    Matches,
    Not,
    Row,
    Scale,
    SpanAttr,
    When,
    Wrapper,
)

SCOPE: Final = r"^ai$"
SCOPE_7: Final = r"^gen_ai$"
_CLIENT: Final = 3  # OTLP's SpanKind

_OPERATION: Final = SpanAttr("ai.operationId")
_PROVIDER: Final = SpanAttr("ai.model.provider")
_METADATA: Final = SpanAttr("ai.response.providerMetadata")
# Version 6's texts have the parts of their usage.
_NO_PARTS: Final = Not(
    Any(
        (
            Has(SpanAttr("ai.usage.inputTokenDetails.noCacheTokens")),
            Has(SpanAttr("ai.usage.outputTokenDetails.textTokens")),
        )
    )
)
_CLAUDE: Final = All((Matches(_METADATA, r'"anthropic":\{"usage":\{[^{}]*"input_tokens":[0-9]'), _NO_PARTS))
_GEMINI: Final = All((Matches(_METADATA, r'"usageMetadata":\{.*"candidatesTokenCount":[0-9]'), _NO_PARTS))
# Under which name metadata of Google's stand, by version and package.
_GOOGLES: Final = ("google", "vertex")

_OPERATIONS: Final = MapValue(
    (
        *((f"ai.{name}.doGenerate", "chat") for name in ("generateText", "generateObject")),
        *((f"ai.{name}.doStream", "chat") for name in ("streamText", "streamObject")),
        *((f"ai.{name}.doEmbed", "embeddings") for name in ("embed", "embedMany")),
    ),
    closed=True,
)

_NOT_FAILED: Final = Not(Equals(Field("status"), (2,)))
_CUT_OFF: Final = All(
    (
        Equals(SpanAttr(semconv.OPERATION), ("chat",)),
        _NOT_FAILED,
        Not(Has(SpanAttr(semconv.FINISH_REASONS))),
        Not(Has(SpanAttr(semconv.OUTPUT_TOKENS))),
    )
)


def _provider(pattern: str, name: str) -> Row:
    return Row(semconv.PROVIDER, _PROVIDER, Const(name), Matches(_PROVIDER, pattern), SCOPE)


def _told(key: str, when: When, *paths: str) -> tuple[Row, ...]:
    return tuple(Row(key, _METADATA, JsonField(tuple(path.split("."))), when, SCOPE) for path in paths)


def _google(key: str, field: str) -> tuple[Row, ...]:
    return _told(key, _GEMINI, *(f"{name}.usageMetadata.{field}" for name in _GOOGLES))


DIALECT: Final = Dialect(
    name="Vercel AI SDK",
    erases=(
        Erase(semconv.INPUT_TOKENS, _CLAUDE, SCOPE, "version 5 leaves cached tokens out, 6 does not"),
        Erase(semconv.OUTPUT_TOKENS, _GEMINI, SCOPE, "version 5 leaves thoughts out, 6 does not"),
    ),
    rows=(
        Row(semconv.OPERATION, _OPERATION, _OPERATIONS, scope=SCOPE),
        _provider(r"^(google\.)?vertex(\.|$)", "gcp.vertex_ai"),
        _provider(r"^google", "gcp.gemini"),
        _provider(r"^(amazon-)?bedrock(-mantle)?(\.|$)", "aws.bedrock"),
        _provider(r"^togetherai(\.|$)", "together"),
        _provider(r"^azure", "azure.ai.openai"),
        _provider(r"^mistral", "mistral_ai"),
        _provider(r"^xai", "x_ai"),
        Row(semconv.PROVIDER, _PROVIDER, Extract(r"^([a-z0-9-]+)"), scope=SCOPE, why="`openai.chat` names its API too"),
        Row(semconv.REQUEST_MODEL, SpanAttr("ai.model.id"), scope=SCOPE),
        Row(semconv.RESPONSE_MODEL, SpanAttr("ai.response.model"), scope=SCOPE),
        Row(semconv.RESPONSE_ID, SpanAttr("ai.response.id"), scope=SCOPE),
        Row(semconv.API_TYPE, _PROVIDER, Const("responses"), Matches(_PROVIDER, r"\.responses$"), SCOPE),
        Row(semconv.STREAM, _OPERATION, Const(True), Matches(_OPERATION, r"\.doStream$"), SCOPE),
        Row(semconv.STREAM, _OPERATION, Const(False), Matches(_OPERATION, r"\.doGenerate$"), SCOPE),
        Row(
            semconv.TIME_TO_FIRST_TEXT,
            SpanAttr("ai.response.msToFirstChunk"),
            Scale(0.001),
            Matches(_PROVIDER, r"\.responses$"),
            SCOPE,
            "it stamps the first text, not `response.created`",
        ),
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("ai.response.msToFirstChunk"), Scale(0.001), scope=SCOPE),
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("ai.stream.msToFirstChunk"), Scale(0.001), scope=SCOPE),
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("gen_ai.client.operation.time_to_first_chunk"), scope=SCOPE_7),
        Row(
            semconv.STREAM, SpanAttr(semconv.OPERATION), Const(True), _CUT_OFF, SCOPE_7, "only a stream ends like that"
        ),
        *_told(semconv.INPUT_TOKENS, _CLAUDE, "anthropic.usage.input_tokens"),
        *_told(semconv.CACHE_READ_TOKENS, _CLAUDE, "anthropic.usage.cache_read_input_tokens"),
        *_told(semconv.CACHE_WRITE_TOKENS, _CLAUDE, "anthropic.usage.cache_creation_input_tokens"),
        *_google(semconv.OUTPUT_TOKENS, "candidatesTokenCount"),
        *_google(semconv.REASONING_TOKENS, "thoughtsTokenCount"),
        *_google(semconv.CACHE_READ_TOKENS, "cachedContentTokenCount"),
        Row(semconv.INPUT_TOKENS, SpanAttr("ai.usage.inputTokens"), scope=SCOPE),
        Row(semconv.INPUT_TOKENS, SpanAttr("ai.usage.tokens"), scope=SCOPE, why="embeddings"),
        Row(semconv.OUTPUT_TOKENS, SpanAttr("ai.usage.outputTokens"), scope=SCOPE),
        Row(semconv.CACHE_READ_TOKENS, SpanAttr("ai.usage.inputTokenDetails.cacheReadTokens"), scope=SCOPE),
        Row(semconv.CACHE_READ_TOKENS, SpanAttr("ai.usage.cachedInputTokens"), scope=SCOPE),
        Row(semconv.CACHE_WRITE_TOKENS, SpanAttr("ai.usage.inputTokenDetails.cacheWriteTokens"), scope=SCOPE),
        Row(semconv.REASONING_TOKENS, SpanAttr("ai.usage.outputTokenDetails.reasoningTokens"), scope=SCOPE),
        Row(semconv.REASONING_TOKENS, SpanAttr("ai.usage.reasoningTokens"), scope=SCOPE),
        Row(semconv.SESSION_ID, SpanAttr("ai.telemetry.metadata.sessionId"), scope=SCOPE),
        Row(semconv.USER_ID, SpanAttr("ai.telemetry.metadata.userId"), scope=SCOPE),
    ),
    sums=(
        AddTo(semconv.INPUT_TOKENS, (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS), _CLAUDE, SCOPE),
        AddTo(semconv.OUTPUT_TOKENS, (semconv.REASONING_TOKENS,), _GEMINI, SCOPE),
    ),
    wrappers=(
        Wrapper(
            All((Equals(Field("scope"), ("gen_ai",)), Not(Equals(Field("kind"), (_CLIENT,))))),
            "version 7's agents and steps are none",
        ),
        Wrapper(
            All(
                (
                    Equals(Field("scope"), ("gen_ai",)),
                    Equals(SpanAttr(semconv.OPERATION), ("embeddings",)),
                    Not(Has(SpanAttr(semconv.INPUT_TOKENS))),
                    _NOT_FAILED,
                )
            ),
            "version 7 writes two spans for an embedding, tokens on one; of one that failed both are alike",
        ),
    ),
    content=(
        r"ai\.(prompt|response\.(text|object|toolCalls|reasoning|files)|toolCall\.(args|result)|values?|embeddings?)(\..*)?",
        r"ai\.response\.providerMetadata",
    ),
)
