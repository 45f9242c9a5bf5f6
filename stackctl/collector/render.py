"""The whole configuration, rendered."""

from string import Template
from typing import Final

from stackctl import semconv
from stackctl.collector import (
    application,
    catalogue,
    deriving,
    normalise,
    pricebook,
    pricing,
    redaction,
    sampling,
)
from stackctl.collector.group import Group, listed, quoted
from stackctl.collector.ottl import Line, span, text
from stackctl.collector.settings import CollectorSettings
from stackctl.genai import content

__all__ = ["CONFIG", "PRICES", "CollectorSettings", "files"]

CONFIG: Final = "config.yaml"
PRICES: Final = "prices.csv"
_NAMESPACE: Final = "first_token"


def files(settings: CollectorSettings) -> dict[str, str]:
    """Return the files that lie beside each other in the Collector's directory: name to text."""
    return {CONFIG: config(settings), PRICES: pricebook.csv(settings.book, settings.extra_models)}


def config(settings: CollectorSettings) -> str:
    """Return the configuration as YAML."""
    blocks = {
        "processors": _processors(settings),
        "signal_to_metrics": _connectors(),
        "span_metrics": _span_metrics(),
        "tail_sampling": sampling.processor(settings.sample_percent) if settings.sample_percent is not None else "",
        "sampler": "tail_sampling, " if settings.sample_percent is not None else "",
        "head": _head(settings),
        "listen": settings.listen,
        "tempo": settings.tempo,
        "prometheus": settings.prometheus,
        "state": settings.state_directory,
    }
    return Template(_WHOLE).substitute(blocks)


def _head(settings: CollectorSettings) -> str:
    kept = (
        "CONTENT IS CAPTURED: prompts and answers are stored." if settings.capture_content else "No content is stored."
    )
    if settings.sample_percent is None:
        return f"# {kept} Every trace is stored.\n"
    return f"# {kept} Stored are {settings.sample_percent:g} % of ordinary traces.\n"


# --- processors -------------------------------------------------------------------------------------------------------
def _processors(settings: CollectorSettings) -> str:
    allow, capture = settings.allow_keys, settings.capture_content
    price = pricing.groups(settings.book, settings.price_hosts, settings.extra_models)
    store = Group(
        "Marks of this pipeline are not stored.",
        [Line(f"delete_key(span.attributes, {text(key)})") for key in redaction.MARKS],
    )
    renamed = Group("The catalogue's name.", catalogue.renamed(_NAMESPACE), "metric")
    return "".join(
        (
            _transform("normalise", "trace", normalise.groups(exclude_scopes=settings.exclude_scopes)),
            _book(f"{settings.directory}/{PRICES}"),
            _transform("price", "trace", [*price, *deriving.groups()]),
            _transform("redact", "trace", redaction.groups(allow, capture)),
            _filter_redacted(capture),
            _filter(
                "counted", "traces", "span", [f"not ({catalogue.counted()})"], "Only calls and retrievals are counted."
            ),
            _transform("labels", "trace", catalogue.span_labels()),
            _filter(
                "first_token",
                "traces",
                "span",
                [f"not ({_when_first_token()})"],
                "Streamed calls whose first token was stamped.",
            ),
            _transform("first_token", "trace", [catalogue.first_token()]),
            _filter(
                "first_token_only",
                "metrics",
                "metric",
                [f'metric.name != "{_NAMESPACE}.duration"'],
                "span_metrics counts calls too, which the catalogue does better.",
            ),
            _transform("first_token_name", "metric", [renamed, catalogue.sender()]),
            _transform("store", "trace", [store]),
            _filter(
                "evaluations",
                "logs",
                "log_record",
                [f"not ({_is_evaluation()})"],
                "Evaluations are the log records that are kept, as metrics; others are dropped and counted.",
            ),
            _transform("evaluations", "log", catalogue.evaluation_labels()),
            _filter(
                "application", "metrics", "metric", application.refused(), "Metrics without a name that may stand."
            ),
            _transform("application", "metric", application.groups(allow)),
            _transform("clock", "metric", [application.clock(delta_only=False), catalogue.sender(), _writer()]),
            _transform("arrival", "metric", [application.clock()]),
        )
    )


