"""The supervisor as a process of its own, over programs that die, hang or are killed."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from stackctl.bench.ports import free_port
from stackctl.runtime import state
from stackctl.runtime.embedded_up import SERVED
from stackctl.runtime.logs import tail
from stackctl.runtime.supervisor import KEEP, config_path
from stackctl.stack import EngineConfig

PROGRAMS = Path(__file__).with_name("programs.py")


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory with an engine configuration on free ports."""
    (tmp_path / "run").mkdir()
    (tmp_path / "logs").mkdir()
    EngineConfig(str(tmp_path), ports={name: free_port() for name in SERVED}).write(config_path(tmp_path))
    return tmp_path


@pytest.fixture
def supervise(data_dir: Path) -> Iterator[Callable[..., subprocess.Popen]]:
    """Start the supervisor over some parts; whatever still runs at the end is killed."""
    started: list[subprocess.Popen] = []

    def start(*parts: str) -> subprocess.Popen:
        command = [sys.executable, PROGRAMS, "supervise", data_dir, *parts]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdin.close()


def until(holds: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.02)


def healthy(data_dir: Path) -> bool:
    stack = state.running(data_dir)
    return stack is not None and stack.healthy()


def ignores_sigterm(pid: int) -> bool:
    """Whether a process has closed its ears, as the kernel tells."""
    ignored = re.search(r"^SigIgn:\s*([0-9a-f]+)", Path(f"/proc/{pid}/status").read_text(), re.M)
    return ignored is not None and bool(int(ignored[1], 16) >> (signal.SIGTERM - 1) & 1)


def component(data_dir: Path, name: str) -> state.ComponentState:
    return next(part for part in state.find(data_dir).components if part.name == name)


def said(data_dir: Path) -> str:
    return "\n".join(entry.text for entry in tail(data_dir, ["supervisor"], None))


def test_a_stack_becomes_healthy_and_stops_clean(data_dir, supervise):
    """After SIGTERM nothing runs, nothing claims to, and the programs ended by themselves."""
    supervisor = supervise("ingest", "query")
    until(lambda: healthy(data_dir))
    processes = [part.process for part in state.find(data_dir).components]
    supervisor.terminate()
    assert supervisor.wait(10) == 0
    assert not any(process.running() for process in processes)
    assert state.read(data_dir) is None
    assert "killed" not in said(data_dir)


def test_a_killed_program_is_started_again(data_dir, supervise):
    """A component that dies comes back by itself, and its restart is counted."""
    supervise("ingest", "query")
    until(lambda: healthy(data_dir))
    first = component(data_dir, "query").process
    os.kill(first.pid, signal.SIGKILL)
    until(lambda: component(data_dir, "query").restarts == 1 and healthy(data_dir))
    assert component(data_dir, "query").process != first
    assert component(data_dir, "query").last_exit == -signal.SIGKILL
    assert "query ended with signal SIGKILL" in said(data_dir)


def test_the_pause_between_restarts_grows(data_dir, supervise):
    """A component that keeps dying is tried less and less often, and is unhealthy meanwhile."""
    supervise("dies")
    until(lambda: said(data_dir).count("ended with exit code 7") >= 2)
    assert [pause in said(data_dir) for pause in ("again in 0.5 s", "again in 1 s")] == [True, True]
    # It is said before it is written, and each pause ends with another start.
    until(lambda: component(data_dir, "dies").state == state.UNHEALTHY)
    assert [entry.text for entry in tail(data_dir, ["dies"], 1)] == ["no luck today"]


def test_programs_die_with_a_killed_supervisor(data_dir, supervise):
    """kill -9 of the supervisor leaves no orphan and no stack that is believed to run."""
    supervisor = supervise("ingest", "query")
    until(lambda: healthy(data_dir))
    processes = [part.process for part in state.find(data_dir).components]
    supervisor.kill()
    supervisor.wait()
    until(lambda: not any(process.running() for process in processes))
    assert state.running(data_dir) is None
    assert state.read(data_dir) is not None


def test_the_stack_ends_with_the_command_that_started_it(data_dir, supervise):
    """Until it is proven a stack hangs on `up`: when that dies, nothing half started stays."""
    supervisor = supervise("ingest")
    until(lambda: healthy(data_dir))
    supervisor.stdin.close()
    assert supervisor.wait(10) == 0


def test_a_proven_stack_outlives_the_command_and_the_terminal(data_dir, supervise):
    """Once let go, neither the end of `up` nor a hang-up ends the stack."""
    supervisor = supervise("ingest")
    until(lambda: healthy(data_dir))
    supervisor.stdin.write(KEEP)
    supervisor.stdin.close()
    supervisor.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert supervisor.poll() is None
    assert healthy(data_dir)


def test_changed_settings_restart_the_programs(data_dir, supervise):
    """SIGUSR1 starts the programs with the configuration as it then is, and the state says which one that was."""
    supervisor = supervise("ingest")
    until(lambda: healthy(data_dir))
    before = state.find(data_dir)
    EngineConfig(str(data_dir), ports=EngineConfig.read(config_path(data_dir)).ports, retention_seconds=60).write(
        config_path(data_dir)
    )
    supervisor.send_signal(signal.SIGUSR1)
    until(lambda: healthy(data_dir) and state.find(data_dir).config != before.config)
    assert state.find(data_dir).components[0].process != before.components[0].process


def test_a_program_that_does_not_listen_is_killed(data_dir, supervise, monkeypatch):
    """A component that ignores SIGTERM does not keep `down` waiting for ever."""
    supervisor = supervise("deaf")
    until(lambda: state.running(data_dir) is not None)
    deaf = component(data_dir, "deaf").process
    until(lambda: ignores_sigterm(deaf.pid))
    supervisor.terminate()
    assert supervisor.wait(60) == 0
    assert not deaf.running()
    assert "was killed" in said(data_dir)
