"""Derive as columns: the output rate of streamed calls, and which streams broke off."""

import numpy as np

from stackctl import semconv
from stackctl.genai import derived
from stackctl.genai.rows import When

from .batch import Batch, or_zero
from .conditions import judged
from .planning import Plan


def derive(batch: Batch, plan: Plan) -> None:
    """Write the derived values that need no price, in place. What they mean stands in `stackctl.genai.derived`.

    Args:
        batch: accounted.
        plan: of the batch.
    """
    batch.put_flags(f"s:{semconv.STREAM_INCOMPLETE}:b", judged(plan.incomplete, batch))
    _derive_rate(batch, plan.rate)


def _derive_rate(batch: Batch, when: When) -> None:
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
        rated = judged(when, batch)
        batch.memo[id(derived.RATE_WHEN)] = derived.RATE_WHEN, rated  # which series are counted by, too
        known = rated & (tokens >= derived.FEWEST_TOKENS_AFTER_FIRST)
        known &= gap > derived.SHORTEST_GAP_SECONDS
        batch.put_floats({f"s:{semconv.OUTPUT_RATE}:d": np.where(known, tokens / gap, np.nan)})
