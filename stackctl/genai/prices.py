"""The price book: what a model's tokens cost, who is paid, and what one call came to, in exact decimals.

The rows are `prices.csv`, generated from genai-prices by `python -m stackctl.genai.generate_prices`; nothing is
fetched at run time. A call that no row fits is unpriced and a call whose tokens are not known has no usage: neither
is ever a zero.
"""

import functools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from importlib import resources
from itertools import pairwise
from typing import Final, Self

from stackctl import semconv
from stackctl.stack import PRICE_CELL, OwnPrice, host_of, price_of

CSV_NAME: Final = "prices.csv"
COLUMNS: Final = ("provider", "model", "input", "cache_read", "cache_write", "output", "tiers", "context_window")
CELL: Final = PRICE_CELL
PER_TOKENS: Final = Decimal(1_000_000)
_TOKENS: Final = re.compile(r"0*[1-9][0-9]{0,11}")


# --- whom the server's address names ----------------------------------------------------------------------------------
@dataclass(frozen=True)
class HostRow:
    """Which provider a host belongs to, by a pattern of its whole name, in the syntax that RE2 and Python share."""

    host: str
    provider: str


# The demo's endpoint, by a name that no resolver knows (ICANN keeps `.internal` for private use).
SIMULATOR_HOST: Final = "openai.simulator.stackctl.internal"

# Addresses as genai-prices lists them for each provider's API, and the providers' own documentation.
HOSTS: Final[tuple[HostRow, ...]] = (
    HostRow(re.escape(SIMULATOR_HOST), "openai"),
    HostRow(r"(.+\.)?api\.openai\.com", "openai"),
    HostRow(
        r"(.+\.)?(openai\.azure\.com|azure-api\.net|cognitiveservices\.azure\.com|services\.ai\.azure\.com)", "azure"
    ),
    HostRow(r"(.+\.)?models\.ai\.azure\.com", "azure"),
    HostRow(r"api\.anthropic\.com", "anthropic"),
    HostRow(r"bedrock-(runtime|mantle)(-fips)?\.[a-z0-9-]+\.(amazonaws\.com|api\.aws)", "aws"),
    HostRow(r"(.+\.)?googleapis\.com", "google"),
    HostRow(r"api\.groq\.com", "groq"),
    HostRow(r"api\.deepseek\.com", "deepseek"),
    HostRow(r"(api|codestral)\.mistral\.ai", "mistral"),
    HostRow(r"(api\.)?openrouter\.ai", "openrouter"),
    HostRow(r"(.+\.)?api\.x\.ai", "x-ai"),
    HostRow(r"api\.together\.(xyz|ai)", "together"),
    HostRow(r"api\.fireworks\.ai", "fireworks"),
    HostRow(r"api\.perplexity\.ai", "perplexity"),
    HostRow(r"api\.cohere\.(ai|com)", "cohere"),
    HostRow(r"api\.cerebras\.ai", "cerebras"),
    HostRow(r"api\.moonshot\.(ai|cn)", "moonshotai"),
    HostRow(r"api\.minimaxi?\.(com|io|chat)", "minimax"),
    HostRow(r"api\.novita\.ai", "novita"),
    HostRow(r"api\.avian\.io", "avian"),
    HostRow(r"api\.arcee\.ai", "arcee"),
    HostRow(r"inference\.baseten\.co", "baseten"),
    HostRow(r"api\.voyageai\.com", "voyageai"),
    HostRow(r"api\.z\.ai", "zai"),
    HostRow(r"open\.bigmodel\.cn", "zhipuai"),
    HostRow(r"oai\.endpoints\.kepler\.ai\.cloud\.ovh\.net", "ovhcloud"),
)

# `gen_ai.provider.name` to the book's provider, asked only where no server address was sent.
PROVIDERS: Final[Mapping[str, str]] = {
    "azure.ai.openai": "azure",
    "azure.ai.inference": "azure",
    "aws.bedrock": "aws",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "mistral_ai": "mistral",
    "moonshot_ai": "moonshotai",
    "x_ai": "x-ai",
}


# --- how a model's name is brought into the book's spelling -----------------------------------------------------------
@dataclass(frozen=True)
class Rewrite:
    """One step towards the book's spelling of a model; the result of each step is looked up.

    Variants behind a colon (`:free`, `:batch`, `:online`) stay: they have prices of their own, or none that is known.
    """

    pattern: str
    replacement: str
    why: str


