"""The demo's own count, and its comparison with the stack's totals."""

from decimal import Decimal

import pytest

from stackctl.demo.calls import Call
from stackctl.demo.convergence import differences, expected
from stackctl.demo.tally import output_rate, quantiles, tally
from stackctl.evals import Result
from stackctl.genai.prices import shipped

CALLS = (
    Call("chat", "gpt-4o-mini", True, "gpt-4o-mini-2024-07-18", 1000, 100, 400, None, 0, None, 0.5, 1.5),
    Call("chat", "acme-reasoner-1", False, "acme-reasoner-1", 500, 50, 0, None, 20),
    Call("chat", "gpt-4.1", True, error="RateLimitError"),
    Call("chat", "gpt-4.1", True, "gpt-4.1-2025-04-14", first_token_seconds=0.4, seconds=2.0),
    Call("embeddings", "text-embedding-3-small", False, "text-embedding-3-small", 1000),
)
RESULTS = (
    Result("hallucination", 1.0, "hallucinated"),
    Result("hallucination", 0.0, "grounded"),
    Result("relevance", 0.9, "relevant"),
)
TALLY = tally(CALLS, RESULTS, shipped(), "openai")


def test_what_is_unknown_is_counted_as_such_and_never_as_zero():
    """A model without a price is unpriced, a call without usage is no_usage, and neither adds to cost."""
    assert TALLY.statuses == {"priced": 2, "unpriced": 1, "no_usage": 2}
    assert (TALLY.calls, TALLY.errors) == (5, 1)


def test_tokens_and_cost_are_exact():
    """600 full and 400 cached input tokens, 100 output tokens of gpt-4o-mini, and 1000 embedded ones, at list price."""
    assert TALLY.tokens == {"input": 2500, "output": 150, "cache_read": 400, "cache_write": 0, "reasoning": 20}
    per_million = 600 * Decimal("0.15") + 400 * Decimal("0.075") + 100 * Decimal("0.60") + 1000 * Decimal("0.02")
    assert TALLY.cost_usd == per_million / 1_000_000


def test_an_endpoint_of_nobodys_is_not_priced():
    """Where no provider is known, every call with usage is unpriced."""
    assert tally(CALLS, (), shipped(), None).statuses == {"priced": 0, "unpriced": 3, "no_usage": 2}


def test_output_speed_is_of_visible_tokens_after_the_first():
    """100 tokens, the first after half a second, the last after one and a half: 99 a second."""
    assert output_rate(CALLS[0]) == pytest.approx(99.0)
    assert output_rate(CALLS[1]) is None


def test_quantiles_of_nothing_are_unknown():
    """No streamed call, no time to first token; else linear interpolation."""
    assert quantiles(()) == {"p50": None, "p95": None}
    assert quantiles((1.0, 2.0, 3.0)) == {"p50": 2.0, "p95": pytest.approx(2.9)}


def test_only_what_the_run_added_is_compared():
    """Totals from before count for nothing, and equal growth has no difference."""
    before = dict.fromkeys(expected(TALLY), 1000.0)
    after = {key: 1000.0 + float(value) for key, value in expected(TALLY).items()}
    assert differences(TALLY, before, after) == []


@pytest.mark.parametrize(
    ("key", "change", "line"),
    [
        (("llm_requests_total", ()), -1.0, "llm_requests_total: expected 5, got 4"),
        (("llm_tokens_total", ("input",)), 1.0, "llm_tokens_total{input}: expected 2500, got 2501"),
        (("llm_cost_usd_total", ("output",)), 2e-9, "llm_cost_usd_total{output}: expected 6e-05, got 6.0002e-05"),
        (("llm_token_details_total", ("cache_write",)), 3.0, "llm_token_details_total{cache_write}: expected 0, got 3"),
    ],
)
def test_a_difference_names_metric_expected_and_got(key, change, line):
    """One call, one token, two billionths of a dollar or a type that should not be there: each is told."""
    after = {name: float(value) for name, value in expected(TALLY).items()}
    after[key] = after.get(key, 0.0) + change
    assert differences(TALLY, {}, after) == [line]
