"""The three signals of OTLP, and how a request for one of them ends."""

from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import import_module
from typing import Any, TypeAlias

# A request as it came; a worker's is a view of memory that it has together with its parent.
Serialised: TypeAlias = bytes | memoryview


class Signal(Enum):
    """A signal; the value is its name in OTLP's packages, services and paths."""

    TRACES = "trace"
    METRICS = "metrics"
    LOGS = "logs"

    @property
    def path(self) -> str:
        """OTLP/HTTP path."""
        return f"/v1/{self.name.lower()}"

    @property
    def service(self) -> str:
        """Full name of the gRPC service."""
        return f"opentelemetry.proto.collector.{self.value}.v1.{self.value.capitalize()}Service"

    @property
    def rejected_field(self) -> str:
        """Field of the partial success that counts refused records."""
        return _REJECTED_FIELDS[self.value]

    def message(self, kind: str) -> Any:
        """Message class of its export call: kind is `Request` or `Response`."""
        return _messages(self.value)[kind]


_REJECTED_FIELDS = {"trace": "rejected_spans", "metrics": "rejected_data_points", "logs": "rejected_log_records"}


@cache
def _messages(name: str) -> dict[str, Any]:
    module = import_module(f"opentelemetry.proto.collector.{name}.v1.{name}_service_pb2")
    return {kind: getattr(module, f"Export{name.capitalize()}Service{kind}") for kind in ("Request", "Response")}


@dataclass(frozen=True)
class Accepted:
    """A request is durable.

    Attributes:
        rejected: records of it that were refused, for the partial success.
        reason: why they were.
    """

    rejected: int = 0
    reason: str = ""


@dataclass(frozen=True)
class RefusalKind:
    """One way to refuse, in both protocols (https://opentelemetry.io/docs/specs/otlp/#failures).

    Attributes:
        http: HTTP status.
        grpc: gRPC status code, by number.
        retry_seconds: when to try again; None where the same request will never be taken.
    """

    http: int
    grpc: int
    retry_seconds: int | None = None


INVALID = RefusalKind(400, 3)
UNAUTHENTICATED = RefusalKind(401, 16)
FORBIDDEN_HOST = RefusalKind(403, 7)
TOO_LARGE = RefusalKind(413, 8)
UNSUPPORTED = RefusalKind(415, 12)
BUSY = RefusalKind(429, 8, retry_seconds=1)
FAILED = RefusalKind(500, 13)
UNAVAILABLE = RefusalKind(503, 14, retry_seconds=5)


class Refused(Exception):
    """A request was not taken. The message holds nothing of the request's content.

    Args:
        kind: how it is refused.
        message: one sentence for the sender.
    """

    def __init__(self, kind: RefusalKind, message: str) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message

    def __reduce__(self) -> tuple[type["Refused"], tuple[RefusalKind, str]]:
        """Pickled by its arguments: worker processes return refusals."""
        return type(self), (self.kind, self.message)
