"""The span pipeline over real telemetry: what it counts is what happened."""

import datetime
import itertools
import json
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from span_tables import CHAT, CONFIG, HERE, SIMULATOR, TRUTH, captured, decoded, one, spans_of

from stackctl import semconv
from stackctl.embedded.columns import Pipeline, holds
from stackctl.embedded.columns.batch import Batch
from stackctl.errors import SettingsInvalid
from stackctl.genai import prices
from stackctl.genai.prices import Usage, cost_of, usage_known
from stackctl.genai.rows import (
    Equals,
    SpanAttr,
)
from stackctl.stack import EngineConfig

# Two instrumentors on one call look alike span by span: what no rule over one span can know (DESIGN section 4).
DOUBLED = "double-openai-v2-and-genai/chat__both_v2_and_genai"
# OpenLIT stamps a first token on calls that are no streams, where it is the whole duration: not a first token.
NO_STREAM = {"openlit-1.45.0/chat"}

REPORTED = {
    "request_model": f"s:{semconv.REQUEST_MODEL}:s",
    "response_model": f"s:{semconv.RESPONSE_MODEL}:s",
    "response_id": f"s:{semconv.RESPONSE_ID}:s",
    "input_tokens": f"s:{semconv.INPUT_TOKENS}:i",
    "output_tokens": f"s:{semconv.OUTPUT_TOKENS}:i",
    "cache_read_tokens": f"s:{semconv.CACHE_READ_TOKENS}:i",
    "cache_write_tokens": f"s:{semconv.CACHE_WRITE_TOKENS}:i",
    "reasoning_tokens": f"s:{semconv.REASONING_TOKENS}:i",
    "error_type": f"s:{semconv.ERROR_TYPE}:s",
}


def run(table: pa.Table, **settings: Any) -> list[dict[str, Any]]:
    """Process a table under settings and return its spans."""
    config = EngineConfig("unused", price_hosts=SIMULATOR, **settings)
    return Pipeline(config).process(table).to_pylist()


# --- captures ---------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", HERE)
def test_a_capture_shows_the_calls_that_happened(name: str) -> None:
    """The accounted spans are the inference calls of the truth, wrappers, HTTP spans and retrieved answers are not."""
    spans = Pipeline(CONFIG).process(decoded(captured(name))).to_pylist()
    accounted = sum(bool(span.get(f"s:{semconv.ACCOUNTED}:b")) for span in spans)
    assert accounted == (2 if name == DOUBLED else TRUTH[name]["inference_calls"])


@pytest.mark.parametrize("name", HERE)
def test_a_capture_reads_as_its_library_reported(name: str) -> None:
    """Models, tokens, stream, first token, finish reason, error and cost are what the file can tell, null elsewhere."""
    spans = {
        f"{span['span_id'] % 2**64:016x}": span
        for span in Pipeline(CONFIG).process(decoded(captured(name))).to_pylist()
    }
    for told in TRUTH[name]["reported"]["inference_spans"]:
        span = spans[told["span_id"]]
        assert {key: span.get(column) for key, column in REPORTED.items()} == {key: told[key] for key in REPORTED}
        assert told["stream"] in (None, span.get(f"s:{semconv.STREAM}:b"))  # more can be known than one key says
        first = None if name in NO_STREAM else told["time_to_first_s"]
        assert span.get(f"s:{semconv.TIME_TO_FIRST_CHUNK}:d") == pytest.approx(first, abs=1e-6)
        reasons = json.loads(span.get(f"s:{semconv.FINISH_REASONS}:s") or "[]")
        assert (reasons[0] if reasons else None) == told["finish_reason"]
        cost = told["cost_usd_from_these_tokens"]
        assert span.get(f"s:{semconv.COST_USD}:d") == (None if cost is None else pytest.approx(float(cost), rel=1e-12))
        assert span[f"s:{semconv.COST_STATUS}:s"] == ("no_usage" if cost is None else "priced")


