"""Deriving the catalogue: counted by columns, the same as counted span by span."""

import math
import random
from collections import defaultdict
from typing import Any

import pyarrow as pa
import pytest

from stackctl import semconv
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.series.increments import Increments
from stackctl.genai.metrics import BY_NAME, SECONDS

ARRIVAL = 1_700_000_000_000
TYPES = {str: ("s", pa.string()), int: ("i", pa.int64()), float: ("d", pa.float64()), bool: ("b", pa.bool_())}
CALL = {
    "r:service.name": "shop",
    "s:stackctl.accounted": True,
    "s:gen_ai.operation.name": "chat",
    "s:gen_ai.provider.name": "openai",
    "s:gen_ai.request.model": "gpt-4o-mini",
}


@pytest.fixture(scope="module")
def derivation() -> Derivation:
    return Derivation(extra_models=("house-model",))


def table(*spans: dict[str, Any]) -> pa.Table:
    """Spans as a SpanTable: keys with `s:` or `r:` are attributes, others columns."""
    core = {"tid_hi": 7, "tid_lo": 8, "start_ns": 10**18, "dur_ns": 10**9, "arrival_ms": ARRIVAL}
    rows = [core | span for span in spans]
    columns: dict[str, pa.Array] = {}
    for key in {key: None for row in rows for key in row}:
        kinds = {type(row[key]) for row in rows if row.get(key) is not None}
        for kind in kinds:
            letter, arrow = TYPES[kind]
            values = [row.get(key) if type(row.get(key)) is kind else None for row in rows]
            columns[f"{key}:{letter}" if ":" in key else key] = pa.array(values, arrow)
    return pa.table(columns)


def counted(increments: Increments, name: str, *labels: str) -> dict[tuple[str, ...], list[float]]:
    """Values of one metric by some of its labels; of a histogram each bucket, then the sum."""
    found: dict[tuple[str, ...], list[float]] = {}
    for block in increments.blocks:
        if block.name == name:
            for one, values in zip(block.labels, block.values.tolist(), strict=True):
                key = tuple(dict(one).get(label, "") for label in labels)
                assert key not in found
                found[key] = values
    return found


def summed(increments: Increments, name: str, *labels: str) -> dict[tuple[str, ...], list[float]]:
    """As `counted`, added up over the labels that are not asked for."""
    found: dict[tuple[str, ...], list[float]] = {}
    for block in increments.blocks:
        if block.name == name:
            for one, values in zip(block.labels, block.values.tolist(), strict=True):
                key = tuple(dict(one).get(label, "") for label in labels)
                found[key] = [a + b for a, b in zip(found.get(key, [0.0] * len(values)), values, strict=True)]
    return found


def random_span(rng: random.Random) -> dict[str, Any]:
    accounted = rng.random() < 0.6
    span = {
        "dur_ns": rng.randrange(-5, 10**10),
        "r:service.name": rng.choice(["shop", "search"]),
        "r:service.instance.id": rng.choice(["1", "2", None]),
        "s:stackctl.accounted": True if accounted else None,
        "s:gen_ai.operation.name": "chat" if accounted else "invoke_agent",
        "s:gen_ai.request.model": rng.choice(["gpt-4o", "gpt-4o-mini", "nobody-knows-me", None]),
        "s:error.type": rng.choice(["timeout", "", None]),
        "s:gen_ai.usage.input_tokens": rng.choice([0, 7, 12_345, None]),
        "s:gen_ai.usage.output_tokens": rng.choice([3, None]),
        "s:stackctl.cost.status": rng.choice(["priced", "unpriced"]),
        "s:stackctl.cost.input_usd": rng.random(),
        "s:gen_ai.response.time_to_first_chunk": rng.choice([0.006, 0.5, math.nan, None]),
        "s:gen_ai.request.stream": rng.choice([True, False, None]),
    }
    return {key: value for key, value in span.items() if value is not None}


