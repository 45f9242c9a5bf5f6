"""The shipped folders without stackctl: plain compose, new and old, brings them up as they are."""

import os
import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex

import pytest

from stackctl.bench.ports import free_port
from stackctl.files import shipped
from stackctl.runtime import project
from stackctl.runtime.ready import answers
from stackctl.stack import ENDPOINT_BY_NAME
from tests.conftest import run_stackctl
from tests.docker.engine import LEGACY, PLUGIN, left_overs, needs

pytestmark = [pytest.mark.docker, pytest.mark.slow]
READY = {"prometheus": "/-/ready", "tempo": "/ready"}
WAIT_SECONDS = 180.0


def test_stackctl_works_with_the_legacy_compose(tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """Where only `docker-compose` is installed it is taken, and `up` ends as proven as with the plugin."""
    needs(LEGACY)
    (tmp_path / "empty").mkdir()
    flags = ("--console", "none", "--ports", "auto", "--data-dir", tmp_path / "data")
    without_plugin = {"DOCKER_CONFIG": str(tmp_path / "empty")}
    try:
        up = run_stackctl("up", *docker_runtime, *flags, "--json", home=tmp_path, env=without_plugin, timeout=400)
        assert up.code == 0, up.stderr
        assert {row["state"] for row in up.json()["components"]} == {"healthy"}
    finally:
        run_stackctl("down", "--delete-data", "--data-dir", tmp_path / "data", home=tmp_path)
    assert left_overs(project.name_of(tmp_path / "data")) == []


@pytest.mark.parametrize("compose", [PLUGIN, LEGACY], ids=["plugin", "legacy"])
def test_plain_compose_brings_the_folders_up(
    compose: Sequence[str], tmp_path: Path, docker_runtime: Sequence[str]
) -> None:
    """`up -d` with nothing but an `.env`: all that has no profile comes up healthy, and `down -v` leaves nothing."""
    needs(compose)
    for folder in ("compose", "provisioning"):
        shutil.copytree(shipped(folder), tmp_path / folder)
    name = f"sc-plain-{token_hex(4)}"
    ports = {name: free_port() for name in ENDPOINT_BY_NAME}
    images = dict(word.split("=", 1) for word in docker_runtime if "=" in word)
    lines = [
        f"COMPOSE_PROJECT_NAME={name}",
        f"STACKCTL_NETWORK={name}",
        "GRAFANA_ADMIN_PASSWORD=not-used",
        *(f"STACKCTL_IMAGE_{component.upper()}={image}" for component, image in images.items()),
        *(f"STACKCTL_PORT_{endpoint.upper()}={port}" for endpoint, port in ports.items()),
    ]
    directory = tmp_path / "compose"
    (directory / ".env").write_text("\n".join(lines))
    kept = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONFIG")
    environ = {key: os.environ[key] for key in kept if key in os.environ}

    def run(*arguments: str) -> None:
        done = subprocess.run(
            [*compose, *arguments], cwd=directory, env=environ, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr

    try:
        run("up", "-d")
        waiting = {f"http://127.0.0.1:{ports[endpoint]}{path}" for endpoint, path in READY.items()}
        deadline = time.monotonic() + WAIT_SECONDS
        while waiting := {url for url in waiting if not answers(url, None, 2.0)}:
            assert time.monotonic() < deadline, waiting
            time.sleep(0.5)
    finally:
        run("down", "-v")
    assert left_overs(name) == []