# --- account ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("attributes", "counted"),
    [
        ({semconv.OPERATION: "chat"}, True),
        ({semconv.OPERATION: "embeddings"}, True),
        ({semconv.OPERATION: "generate_content"}, True),
        ({semconv.OPERATION: "text_completion"}, True),
        ({semconv.OPERATION: "chat", semconv.ERROR_TYPE: "timeout"}, True),
        ({semconv.OPERATION: "chat", semconv.NESTED: True}, False),
        ({semconv.OPERATION: "chat", semconv.NESTED: False}, True),
        ({semconv.OPERATION: "fetch_response"}, False),
        ({semconv.OPERATION: "invoke_agent"}, False),
        ({semconv.OPERATION: "retrieval"}, False),
        ({semconv.INPUT_TOKENS: 10}, False),
        ({semconv.ACCOUNTED: True}, False),
    ],
)
def test_only_leaf_calls_count(attributes: dict[str, Any], counted: bool) -> None:
    """Exactly the four operations count, failed calls too, and no sender can declare a span counted."""
    assert one(attributes).get(f"s:{semconv.ACCOUNTED}:b") is (True if counted else None)


def test_a_muted_scope_does_not_count() -> None:
    """`accounting.exclude_scopes` takes one of two instrumentors out of every total."""
    spans = spans_of({semconv.OPERATION: "chat"}, scope="noisy.scope")
    assert f"s:{semconv.ACCOUNTED}:b" not in run(spans, exclude_scopes=("noisy.scope",))[0]
    assert run(spans, exclude_scopes=("another",))[0][f"s:{semconv.ACCOUNTED}:b"] is True


# --- price ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "priced"),
        ({semconv.SERVER_ADDRESS: "vllm.internal"}, "unpriced"),
        ({semconv.SERVER_ADDRESS: "api.groq.com"}, "unpriced"),
        ({semconv.SERVER_ADDRESS: None}, "priced"),
        ({semconv.SERVER_ADDRESS: None, semconv.PROVIDER: None}, "unpriced"),
        ({semconv.REQUEST_MODEL: "imagined-9"}, "unpriced"),
        ({semconv.REQUEST_MODEL: None}, "unpriced"),
        ({semconv.REQUEST_MODEL: "imagined-9", semconv.RESPONSE_MODEL: "gpt-4o"}, "priced"),
        ({semconv.INPUT_TOKENS: None}, "no_usage"),
        ({semconv.OUTPUT_TOKENS: None}, "no_usage"),
        ({semconv.INPUT_TOKENS: None, semconv.OUTPUT_TOKENS: None}, "no_usage"),
        ({semconv.INPUT_TOKENS: None, semconv.REQUEST_MODEL: "imagined-9"}, "no_usage"),
        ({semconv.INPUT_TOKENS: -5}, "no_usage"),
        ({semconv.INPUT_TOKENS: 9 * 10**18}, "no_usage"),
        ({semconv.OPERATION: "embeddings", semconv.OUTPUT_TOKENS: None}, "priced"),
    ],
)
def test_a_cost_is_priced_or_says_why_not(changes: dict[str, Any], status: str) -> None:
    """Unknown model or host is `unpriced`, unknown tokens are `no_usage`; neither has a cost, let alone zero."""
    attributes = {key: value for key, value in (CHAT | changes).items() if value is not None}
    span = one(attributes)
    assert span[f"s:{semconv.COST_STATUS}:s"] == status
    assert (span.get(f"s:{semconv.COST_USD}:d") is not None) == (status == "priced")


