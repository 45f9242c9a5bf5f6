"""Every `--json` shape as a frozen dataclass. Keys may be added, never renamed: others build on them."""

from dataclasses import dataclass
from decimal import Decimal


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
    """`up` and `status`."""

    runtime: str
    components: tuple[ComponentReport, ...]
    endpoints: dict[str, str | None]
    data_dir: str


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
