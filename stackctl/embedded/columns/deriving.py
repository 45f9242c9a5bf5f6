"""Derive as columns: the output rate of streamed calls, and which streams broke off."""

import numpy as np
import pyarrow as pa

from stackctl import semconv
from stackctl.genai import derived

from .batch import Batch, or_zero
from .conditions import holds, judged
from .views import Truth


def derive(batch: Batch) -> None:
    """Write the derived values that need no price, in place. What they mean stands in `stackctl.genai.derived`."""
    mark(batch, semconv.STREAM_INCOMPLETE, judged(derived.INCOMPLETE_WHEN, batch))
    _derive_rate(batch)


def mark(batch: Batch, key: str, where: Truth) -> None:
    """Set an attribute to true on some spans; the others have none."""
    if isinstance(where, bool):
        if where:
            batch.put(f"s:{key}:b", pa.array(np.ones(batch.rows, np.bool_)))
    else:
        batch.put(f"s:{key}:b", pa.array(where, mask=~where))


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
        batch.put_floats(f"s:{semconv.OUTPUT_RATE}:d", np.where(known, tokens / gap, np.nan))
