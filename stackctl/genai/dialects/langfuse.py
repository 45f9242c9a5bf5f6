"""Langfuse's Python SDK 5: `langfuse.observation.*`, usage as JSON in the shape of the provider that was called.

It sends neither provider nor address; its OpenAI drop-in names its spans `OpenAI-generation` and `OpenAI-embedding`.
Its LangChain handler takes each detail of a usage off the input or output and puts it beside (`input_cache_read`), and
names its spans after LangChain's classes. The model's name is that of the model asked for until an answer begins. On
the Responses API the first token is `response.created`; only streams tell that API, by what they keep of the answer as
metadata.
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
    Field,
    Has,
    IsoOffset,
    JsonField,
    JsonList,
    MapValue,
    Matches,
    Not,
    Row,
    SpanAttr,
)

SCOPE: Final = r"^langfuse-sdk$"

_USAGE: Final = SpanAttr("langfuse.observation.usage_details")
_NAME: Final = Field("name")
_MODEL: Final = SpanAttr("langfuse.observation.model.name")
_FIRST: Final = SpanAttr("langfuse.observation.completion_start_time")
_OBJECT: Final = SpanAttr("langfuse.observation.metadata.object")
_UNANSWERED: Final = All((Equals(Field("status"), (2,)), Not(Any((Has(_FIRST), Has(_USAGE))))))
_COST: Final = SpanAttr("langfuse.observation.cost_details")
# Langfuse's own keys, and those of Anthropic's API unless LiteLLM wrote them, whose prompt_tokens include them.
_LEFT_OUT: Final = All(
    (
        Any((Matches(_USAGE, r'"input":'), Matches(_USAGE, r'"cache_(read|creation)_input_tokens":'))),
        Not(Matches(_USAGE, r'"prompt_tokens":')),
    )
)
_LANGCHAIN: Final = (
    ("ChatOpenAI", "openai"),
    ("OpenAIEmbeddings", "openai"),
    ("AzureChatOpenAI", "azure.ai.openai"),
    ("AzureOpenAIEmbeddings", "azure.ai.openai"),
    ("ChatAnthropic", "anthropic"),
    ("ChatBedrock", "aws.bedrock"),
    ("ChatBedrockConverse", "aws.bedrock"),
    ("ChatGoogleGenerativeAI", "gcp.gemini"),
    ("ChatVertexAI", "gcp.vertex_ai"),
    ("ChatAnthropicVertex", "gcp.vertex_ai"),
    ("ChatMistralAI", "mistral_ai"),
    ("ChatCohere", "cohere"),
    ("ChatDeepSeek", "deepseek"),
    ("ChatGroq", "groq"),
    ("ChatPerplexity", "perplexity"),
    ("ChatXAI", "x_ai"),
)
# Models that have one maker, where nothing else tells.
_MAKERS: Final = ((r"^gpt-", "openai"), (r"^claude-", "anthropic"), (r"^gemini-", "gcp.gemini"))


def _usage(key: str, *paths: str) -> tuple[Row, ...]:
    return tuple(Row(key, _USAGE, JsonField(tuple(path.split("."))), scope=SCOPE) for path in paths)


DIALECT: Final = Dialect(
    name="Langfuse",
    rows=(
        Row(
            semconv.OPERATION,
            SpanAttr("langfuse.observation.type"),
            MapValue(
                (
                    ("generation", "chat"),
                    ("embedding", "embeddings"),
                    ("retriever", "retrieval"),
                    ("tool", "execute_tool"),
                    ("agent", "invoke_agent"),
                ),
                closed=True,
            ),
            scope=SCOPE,
        ),
        Row(
            semconv.PROVIDER,
            _NAME,
            Const("openai"),
            Matches(_NAME, r"^OpenAI-"),
            SCOPE,
            "no other sign of the provider",
        ),
        Row(semconv.PROVIDER, _NAME, MapValue(_LANGCHAIN, closed=True), scope=SCOPE, why="named by LangChain's class"),
        *(
            Row(semconv.PROVIDER, _MODEL, Const(name), Matches(_MODEL, pattern), SCOPE, "a guess by the model's maker")
            for pattern, name in _MAKERS
        ),
        Row(semconv.API_TYPE, _OBJECT, Const("responses"), Matches(_OBJECT, r'^"?response"?$'), SCOPE),
        Row(semconv.REQUEST_MODEL, _MODEL, when=_UNANSWERED, scope=SCOPE, why="nothing answered a call that failed"),
        Row(semconv.RESPONSE_MODEL, _MODEL, when=Not(_UNANSWERED), scope=SCOPE),
        *_usage(semconv.INPUT_TOKENS, "prompt_tokens", "input_tokens", "input"),
        *_usage(semconv.OUTPUT_TOKENS, "completion_tokens", "output_tokens", "output"),
        *_usage(
            semconv.CACHE_READ_TOKENS,
            "prompt_tokens_details.cached_tokens",
            "input_tokens_details.cached_tokens",
            "cache_read_input_tokens",
            "input_cache_read",
            "input_cached_tokens",
        ),
        *_usage(
            semconv.CACHE_WRITE_TOKENS,
            "prompt_tokens_details.cache_write_tokens",
            "input_tokens_details.cache_write_tokens",
            "cache_creation_input_tokens",
            "input_cache_creation",
            "input_cache_write_tokens",
        ),
        *_usage(
            semconv.REASONING_TOKENS,
            "completion_tokens_details.reasoning_tokens",
            "output_tokens_details.reasoning_tokens",
            "output_reasoning",
            "output_reasoning_tokens",
        ),
        Row(
            semconv.SENT_COST_USD,
            _COST,
            JsonField(("total",)),
            Not(Matches(_COST, r'"total": ?0(\.0*)? ?[,}]')),
            SCOPE,
            "its handler writes 0 for a call that failed",
        ),
        Row(
            semconv.TIME_TO_FIRST_CHUNK,
            _FIRST,
            IsoOffset(),
            scope=SCOPE,
        ),
        Row(semconv.FINISH_REASONS, SpanAttr("langfuse.observation.metadata.finish_reason"), JsonList(), scope=SCOPE),
    ),
    sums=(
        AddTo(
            semconv.INPUT_TOKENS,
            (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
            _LEFT_OUT,
            SCOPE,
            "CallbackHandler._parse_usage_model takes them off, Anthropic's API leaves them out",
        ),
        AddTo(
            semconv.OUTPUT_TOKENS,
            (semconv.REASONING_TOKENS,),
            Matches(_USAGE, r'"output_reasoning(_tokens)?":'),
            SCOPE,
        ),
    ),
    content=(r"langfuse\.(observation|trace)\.(input|output|metadata.*|model\.parameters|status_message)",),
)
