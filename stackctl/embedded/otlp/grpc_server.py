"""OTLP/gRPC: the three export services over raw bytes, so that Python never builds a message.

The HTTP/2 under it is our own: of a call that brings one span, gRPC's library cost three quarters.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.front import Front, Unfinished, listen
from stackctl.embedded.otlp.grpc_call import Opening, opening, plain_message
from stackctl.embedded.otlp.grpc_connection import connections
from stackctl.embedded.otlp.limits import Guard
from stackctl.embedded.otlp.signals import UNSUPPORTED, Accepted, Refused, Signal

Take = Callable[[Signal, bytes], Awaitable[Accepted]]


async def serve_grpc(take: Take, guard: Guard, host: str, port: int, unfinished: Unfinished | None = None) -> Front:
    """Start the server.

    Args:
        take: makes one request durable, or raises `Refused`.
        guard: who may send.
        port: TCP port; 0 is not useful here, since the caller is not told which was chosen.
        unfinished: memory of what has not come whole, where it is shared with another port.

    Raises:
        PortTaken: another program listens there.
    """
    front = Front(unfinished or Unfinished())

    async def export(call: Opening, message: bytes, compressed: bool) -> bytes:
        if call.signal is None:
            raise Refused(UNSUPPORTED, "no export")
        if compressed:
            message = await front.aside(partial(plain_message, opened=call), message)
        return answers.accepted_body(call.signal, await take(call.signal, message))

    def check(authorization: str | None) -> None:
        if guard.token is not None:
            guard.check(None, authorization)

    await front.listen(listen(host, port, "otlp_grpc"), connections(partial(opening, check=check), export))
    return front
