"""Every query of every board, asked of the embedded engine and of the real Prometheus over the same samples."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from stackctl.boards import queries, render
from stackctl.clients import PrometheusClient
from tests import realstack
from tests.conftest import LiveStack, run_stackctl

pytestmark = pytest.mark.realstack
WINDOW_SECONDS = 600
Points = dict[frozenset[tuple[str, str]], tuple[tuple[float, float], ...]]


def _open_metrics(endpoint: str, at: float) -> str:
    """Return every sample that the engine holds, as OpenMetrics text; `unknown` types keep names as they are."""
    form = {"query": '{__name__!=""}[1h]', "time": f"{at:.3f}"}
    answer = httpx2.post(f"{endpoint}/api/v1/query", data=form, trust_env=False, timeout=60).json()
    families: dict[str, list[str]] = {}
    for series in answer["data"]["result"]:
        labels = dict(series["metric"])
        name = labels.pop("__name__")
        inside = ",".join(f'{key}="{_escaped(value)}"' for key, value in sorted(labels.items()))
        rows = [f"{name}{{{inside}}} {value} {t:.3f}" for t, value in series["values"]]
        families.setdefault(name, []).extend(rows)
    text = [line for name, rows in families.items() for line in (f"# TYPE {name} unknown", *rows)]
    return "\n".join([*text, "# EOF", ""])


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


@dataclass(frozen=True)
class Both:
    """Two servers with the same samples up to `end`, unix seconds: the engine goes on writing some."""

    clients: tuple[PrometheusClient, PrometheusClient]
    end: float


@pytest.fixture(scope="module")
def both(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    """The engine after a demo, and the real Prometheus with the engine's samples."""
    home = tmp_path_factory.mktemp("agree")
    done = run_stackctl("demo", "--requests", "60", "--seed", "5", "--data-dir", stack.data_dir, home=home)
    assert done.code == 0, done.stderr
    time.sleep(1)
    ours = PrometheusClient(stack.endpoints["prometheus"])
    taken = time.time()
    with realstack.prometheus(Path(home, "real"), _open_metrics(stack.endpoints["prometheus"], taken)) as real:
        yield Both((ours, PrometheusClient(real.url)), float(int(taken)))


def _points(client: PrometheusClient, text: str, instant: bool, end: float) -> Points:
    if instant:
        return {frozenset(s.labels.items()): ((s.time, s.value),) for s in client.instant(text, end)}
    lines = client.range(text, end - WINDOW_SECONDS, end, queries.SCRAPE_SECONDS)
    return {frozenset(line.labels.items()): line.points for line in lines}


def _agree(ours: Points, real: Points) -> bool:
    return ours.keys() == real.keys() and all(
        len(ours[key]) == len(real[key])
        and all(
            t == u and (v == w or (math.isnan(v) and math.isnan(w)) or math.isclose(v, w, rel_tol=1e-9))
            for (t, v), (u, w) in zip(ours[key], real[key], strict=True)
        )
        for key in ours
    )


def test_board_queries_agree_with_the_real_prometheus(both: Both) -> None:
    """Every PromQL query of every board gives the same series and, to 1e-9, the same values; most of them not empty."""
    differing, filled, asked = [], 0, 0
    for board in render.boards():
        macros = queries.values(board, WINDOW_SECONDS)
        for query in queries.of(board):
            if query.language == "promql":
                text = queries.substituted(query.text, macros)
                ours, real = (_points(client, text, query.instant, both.end) for client in both.clients)
                asked, filled = asked + 1, filled + bool(real)
                if not _agree(ours, real):
                    differing.append((query.board, query.panel, text))
    assert differing == []
    assert filled >= 0.9 * asked
