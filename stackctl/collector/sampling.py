"""Tail sampling: what is always stored, and the share of the rest."""

from typing import Final

from stackctl import semconv
from stackctl.collector.group import quoted
from stackctl.collector.ottl import span, text
from stackctl.stack import PROBE_SERVICE

# A first token later than this is slow, a call dearer than this expensive: both are stored whatever the share.
SLOW_SECONDS: Final = 3.0
EXPENSIVE_USD: Final = 0.05
# Labels of evaluations that say that an answer failed, of our own judges and of those the conventions give as examples.
FAILED: Final = ("hallucinated", "irrelevant", "incomplete", "fail", "failed", "not_relevant", "incorrect")
WAIT_SECONDS: Final = 10


def processor(percent: float) -> str:
    """Return the configuration of `tail_sampling`.

    Args:
        percent: share of ordinary traces that is stored, 0 to 100.
    """
    first, cost, label = span(semconv.TIME_TO_FIRST_CHUNK), span(semconv.COST_USD), span(semconv.EVALUATION_LABEL)
    kept = (
        # `up` sends it in and reads it back.
        ("probe", f"resource.attributes[{text(semconv.SERVICE_NAME)}] == {text(PROBE_SERVICE)}"),
        ("errors", f"span.status.code == STATUS_CODE_ERROR or {span(semconv.ERROR_TYPE)} != nil"),
        ("slow_first_token", f"{first} != nil and {first} > {SLOW_SECONDS}"),
        ("expensive", f"{cost} != nil and {cost} > {EXPENSIVE_USD}"),
        ("failed_evaluation", " or ".join(f"{label} == {text(word)}" for word in FAILED)),
    )
    lines = [
        "",
        "  # Kept in memory until a trace is decided: what waits is lost when the Collector is killed.",
        "  tail_sampling:",
        f"    decision_wait: {WAIT_SECONDS}s",
        "    num_traces: 100000",
        "    decision_cache: {sampled_cache_size: 200000, non_sampled_cache_size: 200000}",
        "    policies:",
    ]
    for name, condition in kept:
        lines.append(f"      - name: {name}")
        lines.append("        type: ottl_condition")
        lines.append(f"        ottl_condition: {{error_mode: ignore, span: [{quoted(condition)}]}}")
    lines.append("      - name: share")
    lines.append("        type: probabilistic")
    lines.append(f"        probabilistic: {{sampling_percentage: {percent:g}}}")
    return "\n".join(lines) + "\n"
