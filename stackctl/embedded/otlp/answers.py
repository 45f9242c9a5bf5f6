"""Bodies and metadata of OTLP answers."""

from typing import Any

import orjson
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from stackctl.embedded.otlp.signals import Accepted, Refused, Signal

PROTOBUF = "application/x-protobuf"
JSON = "application/json"
Metadata = tuple[tuple[str, bytes], ...]


def accepted_body(signal: Signal, accepted: Accepted) -> bytes:
    """The export response as protobuf; empty where everything was taken."""
    if not accepted.rejected:
        return b""
    response = signal.message("Response")()
    setattr(response.partial_success, signal.rejected_field, accepted.rejected)
    response.partial_success.error_message = accepted.reason
    return bytes(response.SerializeToString())


def accepted_json(signal: Signal, accepted: Accepted) -> bytes:
    """The export response as OTLP/JSON: 64-bit integers are strings."""
    if not accepted.rejected:
        return b"{}"
    head, *tail = signal.rejected_field.split("_")
    field = head + "".join(word.capitalize() for word in tail)
    return orjson.dumps({"partialSuccess": {field: str(accepted.rejected), "errorMessage": accepted.reason}})


def refusal_body(refused: Refused) -> bytes:
    """google.rpc.Status as protobuf."""
    return bytes(_status(refused).SerializeToString())


def refusal_json(refused: Refused) -> bytes:
    """google.rpc.Status as JSON."""
    return orjson.dumps({"code": refused.kind.grpc, "message": refused.message})


def retry_metadata(refused: Refused) -> Metadata:
    """Trailing metadata that says when to try again; empty where trying again is useless.

    The specification's carrier is `grpc-status-details-bin`; the Python SDK reads `google.rpc.retryinfo-bin`.
    """
    if refused.kind.retry_seconds is None:
        return ()
    return (
        ("grpc-status-details-bin", refusal_body(refused)),
        ("google.rpc.retryinfo-bin", _retry_info(refused.kind.retry_seconds).SerializeToString()),
    )


def _status(refused: Refused) -> status_pb2.Status:
    details: list[Any] = []
    if refused.kind.retry_seconds is not None:
        packed = any_pb2.Any()
        packed.Pack(_retry_info(refused.kind.retry_seconds))
        details.append(packed)
    return status_pb2.Status(code=refused.kind.grpc, message=refused.message, details=details)


def _retry_info(seconds: int) -> error_details_pb2.RetryInfo:
    return error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds))
