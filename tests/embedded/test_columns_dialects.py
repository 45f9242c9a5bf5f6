"""The span pipeline's rows: every spelling of a fact becomes one, and an invented dialect needs rows alone."""

from collections import defaultdict
from typing import Any

import pytest
from span_tables import CHAT, CONFIG, one, spans_of

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.series.increments import Increments
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import (
    Const,
    Dialect,
    Equals,
    EventAttr,
    EventOffset,
    EventTime,
    Field,
    JsonField,
    MapValue,
    Row,
    Scale,
    SpanAttr,
    Wrapper,
)


@pytest.mark.parametrize(
    ("attributes", "tokens"),
    [
        ({semconv.INPUT_TOKENS: 0, semconv.OUTPUT_TOKENS: 0, semconv.CACHE_READ_TOKENS: 0}, (None, None, None)),
        ({semconv.OUTPUT_TOKENS: 0, semconv.CACHE_READ_TOKENS: 0}, (None, None, None)),
        ({semconv.INPUT_TOKENS: 0, semconv.OUTPUT_TOKENS: 7}, (None, 7, None)),
        ({semconv.INPUT_TOKENS: 9, semconv.OUTPUT_TOKENS: 0, semconv.CACHE_READ_TOKENS: 0}, (9, 0, 0)),
        ({"gen_ai.usage.prompt_tokens": 0, "gen_ai.usage.completion_tokens": 0}, (None, None, None)),
    ],
)
def test_a_zero_that_no_call_can_have_is_unknown(attributes: dict[str, Any], tokens: tuple[int | None, ...]) -> None:
    """No call has no input: such zeros, and those beside them, are a usage that nobody sent, in any spelling."""
    span = one({semconv.OPERATION: "chat"} | attributes)
    keys = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, semconv.CACHE_READ_TOKENS)
    assert tuple(span.get(f"s:{key}:i") for key in keys) == tokens


def test_estimated_tokens_are_unknown() -> None:
    """OpenLIT counts characters where it saw no usage: what has the sign of that is no_usage, not a wrong cost."""
    attributes = CHAT | {semconv.STREAM: True, "openlit.agent.version_hash": "87fda4e8be3e41d2"}
    estimated = one(attributes, scope="openlit.instrumentation.openai")
    assert estimated[f"s:{semconv.COST_STATUS}:s"] == semconv.STATUS_NO_USAGE
    assert f"s:{semconv.INPUT_TOKENS}:i" not in estimated
    seen = one(attributes | {semconv.CACHE_READ_TOKENS: 0}, scope="openlit.instrumentation.openai")
    assert seen[f"s:{semconv.INPUT_TOKENS}:i"] == 1200


def test_a_canonical_key_is_never_overwritten() -> None:
    """An alias fills what is missing and leaves what is there, span by span."""
    table = spans_of(
        {semconv.OPERATION: "chat", "gen_ai.system": "xai"},
        {semconv.OPERATION: "chat", "gen_ai.system": "a", semconv.PROVIDER: "b"},
    )
    spans = Pipeline(CONFIG).process(table).to_pylist()
    assert [span[f"s:{semconv.PROVIDER}:s"] for span in spans] == ["x_ai", "b"]


@pytest.mark.parametrize(
    ("key", "sent", "column", "value"),
    [
        (semconv.INPUT_TOKENS, "1200", f"s:{semconv.INPUT_TOKENS}:i", 1200),
        (semconv.INPUT_TOKENS, 1200.0, f"s:{semconv.INPUT_TOKENS}:i", 1200),
        (semconv.INPUT_TOKENS, 0.5, f"s:{semconv.INPUT_TOKENS}:i", None),
        (semconv.INPUT_TOKENS, "many", f"s:{semconv.INPUT_TOKENS}:i", None),
        (semconv.INPUT_TOKENS, True, f"s:{semconv.INPUT_TOKENS}:i", None),
        (semconv.STREAM, "True", f"s:{semconv.STREAM}:b", True),
        (semconv.STREAM, "perhaps", f"s:{semconv.STREAM}:b", None),
        (semconv.TIME_TO_FIRST_CHUNK, 1, f"s:{semconv.TIME_TO_FIRST_CHUNK}:d", 1.0),
        (semconv.TIME_TO_FIRST_CHUNK, -1.0, f"s:{semconv.TIME_TO_FIRST_CHUNK}:d", None),
        (semconv.TIME_TO_FIRST_CHUNK, float("nan"), f"s:{semconv.TIME_TO_FIRST_CHUNK}:d", None),
        (semconv.TIME_TO_FIRST_CHUNK, float("inf"), f"s:{semconv.TIME_TO_FIRST_CHUNK}:d", None),
        (semconv.FINISH_REASONS, ["stop"], f"s:{semconv.FINISH_REASONS}:s", '["stop"]'),
        (semconv.REQUEST_MODEL, "", f"s:{semconv.REQUEST_MODEL}:s", None),
    ],
)
def test_canonical_keys_have_one_type(key: str, sent: Any, column: str, value: Any) -> None:
    """A number in a string is read, nonsense is unknown, and no column of another type is left behind."""
    span = one({semconv.OPERATION: "chat", key: sent})
    assert span.get(column) == value
    assert {name for name in span if name.startswith(f"s:{key}:")} <= {column}


