"""pydantic-ai 2: the conventions' keys, the first token and reasoning under names of its own.

Its agent span repeats usage as `gen_ai.aggregated_usage.*`, which no row reads. With an instrumented openai package
below, a call has two spans of two scopes: `accounting.exclude_scopes` mutes one.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import Dialect, Row, SpanAttr

SCOPE: Final = r"^pydantic-ai$"

DIALECT: Final = Dialect(
    name="pydantic-ai",
    rows=(
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("gen_ai.client.operation.time_to_first_chunk"), scope=SCOPE),
        Row(semconv.REASONING_TOKENS, SpanAttr("gen_ai.usage.details.reasoning_tokens"), scope=SCOPE),
        Row(semconv.SENT_COST_USD, SpanAttr("operation.cost"), scope=SCOPE),
    ),
    content=(
        r"pydantic_ai\.(all_messages|new_messages)|final_result|logfire\.json_schema|model_request_parameters|tool_(arguments|response)",
    ),
)
