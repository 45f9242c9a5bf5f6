"""Every `--json` shape as a frozen dataclass. Keys may be added, never renamed: others build on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class ComponentReport:
    """One process or container of the stack.

    Attributes:
        state: `healthy`, `starting`, `unhealthy` or `stopped`.
        since: RFC 3339 time of its last start, UTC.
        memory_bytes: resident memory; None where it cannot be read.
    """

    name: str
    state: str
    version: str
    endpoint: str | None
    since: str | None
    memory_bytes: int | None


@dataclass(frozen=True)
class StackReport:
    """`up` and `status`.

    Attributes:
        token_file: where the bearer token lies that the endpoints ask for; None on loopback.
    """

    runtime: str
    components: tuple[ComponentReport, ...]
    endpoints: dict[str, str | None]
    data_dir: str
    token_file: str | None


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
        disk_bytes: what the data directory takes.
        engine: the ingest process's own counters by name; None when it does not answer.
    """

    disk_bytes: int
    engine: Mapping[str, Any] | None
