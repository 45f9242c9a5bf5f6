"""No content passes: canaries in every text of real telemetry are gone after the pipeline."""

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from span_tables import CAPTURES, HERE, SIMULATOR, captured, decoded, request_of, spans_of

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.columns.looks import Look, look
from stackctl.embedded.columns.texts import unclean
from stackctl.embedded.otlp import decode
from stackctl.genai import content
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import SpanAttr
from stackctl.stack import EngineConfig

CONFIG = EngineConfig("unused", price_hosts=SIMULATOR)
# What people write: a sentence. And what a bare identifier of the user's could look like.
SENTENCE = "the canary number {} sings of Paris"
# Keys whose text is an identifier that an application chooses, and that is kept for that reason.
IDENTIFIERS = {
    *(semconv.REQUEST_MODEL, semconv.RESPONSE_MODEL, semconv.RESPONSE_ID, semconv.OPERATION, semconv.PROVIDER),
    *(semconv.CONVERSATION_ID, semconv.USER_ID, semconv.SESSION_ID, semconv.SERVICE_NAME, semconv.ERROR_TYPE),
}
# Other spellings of identifiers: what a library writes there is an id, a model or a reason, and has its form.
ALIASES = {row.source.key for dialect in DIALECTS for row in dialect.rows if isinstance(row.source, SpanAttr)}


class Canaries:
    """Hands out canaries by number and remembers where each was put."""

    def __init__(self, form: str) -> None:
        self.form = form
        self.put: dict[str, str] = {}
        self._numbers = itertools.count(1000)

    def __call__(self, place: str) -> str:
        canary = self.form.format(next(self._numbers))
        self.put[canary] = place
        return canary

    def found_in(self, table: pa.Table) -> list[str]:
        """Return the places whose canary is anywhere in the table, column names included."""
        haystack = json.dumps(table.to_pylist(), ensure_ascii=False) + " ".join(table.column_names)
        return [place for canary, place in self.put.items() if canary in haystack]


def _values(value: AnyValue) -> Iterator[AnyValue]:
    """Every scalar within a value."""
    match value.WhichOneof("value"):
        case "array_value":
            for item in value.array_value.values:
                yield from _values(item)
        case "kvlist_value":
            for pair in value.kvlist_value.values:
                yield from _values(pair.value)
        case _:
            yield value


def poisoned(
    request: ExportTraceServiceRequest, canary: Callable[[str], str], keep: set[str]
) -> ExportTraceServiceRequest:
    """Put a canary of its own into every string field of a request, except attributes of `keep`."""

    def attributes(pairs: Any, where: str) -> None:
        for pair in pairs:
            for value in _values(pair.value):
                if value.WhichOneof("value") == "string_value" and pair.key not in keep:
                    value.string_value = canary(f"{where} {pair.key}")
        pairs.add(key="app.note", value=AnyValue(string_value=canary(f"{where} app.note")))

    for group in request.resource_spans:
        group.schema_url = canary("resource schema URL")
        attributes(group.resource.attributes, "resource")
        for scoped in group.scope_spans:
            scoped.schema_url = canary("scope schema URL")
            scoped.scope.name = canary("scope name")
            scoped.scope.version = canary("scope version")
            attributes(scoped.scope.attributes, "scope")
            for span in scoped.spans:
                span.name = canary("span name")
                span.trace_state = canary("trace state")
                span.status.message = canary("status message")
                attributes(span.attributes, "span")
                event = span.events.add(name=canary("event name"))
                attributes(event.attributes, "event")
                known = span.events.add(name="exception")
                known.attributes.add(key="exception.message", value=AnyValue(string_value=canary("exception message")))
                known.attributes.add(key="exception.type", value=AnyValue(string_value=canary("exception type")))
                link = span.links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8, trace_state=canary("link state"))
                attributes(link.attributes, "link")
    return request


@pytest.mark.parametrize("name", HERE)
def test_no_sentence_passes_in_any_field(name: str) -> None:
    """A sentence in every string field of a capture, models, ids and names of services included, is in no column."""
    canaries = Canaries(SENTENCE)
    table = Pipeline(CONFIG).process(decoded(poisoned(captured(name), canaries, keep=set())))
    assert canaries.put
    assert canaries.found_in(table) == []


@pytest.mark.parametrize("name", HERE)
def test_no_bare_word_passes_where_text_is_free(name: str) -> None:
    """A canary that looks like an id is in no column either, but where an identifier belongs."""
    canaries = Canaries("canary{}x7f")
    table = Pipeline(CONFIG).process(decoded(poisoned(captured(name), canaries, keep=IDENTIFIERS)))
    left = set(canaries.found_in(table))
    free = {"span name", "status message", "event name", "exception message", "link state", "trace state"}
    assert not left & free
    kept = {place.split(" ", 1)[1] for place in left if place.startswith(("span ", "resource "))}
    assert all(key in ALIASES or (content.keep_key(key) and not content.is_content(key)) for key in kept)
    assert not any("app.note" in place for place in left)