REWRITES: Final[tuple[Rewrite, ...]] = (
    Rewrite(
        r"^(models|publishers/[a-z0-9-]+/models|accounts/fireworks/models|openai|anthropic|google|gemini|vertex_ai|azure|"
        r"azure_ai|bedrock|groq|mistral|deepseek|xai|x-ai|cohere|together_ai|openrouter|perplexity|fireworks_ai)/",
        "",
        "routers and SDKs put the provider before the name",
    ),
    Rewrite(
        r"^(arn:aws[^/]*|converse|invoke|projects/.*/models)/",
        "",
        "Bedrock's ARN of a model, LiteLLM's word for Bedrock's API, Vertex AI's path of a model",
    ),
    Rewrite(r"^(ft:[^:]+):.*$", r"\1", "a fine-tuned OpenAI model names organisation and job behind its base"),
    Rewrite(r"@([0-9]{8}|latest|default)$", "", "Vertex AI's version of a model"),
    Rewrite(r"-v[0-9]+(:[0-9]+)?$", "", "Bedrock's version of a model"),
    Rewrite(
        r"^((us|eu|apac|global|jp|au|ca|us-gov)\.)?anthropic\.claude-3-",
        r"\1claude-3-",
        "Claude 3 on Bedrock, which the book has by date and without its maker; later ones it has with it",
    ),
    Rewrite(r"-(20[0-9]{2}-[01][0-9]-[0-3][0-9]|20[0-9]{2}[01][0-9][0-3][0-9])$", "", "a dated snapshot"),
    Rewrite(r"-00[0-9]$", "", "Gemini's numbered snapshots"),
    Rewrite(r"-latest$", "", "an alias of the newest snapshot"),
    Rewrite(
        r"^(us|eu|apac|global|jp|au|ca|us-gov)\.",
        "",
        "Bedrock's region; rows with prices of their own are found before",
    ),
    *(
        Rewrite(pattern, replacement, "Bedrock's name of a model without its maker, as OpenLLMetry writes it")
        for pattern, replacement in (
            (r"^nova-", "amazon.nova-"),
            (r"^llama([0-9])", r"meta.llama\1"),
            (r"^(mistral|mixtral|ministral|magistral|pixtral|voxtral|devstral)-", r"mistral.\1-"),
        )
    ),
)
# Service tiers that are billed at the list price: OpenAI's and Bedrock's, Anthropic's, Groq's. Any other has a price of
# its own, in a row whose model ends with it behind a colon (`gpt-5:flex`), as OpenRouter spells such; or none is known.
LIST_TIERS: Final = ("auto", "default", "standard", "standard_only", "on_demand")
_REWRITES: Final = tuple((re.compile(row.pattern), row.replacement) for row in REWRITES)
_HOSTS: Final = tuple((re.compile(row.host), row.provider) for row in HOSTS)


@dataclass(frozen=True)
class Rates:
    """USD per million tokens. None: the provider has no such price, and such tokens are billed as ordinary ones."""

    input: Decimal
    cache_read: Decimal | None
    cache_write: Decimal | None
    output: Decimal | None


@dataclass(frozen=True)
class Price:
    """What one model costs at one provider.

    Attributes:
        rates: for every call that reaches no tier.
        tiers: a number of input tokens, ascending, and the rates of all tokens of a call with more than that.
        context_window: tokens; None where the source does not say.
    """

    provider: str
    model: str
    rates: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    context_window: int | None = None

    def rates_for(self, input_tokens: int) -> Rates:
        """Return the rates of a call with so many input tokens, cached ones included."""
        reached = [rates for start, rates in self.tiers if input_tokens > start]
        return reached[-1] if reached else self.rates


