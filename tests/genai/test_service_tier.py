"""Calls of a service tier cost what a row of that tier says, never the list price without a word."""

from decimal import Decimal
from typing import Any

import pytest
from span_store import Given, otlp_request

from stackctl import semconv
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.genai.prices import shipped, tier_of
from stackctl.stack import EngineConfig, OwnPrice

FLEX = OwnPrice("openai", "gpt-4o-mini:flex", "0.075", "0.3")
PRIORITY = OwnPrice("openai", "gpt-4o-mini-2024-07-18:priority", "1", "2")
LIST, OF_FLEX, OF_PRIORITY = ("gpt-4o-mini", 0.00021), ("gpt-4o-mini:flex", 0.000105), (PRIORITY.model, 0.0012)
UNPRICED = (None, None)
_RESPONSE, _REQUEST = semconv.RESPONSE_TIER, semconv.REQUEST_TIER
# What a library sends of the tier, and the row and the money that follow.
CALLS: tuple[tuple[dict[str, Any], tuple[str | None, float | None]], ...] = (
    ({}, LIST),
    *(({_RESPONSE: tier}, LIST) for tier in ("default", "auto", "standard", "on_demand", "Default", "")),
    *(({_REQUEST: tier}, LIST) for tier in ("default", "auto", "standard_only")),
    ({_RESPONSE: "flex"}, OF_FLEX),
    ({_RESPONSE: "FLEX"}, OF_FLEX),
    ({_RESPONSE: "priority"}, OF_PRIORITY),
    ({_RESPONSE: "batch"}, UNPRICED),
    ({_RESPONSE: "scale"}, UNPRICED),
    ({_REQUEST: "batch"}, UNPRICED),
    # What was asked for is not always granted.
    ({_REQUEST: "priority", _RESPONSE: "default"}, LIST),
    ({_REQUEST: "default", _RESPONSE: "flex"}, OF_FLEX),
    ({_REQUEST: "flex", _RESPONSE: ""}, OF_FLEX),
    # What no row can be called, and what looks like the end of one.
    ({_RESPONSE: "fl,ex"}, UNPRICED),
    ({_RESPONSE: "flex,openai,0,0,0,0"}, UNPRICED),
    ({_RESPONSE: "flex\nx"}, UNPRICED),
    # The names of older conventions, and of libraries that follow none.
    ({"gen_ai.openai.response.service_tier": "flex"}, OF_FLEX),
    ({"gen_ai.openai.request.service_tier": "flex", "gen_ai.openai.response.service_tier": "default"}, LIST),
    ({"gen_ai.request.service_tier": "flex"}, OF_FLEX),
    ({"gen_ai.response.service_tier": "batch"}, UNPRICED),
    ({"llm.invocation_parameters": '{"service_tier": "flex", "model": "gpt-4o-mini"}'}, OF_FLEX),
    (
        {
            "llm.invocation_parameters": '{"service_tier": "flex"}',
            "output.value": '{"id": "x", "service_tier": "default"}',
        },
        LIST,
    ),
)


def body() -> bytes:
    """One request with a span for each of the calls, numbered from 1."""
    of_all = {
        semconv.OPERATION: "chat",
        semconv.PROVIDER: "openai",
        semconv.SERVER_ADDRESS: "api.openai.com",
        semconv.REQUEST_MODEL: "gpt-4o-mini",
        semconv.RESPONSE_MODEL: "gpt-4o-mini-2024-07-18",
        semconv.INPUT_TOKENS: 1000,
        semconv.OUTPUT_TOKENS: 100,
    }
    return otlp_request([Given(n, n, 0, "chat m", n, attributes=of_all | sent) for n, (sent, _) in enumerate(CALLS, 1)])


def as_priced(rows: list[dict[str, Any]]) -> list[tuple[str | None, float | None, str]]:
    """Return each span's price row, cost and status, by its number."""
    keys = (f"s:{semconv.PRICED_MODEL}:s", f"s:{semconv.COST_USD}:d", f"s:{semconv.COST_STATUS}:s")
    return [tuple(row.get(key) for key in keys) for row in sorted(rows, key=lambda row: row["span_id"])]  # type: ignore[misc]


def check(rows: list[dict[str, Any]]) -> None:
    """Assert that each call was priced as it should have been."""
    found = as_priced(rows)
    assert len(found) == len(CALLS)
    for (sent, (model, cost)), (found_model, found_cost, status) in zip(CALLS, found, strict=True):
        assert (found_model, status) == (model, "priced" if model else "unpriced"), sent
        assert found_cost == (cost and pytest.approx(cost, rel=1e-12)), sent


def test_a_tier_has_a_price_of_its_own_or_none() -> None:
    """The tier that answered, else the one asked for, finds its own row; without one the call is unpriced."""
    config = EngineConfig("unused", price_rows=(FLEX, PRIORITY))
    check(Pipeline(config).process(decode.spans([body()], 0)).to_pylist())


def test_a_plain_row_of_the_users_is_no_price_of_a_tier() -> None:
    """A row for the model, and one for the tier of another, leave the call without a price."""
    book = shipped().with_own([OwnPrice("openai", "gpt-4o-mini", "1"), OwnPrice("openai", "gpt-4o:flex", "1")])
    assert book.find("openai", "gpt-4o-mini", tier="flex") is None
    assert book.find("openai", "nobody", "gpt-4o-2024-08-06", tier="flex") is book.own["openai", "gpt-4o:flex"]


def test_a_router_that_spells_the_tier_in_the_model_has_its_row() -> None:
    """OpenRouter's variants are rows already, in the spelling that tiers are looked up by."""
    price = shipped().find("openrouter", "anthropic/claude-haiku-4.5", tier="batch")
    assert price is not None
    assert price.rates.input * 2 == shipped().by_key["openrouter", "anthropic/claude-haiku-4.5"].rates.input
    assert price.rates.input == Decimal("0.5")


def test_the_granted_tier_is_billed() -> None:
    """The response's tier decides, and those of the list price are no tier."""
    assert (tier_of("default", "flex"), tier_of(None, "Flex"), tier_of("", "flex"), tier_of(None, None)) == (
        "",
        "flex",
        "flex",
        "",
    )
