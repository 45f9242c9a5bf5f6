"""OpenInference (Arize): `llm.*` keys and `openinference.span.kind`, whatever instrumentor wrote them.

`llm.model_name` is the model asked for until an answer begins, and then the one that answered; newer instrumentors
name each under a key of its own, OpenAI's has the one asked for in the JSON of the call's parameters.

OpenAI's instrumentor wraps every HTTP request of the client and gives it kind LLM and, before an answer is known, the
name of the type it is to be read as: only `ChatCompletion`, `Response` (Responses API) and `Completion` are calls, and
those not where a stored answer is read again, which has no parameters. Of `Response` it stamps `response.created` as
first token. Others' spans that are no call are told by their names too.
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
_MODEL: Final = SpanAttr("llm.model_name")
_EMBEDDER: Final = SpanAttr("embedding.model_name")
_FAILED: Final = Equals(Field("status"), (2,))
_NAME: Final = Field("name")
_RESPONSE: Final = All((Matches(Field("scope"), _OPENAI), Matches(_NAME, r"^(Parsed)?Response(\[|$)")))
_CHAT: Final = All((Matches(Field("scope"), _OPENAI), Matches(_NAME, r"^(Parsed)?ChatCompletion(\[|$)")))
# What a chat that is read again or given other metadata has for parameters.
_NO_PROMPT: Final = r'^\{("metadata": ?(null|\{[^{}]*\}))?\}$'
_STORED: Final = Any(
    (All((_RESPONSE, Equals(_PARAMETERS, ("{}",)))), All((_CHAT, Matches(_PARAMETERS, _NO_PROMPT)))),
)
_NO_CALL: Final = Any(
    (
        All((Matches(Field("scope"), _OPENAI), Equals(_KIND, ("LLM",)), Not(Any((_CHAT, _RESPONSE))))),
        *(
            All((Equals(Field("scope"), (f"openinference.instrumentation.{library}",)), Matches(_NAME, names)))
            for library, names in (
                ("anthropic", r"^(beta\.)?messages\.count_tokens$"),
                ("litellm", r"^a?image_generation$"),
                ("google_genai", r"^(Async)?InteractionsResource\.get$"),
            )
        ),
    )
)
_BEDROCK: Final = r"^openinference\.instrumentation\.bedrock$"
_INVOKED_STREAM: Final = "bedrock.invoke_model_with_response_stream"
_CLAUDES_STREAM: Final = All((Equals(_NAME, (_INVOKED_STREAM,)), Matches(_MODEL, "claude")))
_ANSWER: Final = SpanAttr("output.value")
_STREAMS: Final = r"messages\.stream$|GenerateContentStream$|(converse|response)_stream$"
_FIRST_TOKEN: Final = EventTime(FIRST_TOKEN_EVENT)
_ANSWERED: Final = Any(
    (
        Has(_FIRST_TOKEN),
        Has(_ANSWER),
        Has(SpanAttr("llm.token_count.prompt")),
        Has(SpanAttr("llm.token_count.completion")),
    )
)
_LANGCHAIN: Final = Matches(Field("scope"), r"^openinference\.instrumentation\.langchain$")
# Of a call that failed LangChain's tells an output, which is empty.
_UNANSWERED: Final = Any((Not(_ANSWERED), All((_LANGCHAIN, Equals(Field("status"), (2,))))))
_PROVIDERS: Final = MapValue(
    (
        ("azure", "azure.ai.openai"),
        ("aws", "aws.bedrock"),
        ("google", "gcp.gemini"),
        ("vertexai", "gcp.vertex_ai"),
        ("mistralai", "mistral_ai"),
        ("moonshot", "moonshot_ai"),
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
            _STORED,
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
            Not(_NO_CALL),
            why="lists of models, moderations, counts of tokens, images and batches have kind LLM as well",
        ),
        Row(
            semconv.OPERATION,
            _NAME,
            MapValue(((_INVOKED_STREAM, "chat"),), closed=True),
            scope=_BEDROCK,
            why="where it was refused its span has nothing but its name",
        ),
        Row(semconv.PROVIDER, SpanAttr("llm.provider"), _PROVIDERS),
        Row(semconv.PROVIDER, SpanAttr("llm.system"), _PROVIDERS),
        *(
            Row(semconv.PROVIDER, _NAME, Const(provider), scope=scope, why="where it failed it names none")
            for provider, scope in (
                ("aws.bedrock", _BEDROCK),
                ("mistral_ai", r"^openinference\.instrumentation\.mistralai$"),
            )
        ),
        Row(semconv.API_TYPE, _KIND, Const("responses"), _RESPONSE),
        Row(semconv.REQUEST_MODEL, SpanAttr("llm.request.model_name")),
        Row(semconv.REQUEST_MODEL, _PARAMETERS, JsonField(("model",))),
        Row(semconv.REQUEST_MODEL, SpanAttr("embedding.invocation_parameters"), JsonField(("model",))),
        Row(semconv.REQUEST_MODEL, _MODEL, when=_UNANSWERED, why="until an answer begins it is the model asked for"),
        Row(
            semconv.REQUEST_MODEL,
            _MODEL,
            when=Matches(_NAME, r"^bedrock\.converse(_stream)?$"),
            scope=_BEDROCK,
            why="Converse names no model that answered",
        ),
        Row(semconv.REQUEST_MODEL, _EMBEDDER, when=_FAILED, why="of a call that failed no model answered"),
        Row(semconv.RESPONSE_MODEL, SpanAttr("llm.response.model_name")),
        Row(semconv.RESPONSE_MODEL, _MODEL, when=Not(_UNANSWERED)),
        Row(semconv.RESPONSE_MODEL, _EMBEDDER, when=Not(_FAILED)),
        Row(semconv.RESPONSE_ID, _ANSWER, JsonField(("id",))),
        Row(semconv.REQUEST_TIER, _PARAMETERS, JsonField(("service_tier",))),
        Row(semconv.RESPONSE_TIER, _ANSWER, JsonField(("service_tier",))),
        Row(
            semconv.STREAM,
            _PARAMETERS,
            JsonField(("stream",)),
            Any((Not(_LANGCHAIN), Matches(_PARAMETERS, r'"stream": ?true'))),
            why="LangChain's parameters are the model's, whichever of its methods was called",
        ),
        Row(semconv.STREAM, _KIND, Const(True), Matches(_NAME, _STREAMS), _SCOPE, "their parameters do not say it"),
        Row(
            semconv.STREAM,
            _PARAMETERS,
            Const(False),
            All((Matches(_PARAMETERS, r"^\{"), Not(Matches(_PARAMETERS, r'"stream": ?true')), Not(Has(_FIRST_TOKEN)))),
            _OPENAI,
            "OpenAI's has all parameters, where they are not redacted",
        ),
        Row(semconv.INPUT_TOKENS, SpanAttr("llm.token_count.prompt")),
        Row(semconv.OUTPUT_TOKENS, SpanAttr("llm.token_count.completion")),
        Row(semconv.CACHE_READ_TOKENS, SpanAttr("llm.token_count.prompt_details.cache_read")),
        Row(semconv.CACHE_WRITE_TOKENS, SpanAttr("llm.token_count.prompt_details.cache_write")),
        *(
            Row(key, _ANSWER, JsonField(("usage", part)), _CLAUDES_STREAM, _BEDROCK, "it is in no key of its own")
            for key, part in (
                (semconv.CACHE_READ_TOKENS, "cache_read_input_tokens"),
                (semconv.CACHE_WRITE_TOKENS, "cache_creation_input_tokens"),
            )
        ),
        Row(semconv.REASONING_TOKENS, SpanAttr("llm.token_count.completion_details.reasoning")),
        Row(semconv.FINISH_REASONS, SpanAttr("llm.finish_reason"), JsonList()),
        Row(semconv.TIME_TO_FIRST_CHUNK, _FIRST_TOKEN, EventOffset()),
        Row(semconv.SENT_COST_USD, SpanAttr("llm.cost.total")),
        Row(semconv.TOOL_NAME, SpanAttr("tool.name")),
    ),
    sums=(
        AddTo(
            semconv.INPUT_TOKENS,
            (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
            Any(
                (
                    All((Equals(_NAME, (_INVOKED_STREAM,)), Not(_CLAUDES_STREAM))),
                    All(
                        (
                            Equals(Field("name"), ("bedrock.invoke_model",)),
                            Matches(SpanAttr("llm.model_name"), "nova"),
                        )
                    ),
                )
            ),
            _BEDROCK,
            "it copies Nova's inputTokens, which leave cached tokens out; for Converse and Claude it adds them",
        ),
    ),
    content=(
        r"llm\.(input_messages|output_messages|prompts|prompt_template|invocation_parameters|tools|function_call)(\..*)?",
        r"(input|output)\.value",
        r"(retrieval|reranker)\..*",
        r"embedding\.(embeddings|text|vector)(\..*)?",
        r"tool\.(parameters|description|json_schema)|tool_call\..*|metadata",
    ),
)
