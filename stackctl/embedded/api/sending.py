"""Large answers on their way: sent piece by piece as they are read, and no more of them held than there is room for.

A server takes the whole of an answer as soon as it is there, and holds it until its reader has taken it. Readers that
take nothing could hold any amount of memory so.
"""

import asyncio
from typing import Final

from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

PIECE_BYTES: Final = 256 * 1024
MOST_UNREAD_BYTES: Final = 256 * 1024**2
_CLOSED: Final = "the handler is closed"
STALLED_SECONDS: Final = 60.0
"""Who takes not even a piece in this time reads no more."""


class Unread:
    """Bytes of large answers that their readers have not taken yet, over all servers of the process.

    Attributes:
        nbytes: as many now.
    """

    def __init__(self) -> None:
        self.nbytes = 0


class Sending:
    """An application whose large answers are sent in pieces, or refused with 503 where too many wait to be read.

    Args:
        unread: shared with other applications.
    """

    def __init__(self, app: ASGIApp, unread: Unread) -> None:
        self._app, self._unread = app, unread

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(self._unread, send)
        try:
            await self._app(scope, receive, answer.send)
        except ClientDisconnect:
            return  # who sent half a form and went is not there to be answered
        except RuntimeError as error:
            # uvloop closes a connection a moment before it tells: what is sent in between fails so.
            if _CLOSED not in str(error):
                raise
            return
        if answer.refused:
            await PlainTextResponse("too many answers wait to be read", 503)(scope, receive, send)


class _Answer:
    """One answer on its way.

    Attributes:
        refused: nothing of it was sent, since there is no room.
    """

    def __init__(self, unread: Unread, send: Send) -> None:
        self._unread, self._send = unread, send
        self._start: Message | None = None
        self._stalled = False
        self.refused = False

    async def send(self, message: Message) -> None:
        """Send a message of the application, unless the answer was given up."""
        if message["type"] == "http.response.start":
            self._start = message  # goes with the body: it is not known yet whether there is room for that
            return
        body: bytes = message.get("body", b"")
        large = len(body) > PIECE_BYTES
        if self._start is not None and large and self._unread.nbytes + len(body) > MOST_UNREAD_BYTES:
            self.refused = True
        if self.refused or self._stalled:
            return
        if self._start is not None:
            await self._send(self._start)
            self._start = None
        if large:
            await self._in_pieces(memoryview(body), message.get("more_body", False))
        else:
            await self._send(message)

    async def _in_pieces(self, body: memoryview, more: bool) -> None:
        self._unread.nbytes += len(body)
        try:
            for begin in range(0, len(body), PIECE_BYTES):
                piece = body[begin : begin + PIECE_BYTES]
                to_come = more or begin + len(piece) < len(body)
                async with asyncio.timeout(STALLED_SECONDS):
                    # The server waits here until the reader has taken what came before.
                    await self._send({"type": "http.response.body", "body": piece, "more_body": to_come})
        except TimeoutError:
            self._stalled = True  # the server closes the connection of an answer that is not complete
        finally:
            self._unread.nbytes -= len(body)
