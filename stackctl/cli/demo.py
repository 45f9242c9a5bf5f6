"""`stackctl demo`: the RAG application under traffic, and what came of it."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, emit, options, plain, say

if TYPE_CHECKING:
    from stackctl.demo.job import Load
    from stackctl.demo.run import Endpoints, Plan
    from stackctl.reports import DemoReport
    from stackctl.runtime.state import RunningStack
    from stackctl.stack import EngineConfig

DEFAULT_REQUESTS = 40
MANY_REQUESTS = 80  # from here on more visitors come at a time, so that a long run is not a long wait


def demo(
    ctx: typer.Context,
    requests: Annotated[int | None, typer.Option(min=1, help="So many questions; 40 if nothing is said.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Questions started each second, at most.")] = None,
    duration: Annotated[str | None, typer.Option(help="Ask for so long, e.g. 30s or 5m.")] = None,
    concurrency: Annotated[
        int | None, typer.Option(min=1, max=64, help="So many visitors at a time; 8 or 12, by the number of questions.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed: the same questions, tokens, cost and errors.")] = 1,
    scenario: Annotated[str, typer.Option(help="Which traffic; see --list.")] = "default",
    list_scenarios: Annotated[bool, typer.Option("--list", help="Show the scenarios.")] = False,
    base_url: Annotated[
        str | None, typer.Option(help="A real OpenAI-compatible endpoint; its key is OPENAI_API_KEY.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The chat model of that endpoint.")] = None,
    embedding_model: Annotated[str | None, typer.Option(help="The embedding model of that endpoint.")] = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Run a RAG application under traffic and show what it cost, how fast it was and how often it was wrong."""
    if list_scenarios:
        _show_scenarios()
        return
    opts = options(ctx, data_dir, json)
    import os

    from stackctl.demo.run import Plan

    plan = Plan(
        seed=seed,
        scenario=scenario,
        load=_load(requests, rate, duration, concurrency),
        base_url=base_url,
        model=model,
        embedding_model=embedding_model,
        api_key=os.environ.get("OPENAI_API_KEY") if base_url else None,
    )
    emit(demo_report(opts, plan), opts, lambda found: show_demo(found, opts))


def demo_report(opts: Options, plan: "Plan | None" = None) -> "DemoReport":
    """Run the demo against the running stack; `up --demo` calls this too.

    Args:
        plan: the usual one if None.

    Raises:
        StackNotRunning: there is no stack to run it against.
    """
    from dataclasses import replace

    from stackctl.demo import run as running
    from stackctl.genai.pricebook import in_force
    from stackctl.runtime.state import find

    stack = find(opts.data_dir)
    endpoints, config = _endpoints(stack)
    book = in_force(config.price_book, config.price_rows)
    plan = replace(plan or running.Plan(), price_hosts=config.price_hosts, book=book)
    with _progress(plan.load.requests) as (answered, checking):
        return running.run(plan, endpoints, answered, checking)


def _load(requests: int | None, rate: float | None, duration: str | None, concurrency: int | None) -> "Load":
    """Return how much traffic the flags ask for."""
    from stackctl.demo.job import Load
    from stackctl.errors import Misuse
    from stackctl.setting_values import seconds

    try:
        limit = None if duration is None else float(seconds(duration))
    except ValueError as error:
        raise Misuse(
            f"--duration cannot be {duration!r}", next_step="use a number with s, m or h: --duration 30s"
        ) from error
    if requests is None and limit is None:
        requests = DEFAULT_REQUESTS
    few = requests is not None and requests <= MANY_REQUESTS
    return Load(requests, limit, rate, concurrency or (8 if few else 12))


def _endpoints(stack: "RunningStack") -> "tuple[Endpoints, EngineConfig]":
    """Return the stack's addresses as the demo uses them, and what its engine was told."""
    from stackctl.demo.conductor import Target
    from stackctl.demo.run import Endpoints
    from stackctl.runtime.supervisor import config_path
    from stackctl.stack import EngineConfig

    path = config_path(stack.data_dir)
    config = EngineConfig.read(path) if path.exists() else EngineConfig(str(stack.data_dir))
    target = Target(stack.url("otlp_grpc"), stack.url("otlp_http"), stack.token(), config.capture_content)
    console = stack.endpoints.get("console")
    return Endpoints(target, stack.url("prometheus"), stack.url("tempo"), console), config


@contextmanager
def _progress(total: int | None) -> Iterator[tuple[Callable[[int], None], Callable[[], None]]]:
    """Yield what tells a person of answers and of the check after them: a bar on a terminal, else a few lines."""
    if plain():
        step = max(1, (total or 100) // 4)

        def answered(number: int) -> None:
            if number % step == 0:
                say(f"demo: {number}{f' of {total}' if total else ''} questions answered")

        yield answered, lambda: say("demo: waiting until the stack shows the same numbers")
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("questions", total=total)

        def advance(number: int) -> None:
            bar.update(task, completed=number)

        yield advance, lambda: bar.update(task, description="checking the stack's numbers")


def _show_scenarios() -> None:
    from stackctl.demo.scenarios import SCENARIOS

    width = max(map(len, SCENARIOS))
    for row in SCENARIOS.values():
        print(f"{row.name:<{width}}  {row.about}")


def show_demo(report: "DemoReport", opts: Options) -> None:
    """Write the summary of a run."""
    from rich.console import Console
    from rich.table import Table

    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    for name, text in _rows(report):
        table.add_row(name, text)
    console = Console(file=sys.stdout, no_color=plain(), highlight=False)
    console.print(table)
    where = f" --data-dir {opts.data_dir}" if opts.loaded.origins["data_dir"].startswith("--") else ""
    if report.trace_ids:
        command = f"stackctl traces show {report.trace_ids[-1]}{where}"
        console.print(f"\nOne trace from question to answer:\n  {command}", soft_wrap=True)
    if "console" in report.links:
        console.print(f"Dashboards: {report.links['console']}", soft_wrap=True)


def _rows(report: "DemoReport") -> list[tuple[str, str]]:
    """Return the summary's lines as (name, text)."""
    tokens, judged = report.tokens, report.evaluations
    ttft, rate = report.ttft_seconds, report.output_tokens_per_second
    priced = report.calls - report.unpriced_calls - report.no_usage_calls
    share = f"{judged['hallucinated'] / judged['total']:.0%}" if judged["total"] else "unknown"
    return [
        (
            "Questions",
            f"{report.requests} answered with {report.calls} calls to models, {report.errors} of them failed",
        ),
        ("Time to first token", f"p50 {_seconds(ttft['p50'])}, p95 {_seconds(ttft['p95'])}"),
        ("Output speed", f"p50 {_number(rate['p50'])}, p95 {_number(rate['p95'])} tokens/s"),
        (
            "Tokens",
            f"{tokens['input']:,} in ({tokens['cache_read']:,} of them cached), "
            f"{tokens['output']:,} out ({tokens['reasoning']:,} of them reasoning)",
        ),
        (
            "Cost",
            f"${report.cost_usd:.6f} for {priced} of {report.calls} calls; "
            f"{report.unpriced_calls} without a known price, {report.no_usage_calls} without usage",
        ),
        ("Hallucination rate", f"{share} ({judged['hallucinated']} of {judged['total']} answers)"),
        ("Read back", f"{len(report.trace_ids)} traces, and every total equal to the demo's own count"),
    ]


def _seconds(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.2f} s"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.0f}"


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.command()(demo)
