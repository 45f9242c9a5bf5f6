"""The `--json` shapes of `stackctl bench`, as frozen dataclasses: keys may be added, never renamed."""

from dataclasses import dataclass


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
