"""The state file: written whole, and believed only while its processes are the ones it names."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from stackctl.errors import StackNotRunning, StoreUnusable
from stackctl.runtime import state


@pytest.fixture
def stack(tmp_path):
    """A stack whose supervisor is this very process."""
    me = state.Process.of(os.getpid())
    part = state.ComponentState("ingest", "otlp_grpc", state.HEALTHY, me, since=1.5, restarts=2, last_exit=-9)
    endpoints = {"otlp_grpc": "127.0.0.1:4317", "console": None}
    return state.RunningStack("embedded", "0.1.0", tmp_path, endpoints, me, "c0ffee", (part,), tmp_path / "token")


def test_what_was_written_is_found(stack, tmp_path):
    """Writing and finding are inverse, and no draft is left beside the file."""
    stack.write()
    assert state.find(tmp_path) == stack
    assert [path.name for path in tmp_path.iterdir()] == [state.STATE_FILE]
    assert (tmp_path / state.STATE_FILE).stat().st_mode & 0o777 == 0o600


def test_a_recycled_pid_is_not_ours(stack, tmp_path):
    """Another process with the supervisor's number does not make a dead stack alive."""
    replace(stack, supervisor=state.Process(os.getpid(), "another boot:1")).write()
    with pytest.raises(StackNotRunning, match="is gone"):
        state.find(tmp_path)
    assert state.running(tmp_path) is None


def test_a_dead_process_does_not_run():
    """A process that ended does not run, whether its parent has noticed or not."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    process = state.Process.of(child.pid)
    assert process.running()
    child.stdin.close()
    assert process.wait(10)  # a zombie from here on
    assert not process.running()
    child.wait()
    assert not process.running()
    with pytest.raises(ProcessLookupError):
        state.Process.of(child.pid)


def test_nothing_there_is_not_running(tmp_path):
    """A directory without a state file, and one that is not there, have no stack."""
    for directory in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(StackNotRunning, match="no stack runs from"):
            state.find(directory)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1}', '{"format": 99}'])
def test_a_file_that_cannot_be_understood_is_refused(tmp_path, text):
    """A torn or foreign state file is said by its path, never taken for no stack."""
    (tmp_path / state.STATE_FILE).write_text(text)
    with pytest.raises(StoreUnusable, match=state.STATE_FILE):
        state.find(tmp_path)


def test_an_endpoint_that_is_not_served_is_said(stack):
    """Asking for the console of a runtime without one is an error by name, not a None somewhere later."""
    assert stack.url("otlp_grpc") == "127.0.0.1:4317"
    with pytest.raises(StackNotRunning, match="embedded runtime has no endpoint console"):
        stack.url("console")


def test_deleting_leaves_what_is_not_ours(tmp_path):
    """`down --delete-data` removes the stack's own names only, and does not follow a link out of the directory."""
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "precious").write_text("x")
    data = tmp_path / "data"
    (data / "logs").mkdir(parents=True)
    (data / "spans").symlink_to(outside)
    (data / "notes.txt").write_text("mine")
    state.delete_data(data)
    assert [path.name for path in data.iterdir()] == ["notes.txt"]
    assert (outside / "precious").exists()
