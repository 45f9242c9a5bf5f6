"""The demo's own count of what it did, made of what its client received: the figures the stack is held against."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from stackctl import semconv
from stackctl.demo.calls import Call
from stackctl.evals import HALLUCINATED, HALLUCINATION, Result
from stackctl.genai import prices
from stackctl.genai.prices import CostParts, PriceBook, Usage

# Where each token type stands: on a call, and in which metric.
_TOKENS = (
    (semconv.TOKEN_INPUT, "input_tokens"),
    (semconv.TOKEN_OUTPUT, "output_tokens"),
    (semconv.TOKEN_CACHE_READ, "cache_read_tokens"),
    (semconv.TOKEN_CACHE_WRITE, "cache_write_tokens"),
    (semconv.TOKEN_REASONING, "reasoning_tokens"),
)
_COST_PARTS = (semconv.TOKEN_INPUT, semconv.TOKEN_CACHE_READ, semconv.TOKEN_CACHE_WRITE, semconv.TOKEN_OUTPUT)


@dataclass(frozen=True)
class Tally:
    """Totals of one run.

    Attributes:
        tokens: by type; cache_read and cache_write are parts of input, reasoning of output.
        cost: USD by what was paid for: a partition.
        statuses: calls by cost status.
        evaluations: results by (name, label).
        first_token_seconds, output_rates: one value per streamed call that has it.
    """

    calls: int
    errors: int
    tokens: dict[str, int]
    cost: dict[str, Decimal]
    statuses: dict[str, int]
    evaluations: dict[tuple[str, str], int]
    first_token_seconds: tuple[float, ...] = field(default=())
    output_rates: tuple[float, ...] = field(default=())

    @property
    def cost_usd(self) -> Decimal:
        """The sum of what the priced calls cost, in USD."""
        return sum(self.cost.values(), Decimal(0))

    @property
    def judged(self) -> int:
        """How many answers have a verdict on hallucination."""
        return sum(number for (name, _), number in self.evaluations.items() if name == HALLUCINATION)

    @property
    def hallucinated(self) -> int:
        """How many of them are hallucinated."""
        return self.evaluations.get((HALLUCINATION, HALLUCINATED), 0)


def tally(calls: Sequence[Call], results: Iterable[Result], book: PriceBook, provider: str | None) -> Tally:
    """Count a run.

    Args:
        provider: whose prices apply to the endpoint; None prices nothing.
    """
    cost = dict.fromkeys(_COST_PARTS, Decimal(0))
    statuses = dict.fromkeys((semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE), 0)
    for call in calls:
        status, parts = priced(call, book, provider)
        statuses[status] += 1
        for name in _COST_PARTS if parts else ():
            cost[name] += getattr(parts, name)
    return Tally(
        calls=len(calls),
        errors=sum(call.error is not None for call in calls),
        tokens={name: sum(getattr(call, key) or 0 for call in calls) for name, key in _TOKENS},
        cost=cost,
        statuses=statuses,
        evaluations=dict(Counter((result.name, result.label or "") for result in results)),
        first_token_seconds=tuple(c.first_token_seconds for c in calls if c.first_token_seconds is not None),
        output_rates=tuple(rate for rate in map(output_rate, calls) if rate is not None),
    )


def priced(call: Call, book: PriceBook, provider: str | None) -> tuple[str, CostParts | None]:
    """Return a call's cost status, and its cost where there is one."""
    usage = Usage(call.input_tokens, call.output_tokens, call.cache_read_tokens, call.cache_write_tokens)
    price = book.find(provider, call.response_model, call.request_model)
    return prices.priced(usage, price, call.operation == "embeddings")


def output_rate(call: Call) -> float | None:
    """Return visible output tokens a second after the first one, of a streamed call whose tokens are known."""
    if call.first_token_seconds is None or call.output_tokens is None:
        return None
    visible = call.output_tokens - (call.reasoning_tokens or 0)
    seconds = call.seconds - call.first_token_seconds
    return (visible - 1) / seconds if visible > 1 and seconds > 0 else None


def quantiles(values: Sequence[float]) -> dict[str, float | None]:
    """Return `p50` and `p95` of measured values by linear interpolation; None without a value."""
    ordered = sorted(values)

    def at(share: float) -> float | None:
        if not ordered:
            return None
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (place - low)

    return {"p50": at(0.5), "p95": at(0.95)}
