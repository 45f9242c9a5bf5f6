"""Heavy questions are answered one after the other while light ones pass, and none may take more than it is allowed."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from stackctl.embedded.api import lanes
from stackctl.embedded.api.lanes import LIGHT_VALUES, MOST_VALUES, SERIES_VALUES, Allowance, Lanes, TimedOut
from stackctl.embedded.api.prometheus import PrometheusApi
from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.promql import ExecutionFailed

NOW = 1_700_000_000_000
HEAVY = LIGHT_VALUES // SERIES_VALUES + 1  # series


def soon() -> float:
    return time.monotonic() + 20


def test_heavy_questions_go_one_after_the_other_and_light_ones_pass() -> None:
    """While one heavy question is answered, another waits its turn and every light one is answered."""
    kind = Lanes(threading.BoundedSemaphore())
    inside, most, let_go = list[int](), list[int](), threading.Event()

    def heavy(allowance: Allowance) -> str:
        allowance.take(HEAVY)
        inside.append(1)
        most.append(len(inside))
        assert let_go.wait(20)
        inside.pop()
        return "heavy"

    with ThreadPoolExecutor(4) as threads:
        waiting = [threads.submit(kind.answer, heavy, soon()) for _ in range(3)]
        while not most:
            time.sleep(0.001)
        assert [kind.answer(lambda allowance: allowance.take(1), soon()) for _ in range(3)] == [None] * 3
        with pytest.raises(TimedOut):
            kind.answer(heavy, time.monotonic() + 0.01)
        let_go.set()
        assert [one.result(20) for one in waiting] == ["heavy"] * 3
    assert most == [1, 1, 1]


def test_steps_count_as_well_as_series() -> None:
    """One series over many steps is as heavy as many series; what is too much for any turn is refused by name."""
    kind, turns = Lanes(threading.BoundedSemaphore()), list[bool]()

    def ask(allowance: Allowance, series: int, steps: int) -> None:
        turns.append(allowance.light)
        allowance.take(series, steps)

    for series, steps, expected in ((1, 11_000, [True]), (1000, 11_000, [True, False])):
        turns.clear()
        kind.answer(lambda allowance, one=series, each=steps: ask(allowance, one, each), soon())  # type: ignore[misc]
        assert turns == expected
    with pytest.raises(ExecutionFailed, match="too many samples"):
        kind.answer(lambda allowance: ask(allowance, MOST_VALUES, 1), soon())
    kind.answer(lambda allowance: ask(allowance, HEAVY, 1), soon())  # its turn is free again


@pytest.fixture
def api(tmp_path: Path) -> TestClient:
    head = Head(tmp_path, clock_ms=lambda: NOW)
    head.start()
    head.append([Points(Family("g", "gauge", (("n", str(n)),)), (n,)) for n in range(50)], NOW - 1000)
    head.close()
    return TestClient(PrometheusApi(SampleReader(tmp_path), lambda: NOW).app(), base_url="http://127.0.0.1")


PATHS = (
    "query?query=sum(g)",
    "query_range?query=g&start=1699999990&end=1700000000&step=1",
    "series?match[]=g",
    "labels",
)


@pytest.mark.parametrize("path", PATHS)
def test_heavy_and_light_answers_are_the_same(api: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """A question that begins anew in the heavy turn is answered as if it had been light."""
    light = api.get(f"/api/v1/{path}")
    monkeypatch.setattr(lanes, "LIGHT_VALUES", 1)
    assert light.status_code == 200
    assert api.get(f"/api/v1/{path}").content == light.content


@pytest.mark.parametrize("path", PATHS)
def test_what_is_too_heavy_is_refused(api: TestClient, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    """Beyond what any question may read the answer is Prometheus' own refusal, at once."""
    monkeypatch.setattr(lanes, "LIGHT_VALUES", 1)
    monkeypatch.setattr(lanes, "MOST_VALUES", 10)
    answer = api.get(f"/api/v1/{path}")
    assert (answer.status_code, answer.json()["errorType"]) == (422, "execution")
    assert "too many samples" in answer.json()["error"]
