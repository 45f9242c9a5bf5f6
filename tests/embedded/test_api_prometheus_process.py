"""The query process as a program: it starts fast, serves both ports, ends cleanly, and names a taken port."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from stackctl.stack import EngineConfig
from tests.realstack import free_port


def start(config: EngineConfig) -> "subprocess.Popen[bytes]":
    path = Path(config.data_dir) / "engine.json"
    config.write(path)
    return subprocess.Popen([sys.executable, "-m", "stackctl.embedded.query", path], stderr=subprocess.PIPE)


def wait(url: str, process: "subprocess.Popen[bytes]") -> httpx2.Response:
    """Return the first answer."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        try:
            return httpx2.get(url, trust_env=False, timeout=30)
        except httpx2.TransportError:
            time.sleep(0.02)
    raise AssertionError(f"no answer from {url}")


@pytest.fixture
def config(tmp_path: Path) -> EngineConfig:
    return EngineConfig(str(tmp_path), ports={"prometheus": free_port(), "tempo": free_port()})


@pytest.fixture
def running(config: EngineConfig) -> Iterator["subprocess.Popen[bytes]"]:
    process = start(config)
    yield process
    process.kill()
    process.wait()
    assert process.stderr is not None
    process.stderr.close()


def test_it_serves_both_apis_over_an_empty_directory_and_ends_on_sigterm(
    config: EngineConfig, running: "subprocess.Popen[bytes]"
) -> None:
    """Before ingest ever wrote, both APIs are ready and answer empty; SIGTERM ends the process with 0, no traceback."""
    prometheus, tempo = (f"http://127.0.0.1:{config.ports[name]}" for name in ("prometheus", "tempo"))
    assert wait(f"{prometheus}/-/ready", running).status_code == 200
    assert wait(f"{tempo}/ready", running).status_code == 200
    assert httpx2.get(f"{prometheus}/api/v1/query?query=up", trust_env=False).json()["data"]["result"] == []
    assert httpx2.get(f"{prometheus}/", headers={"host": "evil.example"}, trust_env=False).status_code == 403
    assert httpx2.get(f"{tempo}/api/echo", headers={"host": "evil.example"}, trust_env=False).status_code == 403
    running.send_signal(signal.SIGTERM)
    assert running.wait(10) == 0
    assert running.stderr is not None
    assert b"Traceback" not in running.stderr.read()


def test_a_taken_port_is_exit_3_with_one_line(config: EngineConfig) -> None:
    """Another program on the port is named in one line, with the next step, and nothing stays behind."""
    with socket.create_server(("127.0.0.1", config.ports["tempo"])):
        process = start(config)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert len(errors.splitlines()) == 1
    assert str(config.ports["tempo"]).encode() in errors
    assert b"next:" in errors


def test_it_starts_without_what_only_ingest_or_traces_need() -> None:
    """Start time is a promise: gRPC never comes in, and DuckDB and Arrow not before Tempo's part is asked for."""
    code = (
        "import sys, stackctl.embedded.query, stackctl.embedded.api.prometheus; "
        "print([name for name in ('grpc', 'duckdb', 'pyarrow', 'ptars', 'opentelemetry') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_shipped_rules_are_evaluated_by_one_process_only(
    config: EngineConfig, running: "subprocess.Popen[bytes]"
) -> None:
    """The process carries the rules of `provisioning/`; a second one over the same data is refused."""
    url = f"http://127.0.0.1:{config.ports['prometheus']}/api/v1/rules?type=alert"
    (group,) = wait(url, running).json()["data"]["groups"]
    assert {rule["name"] for rule in group["rules"]} >= {"LlmCallsFail", "LlmAnswersHallucinated"}
    assert (Path(config.data_dir) / "rules").stat().st_mode & 0o077 == 0
    second = start(replace(config, ports={"prometheus": free_port(), "tempo": free_port()}))
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 3
    assert b"another process writes" in errors.splitlines()[-1]
