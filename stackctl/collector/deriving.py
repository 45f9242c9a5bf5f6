"""Derive as statements: the output rate of streamed calls, and which streams broke off (genai/derived.py)."""

from stackctl import semconv
from stackctl.collector import ottl
from stackctl.collector.group import Group
from stackctl.collector.ottl import Line, cached, put, span
from stackctl.collector.pricing import found
from stackctl.genai import derived


def groups() -> list[Group]:
    """Return what writes the derived values that need no price."""
    tokens, gap = cached("tokens after the first"), cached("seconds after the first")
    output, reasoning = span(semconv.OUTPUT_TOKENS), span(semconv.REASONING_TOKENS)
    first = span(semconv.TIME_TO_FIRST_CHUNK)
    seconds = "Double(span.end_time_unix_nano - span.start_time_unix_nano) / 1000000000.0"
    lines = [
        Line(put(found(semconv.STREAM_INCOMPLETE), "true", ottl.holds(derived.INCOMPLETE_WHEN))),
        Line(
            put(tokens, f"Double({output} - 1)", f"{output} != nil", f"{first} != nil"),
            "Visible output tokens after the first one, by the time after it.",
        ),
        Line(put(tokens, f"{tokens} - Double({reasoning})", f"{tokens} != nil", f"{reasoning} != nil")),
        Line(
            put(gap, f"{seconds} - {first}", f"{tokens} != nil", "span.end_time_unix_nano >= span.start_time_unix_nano")
        ),
        Line(
            put(
                found(semconv.OUTPUT_RATE),
                f"{tokens} / {gap}",
                f"{gap} != nil",
                f"{gap} > {derived.SHORTEST_GAP_SECONDS}",
                f"{tokens} >= {derived.FEWEST_TOKENS_AFTER_FIRST}",
                ottl.holds(derived.RATE_WHEN),
            )
        ),
    ]
    why = "Derive: output rate and broken streams (genai/derived.py)."
    return [Group(why, conditions=[f"{span(semconv.ACCOUNTED)} == true"], lines=lines)]
