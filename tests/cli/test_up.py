"""`up`, `down`, `status`, `logs`: the stack as a person at a terminal meets it, over the real engine."""

import json
import math
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import pytest
from span_store import BASE_NS, Given, otlp_request, trace_hex

from stackctl import semconv
from stackctl.runtime import state
from tests.conftest import COMMAND, hostile_environment, run_stackctl


def get(url: str, headers: dict[str, str] | None = None) -> dict:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(url, headers=headers or {}), timeout=10) as response:
        return json.load(response)


@pytest.fixture
def data_dir(tmp_path):
    """A data directory of the test's own; what runs from it is stopped afterwards."""
    yield tmp_path / "data"
    stopped = run_stackctl("down", "--delete-data", "--data-dir", tmp_path / "data", home=tmp_path)
    assert stopped.code == 0, stopped.stderr


def up(home: Path, data_dir: Path, *more: str):
    return run_stackctl("up", "--runtime", "embedded", "--data-dir", data_dir, *more, home=home)


def test_up_reports_a_stack_that_answers(stack, tmp_path):
    """`up --json` and `status --json` have the keys that others build on, and every address in them answers."""
    status = run_stackctl("status", "--json", "--data-dir", stack.data_dir, home=tmp_path)
    assert status.code == 0, status.stderr
    report = status.json()
    assert report["runtime"] == "embedded"
    assert report["data_dir"] == str(stack.data_dir)
    assert report["endpoints"] == stack.endpoints
    assert {row["name"] for row in report["components"]} == {"ingest", "query", "console"}
    for row in report["components"]:
        assert row.keys() >= {"name", "state", "version", "endpoint", "since", "memory_bytes"}
        assert row["state"] == "healthy"
        assert row["memory_bytes"] > 1_000_000
    assert report["disk_bytes"] > 0
    assert report["engine"]["log_seq"] >= 0
    assert get(stack.endpoints["prometheus"] + "/api/v1/status/buildinfo")["status"] == "success"


def test_the_probe_leaves_nothing_a_person_sees(tmp_path, data_dir):
    """Before any traffic every `llm_*` total is 0 or absent and the list of traces is empty."""
    endpoints = up(tmp_path, data_dir, "--ports", "auto", "--json").json()["endpoints"]
    names = get(endpoints["prometheus"] + "/api/v1/label/__name__/values")["data"]
    assert [name for name in names if name.startswith(("llm_", "rag_"))] == []
    assert get(endpoints["tempo"] + "/api/search?limit=20")["traces"] == []


def test_up_again_changes_nothing_and_says_the_same(stack, tmp_path):
    """A second `up` with the same settings is the same report of the same processes."""
    before = state.find(stack.data_dir)
    again = up(tmp_path, stack.data_dir, "--ports", "auto", "--json")
    assert again.code == 0, again.stderr
    assert again.json()["endpoints"] == stack.endpoints
    assert state.find(stack.data_dir).components == before.components


def test_a_running_engine_is_not_asked_to_sample(stack, tmp_path):
    """What a running stack cannot do is refused by name, not passed over."""
    refused = up(tmp_path, stack.data_dir, "--sample", "10")
    assert refused.code == 2
    assert "does not sample" in refused.stderr


def test_changed_settings_are_applied_and_said(tmp_path, data_dir):
    """Another retention restarts the engine with it, keeps the ports, and tells what changed."""
    first = up(tmp_path, data_dir, "--ports", "auto", "--json").json()
    changed = up(tmp_path, data_dir, "--retention", "2d", "--json")
    assert changed.code == 0, changed.stderr
    assert changed.json()["endpoints"] == first["endpoints"]
    assert "applied: retention_seconds: 604800 -> 172800" in changed.stderr


def test_a_short_retention_is_kept_to(tmp_path, data_dir):
    """What came in is on the disk no longer than said, three tenths and half a minute: spans, samples, evaluations."""
    endpoints = up(tmp_path, data_dir, "--ports", "auto", "--retention", "5s", "--json").json()["endpoints"]
    mark = "r3t3nt10n"
    attributes = {
        semconv.OPERATION: "chat",
        semconv.REQUEST_MODEL: "gpt-4o",
        semconv.CONVERSATION_ID: mark,
        semconv.INPUT_TOKENS: 1,
    }
    start = (time.time_ns() - BASE_NS) / 1e6
    given = [Given(1, 1, name="chat gpt-4o", start_ms=start, attributes=attributes)]
    post(endpoints["otlp_http"] + "/v1/traces", otlp_request(given), "application/x-protobuf")
    score = [
        {"key": semconv.EVALUATION_NAME, "value": {"stringValue": "grounded"}},
        {"key": semconv.EVALUATION_SCORE, "value": {"doubleValue": 0.5}},
    ]
    record = {"eventName": semconv.EVALUATION_EVENT, "traceId": trace_hex(1), "attributes": score}
    logs = {"resourceLogs": [{"scopeLogs": [{"logRecords": [record]}]}]}
    post(endpoints["otlp_http"] + "/v1/logs", json.dumps(logs).encode(), "application/json")
    sent = time.monotonic()
    query = urllib.parse.urlencode({"q": f'{{ span.{semconv.CONVERSATION_ID} = "{mark}" }}'})
    samples = f"{endpoints['prometheus']}/api/v1/query?" + urllib.parse.urlencode({"query": "llm_requests_total[1h]"})

    def spans() -> bool:
        return bool(get(f"{endpoints['tempo']}/api/search?{query}")["traces"])

    def oldest() -> float:
        return min((float(at) for row in get(samples)["data"]["result"] for at, _ in row["values"]), default=math.inf)

    def judgements() -> bool:
        return any((data_dir / "spans").glob("evals-*"))

    assert spans()
    assert until(lambda: oldest() < math.inf, 20)
    assert until(judgements, 20)
    first = oldest()
    assert until(
        lambda: not spans() and not judgements() and oldest() > first, 5 * 1.3 + 30 - (time.monotonic() - sent)
    )
    assert not [path for path in data_dir.rglob("*") if path.is_file() and mark.encode() in path.read_bytes()]


