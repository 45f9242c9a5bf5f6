"""What both query APIs share: who may ask, and that somebody did."""

from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from stackctl.embedded.otlp.limits import Guard
from stackctl.embedded.otlp.signals import UNAUTHENTICATED, Refused

# The supervisor asks these without a token; they say nothing but yes.
_READINESS: Final = frozenset({"/-/ready", "/-/healthy", "/ready"})
_QUESTIONS: Final = "/api/"


class Guarded:
    """An application behind a guard: no other site's browser page gets in, and beyond loopback only with the token.

    No CORS header is ever sent, so a page of another origin cannot read an answer either.

    Args:
        app: what answers those who may ask.
        guard: judges the Host and Authorization headers.
        note: called when a question comes that may be asked.
    """

    def __init__(self, app: ASGIApp, guard: Guard, note: Callable[[], None]) -> None:
        self._app = app
        self._guard = guard
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it."""
        if scope["type"] == "http":
            headers = Headers(scope=scope)
            try:
                self._guard.check(headers.get("host"), headers.get("authorization"))
            except Refused as refused:
                if refused.kind is not UNAUTHENTICATED or scope["path"] not in _READINESS:
                    await PlainTextResponse(refused.message, refused.kind.http)(scope, receive, send)
                    return
            if scope["path"].startswith(_QUESTIONS):
                self._note()
        await self._app(scope, receive, send)