@dataclass(frozen=True)
class Usage:
    """Tokens of one call. None is unknown. Input includes what was read from and written to a cache."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None


@dataclass(frozen=True)
class CostParts:
    """The cost of one call in USD by what was paid for: a partition."""

    input: Decimal
    cache_read: Decimal
    cache_write: Decimal
    output: Decimal

    @property
    def total(self) -> Decimal:
        """The whole cost in USD."""
        return self.input + self.cache_read + self.cache_write + self.output


def usage_known(usage: Usage, price: Price, embeddings: bool = False) -> bool:
    """Whether every number of tokens that the price needs is known; an embedding has no output."""
    needs_output = price.rates.output is not None and not embeddings
    return usage.input_tokens is not None and (usage.output_tokens is not None or not needs_output)


def cost_of(usage: Usage, price: Price) -> CostParts:
    """Return what a call cost, exactly.

    Args:
        usage: with input tokens known; unknown parts of them were not cached as far as anybody knows.
        price: of the model that answered.
    """
    tokens = usage.input_tokens or 0
    rates = price.rates_for(tokens)
    read = 0 if rates.cache_read is None else usage.cache_read_tokens or 0
    written = 0 if rates.cache_write is None else usage.cache_write_tokens or 0
    # More cached than sent is a library that leaves cached tokens out of input: no ordinary token is left then.
    ordinary = max(0, tokens - read - written)
    return CostParts(
        input=ordinary * rates.input / PER_TOKENS,
        cache_read=read * (rates.cache_read or Decimal(0)) / PER_TOKENS,
        cache_write=written * (rates.cache_write or Decimal(0)) / PER_TOKENS,
        output=(usage.output_tokens or 0) * (rates.output or Decimal(0)) / PER_TOKENS,
    )


def priced(usage: Usage, price: Price | None, embeddings: bool = False) -> tuple[str, CostParts | None]:
    """Return a call's cost status, and its cost where that is `priced`.

    A call whose tokens are not known has no usage, whatever its model; only then the model may be without a price.
    """
    unknown = usage.input_tokens is None or (usage.output_tokens is None and not embeddings)
    if price is None:
        return (semconv.STATUS_NO_USAGE if unknown else semconv.STATUS_UNPRICED), None
    if not usage_known(usage, price, embeddings):
        return semconv.STATUS_NO_USAGE, None
    return semconv.STATUS_PRICED, cost_of(usage, price)


def spellings(model: str) -> tuple[str, ...]:
    """Return the names under which a model is looked up, the most exact first."""
    names = [model.lower()]
    for pattern, replacement in _REWRITES:
        rewritten = pattern.sub(replacement, names[-1])
        if rewritten != names[-1]:
            names.append(rewritten)
    return tuple(names)


def tier_of(answered: str | None, asked: str | None) -> str:
    """Return the service tier that a call is billed by where that is not the list price's, else an empty text.

    Args:
        answered: the tier that served it, which decides: what was asked for is not always granted.
        asked: the tier asked for.
    """
    tier = (answered or asked or "").lower()
    return "" if tier in LIST_TIERS else tier


def provider_of(address: str | None, sent: str | None, hosts: Mapping[str, str], port: int | None = None) -> str | None:
    """Return whose prices apply, or None where nothing tells.

    Args:
        address: `server.address`, a host name or a URL; what it says wins, since instrumentations call every compatible
            server `openai`. An address that no row knows is nobody's.
        sent: `gen_ai.provider.name`, asked only where there is no address.
        hosts: the user's own rows, `host` or `host:port` to provider, before the shipped ones.
        port: `server.port`.
    """
    if not address:
        return PROVIDERS.get(sent, sent) if sent else None
    name, own_port = host_of(address)
    for key in (f"{name}{own_port or f':{port}'}", name):
        if key in hosts:
            return hosts[key]
    return next((provider for pattern, provider in _HOSTS if pattern.fullmatch(name)), None)


class PriceBook:
    """The rows by provider and model.

    Args:
        prices: the rows; a later one of the same key replaces an earlier one.
        source: name and version of where they come from.
        date: day on which they were valid, ISO.
        own: rows that win over the others in every spelling: one for `gpt-4o` also holds for its dated snapshots,
            though the book has rows for those.
    """

    def __init__(self, prices: Iterable[Price], source: str = "", date: str = "", own: Iterable[Price] = ()) -> None:
        self.own: dict[tuple[str, str], Price] = {(price.provider, price.model.lower()): price for price in own}
        self.by_key: dict[tuple[str, str], Price] = {(price.provider, price.model.lower()): price for price in prices}
        self.by_key |= self.own
        self.source = source
        self.date = date
        self._models = {model for _, model in self.by_key}

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the CSV text that `generate_prices` wrote.

        Raises:
            ValueError: names the first line that is no price row or the second price of a model, or says that there is
                none.
        """
        lines = text.splitlines()
        header = dict(line[2:].split(": ", 1) for line in lines if line.startswith("# ") and ": " in line)
        rows = [(number, line) for number, line in enumerate(lines, 1) if line and not line.startswith("#")]
        if not rows or rows[0][1] != ",".join(COLUMNS):
            raise ValueError(f"its first row is not {','.join(COLUMNS)}")
        prices: dict[tuple[str, str], Price] = {}
        for number, line in rows[1:]:
            price = _parsed(number, line)
            if prices.setdefault((price.provider, price.model.lower()), price) is not price:
                raise ValueError(f"line {number} is a second price of {price.provider} {price.model}")
        return cls(prices.values(), header.get("source", ""), header.get("date", ""))

    def with_own(self, rows: Iterable[OwnPrice]) -> "PriceBook":
        """Return this book with the user's rows before its own."""
        return PriceBook(self.by_key.values(), self.source, self.date, map(_of_own, rows))

    def find(self, provider: str | None, *models: str | None, tier: str = "") -> Price | None:
        """Return the price of the first of the models that the provider has a price for, or None.

        Args:
            tier: as `tier_of` tells it; the price is that of a row that names it.
        """
        if provider is None:
            return None
        suffix = f":{tier}" if tier else ""
        for rows in (self.own, self.by_key):
            for model in models if rows else ():
                for name in spellings(model) if model else ():
                    if (provider, name + suffix) in rows:
                        return rows[provider, name + suffix]
        return None

    def knows(self, model: str) -> bool:
        """Whether any provider has a price for the model: such a name may stand on metrics."""
        return any(name in self._models for name in spellings(model))


