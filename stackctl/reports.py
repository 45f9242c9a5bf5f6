"""Every `--json` shape as a frozen dataclass.

Those of prices and of `bench` stand beside what makes them: `stackctl.cost.reports`, `stackctl.bench.reports`.
Keys may be added, never renamed: others build on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class ComponentReport:
    """One process or container of the stack.

    Attributes:
        state: `healthy`, `starting`, `unhealthy` or `stopped`.
        since: RFC 3339 time of its last start, UTC.
        memory_bytes: resident memory, with that of processes that it made; None where it cannot be read.
        restarts: how often it died and was started again since `up`.
        image: reference of its container's image; None for a process.
        digest: of that image as its registry knows it, or the image's own id where it came from no registry.
    """

    name: str
    state: str
    version: str
    endpoint: str | None
    since: str | None
    memory_bytes: int | None
    restarts: int
    image: str | None = None
    digest: str | None = None


@dataclass(frozen=True)
class DemoReport:
    """`demo`: the demo's own counts at the client, not read back from the stack.

    Attributes:
        calls: accounted inference calls.
        cost_usd: sum of the priced calls, a decimal string in JSON.
        ttft_seconds: `p50` and `p95`, None without a streamed call.
    """

    requests: int
    seed: int
    trace_ids: tuple[str, ...]
    calls: int
    errors: int
    unpriced_calls: int
    no_usage_calls: int
    tokens: dict[str, int]
    cost_usd: Decimal
    ttft_seconds: dict[str, float | None]
    output_tokens_per_second: dict[str, float | None]
    evaluations: dict[str, int]
    links: dict[str, str]


@dataclass(frozen=True)
class StackReport:
    """`up` and `status`.

    Attributes:
        token_file: where the bearer token lies that the endpoints ask for; None on loopback.
        network: Docker network in which an application's containers reach the stack; None in the embedded runtime.
        password_file: where Grafana's password lies, for the user `admin`; None without Grafana.
        demo: what `up --demo` measured; None where no demo ran.
    """

    runtime: str
    components: tuple[ComponentReport, ...]
    endpoints: dict[str, str | None]
    data_dir: str
    token_file: str | None
    network: str | None = field(default=None, kw_only=True)
    password_file: str | None = field(default=None, kw_only=True)
    demo: DemoReport | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class SettingReport:
    """One setting of `config`: its value in force and where it comes from."""

    key: str
    value: Any
    origin: str
    env: str
    help: str


@dataclass(frozen=True)
class ConfigReport:
    """`config`."""

    settings: tuple[SettingReport, ...]


@dataclass(frozen=True)
class StatusReport(StackReport):
    """`status`: what `up` reports, and what the engine counts.

    Attributes:
        disk_bytes: what the data directory takes, and the volumes of the docker runtime.
        engine: the ingest process's own counters by name; None when it does not answer, and in the docker runtime.
        collector: the Collector's own counters by name, as Prometheus last scraped them; None where there are none.
    """

    disk_bytes: int
    engine: Mapping[str, Any] | None
    collector: Mapping[str, Any] | None = field(default=None, kw_only=True)


@dataclass(frozen=True)
class SpendReport:
    """What some inference calls cost, and how many of them that is known of.

    Attributes:
        calls: accounted calls; the next three are a partition of them.
        no_usage: calls whose library sent no token counts.
        cost_usd: sum of the priced calls; None when none of them is priced, which is not the same as nothing.
    """

    calls: int
    priced: int
    unpriced: int
    no_usage: int
    input_tokens: int
    output_tokens: int
    cost_usd: Decimal | None


@dataclass(frozen=True)
class CostGroupReport(SpendReport):
    """The calls that share the values of `labels`; a value is empty where calls lack it."""

    labels: Mapping[str, str]


@dataclass(frozen=True)
class CostReport:
    """`cost`.

    Attributes:
        source: where the sums come from, one line for people.
        groups: most expensive first.
        not_stored: calls that metrics counted and no stored span of the window tells of; they are in no sum.
    """

    window_seconds: float
    by: tuple[str, ...]
    source: str
    total: SpendReport
    groups: tuple[CostGroupReport, ...]
    not_stored: int = 0


@dataclass(frozen=True)
class RepriceGroupReport:
    """The calls that share the values of `labels`: what they cost, and what they cost with other prices."""

    old: SpendReport
    new: SpendReport
    labels: Mapping[str, str]


@dataclass(frozen=True)
class RepriceReport:
    """`cost --prices`.

    Attributes:
        prices: the file of the new prices.
        prices_date: the day on which they were valid; empty where the file does not say.
        groups: most expensive with the new prices first.
        not_stored: as in `CostReport`.
    """

    window_seconds: float
    by: tuple[str, ...]
    source: str
    prices: str
    prices_date: str
    old: SpendReport
    new: SpendReport
    groups: tuple[RepriceGroupReport, ...]
    not_stored: int


@dataclass(frozen=True)
class EvaluationReport:
    """One judgement on a span: `score` and `label` are None where the judge gave none, `error` where it failed."""

    name: str
    score: float | None
    label: str | None
    error: str | None


@dataclass(frozen=True)
class SpanReport:
    """One span of `traces show`.

    Attributes:
        depth: 0 for a root.
        offset_ms: from the start of the trace to its own.
        model: the answering model, else the one asked for; None for what is no call to a model.
        first_token_ms: from the span's start to the first content; None where it was not measured.
        call: an accounted inference call.
        incomplete: a stream that broke off, whatever the span's status says.
    """

    span_id: str
    parent_id: str | None
    depth: int
    name: str
    service: str
    kind: str
    offset_ms: float
    duration_ms: float
    status: str
    status_message: str
    operation: str | None
    model: str | None
    call: bool
    incomplete: bool
    input_tokens: int | None
    output_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: Decimal | None
    cost_status: str | None
    first_token_ms: float | None
    retrieved_documents: int | None
    evaluations: tuple[EvaluationReport, ...]


@dataclass(frozen=True)
class TraceReport:
    """`traces show`: spans from the root down, siblings in order of their start.

    Attributes:
        start: RFC 3339, UTC.
        errors: spans with an error status.
        models: of its calls, without repetition.
    """

    trace_id: str
    start: str
    service: str
    name: str
    duration_ms: float
    errors: int
    models: tuple[str, ...]
    spend: SpendReport
    spans: tuple[SpanReport, ...]


@dataclass(frozen=True)
class TraceRowReport:
    """One line of `traces list`; fields as in `TraceReport`, `spans` and `errors` counted."""

    trace_id: str
    start: str
    service: str
    name: str
    duration_ms: float
    spans: int
    errors: int
    models: tuple[str, ...]
    spend: SpendReport


@dataclass(frozen=True)
class SpanPairReport:
    """One step of `traces diff`: a span that both traces have under one path, or one of them has.

    Attributes:
        a: the first trace's span, None where only the second has it, and the other way round.
        changed: fields in which the two spans differ; empty where there is one.
    """

    depth: int
    name: str
    a: SpanReport | None
    b: SpanReport | None
    changed: tuple[str, ...]


@dataclass(frozen=True)
class TraceDiffReport:
    """`traces diff`: two traces as wholes, then span by span from the root down."""

    a: TraceRowReport
    b: TraceRowReport
    spans: tuple[SpanPairReport, ...]


@dataclass(frozen=True)
class TraceListReport:
    """`traces list`: newest first."""

    traces: tuple[TraceRowReport, ...]


@dataclass(frozen=True)
class BoardReport:
    """One board of `dashboards list`."""

    uid: str
    title: str
    description: str
    panels: int
    queries: int


@dataclass(frozen=True)
class BoardsReport:
    """`dashboards list`."""

    boards: tuple[BoardReport, ...]


@dataclass(frozen=True)
class PushReport:
    """`dashboards push`: where the boards are now."""

    links: tuple[str, ...]


@dataclass(frozen=True)
class RenderReport:
    """`dashboards render`.

    Attributes:
        changed: file names that were written or removed; with `--check` those that would be.
    """

    directory: str
    boards: tuple[str, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class QueryProblemReport:
    """A query of `dashboards verify` that fails, names an unknown metric or finds nothing.

    Attributes:
        panel: the panel's title, or `$name` for a variable.
    """

    board: str
    panel: str
    query: str
    problem: str


@dataclass(frozen=True)
class EmptyPanelReport:
    """A panel of `dashboards verify` that a healthy stack leaves empty.

    Attributes:
        scenario: the demo scenario that fills it.
    """

    board: str
    panel: str
    scenario: str


@dataclass(frozen=True)
class VerifyReport:
    """`dashboards verify`."""

    boards: int
    panels: int
    queries: int
    window_seconds: int
    problems: tuple[QueryProblemReport, ...]
    empty: tuple[EmptyPanelReport, ...]
