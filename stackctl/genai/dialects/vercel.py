"""Vercel AI SDK: version 6 with its own `ai.*` keys, version 7 with @ai-sdk/otel and the conventions' keys.

Version 6 wraps each call (`ai.streamText` around `ai.streamText.doStream`); only the inner ones name a canonical
operation here. Version 7 repeats an embedding's span; the one that is the call has kind CLIENT.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Const,
    Dialect,
    Equals,
    Extract,
    Field,
    MapValue,
    Matches,
    Not,
    Row,
    Scale,
    SpanAttr,
    Wrapper,
)

SCOPE: Final = r"^ai$"
SCOPE_7: Final = r"^gen_ai$"
_CLIENT: Final = 3  # OTLP's SpanKind

_OPERATION: Final = SpanAttr("ai.operationId")
_PROVIDER: Final = SpanAttr("ai.model.provider")
_OPERATIONS: Final = MapValue(
    (
        *((f"ai.{name}.doGenerate", "chat") for name in ("generateText", "generateObject")),
        *((f"ai.{name}.doStream", "chat") for name in ("streamText", "streamObject")),
        *((f"ai.{name}.doEmbed", "embeddings") for name in ("embed", "embedMany")),
    ),
    closed=True,
)


def _provider(pattern: str, name: str) -> Row:
    return Row(semconv.PROVIDER, _PROVIDER, Const(name), Matches(_PROVIDER, pattern), SCOPE)


DIALECT: Final = Dialect(
    name="Vercel AI SDK",
    rows=(
        Row(semconv.OPERATION, _OPERATION, _OPERATIONS, scope=SCOPE),
        _provider(r"^google\.vertex", "gcp.vertex_ai"),
        _provider(r"^google", "gcp.gemini"),
        _provider(r"^amazon-bedrock", "aws.bedrock"),
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
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("ai.response.msToFirstChunk"), Scale(0.001), scope=SCOPE),
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("gen_ai.client.operation.time_to_first_chunk"), scope=SCOPE_7),
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
    wrappers=(
        Wrapper(
            All((Equals(Field("scope"), ("gen_ai",)), Not(Equals(Field("kind"), (_CLIENT,))))),
            "version 7 writes two spans for an embedding, tokens on one",
        ),
    ),
    content=(
        r"ai\.(prompt|response\.(text|object|toolCalls|reasoning|files)|toolCall\.(args|result)|values?|embeddings?)(\..*)?",
        r"ai\.response\.providerMetadata",
    ),
)
