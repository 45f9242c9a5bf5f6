"""Values that the pipeline derives of a call: their types, and the thresholds that keep nonsense out.

The arithmetic stands here once, in words and constants; the column executor and the Collector's statements follow
it.

    output rate           visible output tokens after the first one, by the time after it:
                          (output - reasoning - 1) / (duration - time to first). Reasoning comes before the first
                          visible token. Only where the first token is known, at least one more followed, and the
                          gap is long enough to divide by.
    context utilization   input tokens / the context window of the priced model.
    incomplete stream     true where a stream began and brought neither a finish reason nor usage. Libraries call that
                          OK, unset or an error, each as it likes. Anthropic's first event brings a usage already, and
                          each of Gemini's, so of their calls no finish reason tells enough, where the library writes
                          one of every whole one.
"""

from collections.abc import Mapping
from typing import Final

from stackctl import semconv
from stackctl.genai.dialects import anthropic_sdk, logfire, pydantic_ai
from stackctl.genai.dialects.openai_v2 import EITHER_SCOPE
from stackctl.genai.metrics import ACCOUNTED, FIRST_TOKEN_KNOWN
from stackctl.genai.rows import All, Any, Equals, Field, Has, Matches, Not, SpanAttr, ValueType, When

# A gap of a millisecond or less is a buffered answer, not a stream: its rate would be noise.
SHORTEST_GAP_SECONDS: Final = 0.001
FEWEST_TOKENS_AFTER_FIRST: Final = 1

RATE_WHEN: Final[When] = FIRST_TOKEN_KNOWN

_FIRST: Final = Has(SpanAttr(semconv.TIME_TO_FIRST_CHUNK))
_FAILED: Final = Any((Has(SpanAttr(semconv.ERROR_TYPE)), Equals(Field("status"), (2,))))
# JSON text of finish reasons that are none: an empty list, or what libraries write for a stream that just stopped.
_NO_REASON: Final = r'^(null|None|"None"|\[ ?((""|"error"|"unknown"|"None"|"null"|None|null)(, ?)?)* ?\])$'
_FINISHED: Final = All(
    (
        Has(SpanAttr(semconv.FINISH_REASONS)),
        Not(Matches(SpanAttr(semconv.FINISH_REASONS), _NO_REASON)),
    )
)
# These give no stream a finish reason, so a whole one whose usage was not asked for looks like a broken one.
# OpenInference's of Groq ends with the first byte and looks at no stream.
_TELLS_NO_END: Final = Any(
    (
        All((Matches(Field("scope"), rf"{EITHER_SCOPE}|^openinference\.instrumentation\.groq$"), Not(_FIRST))),
        logfire.TELLS_NO_END,
    )
)
_NO_USAGE: Final = All((Not(Has(SpanAttr(semconv.OUTPUT_TOKENS))), Not(Has(SpanAttr(semconv.INPUT_TOKENS)))))
# OpenInference's writes finish reasons since the release that writes the model asked for, pydantic-ai before the one
# that tells a first token, without which its streams with a usage are not known to be streams. Google's chunks bring a
# usage each, and a whole stream of them gets a status from OpenInference's.
_TELLS_EACH_END: Final = Any(
    (
        Matches(Field("scope"), r"^openlit\.instrumentation\.anthropic$"),
        Matches(Field("scope"), anthropic_sdk.SCOPE),
        All(
            (
                Matches(Field("scope"), r"^openinference\.instrumentation\.anthropic$"),
                Has(SpanAttr("llm.request.model_name")),
            )
        ),
        All(
            (
                Matches(Field("scope"), r"^openinference\.instrumentation\.google_genai$"),
                Not(Equals(Field("status"), (1,))),
            )
        ),
        All(
            (
                Matches(Field("scope"), pydantic_ai.SCOPE),
                Equals(SpanAttr(semconv.PROVIDER), ("anthropic", "gcp.gemini", "gcp.vertex_ai")),
            )
        ),
    )
)

INCOMPLETE_WHEN: Final[When] = All(
    (
        ACCOUNTED,
        Any((_NO_USAGE, _TELLS_EACH_END)),
        Equals(SpanAttr(semconv.STREAM), (True,)),
        Not(_FINISHED),
        # What failed before its first chunk never was a stream: an error, and nothing more. A usage came with a chunk.
        Any((_FIRST, Not(_FAILED), Has(SpanAttr(semconv.INPUT_TOKENS)))),
        Not(_TELLS_NO_END),
    )
)

# Every attribute that only the pipeline writes. One that comes in under such a name is dropped.
DERIVED_TYPES: Final[Mapping[str, ValueType]] = {
    semconv.ACCOUNTED: "b",
    semconv.COST_USD: "d",
    semconv.COST_STATUS: "s",
    semconv.COST_INPUT_USD: "d",
    semconv.COST_CACHE_READ_USD: "d",
    semconv.COST_CACHE_WRITE_USD: "d",
    semconv.COST_OUTPUT_USD: "d",
    semconv.PRICED_PROVIDER: "s",
    semconv.PRICED_MODEL: "s",
    semconv.STREAM_INCOMPLETE: "b",
    semconv.OUTPUT_RATE: "d",
    semconv.CONTEXT_UTILIZATION: "d",
}
