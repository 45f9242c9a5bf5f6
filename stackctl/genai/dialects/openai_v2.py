"""opentelemetry-instrumentation-openai-v2 2.4b0, both modes: conventions 1.30 by default, 1.37 when asked for.

`gen_ai.system` and the other renames of the conventions are the GenAI dialect's. It never sends cached, written or
reasoning tokens, nor a time to the first chunk: unknown, which nothing here can mend.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import Const, Dialect, Matches, Row, SpanAttr

SCOPE: Final = r"^opentelemetry\.instrumentation\.openai_v2$"

DIALECT: Final = Dialect(
    name="openai-v2",
    rows=(
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
