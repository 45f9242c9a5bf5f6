"""`stackctl bench`: reproducible measurements, a row per case."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, emit, options, say
from stackctl.errors import Misuse, ProblemFound

if TYPE_CHECKING:
    from stackctl.bench.reports import (
        CollectorReport,
        ConsoleReport,
        IngestReport,
        PromqlReport,
        QueryReport,
        StartReport,
    )


@dataclass(frozen=True)
class Load:
    """How hard a case works.

    Attributes:
        seconds: how long load is sent.
        rate: spans a second; 0 for as fast as they are taken.
        runs: repetitions of what is timed as a whole.
        spans: how many a store holds that is asked.
        directory: where that store is kept; None for a temporary one.
        seed: what generated inputs follow from; None for new ones.
        queries: how many are compared.
        prometheus: the program of a real Prometheus; None to look where STACKCTL_REALSTACK says.
        collector: the program of a real Collector, likewise.
    """

    seconds: float
    rate: float
    runs: int
    spans: int
    directory: Path | None
    seed: int | None
    queries: int
    prometheus: Path | None
    collector: Path | None


@dataclass(frozen=True)
class Case:
    """One measurement.

    Attributes:
        run: takes the load, returns its report.
        render: writes the report for people.
        problems: what of a report breaks a promise under that load.
        alone: whether it runs only when it is named.
    """

    name: str
    help: str
    run: Callable[[Load], Any]
    render: Callable[[Any], None]
    problems: Callable[[Any, Load], list[str]]
    alone: bool = False


def _run_ingest(load: Load) -> "IngestReport":
    from stackctl.bench.ingest import measure

    return measure(load.seconds, load.rate, say)


def _ingest_problems(report: "IngestReport", load: Load) -> list[str]:
    from stackctl.bench.ingest import problems

    return problems(report, load.rate)


def _render_ingest(report: "IngestReport") -> None:
    typer.echo(f"spans/s        {report.spans_per_second:,.0f} ({report.acked_spans:,} acknowledged)")
    typer.echo(f"ack            {_ack(report.ack_seconds)}")
    typer.echo(
        f"ingest         {report.ingest_cores:.2f} cores, {report.cpu_us_per_span:.1f} us a span, "
        f"{report.ingest_rss_bytes / 1024**2:.0f} MiB"
    )
    typer.echo(f"load generator {report.sender_cores:.2f} cores, {report.sender_late_seconds:.2f} s behind at the end")
    typer.echo(f"queue          at most {report.queue_bytes_max / 1024**2:.1f} MiB")
    ratio = report.disk_bytes_per_span / report.parquet_bytes_per_span if report.parquet_bytes_per_span else 0
    typer.echo(f"disk           {report.disk_bytes_per_span:.0f} bytes a span, all told: {ratio:.2f} x plain Parquet")
    stolen = "" if report.stolen_share is None else f"; {report.stolen_share:.1%} of the time taken by its host"
    typer.echo(f"load average   {report.load_average:.1f}{stolen}")
    if report.paced is not None:
        typer.echo("at a fixed rate:")
        _render_ingest(report.paced)
    for one in report.one_span:
        typer.echo(
            f"one span each  {one.requests_per_second:,.0f}/s over {one.protocol}, {one.cpu_us_per_span:.0f} us, "
            f"{one.disk_bytes_per_span:.0f} bytes of disk; {_ack(one.ack_seconds)}"
        )


def _ack(seconds: dict[str, float]) -> str:
    return ", ".join(f"{name} {value * 1000:.1f} ms" for name, value in seconds.items()) or "none"


def _run_start(load: Load) -> "StartReport":
    from stackctl.bench.start import measure

    return measure(load.runs, say)


def _render_start(report: "StartReport") -> None:
    typer.echo(f"cold {report.cold_seconds:.2f} s")
    typer.echo(f"warm {report.warm_median_seconds:.2f} s (median of {len(report.warm_seconds)})")


def _run_console(load: Load) -> "ConsoleReport":
    from stackctl.bench.console import measure

    return measure(load.runs, say)


def _console_problems(report: "ConsoleReport", _: Load) -> list[str]:
    from stackctl.bench.console import problems

    return problems(report)


def _render_console(report: "ConsoleReport") -> None:
    typer.echo(f"first paint    {report.first_paint_seconds * 1000:.0f} ms")
    typer.echo(f"Home drawn     {report.drawn_seconds * 1000:.0f} ms (median of {len(report.loads)})")
    typer.echo(f"on the wire    {report.wire_bytes / 1000:.0f} kB")
    typer.echo(f"series         {report.series:,} over a day")
    if report.build_seconds is not None:
        typer.echo(f"built in       {report.build_seconds:.1f} s, by pip install")


def _run_query(load: Load) -> "QueryReport":
    from stackctl.bench.query import measure

    return measure(load.spans, load.rate, load.runs, load.directory, say)


def _render_query(report: "QueryReport") -> None:
    typer.echo(f"{report.spans:,} spans, {report.ingest_spans_per_second:,.0f} a second coming in")
    typer.echo(f"{'':32}{'median':>9}{'worst':>9}{'first':>9}{'promised':>9}{'cpu':>9}{'bare DuckDB':>14}")
    for answer in report.answers:
        figures = (answer.median_ms, answer.worst_ms, answer.first_ms, answer.bar_ms, answer.cpu_ms)
        cells = "".join(f"{'-' if ms is None else f'{ms:.1f}':>9}" for ms in figures)
        bare = "-" if answer.bare_ms is None else f"{answer.bare_ms:.1f} (x {answer.median_ms / answer.bare_ms:.1f})"
        typer.echo(f"{answer.name:32}{cells}{bare:>14}")
    typer.echo(f"in ms; query process {report.query_rss_bytes / 1024**2:.0f} MiB, load {report.load_average:.1f}")


def _query_problems(report: "QueryReport", load: Load) -> list[str]:
    from stackctl.bench.query import problems

    return problems(report, load.rate)


def _run_promql(load: Load) -> "PromqlReport":
    from stackctl.bench.promql import measure

    return measure(load.prometheus, load.seed, load.queries, say)


def _promql_problems(report: "PromqlReport", _: Load) -> list[str]:
    from stackctl.bench.promql import problems

    return problems(report)


def _render_promql(report: "PromqlReport") -> None:
    typer.echo(f"seed           {report.seed}")
    typer.echo(f"queries        {report.queries:,}; {report.features} features in {report.rarest_feature_queries} each")
    typer.echo(f"differ         {len(report.differing)}, beside {report.rounding} by rounding alone")
    typer.echo(f"refused        {report.refused}; empty {report.empty}")


def _run_collector(load: Load) -> "CollectorReport":
    from stackctl.bench.collector import measure

    return measure(load.collector, load.runs, say)


def _collector_problems(report: "CollectorReport", _: Load) -> list[str]:
    from stackctl.bench.collector import problems

    return problems(report)


def _render_collector(report: "CollectorReport") -> None:
    typer.echo(f"bare           {report.bare_ms:.1f} ms of processor time per 1,000 spans, received and sent on")
    typer.echo(f"3 price rows   {report.small_ms:.1f} ms, the whole pipeline")
    typer.echo(f"               {report.folded_ms:.1f} ms, where every other model is `other` on metrics")
    typer.echo(f"{report.price_rows:,} rows     {report.full_ms:.1f} ms, x {report.times:.2f}")
    typer.echo(f"load           {report.load_average:.1f}")


CASES: tuple[Case, ...] = (
    Case("ingest", "spans a second that the embedded engine takes", _run_ingest, _render_ingest, _ingest_problems),
    Case("query", "how quickly spans are found among millions", _run_query, _render_query, _query_problems),
    Case("console", "how quickly Home is shown in Chromium", _run_console, _render_console, _console_problems),
    Case("promql", "agreement with a real Prometheus", _run_promql, _render_promql, _promql_problems, alone=True),
    Case(
        "collector",
        "processor time of a span in a real Collector",
        _run_collector,
        _render_collector,
        _collector_problems,
        alone=True,
    ),
    Case("start", "seconds from `up` to a proven stack", _run_start, _render_start, lambda _report, _load: []),
)


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""

    @root.command()
    def bench(
        ctx: typer.Context,
        cases: Annotated[
            list[str] | None, typer.Argument(help="Which cases; all but promql and collector when none is named.")
        ] = None,
        seconds: Annotated[float, typer.Option(min=1, help="How long load is sent.")] = 30.0,
        rate: Annotated[float, typer.Option(min=0, help="Spans a second; 0 for as fast as they are taken.")] = 0.0,
        runs: Annotated[int, typer.Option(min=1, help="Repetitions of a start or a query.")] = 5,
        spans: Annotated[int, typer.Option(min=1, help="Spans in the store that is asked.")] = 10_000_000,
        seed: Annotated[int | None, typer.Option(min=0, help="Of generated queries; new ones without it.")] = None,
        queries: Annotated[int, typer.Option(min=1, help="How many queries to compare.")] = 5000,
        prometheus_program: Annotated[
            Path | None, typer.Option(help="A real Prometheus; else the one in the directory STACKCTL_REALSTACK.")
        ] = None,
        collector_program: Annotated[
            Path | None, typer.Option(help="A real Collector; else the one in the directory STACKCTL_REALSTACK.")
        ] = None,
        json: JsonFlag = False,
        data_dir: DataDirFlag = None,
    ) -> None:
        """Measure the product on this machine, in stacks of its own."""
        opts = options(ctx, data_dir, json)
        broken: list[str] = []
        load = Load(seconds, rate, runs, spans, data_dir, seed, queries, prometheus_program, collector_program)
        for case in _chosen(cases or []):
            report = case.run(load)
            emit(report, opts, case.render)
            broken += [f"{case.name}: {problem}" for problem in case.problems(report, load)]
        if broken:
            raise ProblemFound("; ".join(broken), next_step="run it again on a machine that does nothing else")


def _chosen(names: list[str]) -> list[Case]:
    known = {case.name: case for case in CASES}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise Misuse(f"there is no benchmark {unknown[0]!r}", next_step=f"choose of: {', '.join(known)}")
    return [known[name] for name in names] if names else [case for case in CASES if not case.alone]
