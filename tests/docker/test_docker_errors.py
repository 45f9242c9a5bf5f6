"""What goes wrong around `up` with Docker: each with its exit code, one message, one next step, nothing left behind."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from stackctl.bench.ports import free_port
from stackctl.runtime import project, state
from tests import absent
from tests.conftest import COMMAND, IMAGES, Finished, hostile_environment, run_stackctl
from tests.docker.engine import containers, docker, left_overs

pytestmark = [pytest.mark.docker, pytest.mark.slow]
FLAGS = ("--runtime", "docker", "--console", "none", "--ports", "auto")
# No Tempo is needed where `up` ends before one would run.
BY_TAG = tuple(f"--image={name}={image}" for name, image in IMAGES.items())
Up = Callable[..., Finished]


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    """`up` in a directory of its own, and the check that it left nothing."""

    def run(*flags: str, **options) -> Finished:
        return run_stackctl("up", *FLAGS, *BY_TAG, *flags, "--data-dir", tmp_path / "data", home=tmp_path, **options)

    yield run
    assert left_overs(project.name_of(tmp_path / "data")) == []
    assert state.read(tmp_path / "data") is None


def assert_refused(finished: Finished, code: int, message: str, next_step: str) -> None:
    """One `error:` line and one `next:` line on stderr, nothing on stdout, no traceback."""
    assert finished.code == code, finished.stderr
    assert [line[:7] for line in finished.stderr.splitlines()].count("error: ") == 1, finished.stderr
    assert finished.stderr.count("\n  next: ") == 1, finished.stderr
    assert message in finished.stderr
    assert next_step in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""


def test_an_image_that_cannot_be_had(up: Up) -> None:
    """Neither here nor to be pulled: exit 3, with the registry's reason and the flag that names another."""
    refused = up("--image", "tempo=127.0.0.1:9/none/tempo:1")
    assert_refused(refused, 3, "the image of tempo, 127.0.0.1:9/none/tempo:1, is not here", "--image tempo=REF")


def test_an_image_that_is_here_without_its_digest(tmp_path: Path) -> None:
    """Loaded from a file it has no digest: the pin is not silently given up, the flag that does so is named."""
    refused = run_stackctl("up", *FLAGS, "--data-dir", tmp_path / "data", home=tmp_path)
    assert_refused(refused, 3, "is not here and cannot be pulled", f"--image otelcol={IMAGES['otelcol']}")


def test_auto_takes_the_embedded_runtime_and_says_why(tmp_path: Path) -> None:
    """An engine without the images and without a registry is no error for `auto`."""
    flags = ("--console", "none", "--ports", "auto", "--data-dir", tmp_path / "data")
    finished = run_stackctl("up", *flags, "--json", home=tmp_path)
    run_stackctl("down", "--delete-data", "--data-dir", tmp_path / "data", home=tmp_path)
    assert finished.code == 0, finished.stderr
    assert finished.json()["runtime"] == "embedded"
    assert "cannot be pulled" in finished.stderr
    assert "taking the embedded runtime" in finished.stderr


def test_a_port_that_a_program_holds(up: Up, docker_runtime: Sequence[str]) -> None:
    """The holder is named before any container is made."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        refused = up(*docker_runtime, "--ports", f"tempo={port},{_free('otlp_grpc', 'otlp_http', 'prometheus')}")
    assert_refused(refused, 3, f"port {port} (tempo) is taken by ", "stackctl up --ports auto")
    assert "(pid " in refused.stderr


def test_a_port_that_a_container_holds(up: Up, docker_runtime: Sequence[str]) -> None:
    """Not Docker's proxy is named, but the container that it works for."""
    name = f"sc-test-holder-{os.getpid()}"
    docker("run", "-d", "--rm", "--name", name, "-p", "127.0.0.1::9090", IMAGES["prometheus"])
    try:
        port = docker("port", name, "9090").rpartition(":")[2]
        refused = up(*docker_runtime, "--ports", f"tempo={port},{_free('otlp_grpc', 'otlp_http', 'prometheus')}")
    finally:
        docker("rm", "-f", "-v", name)
    assert_refused(refused, 3, f"port {port} (tempo) is taken by the container {name}", f"docker stop {name}")


