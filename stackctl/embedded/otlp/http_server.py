"""OTLP/HTTP: protobuf and JSON, gzip or not, and the process's own `/-/ready` and `/-/status`."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import orjson
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.jsonform import to_protobuf
from stackctl.embedded.otlp.limits import Guard, header, inflate, read_body
from stackctl.embedded.otlp.signals import UNSUPPORTED, Accepted, Refused, Signal
from stackctl.errors import PortTaken

Take = Callable[[Signal, bytes], Awaitable[Accepted]]
_TYPES = (answers.PROTOBUF, answers.JSON)
# Inflating or reading JSON of this many bytes would hold the event loop for milliseconds: a thread does it.
_LARGE_BYTES = 64 * 1024


def listen(host: str, port: int, endpoint: str) -> socket.socket:
    """Bind a TCP socket.

    Raises:
        PortTaken: another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets it only on sockets of a named protocol; without it an answer in two writes waits 40 ms for an ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortTaken(
            f"port {port} on {host} is taken ({endpoint})", next_step="stop what listens there, or use --ports"
        ) from error
    return bound


class HttpServer(uvicorn.Server):
    """uvicorn whose owner handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the process."""
        yield


def http_server(app: ASGIApp) -> HttpServer:
    """A server for `serve(sockets=[...])`, silent but for errors."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return HttpServer(config)


def otlp_app(take: Take, guard: Guard, status: Callable[[], dict[str, Any]]) -> ASGIApp:
    """What answers on the port.

    Args:
        take: makes one request durable, or raises `Refused`.
        guard: who may ask.
        status: facts for `/-/status`.
    """

    async def ready(_: Request) -> Response:
        return Response("ready\n", media_type="text/plain")

    async def report(request: Request) -> Response:
        try:
            guard.check(request.headers.get("host"), request.headers.get("authorization"))
        except Refused as refused:
            return _refusal(refused, answers.JSON)
        return Response(orjson.dumps(status()), media_type=answers.JSON)

    exports = {signal.path: signal for signal in Signal}
    # Of a span that comes alone, Starlette's way to an endpoint would be a third of the cost.
    others = Starlette(
        routes=[Route("/-/ready", ready), Route("/-/status", report)]
        + [Route(path, _never, methods=["POST"]) for path in exports]
    )

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        signal = exports.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        if signal is None:
            await others(scope, receive, send)
            return
        with contextlib.suppress(ClientDisconnect):
            response = await _export(signal, Headers(scope=scope), _chunks(receive), take, guard)
            await response(scope, receive, send)

    return app


async def _never(_: Request) -> Response:
    raise AssertionError("posts go to `_export`; the route makes other methods a 405")


async def _export(signal: Signal, headers: Headers, chunks: AsyncIterator[bytes], take: Take, guard: Guard) -> Response:
    media = header(headers, "content-type")
    try:
        guard.check(headers.get("host"), headers.get("authorization"))
        accepted = await take(signal, await _request_body(signal, headers, chunks, media))
    except Refused as refused:
        return _refusal(refused, media)
    if media == answers.JSON:
        return Response(answers.accepted_json(signal, accepted), media_type=media)
    return Response(answers.accepted_body(signal, accepted), media_type=media)


async def _chunks(receive: Receive) -> AsyncIterator[bytes]:
    """A request's body as it comes.

    Raises:
        ClientDisconnect: its sender went away.
    """
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        yield message.get("body", b"")
        more = message.get("more_body", False)


async def _request_body(signal: Signal, headers: Headers, chunks: AsyncIterator[bytes], media: str) -> bytes:
    """The protobuf request in a body of any supported type and coding.

    Raises:
        Refused: unsupported type or coding, too large, or undecodable.
    """
    coding = header(headers, "content-encoding")
    if media not in _TYPES:
        raise Refused(UNSUPPORTED, f"send {answers.PROTOBUF} or {answers.JSON}")
    if coding not in ("", "identity", "gzip"):
        raise Refused(UNSUPPORTED, "send gzip or no content encoding")
    body = await read_body(chunks, headers.get("content-length"))
    if coding == "gzip":
        body = await _aside(inflate, body)
    return await _aside(lambda raw: to_protobuf(signal, raw), body) if media == answers.JSON else body


async def _aside(work: Callable[[bytes], bytes], body: bytes) -> bytes:
    """Do work on a body, in a thread when it is large."""
    return await asyncio.to_thread(work, body) if len(body) > _LARGE_BYTES else work(body)


def _refusal(refused: Refused, media: str) -> Response:
    """A google.rpc.Status in the request's encoding."""
    headers = {} if refused.kind.retry_seconds is None else {"retry-after": str(refused.kind.retry_seconds)}
    if media == answers.PROTOBUF:
        return Response(answers.refusal_body(refused), refused.kind.http, headers, answers.PROTOBUF)
    return Response(answers.refusal_json(refused), refused.kind.http, headers, answers.JSON)
