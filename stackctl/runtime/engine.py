"""The Docker engine of this machine: where it listens, whether it answers, and the SDK's client of it.

The SDK takes 0.3 s of CPU to import, so whether an engine answers is asked without it.
"""

import hashlib
import http.client
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from stackctl.errors import EngineAbsent, EnvironmentLacks, StackctlError, StoreUnusable
from stackctl.runtime.ready import is_loopback

if TYPE_CHECKING:
    from docker import DockerClient

_DEFAULT_SOCKET = "unix:///var/run/docker.sock"
_TIMEOUT_SECONDS = 2.0
_CALL_SECONDS = 60.0
_WITHOUT = "run without Docker: stackctl up --runtime embedded"


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
    """Return where the engine is looked for: DOCKER_HOST, else the Docker context in use, else the default socket."""
    return os.environ.get("DOCKER_HOST") or _context_address() or _DEFAULT_SOCKET


def trouble() -> EnvironmentLacks | None:
    """Return why no engine can be used; None when one answers a ping (`GET /_ping`, Docker Engine API)."""
    found = address()
    try:
        parts = urlsplit(found)
        if parts.scheme == "unix":
            connection: http.client.HTTPConnection = _SocketConnection(Path(parts.path))
        elif parts.scheme in ("tcp", "http") and is_loopback(parts.hostname or ""):
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_TIMEOUT_SECONDS)
        elif parts.scheme in ("tcp", "http", "https", "ssh"):
            return EngineAbsent(
                f"the Docker engine at {found} is not on this machine, where the stack's files and ports are",
                next_step=f"unset DOCKER_HOST or take another Docker context, or {_WITHOUT}",
            )
        else:
            return _absent(found)
        connection.request("GET", "/_ping")
        answered = connection.getresponse().status == http.client.OK
        connection.close()
    except PermissionError:
        return EnvironmentLacks(
            f"this user may not use the Docker socket {parts.path}",
            next_step=f"join the group docker (sudo usermod -aG docker {os.environ.get('USER', '$USER')}, "
            f"then log in again), or {_WITHOUT}",
        )
    except (OSError, ValueError, http.client.HTTPException):  # ValueError: a port that is no number
        return _absent(found)
    return None if answered else _absent(found)


def answers() -> bool:
    """True when an engine can be used."""
    return trouble() is None


def connect() -> "DockerClient":
    """Return a client of the engine.

    Raises:
        EngineAbsent: none answers.
        EnvironmentLacks: this user may not use it, or it is none that the SDK can talk to.
    """
    if (error := trouble()) is not None:
        raise error
    import docker

    with spoken():
        return docker.from_env(timeout=int(_CALL_SECONDS), environment={**os.environ, "DOCKER_HOST": address()})


@contextmanager
def spoken() -> Iterator[None]:
    """Turn what the SDK raises into errors that a person can read."""
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        yield
    except (DockerException, RequestException) as error:
        raise said(str(getattr(error, "explanation", None) or error)) from error


def said(text: str) -> StackctlError:
    """Return the error for what the engine or compose said."""
    line = " ".join(text.split())[:400]
    if "no space left on device" in text:
        return StoreUnusable(
            f"the disk is full: {line}",
            next_step="free space (docker system df shows what takes it), then: stackctl up",
        )
    return EnvironmentLacks(f"the Docker engine refused: {line}", next_step="mend that, then: stackctl up")


def _absent(found: str) -> EngineAbsent:
    return EngineAbsent(
        f"no Docker engine answers at {found}", next_step="start one, or run without: stackctl up --runtime embedded"
    )


def _context_address() -> str | None:
    """Return the address in the Docker context in use, as the docker CLI keeps it; None for its default one."""
    directory = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker")
    try:
        name = (
            os.environ.get("DOCKER_CONTEXT") or json.loads((directory / "config.json").read_bytes())["currentContext"]
        )
        if name == "default":
            return None
        kept = directory / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
        found = json.loads(kept.read_bytes())["Endpoints"]["docker"]["Host"]
    except (OSError, json.JSONDecodeError, KeyError, TypeError):
        return None
    return str(found)
