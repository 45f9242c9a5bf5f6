"""Reports as text for people: tables, a trace as a waterfall. What came over the network is text, never markup."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from rich.console import Console
from rich.table import Table
from rich.text import Text

from stackctl.reports import (
    EvaluationReport,
    SpanReport,
    SpendReport,
    TraceListReport,
    TraceReport,
    TraceRowReport,
)

# Where stdout is a file or a pipe there is no width to keep to; this one cuts nothing of a usual table.
PIPE_WIDTH = 160
_LONGEST_NAME = 44
UNKNOWN = "unknown"


class InTree(Protocol):
    """What stands in a tree, so many levels below its root."""

    @property
    def depth(self) -> int:
        """Levels below the root, 0 for a root."""
        ...


def console() -> Console:
    """Return the console of stdout: colour on a terminal only, and none with NO_COLOR."""
    width = shutil.get_terminal_size((PIPE_WIDTH, 24)).columns  # of COLUMNS only where that is a width
    return Console(file=sys.stdout, width=width, highlight=False, no_color=bool(os.environ.get("NO_COLOR")))


@dataclass(frozen=True)
class _Column:
    """A column of `traces list`.

    Attributes:
        longest: columns after which its text is cut; None for never.
        rank: which is the first to be left out where the terminal is narrow, the highest; 0 for never.
    """

    name: str
    cell: Callable[[TraceRowReport], Text]
    longest: int | None = None
    rank: int = 0
    right: bool = False
    style: str = ""


_TRACE_COLUMNS = (
    _Column("trace", lambda row: Text(row.trace_id), style="cyan"),
    _Column("day", lambda row: Text(clock(row.start)[:-9]), rank=7),
    _Column("time", lambda row: Text(clock(row.start)[-8:]), rank=2),
    _Column("service", lambda row: Text(row.service), 24, rank=6),
    _Column("root", lambda row: Text(row.name), 32, rank=3),
    _Column("duration", lambda row: Text(duration(row.duration_ms)), rank=1, right=True),
    _Column("spans", lambda row: Text(str(row.spans)), rank=5, right=True),
    _Column("model", lambda row: Text(_models(row.models)), 32, rank=4),
    _Column("cost", lambda row: Text(spend_cell(row.spend)), right=True),
    _Column("status", lambda row: _errors(row.errors)),
)
_GAP = 2


def traces(report: TraceListReport) -> None:
    """Write `traces list`: every column that the terminal has room for, none of them cut beyond its measure."""
    if not report.traces:
        console().print("no traces")
        return
    out = console()
    cells = {column.name: [column.cell(row) for row in report.traces] for column in _TRACE_COLUMNS}
    widths = {name: max(len(name), *(text.cell_len for text in texts)) for name, texts in cells.items()}
    widths |= {c.name: min(widths[c.name], c.longest) for c in _TRACE_COLUMNS if c.longest is not None}
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    shown = _fitting(widths, out.width)
    for column in shown:
        width, justify = widths[column.name], "right" if column.right else "left"
        table.add_column(column.name, justify=justify, no_wrap=True, style=column.style, width=width)  # type: ignore[arg-type]
    for row in zip(*(cells[column.name] for column in shown), strict=True):
        table.add_row(*row)
    out.print(table)


def _fitting(widths: Mapping[str, int], room: int) -> list[_Column]:
    """Return the columns that fit beside one another, the more telling ones first, in their order."""
    left, chosen = room + _GAP, []
    for column in sorted(_TRACE_COLUMNS, key=lambda column: column.rank):
        needed = widths[column.name] + _GAP
        if not column.rank or needed <= left:
            chosen.append(column)
            left -= needed
    return [column for column in _TRACE_COLUMNS if column in chosen]


def trace(report: TraceReport) -> None:
    """Write `traces show`: the trace in two lines, then each span as a bar on one time axis, its details below."""
    out = console()
    out.print(
        Text.assemble(
            ("trace ", "dim"), (report.trace_id, "cyan"), ("  ", ""), (report.service, "bold"), ("  ", ""), report.name
        )
    )
    out.print(_summary(report))
    out.print()
    for line in _waterfall(report, out.width):
        out.print(line, no_wrap=True, overflow="ellipsis", crop=True)


def duration(ms: float) -> str:
    """Return a duration as people read it: 340 us, 41 ms, 2.31 s, 3 min 5 s; -2.31 s where a span ends too early."""
    if ms < 0:
        return f"-{duration(-ms)}"
    if ms < 1:
        return f"{ms * 1000:.0f} us"
    if ms < 1000:
        return f"{ms:.0f} ms" if ms >= 10 else f"{ms:.1f} ms"
    if ms < 60_000:
        return f"{ms / 1000:.2f} s"
    return f"{int(ms // 60_000)} min {ms % 60_000 / 1000:.0f} s"


def money(value: Decimal | None) -> str:
    """Return an amount of USD with as many digits as small sums need; unknown is not nothing."""
    if value is None:
        return UNKNOWN
    if value >= 100:
        return f"${value:.2f}"
    # Below a ten-thousandth two digits that say something, instead of zeros.
    digits = 6 if value == 0 or value >= Decimal("0.0001") else 1 - value.adjusted()
    return f"${value:.{digits}f}"


def not_in_sum(spend: SpendReport) -> list[str]:
    """Return which calls are not in a sum, by the reason."""
    return [f"{count} {what}" for count, what in ((spend.unpriced, "unpriced"), (spend.no_usage, "no usage")) if count]


def spend_cell(spend: SpendReport) -> str:
    """Return a trace's cost; a plus where a call is missing in it."""
    if not spend.calls:
        return "-"
    return money(spend.cost_usd) + ("+" if spend.cost_usd is not None and spend.priced < spend.calls else "")


