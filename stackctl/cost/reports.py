"""The `--json` shapes of `stackctl prices`. Keys may be added, never renamed: others build on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from stackctl.reports import SpendReport


@dataclass(frozen=True)
class PriceBookReport:
    """The price book in force.

    Attributes:
        file: the user's own book; None for the shipped one.
        source: name and version of what it was made from.
        date: the day on which its prices were valid, ISO; empty where it does not say.
        age_days: None where it does not say.
        old: it should be renewed, or hides its age.
        rows: prices by provider and model, the user's own included.
    """

    file: str | None
    source: str
    date: str
    age_days: int | None
    old: bool
    rows: int
    own_rows: int
    providers: int


@dataclass(frozen=True)
class RatesReport:
    """USD per million tokens; None where there is no such price."""

    input: Decimal
    output: Decimal | None
    cache_read: Decimal | None
    cache_write: Decimal | None


@dataclass(frozen=True)
class PriceRowReport(RatesReport):
    """One provider's price of a model.

    Attributes:
        own: a row of the user's `stackctl.toml`.
        tiers: number of input tokens beyond which the whole call pays other rates, and those rates.
        context_window: tokens; None where it is not known.
        aliases: further names in the book for the same model.
    """

    provider: str
    model: str
    own: bool
    tiers: tuple[tuple[int, RatesReport], ...]
    context_window: int | None
    aliases: tuple[str, ...]


@dataclass(frozen=True)
class PriceShowReport:
    """`prices show`.

    Attributes:
        model: as it was asked for; None for the book alone.
    """

    book: PriceBookReport
    model: str | None
    prices: tuple[PriceRowReport, ...]


@dataclass(frozen=True)
class UnpricedReport:
    """Calls of one model at one server that have no price.

    Attributes:
        host: server address with its port, empty where none was sent, as `sent_provider`.
        provider: whose prices apply; None where nothing tells.
        tier: the service tier that is billed; empty for that of the list price, and where metrics are all there is.
        priced_now: the settings in force would price such a call; the stack did not when these came in.
        nearest: provider and name of known models with names like this one.
    """

    host: str
    sent_provider: str
    provider: str | None
    model: str
    calls: int
    reason: str
    priced_now: bool
    nearest: tuple[str, ...]
    tier: str = ""

    @property
    def priced_as(self) -> str:
        """The model as a price row names it: with a service tier that has a price of its own."""
        return f"{self.model}:{self.tier}" if self.tier else self.model


@dataclass(frozen=True)
class PriceCheckReport:
    """`prices check`.

    Attributes:
        toml: the lines of `stackctl.toml` that would price what is unpriced.
        not_stored: unpriced calls that metrics counted and no stored span of the window tells of.
    """

    book: PriceBookReport
    window_seconds: float
    source: str
    total: SpendReport
    models: tuple[UnpricedReport, ...]
    toml: tuple[str, ...]
    not_stored: int


@dataclass(frozen=True)
class PriceChangeReport:
    """A row with other numbers: cell name to the text before and after."""

    provider: str
    model: str
    cells: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class PriceDiffReport:
    """`prices diff`; rows as provider and model."""

    old: str
    new: str
    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[PriceChangeReport, ...]


@dataclass(frozen=True)
class PriceUpdateReport:
    """`prices update`.

    Attributes:
        refused: why rows of the source are not in the book, and how many.
        added: rows that the book in force does not have; `removed` and `changed` likewise.
    """

    file: str
    book: PriceBookReport
    refused: Mapping[str, int]
    added: int
    removed: int
    changed: int
