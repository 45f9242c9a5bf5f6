"""The price book against the library that it is made from, and the rules by which a price is found."""

import datetime
import functools
from decimal import Decimal
from pathlib import Path

import pytest
from genai_prices import Usage as TheirUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from stackctl.errors import SettingsInvalid
from stackctl.genai import generate_prices, prices
from stackctl.genai.prices import CELL, HOSTS, Price, PriceBook, Rates, Usage, cost_of, provider_of, shipped, spellings
from stackctl.settings import load
from stackctl.stack import hosts_of

BOOK = shipped()
DAY = datetime.date.fromisoformat(BOOK.date)
NOON = datetime.datetime.combine(DAY, datetime.time(12), datetime.UTC)
# input, output, cache read, cache write: ordinary, beyond every tier, cached to the last token, written only, huge.
USAGES = (
    (1200, 57, 1024, 100),
    (300_000, 1_000, 100_000, 50_000),
    (7, 0, 0, 0),
    (150_000, 3, 0, 140_000),
    (2_000_000, 9, 1, 0),
)


@pytest.mark.parametrize("usage", USAGES)
def test_every_row_costs_what_genai_prices_says(usage: tuple[int, int, int, int]) -> None:
    """For each provider and name in the book, the exact sum equals genai-prices' own, however it matches the name."""
    sent, received, read, written = usage
    theirs = TheirUsage(input_tokens=sent, output_tokens=received, cache_read_tokens=read, cache_write_tokens=written)
    ours = Usage(sent, received, read, written)
    wrong = []
    for (provider, model), price in BOOK.by_key.items():
        want = calc_price(theirs, model_ref=model, provider_id=provider, genai_request_timestamp=NOON).total_price
        if cost_of(ours, price).total != want:
            wrong.append((provider, model, cost_of(ours, price).total, want))
    assert not wrong


def test_a_name_is_priced_as_genai_prices_matches_it() -> None:
    """Every name that genai-prices lists for a provider finds the price that genai-prices finds for it."""
    everyone = get_snapshot().providers
    wrong = []
    for provider in everyone:
        for model in provider.models:
            price = BOOK.find(provider.id, model.id)
            if price is None:
                continue
            found = provider.find_model(model.id, all_providers=everyone).get_prices(NOON)
            if price.rates.input != getattr(found.input_mtok, "base", found.input_mtok):
                wrong.append((provider.id, model.id, price.rates.input, found.input_mtok))
    assert not wrong


def test_the_call_of_the_captures_costs_what_it_should() -> None:
    """1200 tokens in, 1024 of them cached and 100 written (which OpenAI bills as ordinary), 57 out: 0.0001374 USD."""
    price = BOOK.find("openai", "gpt-4o-mini-2024-07-18")
    assert price is not None
    parts = cost_of(Usage(1200, 57, 1024, 100), price)
    assert parts.total == Decimal("0.0001374")
    assert parts.cache_write == 0
    assert parts.input == Decimal("0.0000264")


def test_cached_tokens_without_their_own_price_are_ordinary() -> None:
    """A missing cache price never makes cached tokens free."""
    price = Price("p", "m", Rates(Decimal(2), None, None, Decimal(4)))
    assert cost_of(Usage(1000, 0, 900, 50), price).total == Decimal("0.002")


def test_a_tier_applies_to_all_tokens_beyond_its_start() -> None:
    """At the start of a tier the lower rate holds, one token more and the whole call pays the higher one."""
    price = Price(
        "p", "m", Rates(Decimal(1), None, None, Decimal(1)), ((100, Rates(Decimal(3), None, None, Decimal(5))),)
    )
    assert cost_of(Usage(100, 10), price).total == Decimal("0.00011")
    assert cost_of(Usage(101, 10), price).total == Decimal("0.000353")


@pytest.mark.parametrize(
    ("address", "provider"),
    [
        ("api.openai.com", "openai"),
        ("https://api.openai.com/v1", "openai"),
        ("eu.api.openai.com", "openai"),
        ("my-resource.openai.azure.com", "azure"),
        ("api.groq.com", "groq"),
        ("api.anthropic.com", "anthropic"),
        ("api.deepseek.com", "deepseek"),
        ("api.mistral.ai", "mistral"),
        ("openrouter.ai", "openrouter"),
        ("api.x.ai", "x-ai"),
        ("generativelanguage.googleapis.com", "google"),
        ("us-central1-aiplatform.googleapis.com", "google"),
        ("api.together.xyz", "together"),
        ("api.fireworks.ai", "fireworks"),
        ("api.perplexity.ai", "perplexity"),
        ("bedrock-runtime.eu-west-1.amazonaws.com", "aws"),
        ("127.0.0.1", None),
        ("vllm.internal", None),
        ("api.openai.com.evil.example", None),
    ],
)
def test_the_address_tells_the_provider(address: str, provider: str | None) -> None:
    """Every compatible server is called `openai`; its address says whose prices apply, and an unknown one nobody's."""
    assert provider_of(address, "openai", {}) == provider


