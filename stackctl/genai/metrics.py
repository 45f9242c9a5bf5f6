"""The metric catalogue: every `llm_*` and `rag_*` series as a row over stored spans and evaluation records.

Both executors read these rows after accounting, pricing and deriving, so a value is one attribute, the duration or
the number one, and a label is one attribute, a constant or nothing. Several rows may share a name: each fills one
constant label.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from stackctl import semconv
from stackctl.genai.rows import (
    ALWAYS,
    All,
    Any,
    Duration,
    Equals,
    Field,
    Has,
    Not,
    One,
    ResourceAttr,
    Source,
    SpanAttr,
    When,
)

_ONE: Final = One()


class Bound(enum.Enum):
    """How a label value that an application chooses freely is kept from growing without end."""

    CLOSED = "closed"  # the pipeline or the conventions choose it
    WORD = "word"  # `content.label_word`: short and of few characters, else `other`
    MODEL = "model"  # a model of the price book or of `models.extra`, else `other`


@dataclass(frozen=True)
class Label:
    """A label and the value it takes; a span without the value has no such label."""

    name: str
    source: Source
    bound: Bound = Bound.WORD


@dataclass(frozen=True)
class MetricRow:
    """One series family, or the part of it with these constant labels.

    Attributes:
        name: as it stands in Prometheus.
        kind: `counter` or `histogram`.
        of: which records it is made of: stored `span`s or `evaluation` records.
        unit: UCUM unit of the value.
        value: what is added or observed; a record without it adds nothing.
        when: which records take part.
        labels: labels with values of the record.
        constants: labels with fixed values.
        bounds: upper bounds of the buckets, ascending, without infinity; histograms only.
        exemplars: whether samples carry the trace they came from.
        help: one sentence for people.
    """

    name: str
    kind: Literal["counter", "histogram"]
    of: Literal["span", "evaluation"]
    unit: str
    help: str
    value: Source = _ONE
    when: When = ALWAYS
    labels: tuple[Label, ...] = ()
    constants: tuple[tuple[str, str], ...] = ()
    bounds: tuple[float, ...] = ()
    exemplars: bool = True


# --- bucket bounds ----------------------------------------------------------------------------------------------------
# Seven bounds a decade, no step above 1.5: a p95 out of factor-2 buckets is guesswork.
SECONDS: Final = (
    *(0.005, 0.006, 0.008),
    *(0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08),
    *(0.1, 0.15, 0.2, 0.3, 0.4, 0.6, 0.8),
    *(1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0),
    *(100.0, 120.0),
)
TOKENS_PER_SECOND: Final = (
    *(1.0, 2.0, 3.0, 4.0, 6.0, 8.0),
    *(10.0, 15.0, 20.0, 30.0, 40.0, 60.0, 80.0),
    *(100.0, 150.0, 200.0, 300.0, 400.0, 600.0, 800.0),
    *(1000.0, 1500.0, 2000.0, 3000.0),
)
# Powers of two and their middles: prompts grow by doubling, windows are such numbers.
PROMPT_TOKENS: Final = tuple(float(n) for power in range(4, 21) for n in (2**power, 3 * 2 ** (power - 1)))
# Close together near a full window, where it matters.
SHARE_OF_WINDOW: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
SCORES: Final = tuple(n / 20 for n in range(21))
DOCUMENTS: Final = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)

# --- labels -----------------------------------------------------------------------------------------------------------
_SERVICE: Final = Label(semconv.LABEL_SERVICE, ResourceAttr(semconv.SERVICE_NAME))
_ENVIRONMENT: Final = Label(semconv.LABEL_ENVIRONMENT, ResourceAttr(semconv.DEPLOYMENT_ENVIRONMENT))
_ERROR: Final = Label(semconv.LABEL_ERROR, SpanAttr(semconv.ERROR_TYPE))
_CALL: Final = (
    _SERVICE,
    _ENVIRONMENT,
    Label(semconv.LABEL_OPERATION, SpanAttr(semconv.OPERATION), Bound.CLOSED),
    Label(semconv.LABEL_PROVIDER, SpanAttr(semconv.PROVIDER)),
    Label(semconv.LABEL_REQUEST_MODEL, SpanAttr(semconv.REQUEST_MODEL), Bound.MODEL),
    Label(semconv.LABEL_RESPONSE_MODEL, SpanAttr(semconv.RESPONSE_MODEL), Bound.MODEL),
)
_CALL_OR_ERROR: Final = (*_CALL, _ERROR)
_RETRIEVAL: Final = (_SERVICE, _ENVIRONMENT, _ERROR)
_EVALUATION: Final = (
    _SERVICE,
    _ENVIRONMENT,
    Label(semconv.LABEL_EVALUATION, Field("name")),
    Label(semconv.LABEL_SCORE_LABEL, Field("label")),
    Label(semconv.LABEL_ERROR, Field("error_type")),
)

# --- conditions -------------------------------------------------------------------------------------------------------
ACCOUNTED: Final = Equals(SpanAttr(semconv.ACCOUNTED), (True,))
PRICED: Final = All((ACCOUNTED, Equals(SpanAttr(semconv.COST_STATUS), (semconv.STATUS_PRICED,))))
# A call whose first token was stamped. The Responses API's first event is `response.created`, which is no token, so
# there only the stamp of `stackctl run` counts.
FIRST_TOKEN_KNOWN: Final = All(
    (
        ACCOUNTED,
        Has(SpanAttr(semconv.TIME_TO_FIRST_CHUNK)),
        Not(Equals(SpanAttr(semconv.STREAM), (False,))),
        Any((Not(Equals(SpanAttr(semconv.API_TYPE), ("responses",))), Has(SpanAttr(semconv.TIME_TO_FIRST_TEXT)))),
    )
)
RETRIEVAL: Final = Equals(SpanAttr(semconv.OPERATION), (semconv.RETRIEVAL_OPERATION,))


def _tokens(name: str, token_type: str, key: str, help_text: str) -> MetricRow:
    constants = ((semconv.LABEL_TOKEN_TYPE, token_type),)
    return MetricRow(name, "counter", "span", "{token}", help_text, SpanAttr(key), ACCOUNTED, _CALL, constants)


def _cost(token_type: str, key: str) -> MetricRow:
    help_text = "Cost in USD of accounted calls that a price was found for, by what was paid for: a partition."
    constants = ((semconv.LABEL_TOKEN_TYPE, token_type),)
    return MetricRow(semconv.LLM_COST, "counter", "span", "USD", help_text, SpanAttr(key), PRICED, _CALL, constants)


_TOKENS_HELP: Final = "Tokens of accounted calls; input and output are a partition, so their sum is right."
_DETAILS_HELP: Final = "Parts of tokens: cache_read and cache_write are in input, reasoning is in output."

CATALOGUE: Final[tuple[MetricRow, ...]] = (
    MetricRow(
        semconv.LLM_REQUESTS,
        "counter",
        "span",
        "{call}",
        "Accounted inference calls, failed ones included.",
        when=ACCOUNTED,
        labels=_CALL_OR_ERROR,
    ),
    MetricRow(
        semconv.LLM_INCOMPLETE_STREAMS,
        "counter",
        "span",
        "{call}",
        "Accounted streams that broke off: neither finish reason nor usage, whatever status their library gave them.",
        when=All((ACCOUNTED, Equals(SpanAttr(semconv.STREAM_INCOMPLETE), (True,)))),
        labels=_CALL_OR_ERROR,
    ),
    MetricRow(
        semconv.LLM_REQUEST_DURATION,
        "histogram",
        "span",
        "s",
        "Duration of accounted calls, to the last token.",
        Duration(),
        ACCOUNTED,
        _CALL_OR_ERROR,
        bounds=SECONDS,
    ),
    MetricRow(
        semconv.LLM_TIME_TO_FIRST_TOKEN,
        "histogram",
        "span",
        "s",
        "Time to the first token of streamed calls that stamped it.",
        SpanAttr(semconv.TIME_TO_FIRST_CHUNK),
        FIRST_TOKEN_KNOWN,
        _CALL,
        bounds=SECONDS,
    ),
    MetricRow(
        semconv.LLM_OUTPUT_RATE,
        "histogram",
        "span",
        "{token}/s",
        "Visible output tokens a second after the first one, of streamed calls.",
        SpanAttr(semconv.OUTPUT_RATE),
        ACCOUNTED,
        _CALL,
        bounds=TOKENS_PER_SECOND,
    ),
    _tokens(semconv.LLM_TOKENS, semconv.TOKEN_INPUT, semconv.INPUT_TOKENS, _TOKENS_HELP),
    _tokens(semconv.LLM_TOKENS, semconv.TOKEN_OUTPUT, semconv.OUTPUT_TOKENS, _TOKENS_HELP),
    _tokens(semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_CACHE_READ, semconv.CACHE_READ_TOKENS, _DETAILS_HELP),
    _tokens(semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_CACHE_WRITE, semconv.CACHE_WRITE_TOKENS, _DETAILS_HELP),
    _tokens(semconv.LLM_TOKEN_DETAILS, semconv.TOKEN_REASONING, semconv.REASONING_TOKENS, _DETAILS_HELP),
    _cost(semconv.TOKEN_INPUT, semconv.COST_INPUT_USD),
    _cost(semconv.TOKEN_CACHE_READ, semconv.COST_CACHE_READ_USD),
    _cost(semconv.TOKEN_CACHE_WRITE, semconv.COST_CACHE_WRITE_USD),
    _cost(semconv.TOKEN_OUTPUT, semconv.COST_OUTPUT_USD),
    MetricRow(
        semconv.LLM_COST_REQUESTS,
        "counter",
        "span",
        "{call}",
        "Coverage of the cost: accounted calls that were priced, unpriced or without usage.",
        when=ACCOUNTED,
        labels=(*_CALL, Label(semconv.LABEL_COST_STATUS, SpanAttr(semconv.COST_STATUS), Bound.CLOSED)),
    ),
    MetricRow(
        semconv.LLM_CONTEXT_UTILIZATION,
        "histogram",
        "span",
        "1",
        "Input tokens as a share of the model's context window.",
        SpanAttr(semconv.CONTEXT_UTILIZATION),
        ACCOUNTED,
        _CALL,
        bounds=SHARE_OF_WINDOW,
    ),
    MetricRow(
        semconv.LLM_PROMPT_TOKENS,
        "histogram",
        "span",
        "{token}",
        "Input tokens of a call: the length of its prompt.",
        SpanAttr(semconv.INPUT_TOKENS),
        ACCOUNTED,
        _CALL,
        bounds=PROMPT_TOKENS,
    ),
    MetricRow(
        semconv.RAG_RETRIEVAL_DURATION,
        "histogram",
        "span",
        "s",
        "Duration of retrievals.",
        Duration(),
        RETRIEVAL,
        _RETRIEVAL,
        bounds=SECONDS,
    ),
    MetricRow(
        semconv.RAG_RETRIEVED_DOCUMENTS,
        "histogram",
        "span",
        "{document}",
        "Documents that a retrieval returned.",
        SpanAttr(semconv.RETRIEVED_DOCUMENTS),
        RETRIEVAL,
        _RETRIEVAL,
        bounds=DOCUMENTS,
    ),
    MetricRow(
        semconv.LLM_EVALUATIONS,
        "counter",
        "evaluation",
        "{evaluation}",
        "Evaluation results; one with an error type has no verdict.",
        labels=_EVALUATION,
    ),
    MetricRow(
        semconv.LLM_EVALUATION_SCORE,
        "histogram",
        "evaluation",
        "1",
        "Scores of evaluations that gave one.",
        Field("score"),
        labels=_EVALUATION,
        bounds=SCORES,
    ),
)


def _by_name() -> dict[str, tuple[MetricRow, ...]]:
    names: dict[str, tuple[MetricRow, ...]] = {}
    for row in CATALOGUE:
        names[row.name] = (*names.get(row.name, ()), row)
    return names


# The rows of each metric; rows of one name have equal kind, unit and help.
BY_NAME: Final[Mapping[str, tuple[MetricRow, ...]]] = _by_name()