@pytest.mark.parametrize("name", [name for name in HERE if "span" in name])
def test_captured_content_is_gone_by_default(name: str) -> None:
    """The prompt and the answer that a library wrote onto its spans are in no column, and their keys were counted."""
    pipeline = Pipeline(CONFIG)
    before = decoded(captured(name))
    after = json.dumps(pipeline.process(before).to_pylist())
    assert "France" in json.dumps(before.to_pylist())
    assert "France" not in after
    assert "terse" not in after
    assert pipeline.dropped[semconv.INPUT_MESSAGES] > 0


@pytest.mark.parametrize("settings", [{}, {"capture_content": True}, {"allow_keys": (r"app\\..*",)}])
def test_texts_that_are_not_read_change_nothing(settings: dict[str, Any]) -> None:
    """Decoding without the texts that no rule reads and no setting keeps gives what decoding with them gives."""
    config = EngineConfig("unused", price_hosts=SIMULATOR, **settings)
    with_all, with_read = Pipeline(config), Pipeline(config)
    requests = [captured(name).SerializeToString() for name in HERE if "span" in name]
    for batch in [requests, *([request] for request in requests)]:
        whole = with_all.process(decode.gathered_spans(batch, 1).table)
        assert with_read.process(decode.gathered_spans(batch, 1, with_read.reads).table).equals(whole)
    assert with_read.dropped == with_all.dropped
    assert with_read.reads(semconv.INPUT_MESSAGES, frozenset({"mine"})) == config.capture_content
    assert with_read.reads(semconv.INPUT_MESSAGES, frozenset({"mine", "opentelemetry.instrumentation.openai.v1"}))
    assert with_read.reads(semconv.REQUEST_MODEL, frozenset())


def test_capture_content_keeps_content_and_still_masks_secrets() -> None:
    """With the setting on, messages are stored whole, keys in them masked, and other people's keys still dropped."""
    key = "sk-" + "proj-0123456789abcdefghij"
    attributes = {
        semconv.OPERATION: "chat",
        semconv.INPUT_MESSAGES: f'[{{"content":"What is the capital? {key}"}}]',
        "acme.secret_plan": "buy the moon",
    }
    (span,) = Pipeline(EngineConfig("unused", capture_content=True)).process(spans_of(attributes)).to_pylist()
    assert span[f"s:{semconv.INPUT_MESSAGES}:s"] == '[{"content":"What is the capital? [key]"}]'
    assert "s:acme.secret_plan:s" not in span


def test_long_content_is_cut_and_its_length_kept() -> None:
    """Captured content is capped per attribute, its true length stands beside it."""
    attributes = {semconv.OPERATION: "chat", semconv.OUTPUT_MESSAGES: "ä" * (content.CONTENT_CAP + 5)}
    (span,) = Pipeline(EngineConfig("unused", capture_content=True)).process(spans_of(attributes)).to_pylist()
    assert len(span[f"s:{semconv.OUTPUT_MESSAGES}:s"]) == content.CONTENT_CAP
    assert span[f"s:{semconv.CONTENT_LENGTH_PREFIX}{semconv.OUTPUT_MESSAGES}:i"] == content.CONTENT_CAP + 5


def test_exceptions_keep_their_type_only() -> None:
    """An exception event stays with its class and time, without message and stack trace."""
    event = (
        "exception",
        0.5,
        {"exception.type": "ValueError", "exception.message": "prompt was: hello", "exception.stacktrace": "x"},
    )
    (span,) = Pipeline(CONFIG).process(spans_of({semconv.OPERATION: "chat"}, events=[event])).to_pylist()
    (kept,) = json.loads(span["events"])
    assert kept["attributes"] == {"exception.type": "ValueError"}
    assert kept["name"] == "exception"
    assert kept["time_ns"] > 0


@pytest.mark.parametrize(
    ("attributes", "name", "stored"),
    [
        ({semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "gpt-4o-mini"}, "What is love?", "chat gpt-4o-mini"),
        ({semconv.OPERATION: "execute_tool", semconv.TOOL_NAME: "get_weather"}, "x y z", "execute_tool get_weather"),
        ({semconv.OPERATION: "retrieval", semconv.DATA_SOURCE_ID: "handbook"}, "retrieval q", "retrieval handbook"),
        ({semconv.OPERATION: "chat"}, "anything at all", "chat"),
        ({semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "o3", semconv.AGENT_NAME: "desk"}, "chat o3", "chat o3"),
        (
            {semconv.OPERATION: "invoke_agent", semconv.REQUEST_MODEL: "o3", semconv.AGENT_NAME: "desk"},
            "",
            "invoke_agent desk",
        ),
        ({semconv.OPERATION: "chat", semconv.REQUEST_MODEL: "tell me a joke"}, "chat", "chat [masked]"),
        ({}, "rag.answer", "rag.answer"),
        ({}, "What is the capital of France?", content.UNNAMED),
    ],
)
def test_span_names_are_rebuilt_from_vetted_parts(attributes: dict[str, Any], name: str, stored: str) -> None:
    """A call is named by operation and object as the conventions say; other names stay only where code wrote them."""
    (span,) = Pipeline(CONFIG).process(spans_of(attributes, name=name)).to_pylist()
    assert span["name"] == stored