INVENTED = Dialect(
    name="invented",
    rows=(
        Row(semconv.OPERATION, SpanAttr("zz.kind"), MapValue((("LLM", "chat"),), closed=True), scope=r"^zz\."),
        Row(semconv.PROVIDER, SpanAttr("zz.kind"), Const("openai")),
        Row(semconv.RESPONSE_MODEL, SpanAttr("zz.model")),
        Row(semconv.INPUT_TOKENS, SpanAttr("zz.usage"), JsonField(("in", "total"))),
        Row(semconv.OUTPUT_TOKENS, EventAttr("zz.end", "out")),
        Row(semconv.TIME_TO_FIRST_CHUNK, EventTime("zz.first"), EventOffset()),
        Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("zz.first_ms"), Scale(0.001)),
    ),
    wrappers=(Wrapper(Equals(Field("name"), ("zz outer",)), "it repeats the call inside it"),),
)


def test_an_invented_dialect_needs_rows_alone() -> None:
    """A library that nobody has seen is counted, timed and priced right after adding rows, without engine code."""
    pipeline = Pipeline(CONFIG, (*DIALECTS, INVENTED))
    attributes = {"zz.kind": "LLM", "zz.model": "gpt-4o-mini", "zz.usage": '{"in":{"total":1200}}', "zz.first_ms": 900}
    events = [("zz.first", 0.25, {}), ("zz.end", 1.0, {"out": 57})]
    inner = spans_of(attributes, {"zz.kind": "TOOL"}, scope="zz.sdk", events=events)
    outer = spans_of(attributes, scope="zz.sdk", events=events, name="zz outer")
    calls = pipeline.process(inner).to_pylist()
    assert [span.get(f"s:{semconv.ACCOUNTED}:b") for span in calls] == [True, None]
    assert calls[0][f"s:{semconv.TIME_TO_FIRST_CHUNK}:d"] == pytest.approx(0.25)
    assert calls[0][f"s:{semconv.COST_USD}:d"] == pytest.approx(0.0002142)
    assert f"s:{semconv.ACCOUNTED}:b" not in pipeline.process(outer).to_pylist()[0]
    assert f"s:{semconv.OPERATION}:s" not in pipeline.process(spans_of(attributes, scope="other")).to_pylist()[0]


def test_boards_count_an_invented_dialect() -> None:
    """The series that boards draw hold an invented library's call, tokens, cost, first token and coverage once."""
    pipeline = Pipeline(CONFIG, (*DIALECTS, INVENTED))
    attributes = {"zz.kind": "LLM", "zz.model": "gpt-4o-mini", "zz.usage": '{"in":{"total":1200}}'}
    events = [("zz.first", 0.25, {}), ("zz.end", 1.0, {"out": 57})]
    inner = spans_of(attributes, {"zz.kind": "TOOL"}, scope="zz.sdk", events=events)
    outer = spans_of(attributes, scope="zz.sdk", events=events, name="zz outer")
    counted = Increments.merge([Derivation().from_spans(pipeline.process(table)) for table in (inner, outer)])
    sums: dict[str, float] = defaultdict(float)
    for block in counted.blocks:
        # Of a histogram the observations, of a counter what was added.
        sums[block.name] += float(block.values[:, : len(block.bounds) + 1].sum())
    of_calls = (semconv.LLM_REQUESTS, semconv.LLM_COST_REQUESTS, semconv.LLM_REQUEST_DURATION)
    timed = (semconv.LLM_TIME_TO_FIRST_TOKEN, semconv.LLM_OUTPUT_RATE)
    assert [sums[name] for name in (*of_calls, *timed)] == [1.0] * 5
    assert sums[semconv.LLM_TOKENS] == 1257
    assert sums[semconv.LLM_COST] == pytest.approx(0.0002142)
