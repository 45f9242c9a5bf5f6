"""opentelemetry-instrumentation-openai-v2 2.4b0, both modes: conventions 1.30 by default, 1.37 when asked for.

`gen_ai.system` and the other renames of the conventions are the GenAI dialect's. It never sends cached, written or
reasoning tokens, nor a time to the first chunk: unknown, which nothing here can mend. It marks no stream, and gives
none a finish reason: so one without usage may have been whole. One that failed after an answer had begun was a stream.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import All, Any, Const, Dialect, Equals, Field, Has, Matches, Not, Row, SpanAttr

SCOPE: Final = r"^opentelemetry\.instrumentation\.openai_v2$"
# In its newer mode it writes through util-genai, under that package's scope.
EITHER_SCOPE: Final = r"^opentelemetry\.(instrumentation\.openai_v2|util\.genai\.handler)$"
_FAILED: Final = Any((Has(SpanAttr(semconv.ERROR_TYPE)), Equals(Field("status"), (2,))))
# Of the calls that ended well only streams have no finish reason; of those that failed only streams have an id.
_UNMARKED_STREAM: Final = All(
    (
        Equals(SpanAttr(semconv.OPERATION), ("chat",)),
        Equals(SpanAttr(semconv.PROVIDER), ("openai",)),
        Not(Has(SpanAttr(semconv.FINISH_REASONS))),
        Any((Not(_FAILED), Has(SpanAttr(semconv.RESPONSE_ID)))),
    )
)

DIALECT: Final = Dialect(
    name="openai-v2",
    rows=(
        Row(semconv.STREAM, SpanAttr(semconv.OPERATION), Const(True), _UNMARKED_STREAM, EITHER_SCOPE),
        Row(
            semconv.API_TYPE,
            SpanAttr(semconv.OPERATION),
            Const("chat_completions"),
            when=Matches(SpanAttr(semconv.OPERATION), "^chat$"),
            scope=SCOPE,
            why="it instruments chat completions only, never the Responses API",
        ),
    ),
    content=(r"gen_ai\.(prompt|completion)", r"gen_ai\.(system|user|assistant|tool)\.message", r"gen_ai\.choice"),
    verbatim=("gen_ai.openai.response.service_tier", "gen_ai.openai.response.system_fingerprint"),
)
