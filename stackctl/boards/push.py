"""Boards into a Grafana that somebody already has, by its HTTP API.

https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import httpx2

from stackctl.boards.render import Rendered
from stackctl.errors import SettingsInvalid, UpstreamFailed

TIMEOUT_SECONDS: Final = 30.0


def token(path: Path) -> str:
    """Return the token of a file.

    Raises:
        SettingsInvalid: it cannot be read, or is empty.
    """
    try:
        found = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsInvalid(
            f"the token file {path} cannot be read: {error.strerror}", next_step="name a readable file"
        ) from error
    if not found:
        raise SettingsInvalid(f"the token file {path} is empty", next_step="write a service account's token into it")
    return found


def push(rendered: Sequence[Rendered], url: str, bearer: str) -> list[str]:
    """Create or replace the boards in a Grafana, and return their addresses.

    Args:
        url: the Grafana's base URL.
        bearer: a service account's token with the role Editor.

    Raises:
        UpstreamFailed: Grafana does not answer, or refuses a board.
    """
    base = url.rstrip("/")
    headers = {"Authorization": f"Bearer {bearer}"}
    with httpx2.Client(base_url=base, headers=headers, timeout=TIMEOUT_SECONDS, trust_env=False) as http:
        return [f"{base}{_pushed(http, one)}" for one in rendered]


def _pushed(http: httpx2.Client, one: Rendered) -> str:
    body = {"dashboard": one.json, "overwrite": True, "message": "stackctl dashboards push"}
    try:
        response = http.post("/api/dashboards/db", json=body)
    except (httpx2.TransportError, httpx2.InvalidURL) as error:
        raise UpstreamFailed(f"Grafana does not answer: {error}", next_step="check --url") from error
    if response.status_code in (httpx2.codes.UNAUTHORIZED, httpx2.codes.FORBIDDEN):
        raise UpstreamFailed(
            "Grafana refuses the token", next_step="give the token of a service account with the role Editor"
        )
    if response.status_code != httpx2.codes.OK:
        raise UpstreamFailed(
            f"Grafana refuses the board {one.uid!r}: HTTP {response.status_code}: {response.text[:300]}",
            next_step="read its message",
        )
    return str(response.json()["url"])