def post(url: str, body: bytes, kind: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(url, body, {"content-type": kind}), timeout=10).close()


def until(condition, seconds: float) -> bool:
    """Wait for what another process does; False when it did not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def test_two_ups_at_once_are_one_stack(tmp_path, data_dir):
    """Of two `up` at the same moment one starts the stack and the other finds it."""
    command = [COMMAND, "up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data_dir, "--json"]
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, env=hostile_environment(tmp_path), cwd=tmp_path)
        for _ in range(2)
    ]
    reports = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert reports[0]["endpoints"] == reports[1]["endpoints"]


def test_down_keeps_the_data_and_can_delete_it(tmp_path, data_dir):
    """`down` frees the ports and keeps what was stored; `--delete-data` removes only what the stack put there."""
    endpoints = up(tmp_path, data_dir, "--ports", "auto", "--json").json()["endpoints"]
    (data_dir / "mine.txt").write_text("not the stack's")
    assert run_stackctl("down", "--data-dir", data_dir, home=tmp_path).code == 0
    assert (data_dir / "spans").is_dir()
    with socket.socket() as free, pytest.raises(ConnectionRefusedError):
        free.connect(("127.0.0.1", int(endpoints["otlp_grpc"].rsplit(":", 1)[1])))
    assert run_stackctl("status", "--data-dir", data_dir, home=tmp_path).code == 3
    assert run_stackctl("down", "--delete-data", "--data-dir", data_dir, home=tmp_path).code == 0
    assert sorted(path.name for path in data_dir.iterdir()) == ["mine.txt"]
    (data_dir / "mine.txt").unlink()


def test_the_data_directory_is_the_owners_alone(stack):
    """Nobody else on the machine may read telemetry: the directory is 0700 and the files in it at most 0600."""
    assert stack.data_dir.stat().st_mode & 0o777 == 0o700
    assert [path for path in stack.data_dir.rglob("*") if path.is_file() and path.stat().st_mode & 0o077] == []


def test_on_the_network_a_token_is_asked_for(tmp_path, data_dir):
    """Beyond loopback every endpoint wants the bearer token, which lies in a 0600 file and is made once."""
    started = up(tmp_path, data_dir, "--host", "0.0.0.0", "--ports", "auto", "--json")
    assert started.code == 0, started.stderr
    token_file = Path(started.json()["token_file"])
    token = token_file.read_text().strip()
    assert token_file.stat().st_mode & 0o777 == 0o600
    url = started.json()["endpoints"]["prometheus"] + "/api/v1/labels"
    with pytest.raises(urllib.error.HTTPError, match="401"):
        get(url)
    assert get(url, {"Authorization": f"Bearer {token}"})["status"] == "success"
    run_stackctl("down", "--data-dir", data_dir, home=tmp_path)
    assert up(tmp_path, data_dir, "--host", "0.0.0.0", "--ports", "auto").code == 0
    assert token_file.read_text().strip() == token


def test_status_tells_an_unhealthy_component(tmp_path, data_dir):
    """While a component is down `status` exits 1 and says which; the supervisor brings it back."""
    up(tmp_path, data_dir, "--ports", "auto")
    query = next(part for part in state.find(data_dir).components if part.name == "query")
    os.kill(query.process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + 30
    while (status := run_stackctl("status", "--json", "--data-dir", data_dir, home=tmp_path)).code == 0:
        assert time.monotonic() < deadline
        time.sleep(0.5)
    os.kill(query.process.pid, signal.SIGCONT)
    assert status.code == 1
    assert {row["name"]: row["state"] for row in status.json()["components"]}["query"] == "unhealthy"


def test_logs_are_shown_by_component_and_number(stack, tmp_path):
    """`logs` shows whose line it is and when it came; a component that is none is refused."""
    shown = run_stackctl("logs", "supervisor", "-n", "2", "--data-dir", stack.data_dir, home=tmp_path)
    assert shown.code == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert len(lines) == 2
    assert all("Z supervisor" in line for line in lines)
    none = run_stackctl("logs", "nonsense", "--data-dir", stack.data_dir, home=tmp_path)
    assert none.code == 1
    assert "name one of: console, ingest, query, supervisor" in none.stderr


def test_in_the_foreground_it_stays_and_stops_with_the_command(tmp_path, data_dir):
    """Under systemd or in a container: `up --foreground` stays; SIGTERM ends it and all it started, exit 0."""
    command = [COMMAND, "up", "--foreground", "--runtime", "embedded", "--ports", "auto", "--data-dir", data_dir]
    process = subprocess.Popen(
        command, env=hostile_environment(tmp_path), cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        while b"in the foreground" not in process.stderr.readline():
            assert process.poll() is None
        parts = [part.process for part in state.find(data_dir).components]
        process.terminate()
        assert process.wait(20) == 0
        assert not any(part.running() for part in parts)
        assert state.running(data_dir) is None
    finally:
        process.kill()
        process.communicate()


def test_up_with_demo_is_one_document(tmp_path, data_dir):
    """`up --demo --json` writes one JSON document: the stack, and in it what the demo measured."""
    finished = up(tmp_path, data_dir, "--ports", "auto", "--demo", "--json")
    assert finished.code == 0, finished.stderr
    report = finished.json()
    assert report["runtime"] == "embedded"
    assert report["demo"]["requests"] == len(report["demo"]["trace_ids"]) == 40