def test_settings_map_addresses_with_and_without_a_port() -> None:
    """`prices.hosts` rows come first, the one with a port before the one without."""
    hosts = {"localhost": "openai", "localhost:8000": "groq"}
    assert provider_of("localhost", None, hosts, 8000) == "groq"
    assert provider_of("localhost", None, hosts, 9000) == "openai"
    assert provider_of("http://localhost:8000/v1", None, hosts) == "groq"


# Addresses and ports as spans carry them, and whose prices they bill by the rows above them.
HOSTS_OF_THE_USER = {"::1": "openai", "[::1]:8000": "azure", "[2001:db8::1]": "openai", "http://[::2]:80/v1": "openai"}
ADDRESSES: tuple[tuple[str, int | None, str | None], ...] = (
    ("::1", None, "openai"),
    ("::1", 9, "openai"),
    ("[::1]", 9, "openai"),
    ("http://[::1]/v1", None, "openai"),
    ("[::1]:9", 9, "openai"),
    ("::1", 8000, "azure"),
    ("[::1]", 8000, "azure"),
    ("[::1]:8000", None, "azure"),
    ("http://[::1]:8000/v1", 8000, "azure"),
    ("2001:DB8::1", 443, "openai"),
    ("[2001:db8::1]:443", None, "openai"),
    ("::2", 80, "openai"),
    ("::2", 81, None),
    ("[::2", 80, None),
    ("::3", None, None),
)


@pytest.mark.parametrize(("address", "port", "provider"), ADDRESSES)
def test_an_ipv6_address_is_one_address_in_every_spelling(address: str, port: int | None, provider: str | None) -> None:
    """With brackets, as in URLs and before a port, or without them: the user's row is found."""
    assert provider_of(address, "openai", hosts_of(HOSTS_OF_THE_USER), port) == provider


def test_an_address_matches_in_any_case(tmp_path: Path) -> None:
    """`prices.hosts` names servers as people write them, capitals and whole URLs included."""
    file = tmp_path / "stackctl.toml"
    file.write_text('[prices.hosts]\n"LLM.Example" = "a"\n"http://vLLM:8000/v1" = "b"\n')
    hosts = load(environ={}, directory=tmp_path).settings.price_hosts
    assert [provider_of(address, None, hosts) for address in ("llm.example", "https://LLM.EXAMPLE/v1")] == ["a", "a"]
    assert provider_of("vllm", None, hosts, 8000) == "b"
    file.write_text('[prices.hosts]\n"LLM" = "a"\nllm = "b"\n')
    with pytest.raises(SettingsInvalid, match="two providers of llm"):
        load(environ={}, directory=tmp_path)


def test_without_an_address_the_sent_provider_counts() -> None:
    """No server.address at all: the conventions' provider name, in the book's spelling."""
    assert provider_of(None, "aws.bedrock", {}) == "aws"
    assert provider_of("", "openai", {}) == "openai"
    assert provider_of(None, None, {}) is None


def test_every_provider_of_a_host_has_prices() -> None:
    """No host row leads to a provider that the book does not know."""
    known = {provider for provider, _ in BOOK.by_key}
    assert {row.provider for row in HOSTS} <= known
    assert set(prices.PROVIDERS.values()) <= known


