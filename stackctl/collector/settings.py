"""What of the user's settings the Collector's configuration depends on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from stackctl.genai.pricebook import in_force
from stackctl.genai.prices import PriceBook, shipped
from stackctl.settings import Settings


@dataclass(frozen=True)
class CollectorSettings:
    """What is rendered.

    Attributes:
        capture_content: keep prompts, completions and other content on the spans that are stored.
        sample_percent: share of ordinary traces that is stored, 0 to 100; None stores every trace.
        allow_keys: patterns of an application's own attribute keys that redaction keeps (RE2 syntax).
        extra_models: model names that may stand on metrics although no price row knows them.
        price_hosts: server address (`host` or `host:port`) to provider, before the shipped rows.
        book: the prices in force, the user's own rows included.
        exclude_scopes: instrumentation scopes whose spans are never accounted.
        tempo: host:port that takes OTLP/gRPC.
        prometheus: base URL of the server that takes applications' metrics.
        directory: where the configuration finds the files beside it.
        state_directory: where the queue of spans for Tempo lies.
        listen: address the Collector listens on.
    """

    capture_content: bool = False
    sample_percent: float | None = None
    allow_keys: tuple[str, ...] = ()
    extra_models: tuple[str, ...] = ()
    price_hosts: Mapping[str, str] = field(default_factory=dict)
    book: PriceBook = field(default_factory=shipped)
    exclude_scopes: tuple[str, ...] = ()
    tempo: str = "tempo:4317"
    prometheus: str = "http://prometheus:9090"
    directory: str = "/etc/otelcol-contrib"
    state_directory: str = "/var/lib/otelcol"
    listen: str = "0.0.0.0"  # inside a container; the host publishes its ports on loopback

    @classmethod
    def of(cls, settings: Settings, sample_percent: float | None = None) -> Self:
        """Return what the user's settings ask for.

        Raises:
            SettingsInvalid: `prices.book` names a file that is no price book.
        """
        book = str(settings.price_book) if settings.price_book else None
        return cls(
            capture_content=settings.capture_content,
            sample_percent=sample_percent,
            allow_keys=settings.allow_keys,
            extra_models=settings.extra_models,
            price_hosts=settings.price_hosts,
            book=in_force(book, settings.price_rows),
            exclude_scopes=settings.exclude_scopes,
        )