def test_columns_count_what_span_by_span_counts(derivation: Derivation) -> None:
    """Over random spans every total is the sum that a plain loop over the spans gives."""
    rng = random.Random(4)
    spans = [random_span(rng) for _ in range(700)]
    increments = Increments.merge([derivation.from_spans(table(*spans[at : at + 100])) for at in range(0, 700, 100)])
    calls: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0])
    tokens: dict[tuple[str, ...], list[float]] = defaultdict(lambda: [0.0])
    cost: dict[tuple[str, ...], float] = defaultdict(float)
    first: dict[tuple[str, ...], float] = defaultdict(float)
    for span in spans:
        if not span.get("s:stackctl.accounted"):
            continue
        service = span["r:service.name"]
        model = span.get("s:gen_ai.request.model", "")
        model = "other" if model == "nobody-knows-me" else model
        calls[service, span.get("r:service.instance.id", ""), model, span.get("s:error.type", "")][0] += 1
        for kind in ("input", "output"):
            if f"s:gen_ai.usage.{kind}_tokens" in span:
                tokens[service, kind][0] += span[f"s:gen_ai.usage.{kind}_tokens"]
        if span["s:stackctl.cost.status"] == "priced":
            cost[(service,)] += span["s:stackctl.cost.input_usd"]
        stamped = span.get("s:gen_ai.response.time_to_first_chunk", math.nan)
        if span.get("s:gen_ai.request.stream") is not False and stamped == stamped:
            first[(service,)] += 1
    labels = ("service_name", "instance", "gen_ai_request_model", "error_type")
    assert counted(increments, semconv.LLM_REQUESTS, *labels) == calls
    assert summed(increments, semconv.LLM_TOKENS, "service_name", "gen_ai_token_type") == tokens
    paid = {key: value for key, (value,) in summed(increments, semconv.LLM_COST, "service_name").items()}
    assert paid == pytest.approx(dict(cost), rel=1e-12)
    waits = summed(increments, semconv.LLM_TIME_TO_FIRST_TOKEN, "service_name")
    assert {key: sum(values[:-1]) for key, values in waits.items()} == first


def test_an_observation_on_a_bound_is_within_its_bucket(derivation: Derivation) -> None:
    """`le` means less or equal, as in Prometheus."""
    spans = [CALL | {"dur_ns": round(bound * 1e9)} for bound in (0.1, 1.0)] + [CALL | {"dur_ns": 10**12}]
    (values,) = counted(derivation.from_spans(table(*spans)), semconv.LLM_REQUEST_DURATION).values()
    assert [at for at, value in enumerate(values[:-1]) if value] == [
        SECONDS.index(0.1),
        SECONDS.index(1.0),
        len(SECONDS),
    ]
    assert values[-1] == pytest.approx(1001.1)


def test_values_that_are_no_numbers_spoil_no_counter(derivation: Derivation) -> None:
    """NaN, infinity and negative money add nothing, and the calls still count."""
    spans = [
        CALL | {"s:stackctl.cost.status": "priced", "s:stackctl.cost.output_usd": cost}
        for cost in (math.nan, math.inf, -1.0, 0.25)
    ]
    increments = derivation.from_spans(table(*spans))
    assert list(counted(increments, semconv.LLM_COST).values()) == [[0.25]]
    assert list(counted(increments, semconv.LLM_REQUESTS).values()) == [[4.0]]


def test_known_zero_is_a_series_and_unknown_is_none(derivation: Derivation) -> None:
    """Zero cached tokens are a fact and make a series at zero; tokens nobody reported make none."""
    span = CALL | {"s:gen_ai.usage.cache_read.input_tokens": 0}
    increments = derivation.from_spans(table(span))
    assert counted(increments, semconv.LLM_TOKEN_DETAILS, "gen_ai_token_type") == {("cache_read",): [0.0]}
    assert counted(increments, semconv.LLM_TOKENS) == {}


def test_labels_that_senders_choose_are_bounded(derivation: Derivation) -> None:
    """Models that neither the price book nor the setting knows are one series, and prose is no label."""
    models = ["gpt-4o-mini-2024-07-18", "house-model", "m1", "m2"]
    spans = [CALL | {"s:gen_ai.request.model": model, "s:error.type": "what a day it was! " * 20} for model in models]
    found = counted(derivation.from_spans(table(*spans)), semconv.LLM_REQUESTS, "gen_ai_request_model", "error_type")
    assert found == {
        ("gpt-4o-mini-2024-07-18", "other"): [1.0],
        ("house-model", "other"): [1.0],
        ("other", "other"): [2.0],
    }


