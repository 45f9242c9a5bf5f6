"""The server's side of an HTTP/1.1 connection (RFC 9112), as OTLP/HTTP needs it: small answers, bounded requests.

`httptools` parses. An application server between it and one request of one span would cost more than the request.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from time import time
from typing import Any, Final

import httptools

from stackctl.embedded.otlp.front import GREETING_SECONDS, REQUEST_SECONDS, Front, keep_alive
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, too_large
from stackctl.embedded.otlp.signals import Refused

log = logging.getLogger("stackctl.ingest")

MAX_HEAD_BYTES: Final = 64 * 1024
_BESIDE_HEADER_BYTES: Final = 4  # colon, space, end of line
# The headers that are looked at, beside those that the parser minds.
_READ: Final = {
    key.encode(): key
    for key in ("authorization", "content-encoding", "content-length", "content-type", "expect", "host")
}
_TEXT: Final = "text/plain; charset=utf-8"
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent back.

    Attributes:
        media: of the body.
        more: other headers.
    """

    status: int
    body: bytes
    media: str = _TEXT
    more: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True, eq=False)
class Request:
    """One request.

    Attributes:
        path: without a query, as it came.
        headers: those of `_READ`, by name in lower case; of several with one name the first.
        parts: of the body, where they are held.
        held: bytes of them.
        came: bytes of the body so far.
        answer: is known before the body is read, which then is not kept.
        keeps: the connection lasts longer than the request.
    """

    method: str
    path: str
    headers: Mapping[str, str]
    keeps: bool
    parts: list[bytes] = field(default_factory=list)
    held: int = 0
    came: int = 0
    answer: Answer | None = None


@dataclass(frozen=True)
class Service:
    """What answers.

    Attributes:
        refusal: says how a request must not go on, by its headers; None where it may.
        answer: answers a request by its whole body, or raises `Refused`.
        refused: the answer to a request that was refused.
    """

    refusal: Callable[[Request], Answer | None]
    answer: Callable[[Request, bytes], Awaitable[Answer]]
    refused: Callable[[Request, Refused], Answer]


def plain(status: int, *more: tuple[str, str]) -> Answer:
    """An answer that only names its status."""
    return Answer(status, HTTPStatus(status).phrase.encode(), more=more)


