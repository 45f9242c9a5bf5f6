"""OpenLIT 1.45: the conventions' keys with additions of its own.

`gen_ai.server.time_to_first_token` is set on calls that are not streams too, where it is the whole duration, so it
is read on streams only. Its cost ignores cached tokens. Where an answer brought no usage its tokens are estimates, half
the number of characters; of the OpenAI client's calls one sign of that is left: cached tokens, which it writes (0 too)
exactly where it saw a usage. Other clients' estimates show no sign.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import AddTo, All, Dialect, Equals, Erase, Field, Has, Not, Row, SpanAttr

SCOPE: Final = r"^openlit\."
_OPENAI: Final = r"^openlit\.instrumentation\.openai$"
# Releases that write this hash write cached tokens wherever they saw a usage; of older ones it is not known.
_RECENT: Final = Has(SpanAttr("openlit.agent.version_hash"))
_ESTIMATED: Final = All(
    (
        _RECENT,
        Equals(SpanAttr(semconv.OPERATION), ("chat",)),
        Not(Has(SpanAttr(semconv.CACHE_READ_TOKENS))),
    )
)
# Its clock of a stream of Anthropic's starts when the answer does: of the time to the first token nothing is left.
_CLOCKS_LATE: Final = Equals(Field("scope"), ("openlit.instrumentation.anthropic",))
_COMPANIES: Final = ("anthropic", "openai", "google", "mistralai")

DIALECT: Final = Dialect(
    name="OpenLIT",
    sums=(
        AddTo(
            semconv.INPUT_TOKENS,
            (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
            scope=r"^openlit\.instrumentation\.(anthropic|bedrock)$",
            why="it copies input_tokens of APIs that leave cached tokens out; for LangChain and Google it adds them",
        ),
        AddTo(
            semconv.OUTPUT_TOKENS,
            (semconv.REASONING_TOKENS,),
            scope=r"^openlit\.instrumentation\.google_ai_studio$",
            why="it copies candidatesTokenCount, which leaves out what Gemini thought",
        ),
    ),
    erases=(
        *(
            Erase(key, _ESTIMATED, _OPENAI, "an estimate is no usage")
            for key in (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)
        ),
        *(
            Erase(
                key,
                Equals(SpanAttr(key), _COMPANIES),
                r"^openlit\.instrumentation\.langchain$",
                "where it does not find the model it takes the name of its maker",
            )
            for key in (semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL)
        ),
        Erase(
            semconv.TOOL_NAME,
            Equals(SpanAttr(semconv.OPERATION), semconv.INFERENCE_OPERATIONS),
            SCOPE,
            "the tools that the model asked for are its answer",
        ),
    ),
    rows=(
        Row(
            semconv.TIME_TO_FIRST_CHUNK,
            SpanAttr("gen_ai.server.time_to_first_token"),
            when=All((Equals(SpanAttr(semconv.STREAM), (True,)), Not(_CLOCKS_LATE))),
            scope=SCOPE,
        ),
        Row(semconv.SENT_COST_USD, SpanAttr("gen_ai.usage.cost"), scope=SCOPE),
        Row(semconv.USER_ID, SpanAttr("gen_ai.request.user"), scope=SCOPE),
    ),
)
