"""What goes wrong around `up`: each with its exit code, one message, one next step, no traceback, nothing left."""

import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from stackctl.runtime import state
from tests.conftest import COMMAND, Finished, hostile_environment, run_stackctl
from tests.realstack import free_port


def assert_refused(finished: Finished, code: int, message: str, next_step: str) -> None:
    """One `error:` line and one `next:` line on stderr, nothing on stdout, no traceback."""
    assert finished.code == code, finished.stderr
    assert finished.stderr.count("error: ") == 1
    assert finished.stderr.count("\n  next: ") == 1
    assert message in finished.stderr
    assert next_step in finished.stderr
    assert "Traceback" not in finished.stderr
    assert finished.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "message", "next_step"),
    [
        (["up", "--runtime", "nonsense"], 2, "runtime cannot be 'nonsense'", "auto, docker, embedded"),
        (["up", "--ports", "tempo"], 2, "ports cannot be 'tempo'", "auto, or ENDPOINT=PORT"),
        (["up", "--console", "none", "--ports", "console=3000"], 2, "does not serve console", "leave it out"),
        (["up", "--ports", "tempo=4317"], 2, "two endpoints would get one port", "port of its own"),
        (["up", "--retention", "soon"], 2, "--retention: retention cannot be 'soon'", "a number with"),
        (["up", "--host", "192.0.2.1"], 2, "192.0.2.1 is no address of this machine", "127.0.0.1"),
        *(
            (
                ["up", "--runtime", "embedded", "--console", "none", "--ports", "auto", "--host", host],
                2,
                "is no address of this machine",
                "127.0.0.1",
            )
            for host in ("192.0.2.1", "no.such.host.invalid", "a..b", "x" * 300)
        ),
        (
            ["up", "--image", "nonsense=x:1"],
            2,
            "--image cannot be 'nonsense=x:1'",
            "otelcol, tempo, prometheus, grafana",
        ),
        (["up", "--image", "tempo=grafana/tempo:latest"], 2, "image.tempo cannot be", "a tag other than latest"),
        (["up", "--sample", "0"], 2, "sample cannot be 0", "above 0 and below 100"),
        (["up", "--sample", "10", "--runtime", "embedded"], 2, "does not sample", "--runtime docker"),
        (["up", "--nonsense"], 2, "--nonsense", "stackctl up --help"),
        (["nonsense"], 2, "nonsense", "stackctl --help"),
        (["logs", "--since", "soon"], 2, "--since cannot be 'soon'", "15m"),
        (["status"], 3, "no stack runs from", "stackctl up"),
        (["demo"], 3, "no stack runs from", "stackctl up"),
    ],
)
def test_wrong_usage_is_said_once(stackctl_cli, arguments, code, message, next_step):
    """A wrong flag or value, or a stack that is not there, is one message and one next step."""
    assert_refused(stackctl_cli(*arguments), code, message, next_step)


def test_docker_without_an_engine(stackctl_cli, tmp_path):
    """`--runtime docker` where no engine answers is exit 3 and names the way without."""
    absent = {"DOCKER_HOST": f"unix://{tmp_path}/no.sock"}
    refused = stackctl_cli("up", "--runtime", "docker", env=absent)
    assert_refused(refused, 3, "no Docker engine answers at", "stackctl up --runtime embedded")


