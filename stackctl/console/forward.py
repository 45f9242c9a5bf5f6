"""Forwards to the two query APIs: the paths that only read, streamed, and given up when the browser gives up."""

import asyncio
import re
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final

import httpx2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

# The query paths of each API, and no other: nothing that writes, deletes or administrates can be reached.
PROMETHEUS_PATHS: Final = re.compile(
    r"api/v1/(query|query_range|query_exemplars|series|labels|label/[A-Za-z0-9_.:-]+/values|metadata|status/buildinfo)"
)
TEMPO_PATHS: Final = re.compile(
    r"api/(v2/)?traces/[0-9A-Fa-f]+|api/search|api/(v2/)?search/tags|api/(v2/)?search/tag/[^/]+/values"
    r"|api/metrics/query(_range)?|api/status/buildinfo"
)
MAX_FORM_BYTES: Final = 4 * 1024**2
_TIMEOUT: Final = httpx2.Timeout(150.0, connect=5.0)  # seconds; the query time-outs of both servers lie below
# Below the 5 s after which the servers close a connection that nobody uses, so that none is used as it closes.
_LIMITS: Final = httpx2.Limits(keepalive_expiry=2.0)
_SENT: Final = ("accept", "accept-encoding", "content-type")
_RETURNED: Final = ("content-type", "content-encoding")


def client(token: str | None) -> httpx2.AsyncClient:
    """Return the HTTP client of the forwards; proxies of the user's shell are not for it.

    Args:
        token: bearer token that the servers ask for.
    """
    headers = {"authorization": f"Bearer {token}"} if token else {}
    return httpx2.AsyncClient(
        timeout=_TIMEOUT, limits=_LIMITS, trust_env=False, headers=headers, follow_redirects=False
    )


class Forward:
    """One server behind the console.

    Args:
        base: its URL.
        paths: what of it may be asked, as a whole match.
    """

    def __init__(self, http: httpx2.AsyncClient, base: str, paths: re.Pattern[str]) -> None:
        self._http = http
        self._base = base.rstrip("/")
        self._paths = paths

    async def forward(self, request: Request) -> Response:
        """Answer with what the server answers."""
        path = request.path_params["path"]
        if not self._paths.fullmatch(path):
            return PlainTextResponse("not a query path", 404)
        body = await _form(request)
        if body is None:
            return PlainTextResponse("the form is too large", 413)
        asked = self._http.build_request(
            request.method,
            f"{self._base}/{path}",
            params=request.url.query or None,
            content=body or None,
            headers={name: request.headers[name] for name in _SENT if name in request.headers},
        )
        try:
            answer = await _unless_gone(request, self._send(asked))
        except httpx2.TimeoutException:
            return PlainTextResponse(f"{self._base} did not answer in time", 504)
        except httpx2.TransportError as error:
            return PlainTextResponse(f"{self._base} cannot be reached: {error or type(error).__name__}", 502)
        if answer is None:
            return Response(status_code=499)  # nobody reads it; nginx' code for a client that closed the request
        headers = {name: answer.headers[name] for name in _RETURNED if name in answer.headers}
        headers["cache-control"] = "no-store"
        return StreamingResponse(_stream(answer), answer.status_code, headers)

    async def _send(self, asked: httpx2.Request) -> httpx2.Response:
        try:
            return await self._http.send(asked, stream=True)
        except (httpx2.RemoteProtocolError, httpx2.ReadError, httpx2.WriteError):
            # A kept connection that the server had closed meanwhile; it only reads, so asking twice changes nothing.
            return await self._http.send(asked, stream=True)


async def _form(request: Request) -> bytes | None:
    """Return the body of a request; None where it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_FORM_BYTES:
            return None
    return bytes(body)


async def _unless_gone(request: Request, sending: Coroutine[Any, Any, httpx2.Response]) -> httpx2.Response | None:
    """Return the answer, or None as soon as the browser closes the connection; the server then sees it closed too."""
    answer = asyncio.create_task(sending)
    gone = asyncio.create_task(_gone(request))
    try:
        await asyncio.wait({answer, gone}, return_when=asyncio.FIRST_COMPLETED)
        if answer.done():
            return answer.result()
        return None
    finally:
        answer.cancel()
        gone.cancel()


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _stream(answer: httpx2.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_raw():
            yield chunk
    finally:
        await answer.aclose()
