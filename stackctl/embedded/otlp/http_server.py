"""OTLP/HTTP: protobuf and JSON, gzip or not, and the process's own `/-/ready` and `/-/status`."""

import socket
from collections.abc import Awaitable, Callable
from functools import partial
from http import HTTPStatus
from typing import Any

import orjson

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.front import Front, Unfinished
from stackctl.embedded.otlp.http1_connection import Answer, HttpConnection, Request, Service, plain
from stackctl.embedded.otlp.jsonform import to_protobuf
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard, header, inflate, too_large
from stackctl.embedded.otlp.signals import UNSUPPORTED, Accepted, Refused, Signal

Take = Callable[[Signal, bytes], Awaitable[Accepted]]
_TYPES = (answers.PROTOBUF, answers.JSON)
_EXPORTS = {signal.path: signal for signal in Signal}
_READY, _STATUS = "/-/ready", "/-/status"
_READS = ("GET", "HEAD")


async def serve_http(
    take: Take, guard: Guard, status: Callable[[], dict[str, Any]], bound: socket.socket, unfinished: Unfinished
) -> Front:
    """Start the server.

    Args:
        take: makes one request durable, or raises `Refused`.
        guard: who may ask.
        status: facts for `/-/status`.
        bound: the port's socket.
        unfinished: memory of what has not come whole, shared with the other port.
    """
    front = Front(unfinished)
    routes = Routes(take, guard, status, front)
    service = Service(routes.refusal, routes.answer, _refused)
    await front.listen(bound, lambda _: HttpConnection(front, service))
    return front


class Routes:
    """What is served at which path.

    Args:
        take: makes one request durable, or raises `Refused`.
        guard: who may ask.
        status: facts for `/-/status`.
        front: the port.
    """

    def __init__(self, take: Take, guard: Guard, status: Callable[[], dict[str, Any]], front: Front) -> None:
        self._take, self._guard, self._status, self._front = take, guard, status, front

    def refusal(self, request: Request) -> Answer | None:
        """Say how a request must not go on, before its body is read; None where it may."""
        path, headers = request.path, request.headers
        exports = path in _EXPORTS
        if not exports and path not in (_READY, _STATUS):
            return plain(HTTPStatus.NOT_FOUND)
        allowed = ("POST",) if exports else _READS
        if request.method not in allowed:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", ", ".join(allowed)))
        try:
            if path != _READY:
                self._guard.check(headers.get("host"), headers.get("authorization"))
            if exports:
                _check_form(headers)
        except Refused as refused:
            return _refused(request, refused)
        return None

    async def answer(self, request: Request, body: bytes) -> Answer:
        """Answer a request that was not refused.

        Raises:
            Refused: its body is no such message, or it cannot be made durable.
        """
        signal = _EXPORTS.get(request.path)
        if signal is None:
            if request.path == _READY:
                return Answer(HTTPStatus.OK, b"ready\n")
            return Answer(HTTPStatus.OK, orjson.dumps(self._status()), answers.JSON)
        if header(request.headers, "content-encoding") == "gzip":
            body = await self._front.aside(inflate, body)
        media = header(request.headers, "content-type")
        if media == answers.PROTOBUF:
            return Answer(HTTPStatus.OK, answers.accepted_body(signal, await self._take(signal, body)), media)
        accepted = await self._take(signal, await self._front.aside(partial(to_protobuf, signal), body))
        return Answer(HTTPStatus.OK, answers.accepted_json(signal, accepted), media)


def _check_form(headers: Any) -> None:
    """Judge a body by its headers.

    Raises:
        Refused: an unsupported type or coding, or too large.
    """
    if header(headers, "content-type") not in _TYPES:
        raise Refused(UNSUPPORTED, f"send {answers.PROTOBUF} or {answers.JSON}")
    if header(headers, "content-encoding") not in ("", "identity", "gzip"):
        raise Refused(UNSUPPORTED, "send gzip or no content encoding")
    if int(headers.get("content-length", "0")) > MAX_REQUEST_BYTES:  # digits, or the parser had refused it
        raise too_large(MAX_REQUEST_BYTES)


def _refused(request: Request, refused: Refused) -> Answer:
    """A google.rpc.Status in the request's encoding."""
    kind = refused.kind
    more = () if kind.retry_seconds is None else (("retry-after", str(kind.retry_seconds)),)
    if header(request.headers, "content-type") == answers.PROTOBUF and request.path in _EXPORTS:
        return Answer(kind.http, answers.refusal_body(refused), answers.PROTOBUF, more)
    return Answer(kind.http, answers.refusal_json(refused), answers.JSON, more)
