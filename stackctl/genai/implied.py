"""What follows from the canonical keys alone, whichever library wrote them. Runs after the dialects' rows.

A zero means unknown where no call could have it: there is no call without input, so libraries that write 0 for an
input know nothing, and the other zeros beside it say no more (facts of LiteLLM and Langfuse on calls that failed).

Under `stackctl run` the first text of a stream is stamped. It stands for the library's first chunk, which may be empty:
a role alone, or the `response.created` of the Responses API.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import AddTo, All, Any, Const, Equals, Erase, EventAttr, Field, Has, Not, Row, SpanAttr

_INPUT: Final = SpanAttr(semconv.INPUT_TOKENS)
_NO_INPUT: Final = All(
    (
        Equals(SpanAttr(semconv.OPERATION), semconv.INFERENCE_OPERATIONS),
        Any((Not(Has(_INPUT)), Equals(_INPUT, (0,)))),
    )
)

_STATUS: Final = Field("status")
_FAILED: Final = All((Has(SpanAttr(semconv.OPERATION)), Equals(_STATUS, (2,))))


def _zero_for_unknown(key: str) -> Erase:
    # The zero first: it is rare, and the rest is then not looked at.
    return Erase(key, All((Equals(SpanAttr(key), (0,)), _NO_INPUT)), why="a zero beside an input that is not known")


# Runs after the dialects' own sums, before the erases: an input of 0 beside cached tokens is one that leaves them out.
SUMS: Final[tuple[AddTo, ...]] = (
    AddTo(
        semconv.INPUT_TOKENS,
        (semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS),
        why="more cached than sent: whoever wrote that leaves cached tokens out of the input, as Anthropic's API does",
        beyond=True,
    ),
)

ERASES: Final[tuple[Erase, ...]] = (
    Erase(semconv.TIME_TO_FIRST_CHUNK, Has(SpanAttr(semconv.TIME_TO_FIRST_TEXT)), why="the text's time is known"),
    # In this order: the input last, since the others are judged by it.
    _zero_for_unknown(semconv.OUTPUT_TOKENS),
    _zero_for_unknown(semconv.CACHE_READ_TOKENS),
    _zero_for_unknown(semconv.CACHE_WRITE_TOKENS),
    _zero_for_unknown(semconv.REASONING_TOKENS),
    _zero_for_unknown(semconv.INPUT_TOKENS),
)

ROWS: Final[tuple[Row, ...]] = (
    Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr(semconv.TIME_TO_FIRST_TEXT)),
    Row(
        semconv.STREAM,
        SpanAttr(semconv.TIME_TO_FIRST_CHUNK),
        Const(True),
        why="pydantic-ai, Langfuse and Vercel 7 give a stream no other sign",
    ),
    Row(
        semconv.ERROR_TYPE,
        EventAttr("exception", "exception.type"),
        when=_FAILED,
        why="OpenInference, pydantic-ai and Vercel record the exception only; boards count errors by this key",
    ),
    Row(semconv.ERROR_TYPE, _STATUS, Const("_OTHER"), _FAILED, why="the conventions' word for an error not classed"),
)
