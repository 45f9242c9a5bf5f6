"""What `evaluate` reports: events at the answer's span, a span of its own, and never an error of the judge's."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from opentelemetry import trace
from opentelemetry._logs import _internal as logs_api
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from stackctl.evals import evaluate


@dataclass
class Telemetry:
    spans: InMemorySpanExporter
    logs: InMemoryLogRecordExporter
    provider: TracerProvider


@pytest.fixture
def telemetry(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telemetry]:
    """The SDK's own providers with exporters in memory, for this test only."""
    spans, logs = InMemorySpanExporter(), InMemoryLogRecordExporter()
    tracers, loggers = TracerProvider(shutdown_on_exit=False), LoggerProvider(shutdown_on_exit=False)
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    loggers.add_log_record_processor(SimpleLogRecordProcessor(logs))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", tracers)
    monkeypatch.setattr(logs_api, "_LOGGER_PROVIDER", loggers)
    yield Telemetry(spans, logs, tracers)
    tracers.shutdown()
    loggers.shutdown()


def test_results_are_events_at_the_span_of_the_answer(telemetry):
    """Each result is a `gen_ai.evaluation.result` in the context of the given span, also when another is current."""
    tracer = telemetry.provider.get_tracer("test")
    with tracer.start_as_current_span("chat") as chat:
        answer = chat.get_span_context()
    with tracer.start_as_current_span("root"):
        evaluate("When?", "At 9:30.", ["It opens at 9:30."], answer_span=answer, response_id="r-1")
    records = [data.log_record for data in telemetry.logs.get_finished_logs()]
    assert [record.attributes["gen_ai.evaluation.name"] for record in records] == [
        "hallucination",
        "relevance",
        "completeness",
    ]
    assert {record.event_name for record in records} == {"gen_ai.evaluation.result"}
    assert {(record.trace_id, record.span_id) for record in records} == {(answer.trace_id, answer.span_id)}
    assert {record.attributes["gen_ai.response.id"] for record in records} == {"r-1"}


def test_the_first_result_stands_on_the_evaluations_own_span(telemetry):
    """Trace views and tail sampling see the verdict on a span under the current one."""
    with telemetry.provider.get_tracer("test").start_as_current_span("root") as root:
        evaluate("When?", "At 8:30.", ["It opens at 9:30."])
    span = next(span for span in telemetry.spans.get_finished_spans() if span.name == "evaluate answer")
    assert span.parent.span_id == root.get_span_context().span_id
    assert span.attributes["gen_ai.evaluation.score.label"] == "hallucinated"
    assert span.attributes["gen_ai.evaluation.score.value"] == 1.0


class BrokenJudge:
    name = "broken"

    def judge(self, question, answer, context):
        raise TimeoutError("no answer from the judge")


def test_a_judge_that_fails_gives_no_verdict_and_no_exception(telemetry):
    """A failed judge is reported as an error without score or label: unknown is not grounded."""
    (result,) = evaluate("When?", "At 9:30.", ["It opens at 9:30."], judge=BrokenJudge())
    assert (result.score, result.label, result.error_type) == (None, None, "TimeoutError")
    (data,) = telemetry.logs.get_finished_logs()
    assert dict(data.log_record.attributes) == {
        "gen_ai.evaluation.name": "hallucination",
        "error.type": "TimeoutError",
    }
