"""Questions over HTTP by a client that costs little: the server is what is measured, on a machine that both share.

A client of the usual kind takes the better part of a millisecond for a request; Home sends two dozen.
"""

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson

# The server closes connections that nobody used for 5 seconds (uvicorn's `timeout_keep_alive`).
_KEPT_SECONDS: Final = 4.0
_TIMEOUT_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Answer:
    """What a server said.

    Attributes:
        status: HTTP's.
        content: the body.
    """

    status: int
    content: bytes

    @property
    def ok(self) -> bool:
        """Whether the question was answered."""
        return self.status == http.client.OK

    def __str__(self) -> str:
        return f"HTTP {self.status}: {self.content[:200].decode(errors='replace')}"

    def json(self) -> Any:
        """The body, decoded."""
        return orjson.loads(self.content)


class Asker:
    """One connection to a server of this machine, which is kept.

    Args:
        port: on loopback.
    """

    def __init__(self, port: int) -> None:
        self._http = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT_SECONDS)
        self._used = 0.0

    def get(self, path: str, parameters: Mapping[str, str | float] | None = None) -> Answer:
        """Ask.

        Raises:
            OSError: nobody listens, or the connection was lost.
        """
        if time.monotonic() - self._used > _KEPT_SECONDS:
            self._http.close()
        self._http.request("GET", f"{path}?{urlencode(parameters)}" if parameters else path)
        answer = self._http.getresponse()
        content = answer.read()
        self._used = time.monotonic()
        return Answer(answer.status, content)

    def close(self) -> None:
        """Let go of the connection."""
        self._http.close()