def _book(file: str) -> str:
    value = f'"{pricing.BOOK_PREFIX}${{file:{file}}}"'.replace("\n", "\\n")
    return f"""\
  # The price book, within reach of the statements behind.
  resource/prices:
    attributes:
      - key: {pricing.BOOK_KEY}
        action: upsert
        value: {value}

"""


def _transform(name: str, signal: str, groups: list[Group]) -> str:
    head = f"  transform/{name}:\n    error_mode: silent\n    {signal}_statements:\n"
    return head + listed(groups, 6) + "\n"


def _filter(name: str, signal: str, context: str, conditions: list[str], why: str) -> str:
    items = "".join(f"        - {quoted(condition)}\n" for condition in conditions)
    head = f"  # {why}\n  filter/{name}:\n    error_mode: silent\n    {signal}:\n      {context}:\n"
    return f"{head}{items}\n"


def _filter_redacted(capture: bool) -> str:
    undone = f"{span(redaction.DONE)} != true or {span(redaction.DONE)} == nil"
    text_ = _filter("redacted", "traces", "span", [undone], "What is not marked as redacted goes no further.")
    if capture:
        return text_
    unknown = " and ".join(f"spanevent.name != {text(event)}" for event in content.EVENTS)
    return f"{text_.rstrip()}\n      spanevent:\n        - {quoted(unknown)}\n\n"


def _when_first_token() -> str:
    row = catalogue.first_token_row()
    from stackctl.collector import ottl

    return ottl.holds(row.when)


def _is_evaluation() -> str:
    event = text(semconv.EVALUATION_EVENT)
    return f'log.event_name == {event} or (log.event_name == "" and log.attributes["event.name"] == {event})'


def _writer() -> Group:
    line = Line('delete_key(resource.attributes, "signal_to_metrics.service.instance.id")')
    return Group("One Collector writes these series.", [line], "resource")


# --- connectors -------------------------------------------------------------------------------------------------------
def _connectors() -> str:
    return "".join(
        (
            "  # The catalogue over calls and retrievals (genai/metrics.py).\n",
            "  signal_to_metrics/spans:\n    error_mode: silent\n",
            catalogue.connector("span", 4),
            "\n  # The catalogue over evaluations.\n",
            "  signal_to_metrics/evaluations:\n    error_mode: silent\n",
            catalogue.connector("evaluation", 4),
        )
    )


def _span_metrics() -> str:
    row = catalogue.first_token_row()
    bounds = ", ".join(f"{bound * 1000:g}ms" for bound in row.bounds)
    resource = ", ".join((*catalogue.IDENTITY, semconv.DEPLOYMENT_ENVIRONMENT))
    dimensions = [key for key in catalogue.first_token_dimensions() if key not in catalogue.RESOURCE_LABELS]
    return Template(_FIRST_TOKEN).substitute(
        name=row.name,
        namespace=_NAMESPACE,
        bounds=bounds,
        resource=resource,
        dimensions="".join(f"      - name: {key}\n" for key in dimensions),
    )


_FIRST_TOKEN: Final = """
  # $name, with the traces of its samples
  span_metrics/first_token:
    namespace: $namespace
    histogram:
      unit: s
      explicit:
        buckets: [$bounds]
    exemplars: {enabled: true}
    exclude_dimensions: [service.name, span.name, span.kind, status.code, collector.instance.id]
    dimensions:
$dimensions    resource_metrics_key_attributes: [$resource]
    # An exemplar is exposed until the next flush: no more often than Prometheus scrapes.
    metrics_flush_interval: 5s
"""

