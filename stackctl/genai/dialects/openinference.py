"""OpenInference (Arize): `llm.*` keys and `openinference.span.kind`, whatever instrumentor wrote them.

`llm.model_name` is the model that answered; the one asked for stands only in the JSON of the call's parameters. The
OpenAI instrumentor's `Response` spans (Responses API) begin with the model asked for under that key, stamp
`response.created` as first token, and are written for a read of a stored answer too, which has no parameters.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Any,
    Const,
    Dialect,
    Equals,
    EventOffset,
    EventTime,
    Field,
    Has,
    JsonField,
    JsonList,
    MapValue,
    Matches,
    Not,
    Row,
    SpanAttr,
)

FIRST_TOKEN_EVENT: Final = "First Token Stream Event"

_SCOPE: Final = r"^openinference\."
_OPENAI: Final = r"^openinference\.instrumentation\.openai$"
_KIND: Final = SpanAttr("openinference.span.kind")
_PARAMETERS: Final = SpanAttr("llm.invocation_parameters")
_RESPONSE: Final = All((Matches(Field("scope"), _OPENAI), Equals(Field("name"), ("Response",))))
_FIRST_TOKEN: Final = EventTime(FIRST_TOKEN_EVENT)
_UNANSWERED: Final = All(
    (
        _RESPONSE,
        Not(Any((Has(_FIRST_TOKEN), Has(SpanAttr("output.value")), Has(SpanAttr("llm.token_count.prompt"))))),
    )
)
_PROVIDERS: Final = MapValue(
    (
        ("azure", "azure.ai.openai"),
        ("aws", "aws.bedrock"),
        ("google", "gcp.gemini"),
        ("vertexai", "gcp.vertex_ai"),
        ("mistralai", "mistral_ai"),
        ("xai", "x_ai"),
    )
)

DIALECT: Final = Dialect(
    name="OpenInference",
    rows=(
        Row(
            semconv.OPERATION,
            _PARAMETERS,
            Const("fetch_response"),
            All((_RESPONSE, Equals(_PARAMETERS, ("{}",)))),
            why="a stored answer read again repeats its usage; a call has a model or a prompt among its parameters",
        ),
        Row(semconv.OPERATION, _KIND, Const("text_completion"), Equals(Field("name"), ("Completion",)), _OPENAI),
        Row(
            semconv.OPERATION,
            _KIND,
            MapValue(
                (
                    ("LLM", "chat"),
                    ("EMBEDDING", "embeddings"),
                    ("RETRIEVER", "retrieval"),
                    ("TOOL", "execute_tool"),
                    ("AGENT", "invoke_agent"),
                ),
                closed=True,
            ),
        ),
        Row(semconv.PROVIDER, SpanAttr("llm.provider"), _PROVIDERS),
        Row(semconv.PROVIDER, SpanAttr("llm.system"), _PROVIDERS),
        Row(semconv.API_TYPE, _KIND, Const("responses"), _RESPONSE),
        Row(semconv.REQUEST_MODEL, _PARAMETERS, JsonField(("model",))),
        Row(semconv.REQUEST_MODEL, SpanAttr("embedding.invocation_parameters"), JsonField(("model",))),
        Row(
            semconv.RESPONSE_MODEL,
            SpanAttr("llm.model_name"),
            when=Not(_UNANSWERED),
            why="until an answer begins it is the model asked for",
        ),
        Row(semconv.RESPONSE_MODEL, SpanAttr("embedding.model_name")),
        Row(semconv.RESPONSE_ID, SpanAttr("output.value"), JsonField(("id",))),
        Row(semconv.STREAM, _PARAMETERS, JsonField(("stream",))),
        Row(semconv.STREAM, _PARAMETERS, Const(False), Not(Matches(_PARAMETERS, r'"stream": ?true')), _SCOPE),
        Row(semconv.INPUT_TOKENS, SpanAttr("llm.token_count.prompt")),
        Row(semconv.OUTPUT_TOKENS, SpanAttr("llm.token_count.completion")),
        Row(semconv.CACHE_READ_TOKENS, SpanAttr("llm.token_count.prompt_details.cache_read")),
        Row(semconv.CACHE_WRITE_TOKENS, SpanAttr("llm.token_count.prompt_details.cache_write")),
        Row(semconv.REASONING_TOKENS, SpanAttr("llm.token_count.completion_details.reasoning")),
        Row(semconv.FINISH_REASONS, SpanAttr("llm.finish_reason"), JsonList()),
        Row(semconv.TIME_TO_FIRST_CHUNK, _FIRST_TOKEN, EventOffset()),
        Row(semconv.SENT_COST_USD, SpanAttr("llm.cost.total")),
        Row(semconv.TOOL_NAME, SpanAttr("tool.name")),
    ),
    content=(
        r"llm\.(input_messages|output_messages|prompts|prompt_template|invocation_parameters|tools|function_call)(\..*)?",
        r"(input|output)\.value",
        r"(retrieval|reranker)\..*",
        r"embedding\.(embeddings|text|vector)(\..*)?",
        r"tool\.(parameters|description|json_schema)|tool_call\..*|metadata",
    ),
)
