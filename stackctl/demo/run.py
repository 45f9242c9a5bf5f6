"""The demo from start to end: traffic, tally, and the wait until the stack shows the same."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

from stackctl.clients import PrometheusClient, TempoClient
from stackctl.demo import convergence
from stackctl.demo.conductor import SERVICE, Target, perform, require_packages, simulator
from stackctl.demo.job import Job, Load, Outcome
from stackctl.demo.scenarios import scenario
from stackctl.demo.tally import Tally, quantiles, tally
from stackctl.errors import Misuse
from stackctl.genai import prices
from stackctl.reports import DemoReport


@dataclass(frozen=True)
class Plan:
    """What the user asked for.

    Attributes:
        base_url, model: a real endpoint and the chat model to use there; None for the simulator.
        api_key: for the real endpoint only.
        price_hosts: the user's own rows of server address to provider.
        book: the prices that the stack uses.
    """

    seed: int = 1
    scenario: str = "default"
    load: Load = field(default_factory=Load)
    base_url: str | None = None
    model: str | None = None
    embedding_model: str | None = None
    api_key: str | None = None
    price_hosts: Mapping[str, str] = field(default_factory=dict)
    book: prices.PriceBook = field(default_factory=prices.shipped)


@dataclass(frozen=True)
class Endpoints:
    """The running stack, as the demo uses it."""

    target: Target
    prometheus: str
    tempo: str
    console: str | None = None


def run(plan: Plan, endpoints: Endpoints, answered: Callable[[int], None], checking: Callable[[], None]) -> DemoReport:
    """Send the traffic, wait until the stack agrees, and report.

    Args:
        answered: told how many answers there are.
        checking: told when the traffic is over and the stack is asked.

    Raises:
        Misuse: a real endpoint without a model, or an unknown scenario.
        PackageMissing: the extra `demo` is not installed.
        NotConverged: the stack shows other numbers than the demo counted, or lacks a trace.
    """
    require_packages()
    chosen = scenario(plan.scenario)
    if (plan.base_url is None) != (plan.model is None):
        raise Misuse("--base-url and --model go together", next_step="stackctl demo --base-url URL --model MODEL")
    prometheus = PrometheusClient(endpoints.prometheus, endpoints.target.token)
    tempo = TempoClient(endpoints.tempo, endpoints.target.token)
    before = convergence.read(prometheus, SERVICE)
    began = time.time()
    with ExitStack() as running:
        port = None if plan.base_url else running.enter_context(simulator(chosen.seeded(plan.seed)))
        outcome = perform(_job(plan, port), endpoints.target, answered)
    counted = tally(outcome.calls, outcome.results, plan.book, _provider(plan))
    checking()
    deadline = time.monotonic() + convergence.WAIT_SECONDS
    convergence.wait_for_totals(prometheus, SERVICE, counted, before)
    convergence.wait_for_traces(tempo, outcome.trace_ids, deadline)
    return report(plan, outcome, counted, endpoints, (began, time.time()))


def report(
    plan: Plan, outcome: Outcome, counted: Tally, endpoints: Endpoints, window: tuple[float, float]
) -> DemoReport:
    """Return what is told about a run: the demo's own counts.

    Args:
        window: seconds since the epoch between which all of it arrived.
    """
    links = {"prometheus": endpoints.prometheus}
    if outcome.trace_ids:
        links["trace"] = f"{endpoints.tempo}/api/traces/{outcome.trace_ids[-1]}"
    if endpoints.console:
        # The board where these numbers stand, over just this run.
        links["console"] = f"{endpoints.console}/d/home?{_range(*window)}&var-service={SERVICE}"
        if outcome.trace_ids:
            links["trace"] = f"{endpoints.console}/traces/{outcome.trace_ids[-1]}"
    return DemoReport(
        requests=len(outcome.trace_ids),
        seed=plan.seed,
        trace_ids=outcome.trace_ids,
        calls=counted.calls,
        errors=counted.errors,
        unpriced_calls=counted.statuses["unpriced"],
        no_usage_calls=counted.statuses["no_usage"],
        tokens=counted.tokens,
        cost_usd=counted.cost_usd,
        ttft_seconds=quantiles(counted.first_token_seconds),
        output_tokens_per_second=quantiles(counted.output_rates),
        evaluations={"total": counted.judged, "hallucinated": counted.hallucinated},
        links=links,
    )


def _range(start: float, end: float) -> str:
    """Return a time range as addresses of boards have it: milliseconds since the epoch, whole seconds around it."""
    return f"from={math.floor(start) * 1000}&to={math.ceil(end) * 1000}"


def _job(plan: Plan, port: int | None) -> Job:
    return Job(
        seed=plan.seed,
        scenario=plan.scenario,
        load=plan.load,
        port=port,
        base_url=plan.base_url,
        api_key=plan.api_key,
        model=plan.model,
        embedding_model=plan.embedding_model,
    )


def _provider(plan: Plan) -> str | None:
    """Return whose prices apply, as the stack finds it: by the address that the client calls."""
    return prices.provider_of(plan.base_url or prices.SIMULATOR_HOST, "openai", plan.price_hosts)
