"""Values that the pipeline derives of a call: their types, and the thresholds that keep nonsense out.

The arithmetic stands here once, in words and constants; the column executor and the Collector's statements follow
it.

    output rate           visible output tokens after the first one, by the time after it:
                          (output - reasoning - 1) / (duration - time to first). Reasoning comes before the first
                          visible token. Only where the first token is known, at least one more followed, and the
                          gap is long enough to divide by.
    context utilization   input tokens / the context window of the priced model.
"""

from collections.abc import Mapping
from typing import Final

from stackctl import semconv
from stackctl.genai.metrics import FIRST_TOKEN_KNOWN
from stackctl.genai.rows import ValueType, When

# A gap of a millisecond or less is a buffered answer, not a stream: its rate would be noise.
SHORTEST_GAP_SECONDS: Final = 0.001
FEWEST_TOKENS_AFTER_FIRST: Final = 1

RATE_WHEN: Final[When] = FIRST_TOKEN_KNOWN

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
    semconv.OUTPUT_RATE: "d",
    semconv.CONTEXT_UTILIZATION: "d",
}
