"""The stack's fixed facts, once: components, endpoints, ports, image pins, and what the engine processes are told.

Ports and pins are compared by tests with the compose file, the engine's routes and the README. Image tags and digests:
seen working together in October 2026 (multi-arch index digests).
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final, Self

import orjson


@dataclass(frozen=True)
class Endpoint:
    """A named address that both runtimes expose.

    Attributes:
        port: default TCP port on loopback.
        scheme: `http`, or empty where the address is host:port (gRPC).
        speaks: one line for people.
    """

    name: str
    port: int
    scheme: str
    speaks: str

    def url(self, host: str, port: int) -> str:
        """Return the address as a user would paste it: a URL, or host:port for gRPC."""
        return f"{self.scheme}://{host}:{port}" if self.scheme else f"{host}:{port}"


@dataclass(frozen=True)
class Component:
    """An official server of the docker runtime: image pin and the endpoints it serves.

    Attributes:
        name: its service in `compose/compose.yaml`, and so its host name in the stack's network.
        health: port in its container and path of a GET that is answered with 200 when it is ready.
    """

    name: str
    image: str
    tag: str
    digest: str
    serves: tuple[str, ...]
    health: tuple[int, str]

    @property
    def reference(self) -> str:
        """The pinned image reference, tag and digest."""
        return f"{self.image}:{self.tag}@{self.digest}"


ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("otlp_grpc", 4317, "", "OTLP/gRPC: traces, metrics, logs"),
    Endpoint("otlp_http", 4318, "http", "OTLP/HTTP: protobuf and JSON, gzip"),
    Endpoint("prometheus", 9090, "http", "Prometheus HTTP API"),
    Endpoint("tempo", 3200, "http", "Tempo HTTP API, TraceQL"),
    Endpoint("console", 3000, "http", "web console: boards, traces, health"),
)

COMPONENTS: tuple[Component, ...] = (
    Component(
        "otelcol",
        "otel/opentelemetry-collector-contrib",
        "0.161.0",
        "sha256:fd328de2552466ad78385e1b1289c3f2402b1c45f265b252aab1955b42845ac1",
        ("otlp_grpc", "otlp_http"),
        (13133, "/"),
    ),
    Component(
        "tempo",
        "grafana/tempo",
        "3.1.0",
        "sha256:3076b8dcdfb32fd6bc5ccef85e7b7313e6199b9cb84366257fc17ecb696db5fd",
        ("tempo",),
        (3200, "/ready"),
    ),
    Component(
        "prometheus",
        "prom/prometheus",
        "v3.15.0",
        "sha256:efd719c99d83b060d9daefdcf00360461adf279f45ef5391f8d111892118753e",
        ("prometheus",),
        (9090, "/-/ready"),
    ),
    Component(
        "grafana",
        "grafana/grafana",
        "13.2.3",
        "sha256:b28bae15e219c998fb0e0424ed724930cc61b1f61fb404d47c862f9a23f9e572",
        ("console",),
        (3000, "/api/health"),
    ),
)

ENDPOINT_BY_NAME: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in ENDPOINTS}
COMPONENT_BY_NAME: Mapping[str, Component] = {component.name: component for component in COMPONENTS}

# The readiness probe's telemetry carries this service name; search leaves it out, lookup by id finds it.
PROBE_SERVICE = "stackctl-probe"
PROBE_METRIC = "stackctl.probe.time"  # a gauge in seconds, so Prometheus has it as:
PROBE_SERIES = "stackctl_probe_time_seconds"


# What a price row's provider and model may hold: nothing that a Collector's configuration would expand.
PRICE_CELL: Final = re.compile(r"[A-Za-z0-9._:/@+-]*")


_NUMBER: Final = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


@dataclass(frozen=True)
class OwnPrice:
    """A price row of the user's own. Money in USD per million tokens, as decimal text, so that it stays exact.

    Attributes:
        provider: as `prices.hosts` or the price book names it.
        output: None for a model without output, such as one of embeddings; so are cache prices that do not exist.
        window: context window in tokens; None where it is not known.
    """

    provider: str
    model: str
    input: str
    output: str | None = None
    cache_read: str | None = None
    cache_write: str | None = None
    window: int | None = None

    @classmethod
    def parse(cls, table: Any) -> Self:
        """Read a row as `stackctl.toml` has it.

        Raises:
            ValueError: says which key is wrong and how.
        """
        known = [row.name for row in fields(cls)]
        if not isinstance(table, Mapping):
            raise ValueError(f"not a table of {', '.join(known)}")
        for key in table:
            if key not in known:
                raise ValueError(f"there is no key {key!r}, only {', '.join(known)}")
        for key in known[:3]:
            if key not in table:
                raise ValueError(f"{key} is missing")
        for key in known[:2]:
            if not isinstance(table[key], str) or not table[key] or not PRICE_CELL.fullmatch(table[key]):
                raise ValueError(f"{key} must be a name of letters, digits and ._:/@+-, not {table[key]!r}")
        window = table.get("window")
        if window is not None and (type(window) is not int or not 0 < window < 10**12):  # as in the book
            raise ValueError(f"window must be a number of tokens, not {window!r}")
        prices = {key: _price(key, table[key]) for key in known[2:6] if key in table}
        return cls(provider=table["provider"], model=table["model"], **prices, window=window)


def _price(key: str, raw: Any) -> str:
    """Return a price as plain decimal text."""
    wrong = ValueError(f"{key} must be USD per million tokens, such as 0.15, not {raw!r}")
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        raise wrong
    value = price_of(str(raw).strip())  # a float as the decimal number that it prints as
    if value is None:
        raise wrong
    return format(value, "f")


def price_of(text: str) -> Decimal | None:
    """Return the price that a text is, in USD per million tokens; None where it is none.

    `Decimal` takes more for a number than the Collector does: underscores, and the digits of all scripts.
    """
    try:
        value = Decimal(text) if _NUMBER.fullmatch(text) else None
    except InvalidOperation:
        return None
    return value if value is not None and is_price(value) else None


def is_price(value: Decimal) -> bool:
    """Whether a number may be a price in USD per million tokens: not below zero, finite, of a likely size."""
    # The bounds keep its text short and sums finite: nothing costs a billion USD or a trillionth of one.
    return value.is_finite() and value >= 0 and -20 <= value.adjusted() < 9


# An IPv6 address with its port is written in brackets, in URLs without one too: RFC 3986, 3.2.2.
BRACKETED: Final = r"(?s)^\[([^\]]*)\](:[^:]*)?$"
WITH_PORT: Final = r"(?s)^([^:\[]*)(:[^:]*)$"


def host_of(address: str) -> tuple[str, str]:
    """Return the host that a `server.address` names, without brackets, and its port with the colon, or nothing.

    Args:
        address: a host name or a URL, in any case.
    """
    host = re.sub(r"^[a-z+]+://", "", address.lower()).split("/", 1)[0]
    found = re.fullmatch(BRACKETED, host) or re.fullmatch(WITH_PORT, host)
    return (found[1], found[2] or "") if found else (host, "")


def hosts_of(pairs: Mapping[str, str]) -> dict[str, str]:
    """Return rows of `prices.hosts` with addresses as those of spans are compared with them.

    Raises:
        ValueError: two of them are the same address and name different providers.
    """
    hosts: dict[str, str] = {}
    for address, provider in pairs.items():
        host = "".join(host_of(address))
        if hosts.setdefault(host, provider) != provider:
            raise ValueError(f"two providers of {host}")
    return hosts


@dataclass(frozen=True)
class EngineConfig:
    """What the two engine processes are told by the runtime, as one JSON file.

    Attributes:
        data_dir: absolute path; the engine writes below `spans/`, `series/` and `rules/` only.
        ports: endpoint name to TCP port.
        retention_seconds: telemetry that arrived longer ago is deleted.
        retention_bytes: the oldest telemetry goes first when the data directory holds more.
        capture_content: keep prompts, completions and other content in the span store.
        allow_keys: patterns of an application's own attribute keys that redaction keeps (RE2 syntax).
        extra_models: model names that may stand on metrics although no price row knows them.
        price_hosts: server address to provider, beside the shipped rows.
        price_book: absolute path of the price book that is used instead of the shipped one; None for that one.
        price_rows: the user's own prices, which win over the book.
        exclude_scopes: instrumentation scopes whose spans are never accounted.
        token_file: bearer token file; None on loopback.
    """

    data_dir: str
    host: str = "127.0.0.1"
    ports: Mapping[str, int] = field(default_factory=dict)
    retention_seconds: int = 7 * 86_400
    retention_bytes: int = 10 * 1024**3
    capture_content: bool = False
    allow_keys: tuple[str, ...] = ()
    extra_models: tuple[str, ...] = ()
    price_hosts: Mapping[str, str] = field(default_factory=dict)
    price_book: str | None = None
    price_rows: tuple[OwnPrice, ...] = ()
    exclude_scopes: tuple[str, ...] = ()
    token_file: str | None = None

    def write(self, path: Path) -> None:
        """Write the configuration as JSON, readable by its owner only."""
        path.touch(mode=0o600, exist_ok=True)
        path.write_bytes(orjson.dumps(asdict(self), option=orjson.OPT_INDENT_2))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        raw: dict[str, Any] = orjson.loads(path.read_bytes())
        for name in ("allow_keys", "extra_models", "exclude_scopes"):
            raw[name] = tuple(raw[name])
        raw["price_rows"] = tuple(OwnPrice(**row) for row in raw.get("price_rows", ()))
        return cls(**raw)
