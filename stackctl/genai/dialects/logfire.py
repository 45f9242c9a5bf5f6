"""Logfire's own instrumentors of OpenAI's and Anthropic's clients: the conventions' keys, and a stream in two spans.

The first of the two is the request, over at the headers and without usage; the second is a record of the whole stream,
written at its end or when it breaks, with no duration, that has the answer's usage. The second counts. Details of a
usage that have no key stand in the provider's own, as JSON. The model of an answer is the one asked for until it
begins. Version 4, which writes the whole request as `request_data`, tells details of a usage there alone, and no finish
reason.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import (
    All,
    Const,
    Dialect,
    Equals,
    Erase,
    Field,
    Has,
    JsonField,
    Matches,
    Not,
    Row,
    SpanAttr,
    Wrapper,
)

SCOPE: Final = r"^logfire\.(openai|anthropic)$"

_TYPE: Final = SpanAttr("logfire.span_type")
_TEMPLATE: Final = SpanAttr("logfire.msg_template")
_RAW: Final = SpanAttr("gen_ai.usage.raw")
_FAILED: Final = Equals(Field("status"), (2,))
_NO_ANSWER: Final = Not(Has(SpanAttr(semconv.RESPONSE_ID)))
_RECORD: Final = All((Equals(_TYPE, ("log",)), Matches(_TEMPLATE, r"^streaming response from ")))

# Version 4, or 5 where it is told to write as that did.
TELLS_NO_END: Final = All((Matches(Field("scope"), SCOPE), Matches(SpanAttr("request_data"), r'"stream": ?true')))


def _raw(key: str, *paths: str) -> tuple[Row, ...]:
    return tuple(Row(key, _RAW, JsonField(tuple(path.split("."))), scope=SCOPE) for path in paths)


DIALECT: Final = Dialect(
    name="Logfire",
    erases=(Erase(semconv.RESPONSE_MODEL, All((_FAILED, _NO_ANSWER)), SCOPE, "the model asked for"),),
    rows=(
        Row(semconv.STREAM, _TYPE, Const(True), _RECORD, SCOPE),
        *_raw(
            semconv.CACHE_READ_TOKENS,
            "prompt_tokens_details.cached_tokens",
            "input_tokens_details.cached_tokens",
            "cache_read_input_tokens",
        ),
        *_raw(
            semconv.CACHE_WRITE_TOKENS,
            "prompt_tokens_details.cache_write_tokens",
            "input_tokens_details.cache_write_tokens",
            "cache_creation_input_tokens",
        ),
        *_raw(
            semconv.REASONING_TOKENS,
            "completion_tokens_details.reasoning_tokens",
            "output_tokens_details.reasoning_tokens",
        ),
        Row(semconv.SENT_COST_USD, SpanAttr("operation.cost"), scope=SCOPE),
    ),
    wrappers=(
        Wrapper(
            All(
                (
                    Matches(Field("scope"), SCOPE),
                    Equals(_TYPE, ("span",)),
                    Equals(SpanAttr(semconv.OPERATION), ("chat", "text_completion")),
                    _NO_ANSWER,
                    Not(Has(SpanAttr(semconv.INPUT_TOKENS))),
                    Not(Has(SpanAttr(semconv.FINISH_REASONS))),
                    Not(_FAILED),
                )
            ),
            "a stream's request: the record of the stream counts",
        ),
    ),
    content=(r"request_data|response_data|gen_ai\.usage\.raw|logfire\.(msg|json_schema)",),
)