def test_a_container_that_ends(up: Up) -> None:
    """A program that dies at its start: exit 1 at once, with its last words."""
    refused = up("--image", f"tempo={IMAGES['prometheus']}")
    assert_refused(refused, 1, "tempo ended with exit code", "see the lines above")
    assert "  tempo: " in refused.stderr


def test_a_project_of_the_same_name_that_is_not_ours(tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """Another's containers are neither taken over nor removed, by `up` nor by `down`."""
    name = project.name_of(tmp_path / "data")
    labels = ("--label", f"com.docker.compose.project={name}", "--label", "com.docker.compose.service=theirs")
    theirs = docker("run", "-d", *labels, IMAGES["prometheus"])
    try:
        flags = (*docker_runtime, "--console", "none", "--ports", "auto", "--data-dir", tmp_path / "data")
        refused = run_stackctl("up", *flags, home=tmp_path)
        assert_refused(refused, 3, f"project or network {name} is there already", "--data-dir DIR")
        assert list(containers(name)) == ["theirs"]
    finally:
        docker("rm", "-f", "-v", theirs)
    assert left_overs(name) == []


def test_a_disk_that_is_full(tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """Without room for the files: exit 3, and nothing was started."""
    if os.geteuid() != 0:
        absent.skip("root")
    data = tmp_path / "data"
    data.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", data], check=True)
    try:
        flags = (*docker_runtime, "--console", "none", "--ports", "auto", "--data-dir", data)
        refused = run_stackctl("up", *flags, home=tmp_path)
    finally:
        subprocess.run(["umount", data], check=True)
    assert_refused(refused, 3, "No space left on device", "free space")
    assert left_overs(project.name_of(data)) == []


@pytest.mark.parametrize("flags", [("--host", "0.0.0.0"), ("--foreground",)])
def test_what_docker_does_not_do_is_refused_by_name(up: Up, flags: Sequence[str]) -> None:
    """Beyond loopback there would be no token, and the foreground is the engine's: exit 2."""
    assert_refused(up(*flags), 2, "the docker runtime", "leave --")


def test_a_user_who_may_not_use_the_socket(tmp_path: Path) -> None:
    """Exit 3, and the remedy is the group, not another engine."""
    if os.geteuid() != 0:
        absent.skip("root")
    (tmp_path / "home").mkdir()
    os.chown(tmp_path / "home", 12345, 12345)
    # May look into this user's directories, where the command is installed, but not write to the socket.
    rights = ("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search")
    become = ("setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", *rights)
    done = subprocess.run(
        [*become, COMMAND, "up", "--runtime", "docker"],
        env=hostile_environment(tmp_path / "home"),
        cwd=tmp_path / "home",
        capture_output=True,
        text=True,
        check=False,
    )
    finished = Finished(done.returncode, done.stdout, done.stderr)
    assert_refused(finished, 3, "this user may not use the Docker socket", "usermod -aG docker")


def test_no_compose_command(up: Up, tmp_path: Path) -> None:
    """An engine alone is not enough: exit 3, with what is to be installed."""
    (tmp_path / "bin").mkdir()
    refused = up(env={"PATH": str(tmp_path / "bin")})
    assert_refused(refused, 3, "neither `docker compose` nor `docker-compose`", "docker-compose")


def test_ctrl_c_leaves_nothing(up: Up, tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """Ctrl-C while containers start is 130 without a traceback, and they are gone."""
    name = project.name_of(tmp_path / "data")
    command = [COMMAND, "up", *docker_runtime, *FLAGS[2:], "--data-dir", tmp_path / "data"]
    process = subprocess.Popen(command, env=hostile_environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE)
    while "otelcol" not in containers(name):
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr


def _free(*names: str) -> str:
    return ",".join(f"{name}={free_port()}" for name in names)
