"""Whether a Docker engine answers on this machine."""

import http.client
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_TIMEOUT_SECONDS = 2.0


class _SocketConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_SECONDS)
        self.sock.connect(str(self._path))


def address() -> str:
    """Return where the engine is looked for: DOCKER_HOST, else the default socket."""
    return os.environ.get("DOCKER_HOST") or _DEFAULT_SOCKET


def answers() -> bool:
    """True when an engine answers a ping (`GET /_ping`, Docker Engine API)."""
    parts = urlsplit(address())
    try:
        connection = (
            _SocketConnection(Path(parts.path))
            if parts.scheme == "unix"
            else http.client.HTTPConnection(parts.hostname or "localhost", parts.port, timeout=_TIMEOUT_SECONDS)
        )
        connection.request("GET", "/_ping")
        return connection.getresponse().status == http.client.OK
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: a port that is no number
        return False
