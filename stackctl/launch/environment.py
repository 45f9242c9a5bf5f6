"""The environment variables of an instrumented application: where telemetry goes, and that content stays out of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BOOTSTRAP = Path(__file__).resolve().parent / "bootstrap"

HTTP_PROTOBUF, GRPC = "http/protobuf", "grpc"

# What would lead telemetry elsewhere or switch it off; the application was started in order to be seen.
_MISLEADING = (
    *(
        f"OTEL_EXPORTER_OTLP_{signal}_{what}"
        for signal in ("TRACES", "METRICS", "LOGS")
        for what in ("ENDPOINT", "PROTOCOL")
    ),
    *(f"OTEL_EXPORTER_OTLP_{signal}_INSECURE" for signal in ("TRACES", "METRICS", "LOGS")),
    "OTEL_SDK_DISABLED",
    "OTEL_CONFIG_FILE",
    "OTEL_EXPERIMENTAL_CONFIG_FILE",
    "OTEL_TRACES_SAMPLER",
    "OTEL_TRACES_SAMPLER_ARG",
    "OTEL_PYTHON_TRACER_PROVIDER",
)

# How each family of instrumentations is told to keep prompts and completions to itself, and how to let them through.
_CONTENT_SWITCHES = (
    ("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "no_content", "span_only"),
    ("TRACELOOP_TRACE_CONTENT", "false", "true"),
    ("OPENINFERENCE_HIDE_INPUTS", "true", "false"),
    ("OPENINFERENCE_HIDE_OUTPUTS", "true", "false"),
    ("OPENLIT_CAPTURE_MESSAGE_CONTENT", "false", "true"),
)

# Room for bursts, so that a full queue drops nothing: spans, and milliseconds between exports.
_QUEUES = (
    ("OTEL_BSP_MAX_QUEUE_SIZE", "65536"),
    ("OTEL_BSP_SCHEDULE_DELAY", "1000"),
    ("OTEL_BLRP_MAX_QUEUE_SIZE", "65536"),
    ("OTEL_BLRP_SCHEDULE_DELAY", "1000"),
    ("OTEL_METRIC_EXPORT_INTERVAL", "15000"),
)
_ASK_USAGE = "STACKCTL_ASK_USAGE"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Telemetry:
    """What an application is told about its telemetry.

    Attributes:
        otlp_grpc: host:port of the stack's gRPC endpoint.
        otlp_http: base URL of its HTTP endpoint.
        service_name: name of the service, unless the user's environment already gives one.
        protocol: `http/protobuf` (safe across forks) or `grpc`.
        capture_content: let instrumentations record prompts and completions.
        token: bearer token of the endpoints, None on loopback.
        ask_usage: ask servers for the usage of streams.
    """

    otlp_grpc: str
    otlp_http: str
    service_name: str
    protocol: str = HTTP_PROTOBUF
    capture_content: bool = False
    token: str | None = None
    ask_usage: bool = False

    @property
    def endpoint(self) -> str:
        """The endpoint as OTEL_EXPORTER_OTLP_ENDPOINT wants it, for the protocol."""
        return self.otlp_http if self.protocol == HTTP_PROTOBUF else f"http://{self.otlp_grpc}"


def environment(base: Mapping[str, str], telemetry: Telemetry, *, checked: bool) -> dict[str, str]:
    """Return the environment to start an application with.

    Args:
        base: the environment it would have without us; its own settings of service name and resource stand.
        checked: the interpreter is known to have the packages; else the bootstrap itself says when they are missing.
    """
    found = {name: value for name, value in base.items() if name not in (*_MISLEADING, _ASK_USAGE)}
    found |= {
        "OTEL_EXPORTER_OTLP_ENDPOINT": telemetry.endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": telemetry.protocol,
        "OTEL_EXPORTER_OTLP_INSECURE": "true",
        "OTEL_TRACES_EXPORTER": "otlp",
        "OTEL_METRICS_EXPORTER": "otlp",
        "OTEL_LOGS_EXPORTER": "otlp",
        "STACKCTL_RUN": "checked" if checked else "unchecked",
    }
    if telemetry.ask_usage:
        found[_ASK_USAGE] = "1"
    if telemetry.token is not None:
        found["OTEL_EXPORTER_OTLP_HEADERS"] = f"authorization=Bearer%20{telemetry.token}"
    if "service.name=" not in found.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        found.setdefault("OTEL_SERVICE_NAME", telemetry.service_name)
    for name, off, on in _CONTENT_SWITCHES:
        found[name] = on if telemetry.capture_content else off
    for name, value in _QUEUES:
        found.setdefault(name, value)
    for name in ("no_proxy", "NO_PROXY"):
        found[name] = ",".join(filter(None, (found.get(name), *_LOOPBACK)))
    found["PYTHONPATH"] = os.pathsep.join(filter(None, (str(BOOTSTRAP), found.get("PYTHONPATH"))))
    return found
