"""The console over the real Prometheus: the same boards show the same numbers as over the engine."""

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import httpx2
import pytest

from tests import realstack
from tests.console.conftest import Seeded, Watched
from tests.test_boards_agree import _open_metrics

pytestmark = pytest.mark.realstack


@dataclass(frozen=True)
class OverReal:
    """A console's address, and until when its Prometheus has the engine's samples, unix milliseconds."""

    url: str
    end_ms: int


@pytest.fixture(scope="module")
def over_real(seeded: Seeded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[OverReal]:
    """A console over the real Prometheus, which holds the engine's samples, and the engine's traces."""
    taken = time.time()
    text = _open_metrics(seeded.endpoints["prometheus"], taken)
    port = realstack.free_port()
    with realstack.prometheus(tmp_path_factory.mktemp("console-real") / "real", text) as real:
        flags = ["--prometheus", real.url, "--tempo", seeded.endpoints["tempo"], "--port", str(port)]
        process = subprocess.Popen([sys.executable, "-P", "-m", "stackctl.console.server", *flags])
        url = f"http://127.0.0.1:{port}"
        try:
            _wait(url)
            yield OverReal(url, int(taken) * 1000)
        finally:
            process.terminate()
            process.wait(10)


def _wait(url: str) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            if httpx2.get(f"{url}/-/ready", trust_env=False).status_code == 200:
                return
        except httpx2.TransportError:
            time.sleep(0.05)
    raise AssertionError("the console did not start")


def numbers(watched: Watched, board: str, start: int, end: int) -> dict[str, list[str]]:
    """What every panel of numbers shows, by title."""
    watched.open(f"/d/{board}?from={start}&to={end}&refresh=")
    cells = ".stat-value, td, .gauge-text, .bar-value, .series"
    found: dict[str, list[str]] = watched.page.evaluate(
        "(cells) => Object.fromEntries([...document.querySelectorAll('.panel')].map((panel) =>"
        " [panel.dataset.title, [...panel.querySelectorAll(cells)].map((one) => one.textContent)]))",
        cells,
    )
    return found


@pytest.mark.parametrize("board", ["home", "cost", "latency", "quality", "rag", "throughput"])
def test_the_same_boards_the_same_numbers(
    board: str, seeded: Seeded, over_real: OverReal, watch_page: Callable[[str], Watched]
) -> None:
    """Every stat, gauge, bar, table cell and legend shows the same text over either server."""
    end = over_real.end_ms
    shown = [numbers(watch_page(url), board, end - 1_800_000, end) for url in (seeded.url, over_real.url)]
    assert shown[0] == shown[1]
    assert sum(len(texts) for texts in shown[0].values()) > 5