_WHOLE: Final = """\
# The Collector of the stack, rendered by stackctl from the rows in stackctl/genai: change those, not this file.
$head#
#   receive -> limit -> normalise -> account -> price -> derive -> redact -+-> metrics
#                                                                          +-> (sample) -> queue -> Tempo
#
# Series are derived of what has been redacted, before any sampling: what a label could tell has been vetted like all
# the rest, and the totals are those of every call. `$$$$` stands for `$$`.

extensions:
  health_check:
    endpoint: $listen:13133
  file_storage/queue:
    directory: $state/queue
    create_directory: true
    compaction:
      on_start: true
      on_rebound: true
      directory: $state/queue

receivers:
  otlp:
    protocols:
      grpc:
        endpoint: $listen:4317
        max_recv_msg_size_mib: 64
      http:
        endpoint: $listen:4318
        max_request_body_size: 67108864

processors:
  memory_limiter:
    check_interval: 1s
    limit_percentage: 80
    spike_limit_percentage: 20

$processors$tail_sampling
  # A full queue behind it must not refuse what has been counted already, or senders would send it again.
  batch/decouple:
    timeout: 0s
    send_batch_size: 1
    send_batch_max_size: 0

  # One goroutine, so that points stay in the order in which they are stamped.
  batch/serial:
    timeout: 200ms
  delta_to_cumulative:
    max_stale: 24h
    max_streams: 200000

connectors:
  forward/counted: {}
  forward/first_token: {}
  forward/store: {}

$signal_to_metrics$span_metrics
exporters:
  otlp_grpc/tempo:
    endpoint: $tempo
    tls: {insecure: true}
    retry_on_failure: {enabled: true, initial_interval: 1s, max_interval: 10s, max_elapsed_time: 0s}
    sending_queue:
      storage: file_storage/queue
      sizer: items
      queue_size: 500000
      num_consumers: 4
      batch: {flush_timeout: 200ms, min_size: 1000, max_size: 2000}
  # Applications' own metrics.
  otlp_http/prometheus:
    endpoint: $prometheus/api/v1/otlp
    retry_on_failure: {enabled: true, initial_interval: 1s, max_interval: 10s, max_elapsed_time: 0s}
    sending_queue: {num_consumers: 1, queue_size: 5000}
  # The catalogue's series, scraped.
  prometheus/derived:
    endpoint: $listen:8889
    enable_open_metrics: true
    without_scope_info: true
    send_timestamps: false
    metric_expiration: 24h
    translation_strategy: UnderscoreEscapingWithSuffixes

service:
  extensions: [health_check, file_storage/queue]
  telemetry:
    logs: {level: warn}
    metrics:
      level: normal
      readers:
        - pull: {exporter: {prometheus: {host: $listen, port: 8888}}}
  pipelines:
    traces/in:
      receivers: [otlp]
      processors:
        - memory_limiter
        - transform/normalise
        - resource/prices
        - transform/price
        - transform/redact
        - filter/redacted
      exporters: [forward/counted, forward/store]
    traces/counted:
      receivers: [forward/counted]
      processors: [filter/counted, transform/labels]
      exporters: [signal_to_metrics/spans, forward/first_token]
    traces/first_token:
      receivers: [forward/first_token]
      processors: [filter/first_token, transform/first_token]
      exporters: [span_metrics/first_token]
    traces/store:
      receivers: [forward/store]
      processors: [transform/store, ${sampler}batch/decouple]
      exporters: [otlp_grpc/tempo]
    logs/evaluations:
      receivers: [otlp]
      processors: [memory_limiter, filter/evaluations, transform/evaluations]
      exporters: [signal_to_metrics/evaluations]
    metrics/derived:
      receivers: [signal_to_metrics/spans, signal_to_metrics/evaluations]
      processors: [batch/serial, transform/clock, delta_to_cumulative]
      exporters: [prometheus/derived]
    metrics/first_token:
      receivers: [span_metrics/first_token]
      processors: [filter/first_token_only, transform/first_token_name]
      exporters: [prometheus/derived]
    metrics/application:
      receivers: [otlp]
      processors:
        - memory_limiter
        - filter/application
        - transform/application
        - batch/serial
        - transform/arrival
        - delta_to_cumulative
      exporters: [otlp_http/prometheus]
"""
