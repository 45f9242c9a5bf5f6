"""The ingest process as a whole: refused by the disk, stopped, started twice; `test_kills` kills it."""

import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import grpc
import httpx2
import psutil
import pytest
from otlp_messages import call_request, log_request

from stackctl.bench.calls import EXPORT
from stackctl.bench.ingest import IngestProcess, count_calls, count_spans, free_port
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.writer import SpanStore
from stackctl.stack import EngineConfig


@pytest.fixture
def ingest(tmp_path: Path) -> Iterator[IngestProcess]:
    process = IngestProcess(tmp_path / "data")
    process.wait_ready()
    yield process
    if process.process.poll() is None:
        process.kill()


def send(ingest: IngestProcess, body: bytes, timeout: float = 20) -> grpc.StatusCode:
    """Export traces over gRPC; return the status."""
    options = [("grpc.enable_http_proxy", 0)]
    with grpc.insecure_channel(f"127.0.0.1:{ingest.ports['otlp_grpc']}", options) as channel:
        try:
            channel.unary_unary(EXPORT)(body, timeout=timeout)
        except grpc.RpcError as error:
            return error.code()
    return grpc.StatusCode.OK


def test_counts_of_another_version_are_refused(tmp_path: Path) -> None:
    """What a crash left uncounted, in a form that is not ours, is left as it is, and the error says what to do."""
    store = SpanStore(tmp_path / "data")
    store.append(Frame(1_000, (b"d" * 16,), increments=b"a form that is not ours"))
    store.close()
    log = store.layout.log_file(1).read_bytes()
    EngineConfig(str(tmp_path / "data"), ports={"otlp_grpc": free_port(), "otlp_http": free_port()}).write(
        tmp_path / "engine.json"
    )
    command = [sys.executable, "-m", "stackctl.embedded.ingest", str(tmp_path / "engine.json")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 3
    assert ended.stderr.splitlines()[-1].startswith("error: spans that no counter holds yet were logged by another")
    assert "Traceback" not in ended.stderr
    assert store.layout.log_file(1).read_bytes() == log


def test_a_full_disk_refuses_and_recovers(ingest: IngestProcess) -> None:
    """While the disk refuses, requests are UNAVAILABLE and 503 and nothing of them is stored; then they are taken."""
    assert send(ingest, call_request(3, first_id=1)) is grpc.StatusCode.OK
    process = ingest.process.pid
    _, hard = resource.prlimit(process, resource.RLIMIT_FSIZE)
    resource.prlimit(process, resource.RLIMIT_FSIZE, (100, hard))  # bytes a file may have: a full disk's EFBIG
    body = call_request(4, first_id=100)
    assert send(ingest, body) is grpc.StatusCode.UNAVAILABLE
    with httpx2.Client(trust_env=False) as client:
        url = f"http://127.0.0.1:{ingest.ports['otlp_http']}/v1/traces"
        answer = client.post(url, content=body, headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert ingest.status()["disk_ok"] is False
    resource.prlimit(process, resource.RLIMIT_FSIZE, (hard, hard))
    assert send(ingest, body) is grpc.StatusCode.OK
    assert ingest.status()["disk_ok"] is True
    ingest.stop()
    assert count_spans(ingest.data_dir) == (7, 7)
    assert count_calls(ingest.data_dir) == 7


FULL_AT_START = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
from stackctl.embedded.ingest import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_disk_that_is_full_at_the_start_refuses_and_recovers(tmp_path: Path) -> None:
    """A start needs no space: it says that the disk refuses, and so once there is room, without any request."""
    ingest = IngestProcess(tmp_path / "data")
    try:
        ingest.wait_ready()
        assert send(ingest, call_request(3, first_id=1)) is grpc.StatusCode.OK
        ingest.kill()
        ingest = IngestProcess(tmp_path / "data", ("-c", FULL_AT_START))
        ingest.wait_ready()
        assert ingest.status()["disk_ok"] is False
        assert send(ingest, call_request(2, first_id=50)) is grpc.StatusCode.UNAVAILABLE
        _, hard = resource.prlimit(ingest.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(ingest.process.pid, resource.RLIMIT_FSIZE, (hard, hard))
        deadline = time.monotonic() + 20
        while not ingest.status()["disk_ok"]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        ingest.stop()
    finally:
        if ingest.process.poll() is None:
            ingest.kill()
    assert count_spans(ingest.data_dir) == (3, 3)
    assert count_calls(ingest.data_dir) == 3


def test_sigterm_flushes_and_a_restart_goes_on(ingest: IngestProcess) -> None:
    """After `down` everything is readable without the process; after `up` counters go on from there."""
    assert send(ingest, call_request(5, first_id=1)) is grpc.StatusCode.OK
    ingest.stop()
    assert ingest.process.returncode == 0
    assert (count_spans(ingest.data_dir), count_calls(ingest.data_dir)) == ((5, 5), 5)
    ingest.start_again()
    ingest.wait_ready()
    assert send(ingest, call_request(5, first_id=1)) is grpc.StatusCode.OK  # the same request: only acknowledged
    assert send(ingest, call_request(2, first_id=50)) is grpc.StatusCode.OK
    ingest.stop()
    assert (count_spans(ingest.data_dir), count_calls(ingest.data_dir)) == ((7, 7), 7)


def test_evaluations_are_stored_beside_spans(ingest: IngestProcess) -> None:
    """An evaluation record is readable as a row after its acknowledgement."""
    body = log_request({"gen_ai.evaluation.name": "grounded", "gen_ai.evaluation.score.value": 0.25})
    with httpx2.Client(trust_env=False) as client:
        url = f"http://127.0.0.1:{ingest.ports['otlp_http']}/v1/logs"
        answer = client.post(url, content=body, headers={"content-type": "application/x-protobuf"})
    assert answer.status_code == 200
    hot = SpanReader(ingest.data_dir).evaluations_hot()
    assert hot is not None
    assert hot.select(["name", "score"]).to_pylist() == [{"name": "grounded", "score": 0.25}]


@pytest.mark.parametrize("endpoint", ["otlp_grpc", "otlp_http"])
def test_a_taken_port_ends_the_start_with_one_line(ingest: IngestProcess, tmp_path: Path, endpoint: str) -> None:
    """Exit 3 and a line that names the port, no traceback."""
    ports = {"otlp_grpc": free_port(), "otlp_http": free_port(), endpoint: ingest.ports[endpoint]}
    done = run_engine(EngineConfig(str(tmp_path / "other"), ports=ports), tmp_path)
    assert done.returncode == 3
    assert f"port {ingest.ports[endpoint]} " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_second_writer_is_refused(ingest: IngestProcess, tmp_path: Path) -> None:
    """Two processes never write one data directory: the second ends with exit 3 and says why."""
    config = EngineConfig(str(ingest.data_dir), ports={"otlp_grpc": free_port(), "otlp_http": free_port()})
    done = run_engine(config, tmp_path)
    assert done.returncode == 3
    assert "another process writes" in done.stderr


def test_beyond_loopback_senders_show_the_token(tmp_path: Path) -> None:
    """With a token file, a request without the token is UNAUTHENTICATED and 401 on both ports."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    ports = {"otlp_grpc": free_port(), "otlp_http": free_port()}
    config = tmp_path / "engine.json"
    replace(EngineConfig(str(tmp_path / "data"), ports=ports), token_file=str(token)).write(config)
    process = subprocess.Popen([sys.executable, "-m", "stackctl.embedded.ingest", str(config)])
    url = f"http://127.0.0.1:{ports['otlp_http']}"
    try:
        with httpx2.Client(trust_env=False) as client:
            wait_ready(client, url)
            headers = {"content-type": "application/x-protobuf"}
            assert client.post(f"{url}/v1/traces", content=b"", headers=headers).status_code == 401
            headers["authorization"] = "Bearer s3cret"
            assert client.post(f"{url}/v1/traces", content=call_request(), headers=headers).status_code == 200
        with grpc.insecure_channel(f"127.0.0.1:{ports['otlp_grpc']}", [("grpc.enable_http_proxy", 0)]) as channel:
            with pytest.raises(grpc.RpcError) as caught:
                channel.unary_unary(EXPORT)(b"", timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
            channel.unary_unary(EXPORT)(b"", timeout=5, metadata=[("authorization", "Bearer s3cret")])
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_the_process_never_loads_the_query_engine(ingest: IngestProcess) -> None:
    """Ingest stays small and starts fast: DuckDB is not among what it has mapped."""
    maps = psutil.Process(ingest.process.pid).memory_maps()
    assert any("grpc" in one.path or "arrow" in one.path for one in maps)
    assert not any("duckdb" in one.path for one in maps)


def run_engine(config: EngineConfig, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run an ingest process that is expected to end by itself."""
    path = directory / "refused.json"
    config.write(path)
    command = [sys.executable, "-m", "stackctl.embedded.ingest", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def wait_ready(client: httpx2.Client, url: str) -> None:
    for _ in range(500):
        try:
            client.get(f"{url}/-/ready")
            return
        except httpx2.TransportError:
            time.sleep(0.02)
    raise AssertionError("ingest does not come up")
