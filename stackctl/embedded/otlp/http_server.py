"""OTLP/HTTP: protobuf and JSON, gzip or not, and the process's own `/-/ready` and `/-/status`."""

import socket
from collections.abc import Awaitable, Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

import orjson

from stackctl.embedded.otlp import answers
from stackctl.embedded.otlp.front import LARGE_BYTES, Front, Unfinished
from stackctl.embedded.otlp.http1_connection import Answer, HttpConnection, Request, Service, plain
from stackctl.embedded.otlp.jsonform import to_protobuf
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard, first_word, inflate, too_large
from stackctl.embedded.otlp.signals import UNSUPPORTED, Accepted, Refused, Signal

Take = Callable[[Signal, bytes], Awaitable[Accepted]]
_TYPES = (answers.PROTOBUF, answers.JSON)
_EXPORTS = {signal.path: signal for signal in Signal}
_READY, _STATUS = "/-/ready", "/-/status"
_READS = ("GET", "HEAD")
_SMALL_ZIPPED_BYTES = 512  # become half a megabyte at the most
_JUDGED = 32  # how many senders' ways to ask are remembered


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
        self._judged = lru_cache(maxsize=_JUDGED)(self._judge)

    def refusal(self, request: Request) -> Answer | None:
        """Say how a request must not go on, before its body is read; None where it may."""
        get = request.headers.get
        if int(get("content-length", "0")) > MAX_REQUEST_BYTES:  # digits, or the parser had refused it
            return _refused(request, too_large(MAX_REQUEST_BYTES))
        said = (get("host"), get("authorization"), get("content-type", ""), get("content-encoding", ""))
        return self._judged(request.method, request.path, *said)

    def _judge(
        self, method: str, path: str, host: str | None, authorization: str | None, media: str, coding: str
    ) -> Answer | None:
        """The same by what it depends on, since a sender says the same each time."""
        exports = path in _EXPORTS
        if not exports and path not in (_READY, _STATUS):
            return plain(HTTPStatus.NOT_FOUND)
        allowed = ("POST",) if exports else _READS
        if method not in allowed:
            return plain(HTTPStatus.METHOD_NOT_ALLOWED, ("allow", ", ".join(allowed)))
        try:
            if path != _READY:
                self._guard.check(host, authorization)
            if exports and first_word(media) not in _TYPES:
                raise Refused(UNSUPPORTED, f"send {answers.PROTOBUF} or {answers.JSON}")
            if exports and first_word(coding) not in ("", "identity", "gzip"):
                raise Refused(UNSUPPORTED, "send gzip or no content encoding")
        except Refused as refused:
            return _refusal(refused, first_word(media) if exports else answers.JSON)
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
        headers = request.headers
        zipped = first_word(headers.get("content-encoding", "")) == "gzip"
        media = first_word(headers.get("content-type", ""))
        if media == answers.PROTOBUF:
            body = await self._front.aside(inflate, body) if zipped else body
            return Answer(HTTPStatus.OK, answers.accepted_body(signal, await self._take(signal, body)), media)
        accepted = await self._take(signal, await self._from_json(signal, body, zipped))
        return Answer(HTTPStatus.OK, answers.accepted_json(signal, accepted), media)

    async def _from_json(self, signal: Signal, body: bytes, zipped: bool) -> bytes:
        """Return a JSON body as protobuf; inflated only when its turn has come, and counted while it waits for that."""

        def read(raw: bytes) -> bytes:
            return to_protobuf(signal, inflate(raw) if zipped else raw)

        self._front.unfinished.hold(len(body))
        try:
            return await self._front.aside(read, body, _SMALL_ZIPPED_BYTES if zipped else LARGE_BYTES)
        finally:
            self._front.unfinished.release(len(body))


def _refused(request: Request, refused: Refused) -> Answer:
    """The answer to a refused request."""
    return _refusal(refused, first_word(request.headers.get("content-type", "")))


def _refusal(refused: Refused, media: str) -> Answer:
    """A google.rpc.Status in the request's encoding."""
    kind = refused.kind
    more = () if kind.retry_seconds is None else (("retry-after", str(kind.retry_seconds)),)
    if media == answers.PROTOBUF:
        return Answer(kind.http, answers.refusal_body(refused), media, more)
    return Answer(kind.http, answers.refusal_json(refused), answers.JSON, more)