def _models(models: tuple[str, ...]) -> str:
    more = f" +{len(models) - 1}" if len(models) > 1 else ""
    return f"{models[0]}{more}" if models else "-"


def _errors(count: int) -> Text:
    if not count:
        return Text("ok", style="green")
    return Text(_plural(count, "error"), style="bold red")


def _plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def clock(start: str) -> str:
    """Return an RFC 3339 time as the day and time of this machine's zone."""
    return datetime.fromisoformat(start).astimezone().strftime("%m-%d %H:%M:%S")


def _summary(report: TraceReport) -> Text:
    spend = report.spend
    parts = [clock(report.start), duration(report.duration_ms), _plural(len(report.spans), "span")]
    if spend.calls:
        parts.append(_plural(spend.calls, "model call"))
        parts.append(f"{spend.input_tokens:,} tokens in, {spend.output_tokens:,} out")
        parts.append(money(spend.cost_usd))
    missing = not_in_sum(spend)
    text = Text(" | ".join(parts))
    if missing:
        text.append(f" ({', '.join(missing)})", style="yellow")
    if report.errors:
        text.append(" | ").append_text(_errors(report.errors))
    return text


def _waterfall(report: TraceReport, width: int) -> Iterator[Text]:
    prefixes = list(tree(report.spans))
    longest = max(len(lead) + len(span.name) for (lead, _), span in zip(prefixes, report.spans, strict=True))
    name_width = min(longest, _LONGEST_NAME, max(width // 2, 20))
    bar_width = max(width - name_width - 14, 10)
    for (lead, below), span in zip(prefixes, report.spans, strict=True):
        style = "red" if span.status == "error" else "bold cyan" if span.call else ""
        name = Text(lead, style="dim").append(Text(span.name, style=style))
        name.truncate(name_width, overflow="ellipsis", pad=True)
        yield Text.assemble(name, "  ", _bar(span, report.duration_ms, bar_width), f" {duration(span.duration_ms):>9}")
        for detail in _details(span):
            yield Text(f"{below}  ", style="dim").append(detail)


def tree(spans: Sequence[InTree]) -> Iterator[tuple[str, str]]:
    """Yield, for each span, what stands before its name and before the lines below it."""
    found: list[tuple[str, str]] = []
    later: list[bool] = []  # by depth: whether a span that comes later hangs on the same line
    below = 0
    for span in reversed(spans):
        depth, has_children = span.depth, below > span.depth
        later += [False] * (depth + 1 - len(later))
        lead = "".join("│  " if more else "   " for more in later[1:depth])
        under = "│" if has_children else " "
        joint, line = ("├─ ", "│  ") if later[depth] else ("└─ ", "   ")
        found.append((lead + joint, lead + line + under) if depth else ("", under))
        later[depth:] = [True]
        below = depth
    return reversed(found)


def _bar(span: SpanReport, total_ms: float, width: int) -> Text:
    """Return a span on the time axis; before its first token light, after it solid."""
    scale = width / total_ms if total_ms > 0 else 0.0
    start = min(round(span.offset_ms * scale), width - 1)
    length = max(min(round(span.duration_ms * scale), width - start), 1)
    waiting = 0 if span.first_token_ms is None else min(round(span.first_token_ms * scale), length)
    colour = "red" if span.status == "error" else "cyan" if span.call else "blue"
    bar = Text(" " * max(start, 0)).append("░" * waiting, style=colour)
    return bar.append("█" * (length - waiting), style=colour).append(" " * (width - start - length))


def _details(span: SpanReport) -> Iterator[Text]:
    """Yield the lines below a span: what went wrong, what the call was, how its answer was judged."""
    if span.status == "error":
        yield Text(f"error: {span.status_message or 'no reason given'}", style="bold red")
    if span.incomplete:
        yield Text("incomplete: the stream broke off before its end", style="yellow")
    facts = list(_facts(span))
    if facts:
        yield Text(" | ".join(facts), style="dim" if span.status != "error" else "")
    for judged in span.evaluations:
        yield evaluation(judged)


def _facts(span: SpanReport) -> Iterator[str]:
    if span.model:
        yield span.model
    if span.input_tokens is not None:
        cached = f" ({span.cache_read_tokens:,} cached)" if span.cache_read_tokens else ""
        yield f"{span.input_tokens:,} tokens in{cached}"
    if span.output_tokens is not None:
        yield f"{span.output_tokens:,} out"
    if span.call:
        yield (
            money(span.cost_usd) if span.cost_usd is not None else f"cost {UNKNOWN} ({span.cost_status or 'no price'})"
        )
    if span.first_token_ms is not None:
        yield f"first token {duration(span.first_token_ms)}"
    if span.retrieved_documents is not None:
        yield f"{span.retrieved_documents} documents"


def evaluation(judged: EvaluationReport) -> Text:
    """Return a judgement as people read it."""
    text = Text("judged ", style="dim").append(judged.name, style="magenta")
    if judged.score is not None:
        text.append(f" {judged.score:.2f}")
    if judged.label is not None:
        text.append(f" {judged.label}", style="bold")
    if judged.error is not None:
        text.append(f" failed: {judged.error}", style="red")
    return text