@pytest.mark.parametrize(
    ("resource", "job", "instance"),
    [
        ({"r:service.name": "shop"}, "shop", ""),
        ({"r:service.name": "shop", "r:service.namespace": "eu"}, "eu/shop", ""),
        ({"r:service.name": "shop", "r:service.instance.id": "i-1"}, "shop", "i-1"),
        ({"r:service.name": None, "r:service.namespace": "eu"}, "", ""),
    ],
)
def test_job_and_instance_are_prometheus_own(
    derivation: Derivation, resource: dict[str, Any], job: str, instance: str
) -> None:
    """Derived series carry the labels by which Prometheus' OTLP receiver tells senders apart."""
    span = {key: value for key, value in (CALL | resource).items() if value is not None}
    assert counted(derivation.from_spans(table(span)), semconv.LLM_REQUESTS, "job", "instance") == {
        (job, instance): [1.0]
    }


def test_exemplars_point_at_the_span_that_was_observed(derivation: Derivation) -> None:
    """Each bucket that was hit keeps one trace, of the series and with the value that it was."""
    spans = [
        CALL | {"r:service.name": f"s{at % 2}", "dur_ns": at * 10**9, "tid_hi": at, "tid_lo": -1} for at in range(1, 9)
    ]
    increments = derivation.from_spans(table(*spans))
    (block,) = [one for one in increments.blocks if one.name == semconv.LLM_REQUEST_DURATION]
    found = [(*divmod(int(one["place"]), block.width), one) for one in block.exemplars]
    assert len({bucket for _, bucket, _ in found}) == len(found) > 3
    for row, bucket, one in found:
        assert one["value"] == one["tid_hi"]
        assert dict(block.labels[row])["service_name"] == f"s{one['tid_hi'] % 2}"
        assert block.values[row, bucket] > 0


def test_the_same_kinds_of_spans_make_the_same_outline(derivation: Derivation) -> None:
    """Whoever has seen an outline knows it again, whichever span comes first and whatever the spans are named."""
    rng = random.Random(7)
    spans = [random_span(rng) for _ in range(40)]
    outlines = set()
    for run in range(5):
        rng.shuffle(spans)
        named = [span | {"name": f"call {run} {number}"} for number, span in enumerate(spans)]
        outlines.add(derivation.from_spans(table(*named)).outline)
    assert len(outlines) == 1
    assert Derivation(extra_models=("house-model",)).from_spans(table(*spans)).outline.encoded == outlines.pop().encoded


def test_evaluations_are_counted_by_name_and_label(derivation: Derivation) -> None:
    """A verdict counts, its score is observed, and one that failed has an error type and no score."""
    records = pa.table(
        {
            "tid_hi": [1, 2, 3],
            "tid_lo": [1, 2, 3],
            "arrival_ms": [ARRIVAL, ARRIVAL - 5, ARRIVAL],
            "name": ["hallucination"] * 3,
            "score": pa.array([1.0, 0.3, None], pa.float64()),
            "label": pa.array(["grounded", "hallucinated", None], pa.string()),
            "error_type": pa.array([None, None, "timeout"], pa.string()),
            "r:service.name:s": ["shop"] * 3,
        }
    )
    increments = derivation.from_evaluations(records)
    assert increments.arrival_ms == ARRIVAL - 5
    assert counted(increments, semconv.LLM_EVALUATIONS, "gen_ai_evaluation_score_label", "error_type") == {
        ("grounded", ""): [1.0],
        ("hallucinated", ""): [1.0],
        ("", "timeout"): [1.0],
    }
    scores = summed(increments, semconv.LLM_EVALUATION_SCORE)[()]
    assert (sum(scores[:-1]), scores[-1]) == (2.0, 1.3)


def test_nothing_is_derived_from_nothing(derivation: Derivation) -> None:
    """An empty batch, and one without a call, add nothing."""
    assert not derivation.from_spans(table(CALL).slice(0, 0))
    assert not derivation.from_spans(table({"r:service.name": "shop", "s:gen_ai.operation.name": "invoke_agent"}))


def test_rows_of_one_name_are_one_kind() -> None:
    """A metric whose rows differed in kind or bounds could not be one family."""
    for rows in BY_NAME.values():
        assert len({(row.kind, row.bounds, row.unit) for row in rows}) == 1
        assert list(rows[0].bounds) == sorted(set(rows[0].bounds))