@functools.cache
def shipped() -> PriceBook:
    """Return the price book that came with this package."""
    return PriceBook.parse(resources.files(__package__).joinpath(CSV_NAME).read_text(encoding="ascii"))


def _parsed(number: int, line: str) -> Price:
    """Read a row; the generator quotes nothing, since no cell may hold a comma."""
    cells = line.split(",")
    if len(cells) != len(COLUMNS) or not all(CELL.fullmatch(cell) for cell in cells):
        raise ValueError(f"line {number} is no row of {len(COLUMNS)} cells: {line[:80]!r}")
    provider, model, input_, cache_read, cache_write, output, tiers, window = cells
    if not provider or not model:
        raise ValueError(f"line {number} names no {'model' if provider else 'provider'}: {line[:80]!r}")
    try:
        return Price(
            provider=provider,
            model=model,
            rates=_rates(input_, cache_read, cache_write, output),
            tiers=_ascending(_tier(tier) for tier in tiers.split("+") if tier),
            context_window=_tokens(window) if window else None,
        )
    except (ArithmeticError, ValueError, TypeError) as error:
        raise ValueError(f"line {number} holds no price of {provider} {model}: {line[:80]!r}") from error


def _tier(text: str) -> tuple[int, Rates]:
    start, *cells = text.split(":")
    return _tokens(start), _rates(*cells)


def _ascending(tiers: Iterable[tuple[int, Rates]]) -> tuple[tuple[int, Rates], ...]:
    """Return the tiers; in another order a call would pay the rates of one that it went beyond."""
    found = tuple(tiers)
    if any(later <= earlier for (earlier, _), (later, _) in pairwise(found)):
        raise ValueError("tiers stand in ascending order")
    return found


def _tokens(text: str) -> int:
    if not _TOKENS.fullmatch(text):
        raise ValueError("a number of tokens is a whole one above zero")
    return int(text)


def _rates(input_: str, cache_read: str, cache_write: str, output: str) -> Rates:
    cells = (input_, cache_read, cache_write, output)
    rates = [price_of(cell) for cell in cells]
    if rates[0] is None or any(cell and rate is None for cell, rate in zip(cells, rates, strict=True)):
        raise ValueError("a price is a number of USD per million tokens, from 0 to a billion")
    return Rates(rates[0], *rates[1:])


def _of_own(row: OwnPrice) -> Price:
    cells = (row.cache_read, row.cache_write, row.output)
    rates = Rates(Decimal(row.input), *(None if cell is None else Decimal(cell) for cell in cells))
    return Price(row.provider, row.model, rates, context_window=row.window)
