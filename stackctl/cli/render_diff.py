"""`traces diff` as text: two columns, a line for each step with both durations, and below it what else it has."""

from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any

from rich.table import Table
from rich.text import Text

from stackctl.cli.render import UNKNOWN, clock, console, duration, money, spend_cell, tree
from stackctl.reports import EvaluationReport, SpanPairReport, SpanReport, SpendReport, TraceDiffReport, TraceRowReport

_SAME = 0.005  # below half a per cent two numbers count as equal, since that is what would be printed
_ABSENT = "-"
# What is compared of a call beside its duration: its name, the field of a span, how it is written.
_NUMBERS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("tokens in", "input_tokens", "{:,}".format),
    ("cached", "cache_read_tokens", "{:,}".format),
    ("tokens out", "output_tokens", "{:,}".format),
    ("cost", "cost_usd", money),
    ("first token", "first_token_ms", duration),
    ("documents", "retrieved_documents", "{:,}".format),
)
_GAP = 2
_LEAST_VALUE = 16
Line = tuple[Text, Text, Text, Text]


def trace_diff(report: TraceDiffReport) -> None:
    """Write `traces diff`."""
    out = console()
    for letter, row in (("A", report.a), ("B", report.b)):
        out.print(
            Text.assemble((f"{letter}  ", "bold"), (row.trace_id, "cyan"), f"  {clock(row.start)}  {row.service}"),
            no_wrap=True,
            overflow="ellipsis",
        )
    out.print()
    lines = list(_lines(report))
    table = Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="bold")
    # Names give way where the terminal is narrow, and long values fold: no number is ever cut.
    widths = [max(9, *(line[column].cell_len for line in lines)) for column in range(4)]
    room = out.width - widths[3] - 3 * _GAP
    value_width = min(max(widths[1:3]), max(_LEAST_VALUE, (room - widths[0]) // 2))
    table.add_column("span", no_wrap=True, overflow="ellipsis", width=min(widths[0], room - 2 * value_width))
    for name in ("A", "B"):
        table.add_column(name, justify="right", overflow="fold", width=value_width)
    table.add_column("change", justify="right", no_wrap=True, width=widths[3])
    for line in lines:
        table.add_row(*line)
    out.print(table)
    if any(row.spend.priced < row.spend.calls for row in (report.a, report.b)):
        out.print(Text("+: calls without usage or without a price are not in the sum", style="yellow"))


def _lines(report: TraceDiffReport) -> Iterator[Line]:
    """Yield the lines of the table: name, A, B, change."""
    for (lead, below), pair in zip(tree(report.spans), report.spans, strict=True):
        yield Text(lead, style="dim").append(_title(pair)), *_durations(pair)
        for name, *cells in _details(pair.a, pair.b):
            yield Text(f"{below}  ", style="dim").append(name), cells[0], cells[1], cells[2]
    yield Text(""), Text(""), Text(""), Text("")
    for name, *cells in _sums(report.a, report.b):
        yield name, cells[0], cells[1], cells[2]


def _title(pair: SpanPairReport) -> Text:
    spans = [span for span in (pair.a, pair.b) if span is not None]
    failed, called = any(span.status == "error" for span in spans), any(span.call for span in spans)
    return Text(pair.name, style="red" if failed else "bold cyan" if called else "")


def _durations(pair: SpanPairReport) -> tuple[Text, Text, Text]:
    a, b = pair.a, pair.b
    if a is not None and b is not None:
        return Text(duration(a.duration_ms)), Text(duration(b.duration_ms)), _change(a.duration_ms, b.duration_ms)
    if a is not None:
        return Text(duration(a.duration_ms)), Text(_ABSENT), Text("only in A", style="red")
    return Text(_ABSENT), Text("" if b is None else duration(b.duration_ms)), Text("only in B", style="green")


def _details(a: SpanReport | None, b: SpanReport | None) -> Iterator[Line]:
    """Yield the lines below a step: name, both values, change."""
    outcomes = [_outcome(span) for span in (a, b)]
    if set(outcomes) - {None, "ok"}:
        yield _texts("status", outcomes, "red")
    models = [None if span is None else span.model for span in (a, b)]
    if any(models):
        yield _texts("model", models)
    for name, field, shown in _NUMBERS:
        values = [None if span is None else getattr(span, field) for span in (a, b)]
        if any(values):
            called = [span is not None and span.call for span in (a, b)]
            yield _numbers(name, values, called, shown)
    yield from _judgements(a, b)


def _outcome(span: SpanReport | None) -> str | None:
    if span is None:
        return None
    return f"error: {span.status_message or 'no reason given'}" if span.status == "error" else "ok"


def _texts(name: str, values: Sequence[str | None], style: str = "") -> Line:
    same = "dim" if values[0] == values[1] else style
    left, right = (Text(_ABSENT if value is None else value, style=same) for value in values)
    return Text(name, style="dim"), left, right, Text("")


def _numbers(name: str, values: list[Any], called: list[bool], shown: Callable[[Any], str]) -> Line:
    """Return a number of both; one that a call lacks is unknown, which is not the same as none."""
    a, b = values
    texts = [
        Text(shown(value) if value is not None else UNKNOWN if call else _ABSENT, style="dim" if a == b else "")
        for value, call in zip(values, called, strict=True)
    ]
    return Text(name, style="dim"), texts[0], texts[1], Text("") if a is None or b is None else _change(a, b)


def _judgements(a: SpanReport | None, b: SpanReport | None) -> Iterator[Line]:
    sides = [[] if span is None else list(span.evaluations) for span in (a, b)]
    for name in dict.fromkeys(judged.name for side in sides for judged in side):
        found = [[_judgement(judged) for judged in side if judged.name == name] for side in sides]
        for place in range(max(map(len, found))):
            yield _texts(name, [side[place] if place < len(side) else None for side in found])


def _judgement(judged: EvaluationReport) -> str:
    if judged.error is not None:
        return f"failed: {judged.error}"
    score = "" if judged.score is None else f"{judged.score:.2f}"
    return f"{score} {judged.label or ''}".strip()


def _sums(a: TraceRowReport, b: TraceRowReport) -> Iterator[Line]:
    """Yield the sums; those of calls that lack something have a plus, and no change can be told."""
    change = _change(a.duration_ms, b.duration_ms)
    yield _sum("duration", Text(duration(a.duration_ms)), Text(duration(b.duration_ms)), change)
    for name, left, right in (
        ("spans", a.spans, b.spans),
        ("errors", a.errors, b.errors),
        ("model calls", a.spend.calls, b.spend.calls),
    ):
        yield _sum(name, Text(f"{left:,}"), Text(f"{right:,}"), _change(left, right))
    used = all(not row.spend.no_usage for row in (a, b))
    for name, left, right in (
        ("tokens in", a.spend.input_tokens, b.spend.input_tokens),
        ("tokens out", a.spend.output_tokens, b.spend.output_tokens),
    ):
        change = _change(left, right) if used else Text("")
        yield _sum(name, _tokens(left, a.spend), _tokens(right, b.spend), change)
    costs = [row.spend.cost_usd if row.spend.priced == row.spend.calls else None for row in (a, b)]
    change = Text("") if costs[0] is None or costs[1] is None else _change(costs[0], costs[1])
    yield _sum("cost", Text(spend_cell(a.spend)), Text(spend_cell(b.spend)), change)


def _sum(name: str, *cells: Text) -> Line:
    return Text(name, style="bold"), cells[0], cells[1], cells[2]


def _tokens(count: int, spend: SpendReport) -> Text:
    if spend.calls and spend.no_usage == spend.calls:
        return Text(UNKNOWN)
    return Text(f"{count:,}" + ("+" if spend.no_usage else ""))


def _change(a: float | Decimal, b: float | Decimal) -> Text:
    """Return how much larger the second is, in per cent of the first."""
    if a == b:
        return Text("=", style="dim")
    if not a:
        return Text("new", style="yellow")
    ratio = float(b) / float(a) - 1
    if abs(ratio) < _SAME:
        return Text("=", style="dim")
    if ratio >= 10:
        return Text(f"x {ratio + 1:,.0f}", style="yellow")
    return Text(f"{ratio:+.0%}", style="yellow" if ratio > 0 else "green")