def test_column_sums_agree_with_exact_ones() -> None:
    """For every price of the book and usages around its tiers, float columns equal the decimals, part by part."""
    usages = (
        (1200, 57, 1024, 100),
        (300_000, 900, 1000, 2000),
        (5, 0, 9, 9),
        (200_000, 1, None, None),
        (2_000_001, 7, 3, 0),
    )
    cases = list(itertools.product(prices.shipped().by_key.items(), usages))
    hosts = {provider: provider for provider, _ in prices.shipped().by_key}
    table = _priced_table([(*key, *usage) for (key, _), usage in cases])
    spans = Pipeline(EngineConfig("unused", price_hosts=hosts)).process(table).to_pydict()
    # More cached than sent was not counted as sent: nothing else says so here.
    sent = {usage: sum(usage[:1] + usage[2:]) if usage == (5, 0, 9, 9) else usage[0] for usage in usages}
    exact = [cost_of(Usage(sent[usage], *usage[1:]), price) for (_, price), usage in cases]
    for key, parts in (
        (semconv.COST_USD, [parts.total for parts in exact]),
        (semconv.COST_INPUT_USD, [parts.input for parts in exact]),
        (semconv.COST_CACHE_READ_USD, [parts.cache_read for parts in exact]),
        (semconv.COST_CACHE_WRITE_USD, [parts.cache_write for parts in exact]),
        (semconv.COST_OUTPUT_USD, [parts.output for parts in exact]),
    ):
        got = np.array([value or 0.0 for value in spans[f"s:{key}:d"]])
        np.testing.assert_allclose(got, np.array([float(part) for part in parts]), rtol=1e-12, atol=0)


def _priced_table(calls: list[tuple[str, str, int, int, int | None, int | None]]) -> pa.Table:
    """Spans of calls: provider as address, model, and tokens in, out, read from and written to a cache."""
    keys = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS)
    addresses, models, *tokens = zip(*calls, strict=True)
    core = spans_of({semconv.OPERATION: "chat"}).take(pa.array([0] * len(calls)))
    core = core.append_column(f"s:{semconv.SERVER_ADDRESS}:s", pa.array(addresses))
    core = core.append_column(f"s:{semconv.RESPONSE_MODEL}:s", pa.array(models))
    for key, column in zip(keys, tokens, strict=True):
        core = core.append_column(f"s:{key}:i", pa.array(column, pa.int64()))
    return core


def test_the_exact_sum_knows_the_same_gaps() -> None:
    """`usage_known` tells a client what the pipeline will call no_usage."""
    price = prices.shipped().find("openai", "gpt-4o-mini")
    assert price is not None
    assert usage_known(Usage(1, 1), price)
    assert not usage_known(Usage(1, None), price)
    assert not usage_known(Usage(None, 1), price)
    assert usage_known(Usage(1, None), price, embeddings=True)


def test_parts_that_were_not_sent_are_unknown() -> None:
    """Without cached tokens in the telemetry there is no cache part, and the parts add up to the cost."""
    span = one(CHAT)
    assert f"s:{semconv.COST_CACHE_READ_USD}:d" not in span
    parts = [span[f"s:{key}:d"] for key in (semconv.COST_INPUT_USD, semconv.COST_OUTPUT_USD)]
    assert sum(parts) == pytest.approx(span[f"s:{semconv.COST_USD}:d"], rel=1e-15)
    assert span[f"s:{semconv.PRICED_PROVIDER}:s"] == "openai"
    assert span[f"s:{semconv.PRICED_MODEL}:s"] == "gpt-4o-mini"


def test_a_sender_cannot_choose_its_cost() -> None:
    """Attributes under our derived names are replaced, in whatever type they come."""
    span = one(CHAT | {semconv.COST_USD: 99.0, semconv.COST_STATUS: "priced", semconv.OUTPUT_RATE: 5})
    assert span[f"s:{semconv.COST_USD}:d"] == pytest.approx(0.0002142)
    assert f"s:{semconv.OUTPUT_RATE}:i" not in span
    unknown = one(CHAT | {semconv.REQUEST_MODEL: "imagined", semconv.COST_USD: "99"})
    assert not any(name.startswith(f"s:{semconv.COST_USD}") for name in unknown)


