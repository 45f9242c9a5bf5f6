"""The official servers of the docker runtime, as the console can tell without Docker: by ports and metrics."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import httpx2

from stackctl.stack import COMPONENTS, Component

Ask = Callable[[str], Awaitable[dict[str, Any] | None]]
# Each server's own metrics carry the component's name as their job (compose/prometheus/prometheus.yml).
_QUERIES: Final = {
    "memory_bytes": "process_resident_memory_bytes or otelcol_process_memory_rss",
    "since": "process_start_time_seconds or timestamp(otelcol_process_uptime) - otelcol_process_uptime",
}
_TIMEOUT_SECONDS = 2.0


async def servers(state: Mapping[str, Any], http: httpx2.AsyncClient, ask: Ask) -> list[dict[str, Any]]:
    """Return a row for each service of the stack's state; none where the stack has no containers.

    Args:
        state: what the runtime wrote.
        http: asks the servers.
        ask: returns the JSON of a URL; None where it does not answer.
    """
    wanted = [one for one in COMPONENTS if one.name in state.get("services", ())]
    if not wanted:
        return []
    endpoints = state.get("endpoints") or {}
    told, states = await asyncio.gather(
        _told(endpoints.get("prometheus"), ask), asyncio.gather(*(_state(one, endpoints, http) for one in wanted))
    )
    return [
        {
            "name": component.name,
            "state": found,
            "endpoint": component.serves[0],
            "since": told["since"].get(component.name),
            "restarts": None,
            "last_exit": None,
            "memory_bytes": told["memory_bytes"].get(component.name),
        }
        for component, found in zip(wanted, states, strict=True)
    ]


async def _state(component: Component, endpoints: Mapping[str, str | None], http: httpx2.AsyncClient) -> str:
    """Return how a server fares. The Collector's health port is none of the stack's: any answer at OTLP's is good."""
    address = next((url for name in component.serves if (url := endpoints.get(name)) and url.startswith("http")), None)
    if address is None:
        return "unhealthy"
    ready = component.health[1]
    try:
        answer = await http.get(address + ready, timeout=_TIMEOUT_SECONDS)
    except httpx2.HTTPError:
        return "unhealthy"
    return "healthy" if ready == "/" or answer.status_code == httpx2.codes.OK else "unhealthy"


async def _told(prometheus: str | None, ask: Ask) -> dict[str, dict[str, float]]:
    """Return what the servers' own metrics say, by component; what is not scraped is left out."""
    answers = await asyncio.gather(
        *(ask(f"{prometheus}/api/v1/query?{httpx2.QueryParams({'query': query})}") for query in _QUERIES.values())
    )
    return {
        key: {row["metric"].get("job", ""): float(row["value"][1]) for row in _rows(answer)}
        for key, answer in zip(_QUERIES, answers, strict=True)
    }


def _rows(answer: dict[str, Any] | None) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ((answer or {}).get("data") or {}).get("result") or []
    return found