class HttpConnection(asyncio.Protocol):
    """One connection; its requests are answered one after the other.

    Args:
        front: the port that it belongs to.
        service: what answers.
    """

    def __init__(self, front: Front, service: Service) -> None:
        self._front, self._service = front, service
        self._transport: Any = None
        self._parser = httptools.HttpRequestParser(self)
        self._url, self._headers, self._head_bytes = b"", dict[str, str](), 0
        self._in_head = False
        self._coming: Request | None = None  # its head is whole, its body is not
        self._waiting: deque[Request] = deque()
        self._answering: Request | None = None
        self._task: asyncio.Task[None] | None = None
        self._deaf = False  # nothing that comes is read any more
        self._draining = self._closed = self._paused = False
        self._heard = self._began = front.loop.time()
        self._stuck_since: float | None = None

    # --- the event loop's and the front's side -----------------------------------------------------------------------
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Enter the connection."""
        self._transport = transport
        keep_alive(transport)
        self._front.opened(self)

    def connection_lost(self, _: Exception | None) -> None:
        """Nobody waits for anything any more."""
        self._closed = self._deaf = True
        if self._task is not None:
            self._task.cancel()
        for request in (self._coming, *self._waiting):
            if request is not None:
                self._drop(request)
        self._waiting.clear()
        self._front.closed(self)

    def eof_received(self) -> bool:
        """The sender sends nothing more: what came whole is still answered, then the connection closed.

        Whether it went away altogether is seen only when the answer is written.
        """
        self._draining = self._deaf = True
        return self._answering is not None and self._coming is None

    def data_received(self, data: bytes) -> None:
        """Take what came."""
        self._heard = self._front.loop.time()
        if self._deaf:
            return
        if self._in_head:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._deaf = self._draining = True  # no other protocol is spoken here; the request is answered as any
            if self._answering is None:
                self._close()
        except httptools.HttpParserError:
            if not self._deaf:  # else the parser was only stopped
                self._give_up(HTTPStatus.BAD_REQUEST)
        if self._in_head and self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)

    def pause_writing(self) -> None:
        """The peer does not read."""
        self._stuck_since = self._front.loop.time()
        self._paused = True
        self._transport.pause_reading()

    def resume_writing(self) -> None:
        """The peer reads again."""
        self._stuck_since = None
        self._read_on()

    @property
    def idle_since(self) -> float | None:
        """Time when it was last heard of; None while a request is under way."""
        return None if self._coming or self._answering else self._heard

    def look(self, now: float) -> None:
        """End what takes too long."""
        if self._stuck_since is not None and now - self._stuck_since > REQUEST_SECONDS:
            self.abort()
        elif self._closed:
            if now - self._began > GREETING_SECONDS:
                self.abort()
        elif (self._in_head and now - self._began > GREETING_SECONDS) or (
            self._coming is not None and now - self._began > REQUEST_SECONDS
        ):
            self._give_up(HTTPStatus.REQUEST_TIMEOUT)

    def drain(self) -> None:
        """Take nothing new; close when what is under way is answered."""
        self._draining = True
        if self._answering is None and self._coming is None:
            self._close()

    def abort(self) -> None:
        """Close at once."""
        self._closed = self._deaf = True
        self._transport.abort()

    # --- the parser's side -------------------------------------------------------------------------------------------
    def on_message_begin(self) -> None:
        """A request begins."""
        if self._deaf:
            return
        self._url, self._headers, self._head_bytes = b"", {}, 0
        self._in_head = True
        self._began = self._heard

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._head_bytes += len(url)
        if self._head_bytes <= MAX_HEAD_BYTES:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; trailers behind a body are passed over."""
        self._head_bytes += len(name) + len(value) + _BESIDE_HEADER_BYTES
        key = _READ.get(name.lower())
        if key is not None and self._in_head and self._head_bytes <= MAX_HEAD_BYTES:
            self._headers.setdefault(key, value.decode("latin-1"))

    def on_headers_complete(self) -> None:
        """A head is whole: decide whether its body is wanted."""
        if self._deaf:
            return
        self._in_head = False
        parser = self._parser
        request = Request(parser.get_method().decode(), _path(self._url), self._headers, parser.should_keep_alive())
        self._coming = request
        if self._head_bytes > MAX_HEAD_BYTES:
            self._give_up(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            return
        request.answer = self._service.refusal(request)
        declared = request.headers.get("content-length", "0")
        expects = request.headers.get("expect", "").lower() == "100-continue"
        if request.answer is not None and (expects or int(declared) > MAX_REQUEST_BYTES):
            self._answer_now(request, request.answer)
        elif expects and self._answering is None:
            self._transport.write(_CONTINUE)

    def on_body(self, part: bytes) -> None:
        """A piece of a body."""
        request = self._coming
        if request is None:  # it was answered already
            return
        request.came += len(part)
        if request.came > MAX_REQUEST_BYTES:
            self._answer_now(request, self._service.refused(request, too_large(MAX_REQUEST_BYTES)))
        elif request.answer is None:
            try:
                self._front.unfinished.hold(len(part))
            except Refused as refused:
                self._drop(request)
                request.answer = self._service.refused(request, refused)
                return
            request.parts.append(part)
            request.held += len(part)

    def on_message_complete(self) -> None:
        """A request is whole."""
        request, self._coming = self._coming, None
        if request is not None:
            self._take(request)

    # --- requests ----------------------------------------------------------------------------------------------------
    def _take(self, request: Request) -> None:
        """Answer a request, after those before it."""
        if self._answering is None:
            self._begin(request)
        else:
            self._waiting.append(request)
            self._paused = True
            self._transport.pause_reading()

    def _give_up(self, status: int) -> None:
        """Answer what cannot be read on."""
        self._in_head = False
        self._answer_now(self._coming or Request("", "", {}, False), plain(status))

    def _answer_now(self, request: Request, answer: Answer) -> None:
        """Answer a request that is not whole; nothing behind it can be read."""
        self._drop(request)
        request.answer, request.keeps = answer, False
        self._coming, self._deaf = None, True
        self._take(request)

    def _begin(self, request: Request) -> None:
        self._answering = request
        if request.answer is None:
            self._task = self._front.loop.create_task(self._answer(request))
        else:
            self._finish(request, request.answer)

    async def _answer(self, request: Request) -> None:
        body = request.parts[0] if len(request.parts) == 1 else b"".join(request.parts)
        self._drop(request)
        try:
            answer = await self._service.answer(request, body)
        except Refused as refused:
            answer = self._service.refused(request, refused)
        except Exception as error:  # noqa: BLE001 - whatever is wrong, the sender must hear of it; others are served on
            log.error("an HTTP request failed: %s", type(error).__name__)
            answer = plain(HTTPStatus.INTERNAL_SERVER_ERROR)
        self._task = None
        if not self._closed:
            self._finish(request, answer)

    def _finish(self, request: Request, answer: Answer) -> None:
        if self._transport.is_closing():  # the peer is gone, which `connection_lost` is about to tell
            return
        keeps = request.keeps and not (self._draining and not self._waiting)
        head = _head(answer.status, answer.media, len(answer.body), answer.more, keeps) + _date(int(time()))
        self._transport.write(head if request.method == "HEAD" else head + answer.body)
        self._answering = None
        if not keeps:
            self._close()
        elif self._waiting:
            self._begin(self._waiting.popleft())
        else:
            self._read_on()

    def _close(self) -> None:
        """Close when what was written is sent; a sender in the middle of a request would lose the answer by a reset."""
        self._closed = True
        self._began = self._front.loop.time()
        if self._deaf and not self._draining:
            self._transport.write_eof()  # `look` closes, or the sender
        else:
            self._transport.close()

    def _read_on(self) -> None:
        if self._paused and not self._closed and not self._waiting and self._stuck_since is None:
            self._paused = False
            self._transport.resume_reading()

    def _drop(self, request: Request) -> None:
        """Hold nothing of a body any more."""
        self._front.unfinished.release(request.held)
        request.parts, request.held = [], 0


def _path(target: bytes) -> str:
    """A target's path as it came, without query; of a whole URL too (RFC 9112, 3.2.2)."""
    try:
        path = target if target.startswith(b"/") else httptools.parse_url(target).path or b"/"
    except httptools.HttpParserInvalidURLError:
        path = target  # which nothing is served at
    return path.partition(b"?")[0].decode("latin-1")


@lru_cache(maxsize=64)
def _head(status: int, media: str, size: int, more: tuple[tuple[str, str], ...], keeps: bool) -> bytes:
    """An answer's head but for its date."""
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"content-type: {media}", f"content-length: {size}"]
    lines += [f"{name}: {value}" for name, value in more]
    return "\r\n".join([*lines] if keeps else [*lines, "connection: close"]).encode("latin-1") + b"\r\n"


@lru_cache(maxsize=1)
def _date(seconds: int) -> bytes:
    """The date's line and the head's end (RFC 9110, 6.6.1)."""
    return f"date: {formatdate(seconds, usegmt=True)}\r\n\r\n".encode()
