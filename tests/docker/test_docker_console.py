"""stackctl's own console beside containers: a process that is looked after, and mended when it is not."""

import json
import os
import signal
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import pytest

from stackctl.runtime import state
from tests.conftest import run_stackctl
from tests.docker.engine import containers, docker

pytestmark = [pytest.mark.docker, pytest.mark.slow]


def test_the_console_runs_over_the_containers(tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """`--console builtin` shows the boards over both ports; killed, `status` tells and `up` mends; `down` ends it."""
    data = tmp_path / "data"
    up = ("up", *docker_runtime, "--console", "builtin", "--ports", "auto", "--data-dir", data, "--json")
    try:
        started = run_stackctl(*up, home=tmp_path, timeout=400)
        assert started.code == 0, started.stderr
        console = started.json()["endpoints"]["console"]
        assert {row["name"]: row["state"] for row in started.json()["components"]}["console"] == "healthy"
        shown = _get(f"{console}/api/stack")
        assert shown["servers"]["prometheus"]["version"] == "3.15.0"
        assert {row["name"]: row["state"] for row in shown["components"]} == dict.fromkeys(
            ("otelcol", "tempo", "prometheus", "console"), "healthy"
        )
        first = state.find(data).supervisor
        assert first is not None
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait(10)
        told = run_stackctl("status", "--json", "--data-dir", data, home=tmp_path)
        assert told.code == 1
        assert {row["name"]: row["state"] for row in told.json()["components"]}["console"] == "stopped"
        mended = run_stackctl(*up, home=tmp_path, timeout=400)
        assert mended.code == 0, mended.stderr
        assert mended.json()["endpoints"]["console"] == console
        assert _get(f"{console}/api/stack")["runtime"] == "docker"
        docker("kill", containers(mended.json()["network"])["prometheus"])
        after = {row["name"]: row["state"] for row in _get(f"{console}/api/stack")["components"]}
        assert (after["prometheus"], after["otelcol"]) == ("unhealthy", "healthy")
        second = state.find(data).supervisor
        assert second is not None
    finally:
        run_stackctl("down", "--delete-data", "--data-dir", data, home=tmp_path)
    assert not second.running()


def _get(url: str) -> dict:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=10) as answer:
        return json.load(answer)
