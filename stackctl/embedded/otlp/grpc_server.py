"""OTLP/gRPC: the three export services over raw bytes, so that Python never builds a message."""

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard
from stackctl.embedded.otlp.signals import Accepted, Refused, Signal
from stackctl.errors import PortTaken

Take = Callable[[Signal, bytes], Awaitable[Accepted]]
# A batch of spans in one HTTP/2 frame or few, where the default of 16 KiB makes dozens.
_FRAME_BYTES = 1024**2
_CODES = {code.value[0]: code for code in grpc.StatusCode}


async def serve_grpc(take: Take, guard: Guard, host: str, port: int) -> grpc.aio.Server:
    """Start the server.

    Args:
        take: makes one request durable, or raises `Refused`.
        guard: who may send.
        port: TCP port; 0 is not useful here, since the caller is not told which was chosen.

    Raises:
        PortTaken: another program listens there.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", MAX_REQUEST_BYTES),
            ("grpc.so_reuseport", 0),
            ("grpc.http2.max_frame_size", _FRAME_BYTES),
        ],
        compression=None,
    )
    server.add_generic_rpc_handlers(tuple(_handler(signal, take, guard) for signal in Signal))
    try:
        server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise PortTaken(
            f"port {port} on {host} is taken (otlp_grpc)", next_step="stop what listens there, or use --ports"
        ) from error
    await server.start()
    return server


def _handler(signal: Signal, take: Take, guard: Guard) -> "grpc.GenericRpcHandler[bytes, bytes]":
    async def export(body: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        try:
            if guard.token is not None:
                guard.check(None, _authorization(context))
            return answers.accepted_body(signal, await take(signal, body))
        except Refused as refused:
            metadata: Any = answers.retry_metadata(refused)
            await context.abort(_CODES[refused.kind.grpc], refused.message, trailing_metadata=metadata)
            raise  # abort has raised already; this line is for the type checker

    return grpc.method_handlers_generic_handler(
        signal.service,
        {"Export": grpc.unary_unary_rpc_method_handler(export)},
    )


def _authorization(context: grpc.aio.ServicerContext[bytes, bytes]) -> str | None:
    for key, value in context.invocation_metadata() or ():
        if key == "authorization":
            return value if isinstance(value, str) else None
    return None
