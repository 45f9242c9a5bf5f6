"""Ingest knows that somebody asks: either API's questions are noted, and nobody else's."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx2
import pytest

from stackctl.embedded.store.asked import LATELY_SECONDS, Asked
from stackctl.embedded.store.layout import Layout
from stackctl.stack import EngineConfig
from tests.realstack import free_port


def test_a_question_is_remembered_for_a_while(tmp_path: Path) -> None:
    now = time.time()
    asked = Asked(tmp_path / "asked", lambda: now)
    assert not asked.lately()
    asked.note()
    assert not asked.lately()  # it was looked at just now
    now += 0.2
    assert asked.lately()
    now += LATELY_SECONDS + 1
    assert not asked.lately()
    now -= 2 * LATELY_SECONDS  # a clock that was set back is no question
    assert not asked.lately()


def test_a_question_a_second_is_written(tmp_path: Path) -> None:
    now = time.time()
    asked = Asked(tmp_path / "asked", lambda: now)
    asked.note()
    (tmp_path / "asked").unlink()
    asked.note()
    assert not asked.lately()
    now += 1
    asked.note()
    assert asked.lately()


def test_a_store_that_is_not_there_keeps_nobody_from_asking(tmp_path: Path) -> None:
    asked = Asked(tmp_path / "no" / "asked")
    asked.note()
    assert not asked.lately()


@pytest.mark.parametrize(
    ("api", "path", "noted"),
    [
        ("prometheus", "/api/v1/query?query=up", True),
        ("tempo", f"/api/traces/{'1' * 32}", True),
        ("tempo", "/ready", False),
        ("prometheus", "/-/healthy", False),
    ],
)
def test_questions_are_noted_and_probes_are_not(tmp_path: Path, api: str, path: str, noted: bool) -> None:
    """Over HTTP, from a query process of its own."""
    layout = Layout.below(tmp_path)
    layout.create()
    config = EngineConfig(str(tmp_path), ports={"prometheus": free_port(), "tempo": free_port()})
    config.write(tmp_path / "engine.json")
    process = subprocess.Popen([sys.executable, "-m", "stackctl.embedded.query", str(tmp_path / "engine.json")])
    try:
        transport = httpx2.HTTPTransport(retries=8)  # it listens within a second
        with httpx2.Client(transport=transport, timeout=30) as client:
            client.get(f"http://127.0.0.1:{config.ports[api]}{path}")
        assert Asked(layout.asked).lately() is noted
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
