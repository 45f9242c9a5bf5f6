"""What the console asks when a person opens Home over the last day, and how long the answers take in all."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl.bench.asking import Answer, Asker
from stackctl.bench.console import HOURS, SAMPLE_MS
from stackctl.boards import policy, queries, render
from stackctl.errors import ComponentUnhealthy

NAME: Final = "Home, 24 h, all of its queries"
BAR_MS: Final = 300.0
LEAST_SERIES: Final = 1000
_BOARD: Final = "home"
_RANGE_MS: Final = HOURS * 3_600_000
_BOARD_PIXELS: Final = 1400  # of a window as wide as most
_BOARD_COLUMNS: Final = 24
# Steps of a query by how much time a pixel stands for: a part of the console's table (steps.js), which is Grafana's.
_STEPS_MS: Final = ((45_000, 30_000), (90_000, 60_000), (210_000, 120_000), (450_000, 300_000), (750_000, 600_000))
_FINE_MS: Final = 60_000  # steps beyond it are aligned
_ENDPOINT: Final = "/api/v1/"


@dataclass(frozen=True)
class Request:
    """One request to the Prometheus API.

    Attributes:
        panel: its title, or `$name` for a variable.
        path: of the endpoint.
        parameters: its query string.
    """

    panel: str
    path: str
    parameters: Mapping[str, str | float]


def requests(end_ms: int) -> list[Request]:
    """Return what the board asks when its range ends at a moment.

    Args:
        end_ms: unix milliseconds.
    """
    board = next(one for one in render.boards() if one.uid == _BOARD)
    macros = queries.values(board, _RANGE_MS // 1000)
    found = [
        Request(f"${variable['name']}", *_values(variable["query"]["query"], end_ms))
        for variable in board.json["templating"]["list"]
        if variable["type"] == "query"
    ]
    for panel in policy.panels(board.json):
        step = _step(panel["gridPos"]["w"] * _BOARD_PIXELS // _BOARD_COLUMNS)
        here = macros | {"__interval": f"{step // 1000}s", "__rate_interval": f"{(step + SAMPLE_MS) // 1000}s"}
        for target in panel["targets"]:
            if target["datasource"]["type"] == policy.PROMETHEUS["type"]:
                text = queries.substituted(target["expr"], here)
                found += [Request(panel["title"], *one) for one in _asked(target, panel["type"], text, step, end_ms)]
    return found


def visitor(client: Asker, end_ms: int) -> Callable[[], float]:
    """Return what asks for everything on Home, one request after the other, and tells how many milliseconds that took.

    It raises ComponentUnhealthy where an answer is an error.

    Args:
        client: of the Prometheus API.
        end_ms: when the samples end, unix milliseconds.

    Raises:
        ComponentUnhealthy: there are fewer series than there should be.
    """
    count: dict[str, str | float] = {"query": 'count({__name__=~".+"})', "time": end_ms / 1000}
    asked = Request("series", f"{_ENDPOINT}query", count)
    series = _data(client.get(asked.path, asked.parameters), asked)["result"]
    if not series or int(series[0]["value"][1]) < LEAST_SERIES:
        raise ComponentUnhealthy(f"fewer than {LEAST_SERIES} series are stored", next_step="name another directory")
    wanted = requests(end_ms)
    return lambda: _all(client, wanted)


def _all(client: Asker, wanted: Sequence[Request]) -> float:
    """Return how many milliseconds the answers took together."""
    took = 0.0
    for request in wanted:
        began = time.perf_counter()
        answer = client.get(request.path, request.parameters)
        took += time.perf_counter() - began  # what follows is not the server's
        _data(answer, request)
    return took * 1000


def _data(answer: Answer, request: Request) -> Any:
    if not answer.ok:
        raise ComponentUnhealthy(f"{request.panel}: {answer}", next_step="see its log on stderr")
    return answer.json()["data"]


def _values(query: str, end_ms: int) -> tuple[str, dict[str, str | float]]:
    metric, label = queries.label_values(query)
    return f"{_ENDPOINT}label/{label}/values", {"match[]": metric, **_bounds(end_ms - _RANGE_MS, end_ms)}


def _asked(
    target: Mapping[str, Any], kind: str, text: str, step_ms: int, end_ms: int
) -> Iterator[tuple[str, dict[str, str | float]]]:
    """Yield path and parameters of what a panel's query asks."""
    if target["instant"]:
        yield f"{_ENDPOINT}query", {"query": text, "time": end_ms / 1000}
        return
    end = end_ms // step_ms * step_ms if step_ms > _FINE_MS else end_ms // 1000 * 1000
    bounds = _bounds(end - -(-_RANGE_MS // step_ms) * step_ms, end)
    yield f"{_ENDPOINT}query_range", {"query": text, **bounds, "step": step_ms / 1000}
    if target.get("exemplar") and kind in ("timeseries", "heatmap") and "_bucket" in text:
        yield f"{_ENDPOINT}query_exemplars", {"query": text, **_bounds(end_ms - _RANGE_MS, end_ms)}


def _bounds(start_ms: int, end_ms: int) -> dict[str, str | float]:
    return {"start": start_ms / 1000, "end": end_ms / 1000}


def _step(pixels: int) -> int:
    return next(step for limit, step in _STEPS_MS if _RANGE_MS / pixels < limit)
