"""What `cost --prices` calculates: the same as the engine for the same prices, exactly, and in full or not at all."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from span_store import BASE_NS, Given, otlp_request, served, write_store
from test_cost import calls as counted
from test_cost import prometheus

from stackctl import cost, semconv
from stackctl.clients import TempoClient
from stackctl.embedded.api.tempo import app as tempo_app
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.errors import QueryUnsupported
from stackctl.genai.prices import COLUMNS, PriceBook, shipped
from stackctl.stack import EngineConfig

NOW = BASE_NS // 10**9 + 600
HOSTS = {"house:8000": "openai"}
DEAR = PriceBook.parse("# date: 2026-02-02\n" + ",".join(COLUMNS) + "\nopenai,gpt-4o-mini,0.0000007,,,3,,\n")


def attributes(address: str | None, model: str, tokens: tuple[int | None, ...], operation: str) -> dict[str, Any]:
    """A call's attributes; tokens are input, output, cache read, cache write."""
    keys = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS, semconv.CACHE_READ_TOKENS, semconv.CACHE_WRITE_TOKENS)
    found = {
        semconv.OPERATION: operation,
        semconv.PROVIDER: "openai",
        semconv.SERVER_ADDRESS: address,
        semconv.SERVER_PORT: 8000 if address == "house" else None,
        semconv.RESPONSE_MODEL: model,
        **dict(zip(keys, tokens, strict=True)),
    }
    return {key: value for key, value in found.items() if value is not None}


CALLS = [
    attributes(*parts)
    for parts in itertools.product(
        ("api.openai.com", "api.anthropic.com", "house", "somewhere.else", None),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", "claude-sonnet-4-5", "text-embedding-3-small", "nobody"),
        ((1200, 57, 1024, 100), (300_000, 9, None, None), (7, None, None, None), (None, 5, None, None)),
        ("chat", "embeddings"),
    )
]


def test_it_prices_as_the_engine_does() -> None:
    """With the engine's own book every call gets the engine's status, and its cost to 12 digits."""
    given = [Given(n, n, 0, "chat m", n, attributes=call) for n, call in enumerate(CALLS, 1)]
    table = decode.spans([otlp_request(given)], 0)
    stored = Pipeline(EngineConfig("unused", price_hosts=HOSTS)).process(table).to_pydict()
    repricing = cost.Repricing(shipped(), "shipped", HOSTS)
    seen = set()
    for row, call in enumerate(CALLS):
        status, usd = repricing.price(call)
        assert status == stored[f"s:{semconv.COST_STATUS}:s"][row], call
        found = stored[f"s:{semconv.COST_USD}:d"][row]
        assert (usd is None) == (found is None), call
        assert usd is None or float(usd) == pytest.approx(found, rel=1e-12), call
        seen.add(status)
    assert seen == {semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE}


@contextmanager
def tempo_of(directory: Path, count: int) -> Iterator[TempoClient]:
    """A Tempo API with so many stored calls of 1000 and 100 tokens, each of which cost 0.1 USD."""
    call = attributes("api.openai.com", "gpt-4o-mini", (1000, 100, None, None), "chat")
    stored = {
        **call,
        semconv.REQUEST_MODEL: "gpt-4o-mini",
        semconv.ACCOUNTED: True,
        semconv.COST_STATUS: "priced",
        semconv.COST_USD: 0.1,
    }
    write_store(directory, hot=[Given(n, n, 0, "chat", n, attributes=stored) for n in range(1, count + 1)])
    with served(tempo_app(EngineConfig(str(directory)))) as url, TempoClient(url) as client:
        yield client


def test_sums_are_exact(tmp_path: Path) -> None:
    """Old and new sums are exact decimals, however small a price: no digit of a rate is lost."""
    with tempo_of(tmp_path, 3) as tempo, prometheus(dict(counted("gpt-4o-mini", "s", "priced", 3, 0.3))) as metrics:
        report = cost.reprice(metrics, tempo, ["model"], 3600, NOW, cost.Repricing(DEAR, "dear.csv"))
    assert report.old.cost_usd == Decimal("0.3")
    assert report.new.cost_usd == 3 * (Decimal("0.0000000007") + Decimal("0.0003"))
    assert [group.labels for group in report.groups] == [{"model": "gpt-4o-mini"}]
    assert (report.prices, report.prices_date, report.source) == ("dear.csv", "2026-02-02", "stored spans")


@pytest.mark.parametrize(
    ("metered", "said"), [(40, "--prices: only 3 of 40 counted calls are stored"), (10**7, "are more than 1000000")]
)
def test_what_cannot_be_read_whole_is_refused(tmp_path: Path, metered: int, said: str) -> None:
    """Sampled or deleted spans, and more than can be read, are refused by name: a part would pass for the whole."""
    with (
        tempo_of(tmp_path, 3) as tempo,
        prometheus(dict(counted("m", "s", "priced", metered, 1.0))) as metrics,
        pytest.raises(QueryUnsupported) as refused,
    ):
        cost.reprice(metrics, tempo, [], 3600, NOW, cost.Repricing(DEAR, "dear.csv"))
    assert said in refused.value.message
