"""pydantic-ai 2: the conventions' keys, the first token and reasoning under names of its own.

Its first token is the first part of the answer, on the Responses API too. A stream that broke ends as if nothing had
happened: no status, finish reason or usage, where a call that was answered has the latter two and one that failed a
status. Its agent span repeats usage as `gen_ai.aggregated_usage.*`, which no row reads. With an instrumented openai
package below, a call has two spans of two scopes: `accounting.exclude_scopes` mutes one.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import All, Const, Dialect, Equals, Erase, Field, Has, Not, Row, SpanAttr

SCOPE: Final = r"^pydantic-ai$"
_CUT_OFF: Final = All(
    (
        Equals(SpanAttr(semconv.OPERATION), ("chat",)),
        Not(Equals(Field("status"), (2,))),
        Not(Has(SpanAttr(semconv.FINISH_REASONS))),
        Not(Has(SpanAttr(semconv.OUTPUT_TOKENS))),
    )
)

DIALECT: Final = Dialect(
    name="pydantic-ai",
    erases=(
        Erase(
            semconv.RESPONSE_MODEL,
            All((_CUT_OFF, Not(Has(SpanAttr(semconv.RESPONSE_ID))))),
            SCOPE,
            "until an answer begins it is the model asked for",
        ),
    ),
    rows=(
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("gen_ai.client.operation.time_to_first_chunk"), scope=SCOPE),
        Row(semconv.STREAM, SpanAttr(semconv.OPERATION), Const(True), _CUT_OFF, SCOPE, "only a stream ends like that"),
        Row(semconv.REASONING_TOKENS, SpanAttr("gen_ai.usage.details.reasoning_tokens"), scope=SCOPE),
        Row(
            semconv.REASONING_TOKENS, SpanAttr("gen_ai.usage.details.thoughts_tokens"), scope=SCOPE, why="Google's word"
        ),
        Row(semconv.SENT_COST_USD, SpanAttr("operation.cost"), scope=SCOPE),
    ),
    content=(
        r"pydantic_ai\.(all_messages|new_messages)|final_result|logfire\.json_schema|model_request_parameters|tool_(arguments|response)",
    ),
)
