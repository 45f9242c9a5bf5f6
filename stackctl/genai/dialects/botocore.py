"""opentelemetry-instrumentation-botocore 0.66: calls of Bedrock's runtime, with the conventions' keys.

It copies Converse's inputTokens, which leave cached tokens out, and those in Claude's own format without their cached
ones, which are then unknown. That an answer is streamed stands in the name of the method alone. It tells no model that
answered and no first token; a stream that is not read to its end has no span.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import AddTo, Const, Dialect, Matches, Row, SpanAttr

SCOPE: Final = r"^opentelemetry\.instrumentation\.botocore\.bedrock-runtime$"
_METHOD: Final = SpanAttr("rpc.method")

DIALECT: Final = Dialect(
    name="botocore",
    rows=(Row(semconv.STREAM, _METHOD, Const(True), Matches(_METHOD, r"Stream$"), SCOPE),),
    sums=(
        AddTo(
            semconv.INPUT_TOKENS,
            (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
            scope=SCOPE,
            why="Bedrock's inputTokens leave cached tokens out",
        ),
    ),
)
