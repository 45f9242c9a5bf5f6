"""The stack's own state as JSON: components, endpoints, versions, what the engine counts, and what was found."""

import asyncio
from pathlib import Path
from typing import Any

import httpx2
import orjson
from starlette.requests import Request
from starlette.responses import Response

from stackctl import __version__
from stackctl.console.config import ConsoleConfig
from stackctl.console.findings import findings
from stackctl.console.servers import servers
from stackctl.resident import resident_bytes

_TIMEOUT_SECONDS = 2.0


class Health:
    """Answers `/api/stack`.

    Args:
        http: asks the servers with the stack's token.
    """

    def __init__(self, config: ConsoleConfig, http: httpx2.AsyncClient) -> None:
        self._config = config
        self._http = http

    async def report(self, _: Request) -> Response:
        """Answer with what is known now; what does not answer is null, never left out."""
        config = self._config
        prometheus, tempo, engine, alerts = await asyncio.gather(
            self._ask(f"{config.prometheus}/api/v1/status/buildinfo"),
            self._ask(f"{config.tempo}/api/status/buildinfo"),
            self._ask(config.status),
            self._ask(f"{config.prometheus}/api/v1/alerts"),
        )
        state = _state(config.state_file)
        official = await servers(state, self._http, self._ask)
        found = {
            "version": __version__,
            "runtime": state.get("runtime", "external"),
            "data_dir": state.get("data_dir"),
            "endpoints": state.get("endpoints") or {"prometheus": config.prometheus, "tempo": config.tempo},
            "components": [*official, *(_component(one) for one in state.get("components", ()))],
            "servers": {
                "prometheus": {"url": config.prometheus, "version": _version((prometheus or {}).get("data"))},
                "tempo": {"url": config.tempo, "version": _version(tempo)},
            },
            "engine": engine,
            "findings": findings((alerts or {}).get("data"), engine),
        }
        return Response(orjson.dumps(found), media_type="application/json", headers={"cache-control": "no-store"})

    async def _ask(self, url: str | None) -> dict[str, Any] | None:
        if url is None:
            return None
        try:
            answer = await self._http.get(url, timeout=_TIMEOUT_SECONDS)
            found = orjson.loads(answer.content) if answer.status_code == httpx2.codes.OK else None
        except (httpx2.HTTPError, orjson.JSONDecodeError):
            return None
        return found if isinstance(found, dict) else None


def _state(path: Path | None) -> dict[str, Any]:
    """Return what the runtime wrote; empty where it wrote nothing, or is writing its first."""
    if path is None:
        return {}
    try:
        found = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return found if isinstance(found, dict) else {}


def _component(row: dict[str, Any]) -> dict[str, Any]:
    kept = {key: row.get(key) for key in ("name", "state", "endpoint", "since", "restarts", "last_exit")}
    process = row.get("process")
    return {**kept, "memory_bytes": resident_bytes(process["pid"]) if process else None}


def _version(info: dict[str, Any] | None) -> str | None:
    return info.get("version") if isinstance(info, dict) else None