def test_allowed_keys_of_the_user_pass() -> None:
    """`content.allow_keys` keeps an application's own attribute, scalar or not; what else is dropped is counted."""
    pipeline = Pipeline(EngineConfig("unused", allow_keys=(r"acme\..*",)))
    attributes = {"acme.tenant": "blue", "acme.flags": ["a", "b"], "other.tenant": "red", "acme.prompt": "hello"}
    (span,) = pipeline.process(spans_of(attributes)).to_pylist()
    assert span["s:acme.tenant:s"] == "blue"
    assert json.loads(span["rest"]) == {"acme.flags": ["a", "b"]}
    assert pipeline.dropped["other.tenant"] == 1
    assert pipeline.dropped["acme.prompt"] == 1


def test_dropped_keys_are_counted_without_repeating_text() -> None:
    """A sender that writes text into key names fills neither a log line nor the memory."""
    pipeline = Pipeline(CONFIG)
    pipeline.process(spans_of(*({f"what is the capital {number}": "x"} for number in range(3)), name="x"))
    pipeline.process(spans_of(*({f"k{number}": 1} for number in range(900)), name="x"))
    pipeline.process(spans_of(*({f"m{number}": 1} for number in range(900)), name="x"))
    assert not any("capital" in key for key in pipeline.dropped)
    assert len(pipeline.dropped) <= 1002
    assert pipeline.dropped.total() == 1803


def test_links_keep_whom_they_point_to() -> None:
    """A link's ids stay, its attributes do not."""
    request = request_of({semconv.OPERATION: "chat"})
    link = request.resource_spans[0].scope_spans[0].spans[0].links.add(trace_id=b"\1" * 16, span_id=b"\2" * 8)
    link.attributes.add(key="why", value=AnyValue(string_value="because"))
    (span,) = Pipeline(CONFIG).process(decoded(request)).to_pylist()
    assert json.loads(span["links"]) == [{"trace_id": "01" * 16, "span_id": "02" * 8, "attributes": {}}]


def test_evaluations_keep_names_scores_and_labels() -> None:
    """Evaluation records pass with what metrics need; a label that is prose is masked, a resource is reduced."""
    raw = (CAPTURES / "genai-openai-1.3b0" / "evaluation_result.logs.pb").read_bytes()
    table = decode.evaluations([raw], 1)
    records = Pipeline(CONFIG).evaluations(table).to_pylist()
    assert [(record["name"], record["score"], record["label"], record["error_type"]) for record in records] == [
        ("hallucination", 0.82, "hallucinated", None),
        ("hallucination", 0.05, "grounded", None),
        ("relevance", 0.9, "relevant", None),
        ("hallucination", None, None, "timeout"),
    ]
    prose = pa.array(["the answer says that Paris is in Rome"] * table.num_rows, pa.string())
    table = table.set_column(table.column_names.index("label"), "label", prose).append_column("r:app.note:s", prose)
    stored = Pipeline(CONFIG).evaluations(table)
    assert stored.column("label").to_pylist() == [content.MASKED] * 4
    assert "r:app.note:s" not in stored.column_names


def _looks(key: str, *columns: list[str | None] | list[str]) -> dict[str, tuple[str, Look]]:
    seen = look([pa.array(column, pa.string()) for column in columns])
    return {name: (key, one) for name, one in zip("st", seen, strict=False)}


@pytest.mark.parametrize("key", [semconv.REQUEST_MODEL, semconv.RESPONSE_ID, semconv.OPERATION, semconv.SERVICE_NAME])
def test_columns_judged_by_their_bytes_are_those_whose_texts_are_clean(key: str) -> None:
    """A column is looked at as one: no byte beside digits and no text that repeats hides what cleaning would change."""
    texts = [f"0a{chr(byte)}9f" for byte in range(1, 256)] + ["x" * 400, "0" * 400, "ey", "jey", "sk-", "@a.", "rbeare"]
    for column in ([text] * count for text in texts for count in (1, 2, 3, 9)):
        dirty = any(content.clean(key, text) != text for text in column)
        assert not dirty or unclean(_looks(key, column)) == ["s"], column
    assert unclean(_looks(key, ["abef"] * 3, ["abef", None, ""])) == []