@pytest.mark.parametrize(
    ("provider", "model", "as_if"),
    [
        ("openai", "gpt-4o-mini-2031-01-31", "gpt-4o-mini"),
        ("openai", "openai/gpt-4o", "gpt-4o"),
        ("openai", "GPT-4o", "gpt-4o"),
        ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
        ("google", "models/gemini-2.5-flash", "gemini-2.5-flash"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::Ab12", "ft:gpt-4o-mini-2024-07-18"),
        ("aws", "us.amazon.nova-lite-v1:0", "amazon.nova-lite"),
        ("aws", "anthropic.claude-3-5-sonnet-20240620-v1:0", "claude-3-5-sonnet-20240620"),
        ("aws", "anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet-20241022"),
        ("aws", "anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
        ("aws", "us.anthropic.claude-3-7-sonnet-20250219-v1:0", "us.claude-3-7-sonnet-20250219"),
        ("aws", "bedrock/eu.anthropic.claude-3-haiku-20240307-v1:0", "eu.claude-3-haiku-20240307"),
        ("aws", "bedrock/converse/anthropic.claude-3-haiku-20240307-v1:0", "claude-3-haiku-20240307"),
        ("aws", "anthropic.claude-sonnet-4-5-20250929-v1:0", "anthropic.claude-sonnet-4-5-20250929"),
        ("aws", "nova-pro-v1:0", "amazon.nova-pro"),
        ("aws", "llama3-3-70b-instruct-v1:0", "meta.llama3-3-70b-instruct"),
        ("aws", "mistral-large-2402-v1:0", "mistral.mistral-large-2402"),
        (
            "aws",
            "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0",
            "us.claude-3-haiku-20240307",
        ),
        ("google", "projects/p/locations/us-central1/publishers/google/models/gemini-2.5-flash", "gemini-2.5-flash"),
    ],
)
def test_names_are_brought_into_the_books_spelling(provider: str, model: str, as_if: str) -> None:
    """Snapshots, router prefixes, regions and fine-tuned names find the price of what they are."""
    found, base = BOOK.find(provider, model), BOOK.find(provider, as_if)
    assert found is not None
    assert base is not None
    assert found.rates == base.rates


@pytest.mark.parametrize("model", ["gpt-4o-mini:free", "gpt-4o:batch", "gpt-9-imagined", "", "rate-limited"])
def test_what_the_book_does_not_know_has_no_price(model: str) -> None:
    """A variant with a price of its own, and a made-up name, are unpriced: never the price of something like it."""
    assert BOOK.find("openai", model) is None


def test_the_response_model_is_asked_first() -> None:
    """What answered is paid for; what was asked for only where the answer's name is unknown."""
    assert BOOK.find("openai", "gpt-4o", "gpt-4o-mini") == BOOK.find("openai", "gpt-4o")
    assert BOOK.find("openai", "nobody", "gpt-4o-mini") == BOOK.find("openai", "gpt-4o-mini")
    assert BOOK.find("openai", None, "gpt-4o-mini") == BOOK.find("openai", "gpt-4o-mini")


@functools.cache
def _generated() -> str:
    return generate_prices.render(DAY)[0]


def test_the_shipped_file_is_what_the_generator_writes() -> None:
    """Nobody edits the CSV by hand: generating it for its own day gives the same bytes."""
    shipped_text = prices.resources.files("stackctl.genai").joinpath(prices.CSV_NAME).read_text(encoding="ascii")
    assert shipped_text == _generated()


def test_the_collector_can_read_every_cell() -> None:
    """Cells hold nothing that a Collector's configuration would expand, and the last row has text behind it."""
    lines = _generated().splitlines()
    rows = [line for line in lines if not line.startswith("#")]
    assert all(CELL.fullmatch(cell) for row in rows for cell in row.split(","))
    assert lines[-1].startswith("#")
    assert len(lines[-1]) >= 256
    assert rows.count(rows[0]) == 1
    assert len(rows) > 3000


def test_the_book_tells_its_source_and_day() -> None:
    """Version and date stand in the header, so that age can be shown."""
    assert "genai-prices" in BOOK.source
    assert datetime.date(2026, 1, 1) <= DAY


def test_later_rows_replace_earlier_ones() -> None:
    """A user's rows behind the shipped ones win."""
    rates = Rates(Decimal(1), None, None, None)
    book = PriceBook([Price("p", "m", Rates(Decimal(9), None, None, None)), Price("p", "M", rates)])
    found = book.find("p", "m")
    assert found is not None
    assert found.rates == rates


def test_spellings_start_with_the_name_itself() -> None:
    """An exact row always wins over a rewritten one, which dated rows with prices of their own rely on."""
    assert spellings("openai/GPT-4o-2024-05-13")[0] == "openai/gpt-4o-2024-05-13"
    assert spellings("openai/gpt-4o-2024-05-13")[-1] == "gpt-4o"
    dated, undated = BOOK.find("openai", "gpt-4o-2024-05-13"), BOOK.find("openai", "gpt-4o")
    assert dated is not None
    assert undated is not None
    assert dated.rates.input == 2 * undated.rates.input
