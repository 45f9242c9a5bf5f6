"""Derive as columns: the output rate of streamed calls, and which streams broke off."""

import numpy as np

from stackctl import semconv
from stackctl.genai import derived

from .batch import Batch, or_zero
from .conditions import holds, judged


def derive(batch: Batch) -> None:
    """Write the derived values that need no price, in place. What they mean stands in `stackctl.genai.derived`."""
    batch.put_flags(f"s:{semconv.STREAM_INCOMPLETE}:b", judged(derived.INCOMPLETE_WHEN, batch))
    _derive_rate(batch)


def _derive_rate(batch: Batch) -> None:
    output = batch.span(semconv.OUTPUT_TOKENS, "i")
    first = batch.span(semconv.TIME_TO_FIRST_CHUNK, "d")
    if output is None or first is None:
        return
    tokens = batch.floats(output)
    reasoning = batch.span(semconv.REASONING_TOKENS, "i")
    if reasoning is not None:
        tokens = tokens - or_zero(batch.floats(reasoning))
    tokens = tokens - 1
    gap = batch.floats(batch.durations()) - batch.floats(first)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = holds(derived.RATE_WHEN, batch) & (tokens >= derived.FEWEST_TOKENS_AFTER_FIRST)
        known &= gap > derived.SHORTEST_GAP_SECONDS
        batch.put_floats({f"s:{semconv.OUTPUT_RATE}:d": np.where(known, tokens / gap, np.nan)})
