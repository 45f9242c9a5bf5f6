"""Where an engine configuration listens, and whether somebody answers there. Light: the supervisor lives for weeks."""

import http.client
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from stackctl.stack import ENDPOINTS, EngineConfig

_ANY_ADDRESS = "0.0.0.0"  # listen everywhere; nobody can be reached at it
LOOPBACK = "127.0.0.1"
_LOOPBACK_NAMES = frozenset({LOOPBACK, "localhost"})


def is_loopback(host: str) -> bool:
    """True for an address that only this machine reaches."""
    return host in _LOOPBACK_NAMES or host.startswith("127.")


def reachable(host: str) -> str:
    """Return the address at which this machine reaches what listens on `host`."""
    return LOOPBACK if host == _ANY_ADDRESS else host


def endpoints(config: EngineConfig) -> dict[str, str | None]:
    """Return each endpoint's address as one would paste it; None where the engine does not serve it."""
    host = reachable(config.host)
    return {
        endpoint.name: endpoint.url(host, config.ports[endpoint.name]) if endpoint.name in config.ports else None
        for endpoint in ENDPOINTS
    }


def ready_urls(config: EngineConfig, checks: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the URL of each (endpoint, path)."""
    found = endpoints(config)
    return tuple(f"{found[endpoint]}{path}" for endpoint, path in checks)


def answers(url: str, token_file: Path | None, timeout: float) -> bool:
    """True when a GET is answered with 200.

    Args:
        token_file: bearer token of the endpoint, if it wants one.
        timeout: seconds.
    """
    parts = urlsplit(url)
    assert parts.hostname is not None, "URLs of ours have a host"
    headers = {"Authorization": f"Bearer {token_file.read_text().strip()}"} if token_file else {}
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=timeout)
    try:
        connection.request("GET", parts.path, headers=headers)
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