def test_a_taken_port_names_its_holder(stackctl_cli, tmp_path):
    """A port in use is exit 3, with the port, the endpoint, who holds it, and the way round."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        # Free ones for the rest: another stack of this machine may have the default ports.
        others = (f"{name}={free_port()}" for name in ("otlp_grpc", "otlp_http", "prometheus", "console"))
        chosen = ",".join([*others, f"tempo={port}"])
        refused = stackctl_cli("up", "--runtime", "embedded", "--ports", chosen)
    assert_refused(refused, 3, f"port {port} (tempo) is taken by", "stackctl up --ports auto")
    assert "(pid " in refused.stderr
    assert state.running(tmp_path / "stackctl") is None


def test_a_broken_file_stops_every_command(stackctl_cli, tmp_path):
    """A stackctl.toml that cannot be used is exit 2 wherever it is read, and does not stop `--help`."""
    (tmp_path / "stackctl.toml").write_text("retention = [")
    for command in ("up", "status", "config"):
        assert_refused(stackctl_cli(command), 2, "stackctl.toml is not TOML", "mend the file")
    assert stackctl_cli("up", "--help").code == 0


def test_up_with_other_ports_while_it_runs(stack, tmp_path):
    """Ports cannot change under a running stack: exit 2, and it goes on."""
    before = state.find(stack.data_dir)
    refused = run_stackctl("up", "--ports", "tempo=13200", "--data-dir", stack.data_dir, home=tmp_path)
    assert_refused(refused, 2, "cannot change to tempo on port 13200", "stackctl down")
    assert state.find(stack.data_dir) == before


def test_a_data_directory_that_cannot_be_written(stackctl_cli, tmp_path):
    """A file in the place of the data directory is exit 3 and not a traceback."""
    (tmp_path / "file").write_text("in the way")
    refused = stackctl_cli("up", "--runtime", "embedded", "--data-dir", tmp_path / "file" / "data")
    assert_refused(refused, 3, "cannot be used as data directory", "--data-dir")


MOMENTS = {
    "before anything is started": lambda data_dir: (data_dir / "run" / "up.lock").exists(),
    "as the supervisor starts": lambda data_dir: (data_dir / "run" / "engine.json").exists(),
    "as the engine starts": lambda data_dir: (data_dir / state.STATE_FILE).exists(),
    "when one of two is ready": lambda data_dir: (
        (stack := state.read(data_dir)) and any(part.state == state.HEALTHY for part in stack.components)
    ),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_ctrl_c_in_up_leaves_nothing(tmp_path: Path, moment: str):
    """Ctrl-C at any moment of `up` is 130 without a traceback, and nothing half started stays."""
    data_dir = tmp_path / "data"
    command = [COMMAND, "up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data_dir]
    process = subprocess.Popen(
        command, env=hostile_environment(tmp_path), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    while not MOMENTS[moment](data_dir):
        assert process.poll() is None, process.communicate()[1].decode()
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    stderr = process.communicate(timeout=30)[1].decode()
    assert process.returncode == 130, stderr
    assert "Traceback" not in stderr
    assert state.read(data_dir) is None
    assert pids_of(data_dir) == []


def test_kill_9_of_up_leaves_nothing(tmp_path: Path):
    """Even an `up` that is killed outright takes what it had started with it."""
    data_dir = tmp_path / "data"
    command = [COMMAND, "up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data_dir]
    with subprocess.Popen(command, env=hostile_environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE) as process:
        while not pids_of(data_dir):
            time.sleep(0.01)
        process.kill()
        process.communicate()
    deadline = time.monotonic() + 20
    while pids_of(data_dir):
        assert time.monotonic() < deadline, "something still runs"
        time.sleep(0.05)


def pids_of(data_dir: Path) -> list[int]:
    """Return the processes of the engine and its supervisor that work in a data directory."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode().split("\0")
            except OSError:  # it ended meanwhile
                continue
            ours = any(word.startswith(("stackctl.runtime.", "stackctl.embedded.")) for word in command)
            if ours and any(word.startswith(str(data_dir)) for word in command):
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("command", [["--help"], ["--version"], ["prices", "show"], ["config", "--json"]])
def test_an_answer_that_cannot_be_written_is_the_machines_fault(tmp_path: Path, command: list[str]) -> None:
    """A full disk behind stdout is no bug of ours: exit 3, and what to do, however little the answer is."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, *command],
            cwd=tmp_path,
            env=hostile_environment(tmp_path),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 3
    assert "error: nothing more can be written: No space left on device\n  next: make room" in done.stderr
    assert done.stderr.count("\n") == 2
