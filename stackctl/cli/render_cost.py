"""Sums of money as text for people: what is covered beside each, the names whole where a terminal is narrow."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count, takewhile
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from stackctl.cli.render import console, money, not_in_sum
from stackctl.reports import CostReport, RepriceReport, SpendReport

# In the order in which they are left out where the terminal is narrow, the last ones first. What is in no sum is told
# below the table in any case.
_COUNTS: Final = ("cost USD", "calls", "priced", "unpriced", "no usage", "tokens in", "tokens out")
_REPRICED: Final = ("old USD", "new USD", "change", "calls", "priced old", "priced new", "tokens in", "tokens out")
_GAP: Final = 3
_LEAST_NAME, _LONGEST_NAME = 12, 44


@dataclass(frozen=True)
class _Sums:
    """Rows of sums.

    Attributes:
        by: what they are split by.
        columns: names of the sums.
        kept: how many of these are shown however narrow the terminal is.
        rows: names and sums of each.
        total: the sums of all.
    """

    by: Sequence[str]
    columns: Sequence[str]
    kept: int
    rows: Sequence[tuple[Sequence[str], Sequence[str]]]
    total: Sequence[str]


def cost(report: CostReport) -> None:
    """Write `cost`: sums with their coverage, and where they come from."""
    rows = [(_names(report.by, group.labels), _spend_cells(group)) for group in report.groups]
    out = console()
    out.print(_table(_Sums(report.by, _COUNTS, 1, rows, _spend_cells(report.total)), out.width))
    out.print(Text(f"source: {report.source}, over the last {_window(report.window_seconds)}", style="dim"))
    _say_missing(out, "the sum", report.total)
    _say_not_stored(out, report.not_stored)
    if report.total.unpriced:
        out.print(Text("unpriced: stackctl prices check tells which, and what would price them", style="dim"))
    if report.total.no_usage:
        out.print(Text("no usage: streams tell their tokens under stackctl run --ask-usage", style="dim"))


def reprice(report: RepriceReport) -> None:
    """Write `cost --prices`: each sum as it was and with the other prices, coverage beside both."""
    rows = [(_names(report.by, group.labels), _repriced_cells(group.old, group.new)) for group in report.groups]
    out = console()
    out.print(_table(_Sums(report.by, _REPRICED, 2, rows, _repriced_cells(report.old, report.new)), out.width))
    book = f"new: {report.prices} of {report.prices_date or 'an unknown day'}"
    window = f"source: {report.source}, over the last {_window(report.window_seconds)}"
    out.print(Text(f"{window}; {book}", style="dim"), soft_wrap=True)
    for side, spend in (("the old sum", report.old), ("the new sum", report.new)):
        _say_missing(out, side, spend)
    _say_not_stored(out, report.not_stored)


def _table(sums: _Sums, room: int) -> Table:
    """Lay sums out, with as many columns as there is room for beside the names."""
    rows = sums.rows or ((("total",), sums.total),)
    names = [max(len(name), *(len(row[place]) for row, _ in rows)) for place, name in enumerate(sums.by or ("",))]
    needed = sum(min(width, _LONGEST_NAME) + _GAP for width in names)
    cells = zip(sums.columns, sums.total, *(row for _, row in rows), strict=True)
    shown = _fitting([max(map(len, column)) for column in cells], room - needed, sums.kept)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold", show_footer=bool(sums.rows))
    for place, name in enumerate(sums.by or ("",)):
        least = min(names[place], _LEAST_NAME)
        table.add_column(name, "total" if place == 0 else "", footer_style="bold", min_width=least, overflow="fold")
    for name, footer in list(zip(sums.columns, sums.total, strict=True))[:shown]:
        width = max(len(name), len(footer), *(len(row[sums.columns.index(name)]) for _, row in rows))
        table.add_column(name, footer, justify="right", no_wrap=True, footer_style="bold", min_width=width)
    for row, numbers in rows:
        table.add_row(*map(Text, row), *numbers[:shown])
    return table


def _fitting(widths: Sequence[int], room: int, kept: int) -> int:
    """Return how many columns fit, at least those that are kept."""
    fits = takewhile(lambda shown: sum(widths[:shown]) + _GAP * shown <= room, count(kept + 1))
    return min(max(fits, default=kept), len(widths))


def _names(by: Sequence[str], labels: Mapping[str, str]) -> list[str]:
    return [labels.get(name) or f"(no {name})" for name in by]


def _repriced_cells(old: SpendReport, new: SpendReport) -> list[str]:
    change = "-"
    if old.cost_usd is not None and new.cost_usd is not None:
        difference = new.cost_usd - old.cost_usd
        change = ("-" if difference < 0 else "+") + money(abs(difference))
        if old.cost_usd:
            change += f" ({difference / old.cost_usd:+.1%})"
    counts = (new.calls, old.priced, new.priced, new.input_tokens, new.output_tokens)
    return [money(old.cost_usd), money(new.cost_usd), change, *_counted(counts)]


def _spend_cells(spend: SpendReport) -> list[str]:
    counts = (spend.calls, spend.priced, spend.unpriced, spend.no_usage, spend.input_tokens, spend.output_tokens)
    return [money(spend.cost_usd), *_counted(counts)]


def _counted(counts: Iterable[int]) -> list[str]:
    return [f"{number:,}" for number in counts]


def _say_missing(out: Console, where: str, spend: SpendReport) -> None:
    """Say which calls are not in a sum, by the reason."""
    missing = not_in_sum(spend)
    if missing:
        out.print(Text(f"not in {where}: calls without a price: {', '.join(missing)}", style="yellow"))


def _say_not_stored(out: Console, calls: int) -> None:
    if calls:
        text = f"in no sum: {calls:,} more that metrics counted, of which no span that began in this window is stored"
        out.print(Text(text, style="yellow"))


def _window(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"
