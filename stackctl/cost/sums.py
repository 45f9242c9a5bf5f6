"""Sums of calls by group: tokens, coverage and money, in exact decimals."""

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from stackctl import semconv
from stackctl.clients.traces import Value
from stackctl.cost.dimensions import Dimension
from stackctl.reports import CostGroupReport, CostReport, SpendReport

Key = tuple[str, ...]  # a group's values, in the order of its dimensions
Attributes = Mapping[str, Value]  # of one stored call

_STATUSES: Final = (semconv.STATUS_PRICED, semconv.STATUS_UNPRICED, semconv.STATUS_NO_USAGE)


class Tally:
    """A running sum of one group, by what was added: a cost status, a token type, or None for money."""

    def __init__(self) -> None:
        self._sums: dict[str | None, Decimal] = defaultdict(Decimal)
        self._exact = True  # no amount came as a double

    def add(self, what: str | None, value: float | Decimal) -> None:
        """Add a value. Doubles come as the decimal numbers that they print as."""
        if isinstance(value, float) and what is None:
            self._exact = False
        self._sums[what] += value if isinstance(value, Decimal) else Decimal(repr(value))

    def add_call(self, call: Attributes, status: str, cost_usd: float | Decimal | None) -> None:
        """Add one stored call."""
        self.add(status, 1)
        self.add(semconv.TOKEN_INPUT, number(call.get(semconv.INPUT_TOKENS)))
        self.add(semconv.TOKEN_OUTPUT, number(call.get(semconv.OUTPUT_TOKENS)))
        self.add(None, cost_usd or 0)

    def merged(self, other: "Tally") -> "Tally":
        """Return the sum of both."""
        result = Tally()
        result._exact = self._exact and other._exact
        for tally in (self, other):
            for what, value in tally._sums.items():
                result._sums[what] += value
        return result

    def spend(self) -> SpendReport:
        """Return the sums as a report; no priced call makes the cost unknown, not nothing."""
        priced, unpriced, no_usage = (round(self._sums[status]) for status in _STATUSES)
        return SpendReport(
            calls=priced + unpriced + no_usage,
            priced=priced,
            unpriced=unpriced,
            no_usage=no_usage,
            input_tokens=round(self._sums[semconv.TOKEN_INPUT]),
            output_tokens=round(self._sums[semconv.TOKEN_OUTPUT]),
            cost_usd=self._amount() if priced else None,
        )

    def _amount(self) -> Decimal:
        """Return the money, without the noise that sums of doubles have far behind the point."""
        value = self._sums[None]
        return value if self._exact else Decimal(f"{value:.12f}".rstrip("0").rstrip("."))


def total(tallies: Mapping[Key, Tally]) -> SpendReport:
    """Return the sum over all groups."""
    merged = Tally()
    for tally in tallies.values():
        merged = merged.merged(tally)
    return merged.spend()


def report(tallies: Mapping[Key, Tally], cuts: tuple[Dimension, ...], window_seconds: float, source: str) -> CostReport:
    """Return the groups and their total, the most expensive first."""
    groups = [
        CostGroupReport(**vars(spend), labels=labels(cuts, key))
        for key, tally in tallies.items()
        if cuts and (spend := tally.spend()).calls
    ]
    groups.sort(key=lambda group: (-(group.cost_usd or 0), -group.calls, tuple(group.labels.values())))
    return CostReport(window_seconds, tuple(cut.name for cut in cuts), source, total(tallies), tuple(groups))


def key_of(call: Attributes, cuts: tuple[Dimension, ...]) -> Key:
    """Return the group of a stored call; a value it lacks is empty."""
    return tuple(str(call.get(cut.attribute, "")) for cut in cuts)


def labels(cuts: tuple[Dimension, ...], key: Key) -> dict[str, str]:
    """Return a group's values by the names of their dimensions."""
    return dict(zip((cut.name for cut in cuts), key, strict=True))


def number(value: Value) -> float:
    """Return an attribute as a number to add; what is none adds nothing."""
    return value if isinstance(value, int | float) else 0.0


def count(value: Value) -> int | None:
    """Return an attribute as a whole number; None where it is none."""
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
