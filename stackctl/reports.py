"""Every `--json` shape as a frozen dataclass, those of prices apart (`stackctl.cost.reports`).

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
class ConsoleReport:
    """`bench console`: Home over a day of series, medians of loads with an empty cache.

    Attributes:
        series: how many the store holds.
        first_paint_seconds: first contentful paint.
        drawn_seconds: until the last panel was drawn.
        wire_bytes: of everything that was loaded, packed as it came.
        loads: seconds until drawn of each load.
        build_seconds: that `pip install` spent on building the pages; None where it was not noted.
    """

    series: int
    first_paint_seconds: float
    drawn_seconds: float
    wire_bytes: int
    loads: tuple[float, ...]
    build_seconds: float | None = None


@dataclass(frozen=True)
class StartReport:
    """`bench start`: wall seconds from `stackctl up` to a proven stack.

    Attributes:
        cold_seconds: with the installation's files evicted from the page cache.
        warm_seconds: each repetition after that.
    """

    cold_seconds: float
    warm_seconds: tuple[float, ...]
    warm_median_seconds: float


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


@dataclass(frozen=True)
class AnswerReport:
    """One question of `bench query`.

    Attributes:
        bar_ms: what the median must not exceed; None where nothing is promised.
        first_ms: the first answer, which is in none of the other figures.
        cpu_ms: processor time of the query process for one answer.
        bare_ms: median of bare DuckDB over the same files; None where it has no such question.
    """

    name: str
    bar_ms: float | None
    repetitions: int
    median_ms: float
    worst_ms: float
    first_ms: float
    cpu_ms: float
    bare_ms: float | None


@dataclass(frozen=True)
class QueryReport:
    """`bench query`: how fast the query process answers over a store of its own.

    Attributes:
        spans: sealed before the first question; those that came in meanwhile are not in it.
        made_seconds: how long writing them took; about 0 where a store was there.
        asked_seconds: from the first question to the last.
        ingest_spans_per_second: what came in meanwhile.
        load_average: of the last minute, at the end: above the number of cores the machine did other things as well.
    """

    spans: int
    disk_bytes: int
    made_seconds: float
    asked_seconds: float
    ingest_spans_per_second: float
    load_average: float
    query_rss_bytes: int
    answers: tuple[AnswerReport, ...]


@dataclass(frozen=True)
class OneSpanRun:
    """`bench ingest`: what it took of requests that bring one span each.

    Attributes:
        protocol: `grpc` or `http`.
        ack_seconds: as of `IngestReport`.
        cpu_us_per_span: processor time of all ingest processes, microseconds.
        disk_bytes_per_span: everything in the data directory after the log was sealed and small segments merged.
    """

    protocol: str
    requests_per_second: float
    acked_spans: int
    stored_spans: int
    refused_requests: int
    ack_seconds: dict[str, float]
    ingest_rss_bytes: int
    cpu_us_per_span: float
    sender_cores: float
    disk_bytes_per_span: float


@dataclass(frozen=True)
class IngestReport:
    """`bench ingest`: what the embedded ingest took from a load generator on the same machine.

    Attributes:
        spans_per_second: acknowledged spans by wall time.
        stored_spans: spans found in the store afterwards.
        accounted_calls: inference calls among the acknowledged spans, by construction.
        stored_calls: stored spans marked as accounted.
        counted_calls: sum of `llm_requests_total` afterwards.
        ack_seconds: `p50`, `p99` and `max` of the time from sending to acknowledgement.
        sender_late_seconds: how far behind its schedule the load generator ended.
        ingest_cores: processor time of the ingest process by wall time.
        queue_bytes_max: most bytes of requests that waited or were being committed, every half second.
        disk_bytes_per_span: everything in the data directory after a clean stop: segments, log, samples, digests.
        cpu_us_per_span: processor time of all ingest processes, microseconds.
        parquet_bytes_per_span: what the same rows take in plain Parquet files.
        load_average: of the machine at the end; what else it did took from all of this.
        stolen_share: of the machine's processor time, what its own host gave to other machines; None where it does not
            tell. No program can be faster than the time that it is given.
        paced: the same at a fixed rate, where the time of acknowledgements counts.
        one_span: of requests that bring one span each.
    """

    spans_per_second: float
    acked_spans: int
    stored_spans: int
    accounted_calls: int
    stored_calls: int
    counted_calls: float
    refused_requests: int
    repeated_requests: int
    ack_seconds: dict[str, float]
    sender_late_seconds: float
    ingest_cores: float
    sender_cores: float
    ingest_rss_bytes: int
    queue_bytes_max: int
    queue_grew: bool
    disk_bytes_per_span: float
    cpu_us_per_span: float = 0.0
    parquet_bytes_per_span: float = 0.0
    load_average: float = 0.0
    stolen_share: float | None = None
    paced: "IngestReport | None" = None
    one_span: tuple[OneSpanRun, ...] = ()


@dataclass(frozen=True)
class CollectorReport:
    """`bench collector`: processor time of the real Collector per 1,000 spans, in milliseconds.

    Attributes:
        spans: how many each pipeline was measured with.
        price_rows: of the shipped price book.
        full_ms: the rendered pipeline with the shipped price book.
        small_ms: the same with three price rows, and the same series.
        folded_ms: the same with three price rows, every other model being `other` on metrics.
        bare_ms: receiving and exporting alone.
        times: `full_ms` by `small_ms`.
        load_average: of the machine over the last minute.
    """

    spans: int
    price_rows: int
    full_ms: float
    small_ms: float
    folded_ms: float
    bare_ms: float
    times: float
    load_average: float


@dataclass(frozen=True)
class PromqlReport:
    """`bench promql`: generated queries, answered by the embedded evaluator and by a real Prometheus.

    Attributes:
        seed: where queries and series follow from.
        features: functions, aggregations, operators and modifiers that the queries use.
        rarest_feature_queries: how many queries use the one that is used least.
        refused: queries refused by name.
        empty: queries that both answer with nothing, or both with an error.
        rounding: queries whose answers differ by what the last bits of intermediate results decide.
        differing: the others whose answers differ, each with how.
        seconds: processor time of the evaluations and comparisons.
    """

    seed: int
    queries: int
    features: int
    rarest_feature: str
    rarest_feature_queries: int
    refused: int
    empty: int
    rounding: int
    differing: tuple[str, ...]
    seconds: float