# --- derive -----------------------------------------------------------------------------------------------------------
STREAMED = CHAT | {semconv.STREAM: True, semconv.TIME_TO_FIRST_CHUNK: 0.5, semconv.REASONING_TOKENS: 6}


@pytest.mark.parametrize(
    ("changes", "rate"),
    [
        ({}, 100.0),
        ({semconv.REASONING_TOKENS: None}, 112.0),
        ({semconv.STREAM: False}, None),
        ({semconv.STREAM: None}, 100.0),
        ({semconv.TIME_TO_FIRST_CHUNK: None}, None),
        ({semconv.TIME_TO_FIRST_CHUNK: 0.9995}, None),
        ({semconv.TIME_TO_FIRST_CHUNK: 2.0}, None),
        ({semconv.OUTPUT_TOKENS: 7}, None),
        ({semconv.OUTPUT_TOKENS: 8}, 2.0),
        ({semconv.OUTPUT_TOKENS: None}, None),
        ({semconv.API_TYPE: "responses"}, None),
        ({semconv.OPERATION: "invoke_agent"}, None),
    ],
)
def test_the_output_rate_is_of_visible_tokens_after_the_first(changes: dict[str, Any], rate: float | None) -> None:
    """(output - reasoning - 1) / (duration - first), only for streamed calls with something left to measure."""
    attributes = {key: value for key, value in (STREAMED | changes).items() if value is not None}
    assert one(attributes, seconds=1.0).get(f"s:{semconv.OUTPUT_RATE}:d") == (
        None if rate is None else pytest.approx(rate)
    )


def test_utilization_is_the_share_of_the_models_window() -> None:
    """Input tokens over the context window of the priced model; nothing where either is unknown."""
    assert one(CHAT)[f"s:{semconv.CONTEXT_UTILIZATION}:d"] == pytest.approx(1200 / 128_000)
    unknown = {key: value for key, value in CHAT.items() if key != semconv.INPUT_TOKENS}
    assert f"s:{semconv.CONTEXT_UTILIZATION}:d" not in one(unknown)


BROKEN = {
    semconv.OPERATION: "chat",
    semconv.PROVIDER: "openai",
    semconv.STREAM: True,
    semconv.TIME_TO_FIRST_CHUNK: 0.1,
}


@pytest.mark.parametrize(
    ("changes", "incomplete"),
    [
        ({}, True),
        ({semconv.STREAM: None}, True),  # a first chunk is a stream
        ({semconv.TIME_TO_FIRST_CHUNK: None}, True),  # it ended well and brought nothing
        ({semconv.ERROR_TYPE: "openai.APIConnectionError"}, True),
        ({semconv.ERROR_TYPE: "openai.RateLimitError", semconv.TIME_TO_FIRST_CHUNK: None}, False),
        ({semconv.FINISH_REASONS: []}, True),
        ({semconv.FINISH_REASONS: [""]}, True),
        ({semconv.FINISH_REASONS: ["error"]}, True),
        ({semconv.FINISH_REASONS: ["stop"]}, False),
        ({semconv.FINISH_REASONS: ["length", ""]}, False),
        ({semconv.OUTPUT_TOKENS: 3}, False),
        ({semconv.INPUT_TOKENS: 1200}, False),
        ({semconv.INPUT_TOKENS: 0, semconv.OUTPUT_TOKENS: 0}, True),
        ({semconv.STREAM: False, semconv.TIME_TO_FIRST_CHUNK: None}, False),
        ({semconv.OPERATION: "invoke_agent"}, False),
    ],
)
def test_a_stream_without_an_end_is_incomplete(changes: dict[str, Any], incomplete: bool) -> None:
    """A stream that began and brought neither finish reason nor usage is told, whatever status its span has."""
    attributes = {key: value for key, value in (BROKEN | changes).items() if value is not None}
    assert one(attributes).get(f"s:{semconv.STREAM_INCOMPLETE}:b") is (True if incomplete else None)


