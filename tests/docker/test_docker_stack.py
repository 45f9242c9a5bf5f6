"""A stack of real containers as a person at a terminal meets it: up, again, changed, looked at, gone."""

import os
import stat
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from stackctl.runtime import project
from tests.conftest import Finished, run_stackctl
from tests.docker.engine import LEGACY, PLUGIN, containers, docker, left_overs, needs

pytestmark = [pytest.mark.docker, pytest.mark.slow]
Command = Callable[..., Finished]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("docker-stack")


@pytest.fixture(scope="module")
def command(home: Path) -> Iterator[Command]:
    """The command over a data directory of its own; what runs from it is gone afterwards."""

    def run(*arguments: str) -> Finished:
        return run_stackctl(*arguments, "--data-dir", home / "data", home=home, timeout=400)

    yield run
    run("down", "--delete-data")


@pytest.fixture(scope="module")
def up(docker_runtime: Sequence[str]) -> Sequence[str]:
    return ("up", *docker_runtime, "--console", "none", "--ports", "auto", "--json")


@pytest.fixture(scope="module")
def started(command: Command, up: Sequence[str]) -> dict:
    """The report of the first `up`."""
    finished = command(*up)
    assert finished.code == 0, finished.stderr
    for name in ("otelcol", "tempo", "prometheus"):
        assert f"{name} is ready after" in finished.stderr
    return finished.json()


def test_up_lists_healthy_components_with_versions_and_digests(started: dict) -> None:
    """The three servers are proven, each with where it listens, what it is and which image that was."""
    assert started["runtime"] == "docker"
    rows = {row["name"]: row for row in started["components"]}
    assert rows.keys() == {"otelcol", "tempo", "prometheus"}
    for row in rows.values():
        assert row["state"] == "healthy"
        assert row["digest"].startswith("sha256:")
        assert row["memory_bytes"] > 1_000_000
        assert row["since"].endswith("Z")
    assert rows["prometheus"]["version"] == "3.15.0"
    assert {name: address for name, address in started["endpoints"].items() if not address} == {"console": None}


def test_up_again_changes_nothing(command: Command, up: Sequence[str], started: dict) -> None:
    """The same settings leave the very containers, and say nothing of a change."""
    before = containers(started["network"])
    again = command(*up)
    assert again.code == 0, again.stderr
    assert containers(started["network"]) == before
    assert "applied" not in again.stderr
    assert again.json()["endpoints"] == started["endpoints"]


def test_containers_run_as_the_file_says(started: dict) -> None:
    """Not root, read-only, without capabilities, bounded, on loopback: as the engine itself tells it."""
    for service, container in containers(started["network"]).items():
        shape = (
            "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}} {{.HostConfig.PidsLimit}}"
            " {{gt .HostConfig.Memory 0}} {{.HostConfig.SecurityOpt}} {{.HostConfig.LogConfig.Config}}"
        )
        user, *rest = docker("inspect", "-f", shape, container).split(" ", 1)
        assert rest == ["true [ALL] 512 true [no-new-privileges:true] map[max-file:3 max-size:10m]"]
        assert user != "0:0" or service == "volume-owner"
        hosts = docker(
            "inspect", "-f", "{{range .HostConfig.PortBindings}}{{range .}}{{.HostIp}} {{end}}{{end}}", container
        )
        assert set(hosts.split()) <= {"127.0.0.1"}


def test_an_applications_container_reaches_the_collector_by_name(started: dict) -> None:
    """A container in the stack's network finds `otelcol`, as README and report say."""
    image = docker("inspect", "-f", "{{.Config.Image}}", containers(started["network"])["prometheus"])
    asked = docker(
        *("run", "--rm", "--network", started["network"], "--entrypoint", "wget", image),
        *("-q", "-S", "-O-", "http://otelcol:13133/"),
    )
    assert asked is not None


def test_status_and_logs_look_at_the_containers(command: Command, started: dict) -> None:
    """`status` is 0 while all is well; `logs` reads one container or all, and refuses a name that is none."""
    status = command("status", "--json")
    assert status.code == 0, status.stderr
    assert {row["name"]: row["state"] for row in status.json()["components"]} == {
        "otelcol": "healthy",
        "tempo": "healthy",
        "prometheus": "healthy",
    }
    assert status.json()["disk_bytes"] > 0
    shown = command("logs", "prometheus", "-n", "3")
    assert shown.code == 0, shown.stderr
    assert len(shown.stdout.splitlines()) == 3
    assert all("Z prometheus " in line for line in shown.stdout.splitlines())
    assert {line.split()[1] for line in command("logs", "-n", "200").stdout.splitlines()} >= {"tempo", "prometheus"}
    none = command("logs", "nonsense")
    assert none.code == 1
    assert "name one of: otelcol, prometheus, tempo, volume-owner" in none.stderr


def test_a_changed_retention_recreates_only_what_it_touches(command: Command, up: Sequence[str], started: dict) -> None:
    """Tempo and Prometheus are made anew, the Collector goes on; the change is said and the ports stay."""
    before = containers(started["network"])
    changed = command(*up, "--retention", "2d")
    assert changed.code == 0, changed.stderr
    after = containers(started["network"])
    assert {name for name in after if after[name] != before[name]} == {"tempo", "prometheus"}
    assert "applied: retention_seconds: 604800 -> 172800" in changed.stderr
    assert changed.json()["endpoints"] == started["endpoints"]


def test_what_cannot_change_while_it_runs_is_refused(command: Command, started: dict) -> None:
    """Another runtime or another port is exit 2 with the next step, and nothing changes."""
    before = containers(started["network"])
    for flags in (("--runtime", "embedded"), ("--ports", "tempo=13200")):
        refused = command("up", *flags)
        assert refused.code == 2, refused.stderr
        assert "next: stop it first" in refused.stderr
    assert containers(started["network"]) == before


@pytest.mark.parametrize("compose", [PLUGIN, LEGACY], ids=["plugin", "legacy"])
def test_plain_compose_runs_the_rendered_files(compose: Sequence[str], home: Path, started: dict) -> None:
    """What stackctl wrote is an ordinary project: either compose sees its containers, without a flag."""
    needs(compose)
    shown = subprocess.run(
        [*compose, "ps", "-q"], cwd=home / "data" / "docker" / "compose", capture_output=True, text=True, check=False
    )
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.split()) >= 3


def test_the_password_file_is_the_owners_alone(home: Path, started: dict) -> None:
    """`.env` is 0600, and the data directory above it 0700."""
    env = home / "data" / "docker" / "compose" / ".env"
    assert stat.S_IMODE(os.stat(env).st_mode) == 0o600
    assert stat.S_IMODE(os.stat(home / "data").st_mode) == 0o700


def test_down_deletes_all_of_it(home: Path, command: Command, started: dict) -> None:
    """`down` keeps the volumes; `down --delete-data` leaves no container, network, volume or file."""
    name = project.name_of(home / "data")
    assert started["network"] == name
    assert command("down").code == 0
    assert command("status").code == 3
    kept = left_overs(name)
    assert len(kept) == 3, "the volumes of queue, traces and metrics"
    assert command("down", "--delete-data").code == 0
    assert left_overs(name) == []
    assert not (home / "data").exists()
