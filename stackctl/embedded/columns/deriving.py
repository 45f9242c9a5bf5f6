"""Derive as columns: the output rate of streamed calls, and which streams broke off."""

import numpy as np
import pyarrow as pa

from stackctl import semconv
from stackctl.genai import derived

from .batch import Batch, floats, or_zero
from .conditions import holds


def derive(batch: Batch) -> None:
    """Write the derived values that need no price, in place. What they mean stands in `stackctl.genai.derived`."""
    incomplete = holds(derived.INCOMPLETE_WHEN, batch)
    if incomplete.any():
        batch.put(f"s:{semconv.STREAM_INCOMPLETE}:b", pa.array(incomplete, mask=~incomplete))
    _derive_rate(batch)


def _derive_rate(batch: Batch) -> None:
    output = batch.span(semconv.OUTPUT_TOKENS, "i")
    first = batch.span(semconv.TIME_TO_FIRST_CHUNK, "d")
    if output is None or first is None:
        return
    reasoning = or_zero(floats(batch.span(semconv.REASONING_TOKENS, "i"), batch.rows))
    tokens = floats(output, batch.rows) - reasoning - 1
    gap = floats(batch.durations(), batch.rows) - floats(first, batch.rows)
    with np.errstate(invalid="ignore", divide="ignore"):
        known = holds(derived.RATE_WHEN, batch) & (tokens >= derived.FEWEST_TOKENS_AFTER_FIRST)
        known &= gap > derived.SHORTEST_GAP_SECONDS
        batch.put(f"s:{semconv.OUTPUT_RATE}:d", pa.array(tokens / gap, mask=~known))
