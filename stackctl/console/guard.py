"""Who may ask the console, and what its answers forbid a browser to do."""

import hmac
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})
DATA: Final = "/api/"  # below it lies what a token protects; the pages themselves hold nothing secret

# Scripts, styles and connections come from here alone; text never becomes markup except through the one policy that
# sanitises (DOMPurify): https://www.w3.org/TR/trusted-types/.
_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "font-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types dompurify",
    )
)
_HEADERS: Final = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}


class Guarded:
    """An application that only its own pages can use.

    There is no cookie, so another site's page has nothing to ride on; the Host check keeps out names that were bound
    to this address by someone else (DNS rebinding), and no CORS header lets a foreign page read an answer.

    Args:
        hosts: names, beside loopback's, by which the console may be addressed.
        token: bearer token that data is given for; None on loopback.
    """

    def __init__(self, app: ASGIApp, hosts: frozenset[str] = frozenset(), token: str | None = None) -> None:
        self._app = app
        self._hosts = _LOOPBACK | hosts
        self._token = token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or refuse it; either way with the headers that bind the browser."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def send_bound(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
            await send(message)

        refusal = self._refusal(scope)
        return await (refusal or self._app)(scope, receive, send_bound)

    def _refusal(self, scope: Scope) -> PlainTextResponse | None:
        headers = Headers(scope=scope)
        if self._token is None and _without_port(headers.get("host", "")) not in self._hosts:
            return PlainTextResponse("this host name is not served; use 127.0.0.1 or localhost", 421)
        if not scope["path"].startswith(DATA):
            return None
        # Browsers say where a request comes from (Fetch Metadata); other programs say nothing.
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return PlainTextResponse("another site may not ask", 403)
        shown = headers.get("authorization", "")
        if self._token is not None and not hmac.compare_digest(shown.encode(), f"Bearer {self._token}".encode()):
            return PlainTextResponse("a bearer token is needed; it lies in the stack's token file", 401)
        return None


def _without_port(host: str) -> str:
    name, separator, port = host.rpartition(":")
    return name.lower() if separator and port.isdigit() else host.lower()
