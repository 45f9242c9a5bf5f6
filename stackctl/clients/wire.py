"""One HTTP exchange with a query endpoint, its failures mapped into our exception tree."""

import re
from collections.abc import Mapping
from typing import Any, Self

import httpx2
import orjson

from stackctl.errors import (
    Misuse,
    NotFound,
    QueryInvalid,
    QueryUnsupported,
    StackNotRunning,
    UpstreamFailed,
)

TIMEOUT_SECONDS = 30.0
# Where a query is wrong, as servers say it: `1:5: parse error` (Prometheus), `parse error at line 1, col 5` (Tempo).
_POSITION = re.compile(r"\b(?:line )?(\d+)(?::|, col )(\d+)")


class Wire:
    """The HTTP connection to one query endpoint.

    Proxies and credentials of the user's shell are not looked at: a stack on loopback is never behind a proxy.

    Args:
        name: what the endpoint is called in messages (`Prometheus`, `Tempo`).
        url: base URL, with or without a trailing slash.
        token: bearer token, where the endpoint wants one.
        timeout: seconds for one request.

    Raises:
        Misuse: the URL is none of HTTP.
    """

    def __init__(self, name: str, url: str, token: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        self.name = name
        self.url = url.rstrip("/")
        _check(name, self.url)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._http = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self.close()

    def get(self, path: str, params: Mapping[str, str] | None = None, query: str | None = None) -> Any:
        """GET a path and return its JSON.

        Args:
            query: the query text in `params`, to turn a line and column into a position.

        Raises:
            QueryInvalid: HTTP 400. QueryUnsupported: 422. NotFound: 404. StackNotRunning: nobody listens.
            UpstreamFailed: anything else that is not a JSON answer.
        """
        return self._exchange("GET", path, params=dict(params or {}), query=query)

    def post(self, path: str, form: Mapping[str, str], query: str | None = None) -> Any:
        """POST a form and return the JSON of the answer. Raises as `get` does."""
        return self._exchange("POST", path, data=dict(form), query=query)

    def answers(self, path: str) -> bool:
        """True when a GET of the path is answered with HTTP 200."""
        try:
            return self._http.get(path).status_code == httpx2.codes.OK
        except httpx2.TransportError:
            return False

    def _exchange(self, method: str, path: str, query: str | None, **request: Any) -> Any:
        try:
            response = self._http.request(method, path, **request)
        except httpx2.TimeoutException as error:
            raise UpstreamFailed(
                f"{self.name} at {self.url} did not answer in time", next_step="try again with a shorter time range"
            ) from error
        except httpx2.ConnectError as error:
            raise StackNotRunning(
                f"{self.name} does not answer at {self.url}", next_step="start the stack: stackctl up"
            ) from error
        except (httpx2.TransportError, httpx2.InvalidURL) as error:
            raise UpstreamFailed(
                f"{self.name} at {self.url}: {error}", next_step="look at the component: stackctl status"
            ) from error
        if response.status_code != httpx2.codes.OK:
            raise self._refusal(response, query)
        try:
            return orjson.loads(response.content)
        except orjson.JSONDecodeError as error:
            raise UpstreamFailed(
                f"{self.url}{path} does not answer in JSON", next_step=f"check that {self.name} listens at {self.url}"
            ) from error

    def _refusal(self, response: httpx2.Response, query: str | None) -> Exception:
        message = _message(response)
        match response.status_code:
            case 400:
                return QueryInvalid(
                    message, next_step="correct the query where the message says", position=_position(message, query)
                )
            case 404:
                return NotFound(message or "not found", next_step="list what there is: stackctl traces list")
            case 422:
                return QueryUnsupported(message, next_step="write the query without it")
            case 401 | 403:
                return UpstreamFailed(
                    f"{self.name} at {self.url} wants another token",
                    next_step="use the token of the stack's token file",
                )
        return UpstreamFailed(
            f"{self.name} at {self.url} answered HTTP {response.status_code}: {message}",
            next_step="look at its log: stackctl logs",
        )


def _check(name: str, url: str) -> None:
    """Refuse a URL at which no server can be."""
    try:
        parsed = httpx2.URL(url)
    except httpx2.InvalidURL:
        usable = False
    else:
        usable = parsed.scheme in ("http", "https") and bool(parsed.host)
    if not usable:
        raise Misuse(f"{url!r} is no URL of {name}", next_step="write it like http://127.0.0.1:9090")


def _message(response: httpx2.Response) -> str:
    """Return the error text: Prometheus' JSON `error`, else the plain body."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return response.text.strip()[:500]
    return str(body.get("error", body)) if isinstance(body, dict) else str(body)


def _position(message: str, query: str | None) -> int | None:
    """Return the offset in characters that a message's line and column (both from 1) point at in the query."""
    found = _POSITION.search(message)
    if found is None or query is None:
        return None
    line, column = int(found[1]), int(found[2])
    lines = query.split("\n")
    if not 1 <= line <= len(lines):
        return None
    offset = sum(len(text) + 1 for text in lines[: line - 1])
    return min(offset + max(column - 1, 0), len(query))
