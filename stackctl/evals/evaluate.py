"""`evaluate`: asks a judge, and reports its results as the conventions have it.

Each result is a `gen_ai.evaluation.result` log event, parented to the span of the answer. Name, score and label of
the first one also stand on the evaluation's own span, where trace views and tail sampling see them.
"""

from collections.abc import Sequence

from opentelemetry import trace
from opentelemetry._logs import LogRecord, get_logger
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, Status, StatusCode

from stackctl import semconv
from stackctl.evals.offline import OfflineJudge
from stackctl.evals.result import HALLUCINATION, Judge, Result

_SCOPE = "stackctl.evals"


def evaluate(
    question: str,
    answer: str,
    context: Sequence[str],
    *,
    judge: Judge | None = None,
    answer_span: SpanContext | None = None,
    response_id: str | None = None,
) -> tuple[Result, ...]:
    """Judge an answer and report the results.

    Args:
        question: what the user asked.
        answer: what the model answered.
        context: the texts the model was given to answer from.
        judge: the offline judge if None.
        answer_span: the span that produced the answer; the current span if None.
        response_id: the model's response id, by which a result finds its answer when spans are not kept together.

    Returns:
        The judge's results. A judge that fails gives one result with an error type and no verdict: the application
        whose answers are watched must not fail with its watcher.
    """
    judge = judge or OfflineJudge()
    target = answer_span or trace.get_current_span().get_span_context()
    with trace.get_tracer(_SCOPE).start_as_current_span("evaluate answer") as span:
        try:
            results = judge.judge(question, answer, context)
        except Exception as error:  # noqa: BLE001  whatever a judge raises, the answer has been given already
            results = (Result(HALLUCINATION, None, None, error_type=type(error).__qualname__),)
            span.set_status(Status(StatusCode.ERROR))
        span.set_attributes(_attributes(results[0], response_id) if results else {})
    for result in results:
        _emit(result, target, response_id)
    return results


def _attributes(result: Result, response_id: str | None) -> dict[str, str | float]:
    """Return a result as attributes; what is not known is absent."""
    values = {
        semconv.EVALUATION_NAME: result.name,
        semconv.EVALUATION_SCORE: result.score,
        semconv.EVALUATION_LABEL: result.label,
        semconv.ERROR_TYPE: result.error_type,
        semconv.RESPONSE_ID: response_id,
    }
    return {key: value for key, value in values.items() if value is not None}


def _emit(result: Result, target: SpanContext, response_id: str | None) -> None:
    """Send one result as a log event in the context of the answer's span."""
    attributes = _attributes(result, response_id)
    if result.explanation is not None:
        attributes[semconv.EVALUATION_EXPLANATION] = result.explanation
    answer = trace.set_span_in_context(trace.NonRecordingSpan(target), Context())
    get_logger(_SCOPE).emit(LogRecord(event_name=semconv.EVALUATION_EVENT, attributes=attributes, context=answer))