def test_the_first_text_stands_for_the_first_chunk() -> None:
    """What `stackctl run` stamps replaces a first chunk without text, and makes a first token of the Responses API."""
    attributes = STREAMED | {semconv.API_TYPE: "responses", semconv.TIME_TO_FIRST_TEXT: 0.75}
    span = one(attributes, seconds=1.25)
    assert span[f"s:{semconv.TIME_TO_FIRST_CHUNK}:d"] == 0.75
    assert span[f"s:{semconv.OUTPUT_RATE}:d"] == pytest.approx(100.0)


def test_a_library_that_never_tells_the_end_is_not_accused() -> None:
    """openai-v2 gives no stream a finish reason: without usage it is a stream, whole or not, and nobody can know."""
    span = one({semconv.OPERATION: "chat", "gen_ai.system": "openai"}, scope="opentelemetry.instrumentation.openai_v2")
    assert span[f"s:{semconv.STREAM}:b"] is True
    assert f"s:{semconv.STREAM_INCOMPLETE}:b" not in span


# --- failures and settings --------------------------------------------------------------------------------------------
def test_a_span_that_a_rule_fails_on_is_lost_and_counted() -> None:
    """What cannot be processed is neither stored nor counted, says so, and takes no neighbour with it."""
    pipeline = Pipeline(CONFIG)
    table = spans_of(
        *({semconv.OPERATION: "chat", semconv.USER_ID: str(number)} for number in range(9)), events=[("e", 0, {})]
    )
    events = table.column("events").to_pylist()
    events[4] = "[not json"
    broken = table.set_column(table.column_names.index("events"), "events", pa.array(events, pa.string()))
    left = pipeline.process(broken).to_pylist()
    assert [span[f"s:{semconv.USER_ID}:s"] for span in left] == [str(number) for number in range(9) if number != 4]
    assert pipeline.lost == 1


def test_an_empty_table_stays_empty() -> None:
    """A batch of nothing is no error."""
    assert Pipeline(CONFIG).process(spans_of(CHAT).slice(0, 0)).num_rows == 0


def test_a_bad_pattern_of_the_user_is_an_error_by_name() -> None:
    """A pattern that RE2 does not accept fails the start, with what to do."""
    with pytest.raises(SettingsInvalid, match="allow_keys"):
        Pipeline(EngineConfig("unused", allow_keys=("a(",)))


def test_batches_do_not_change_each_other() -> None:
    """Spans processed together read as those processed one by one."""
    names = [name for name in HERE if "stream" in name][:6]
    together = Pipeline(CONFIG).process(decoded(*map(captured, names))).to_pylist()
    alone = [span for name in names for span in Pipeline(CONFIG).process(decoded(captured(name))).to_pylist()]
    known = [{key: value for key, value in span.items() if value is not None} for span in together]
    assert known == [{key: value for key, value in span.items() if value is not None} for span in alone]


def test_conditions_see_changes() -> None:
    """A condition judged before a column changed is judged again."""
    batch = Batch(spans_of({semconv.OPERATION: "chat"}))
    condition = Equals(SpanAttr(semconv.OPERATION), ("embeddings",))
    assert not holds(condition, batch)[0]
    batch.put(f"s:{semconv.OPERATION}:s", pa.array(["embeddings"]))
    assert holds(condition, batch)[0]


def test_prices_are_those_of_the_day_in_the_book() -> None:
    """The captures' cost is exact only while the book knows the model at its list price."""
    price = prices.shipped().find("openai", "gpt-4o-mini")
    assert price is not None
    assert (price.rates.input, price.rates.cache_read, price.rates.output) == (
        Decimal("0.15"),
        Decimal("0.075"),
        Decimal("0.6"),
    )
    assert datetime.date.fromisoformat(prices.shipped().date) >= datetime.date(2026, 11, 1)
