"""The console's server: what it gives, to whom, and what it never does."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import pytest

from stackctl.console.findings import findings
from tests.conftest import run_stackctl
from tests.realstack import free_port


def ask(url: str, path: str, method: str = "GET", body: bytes | None = None, **headers: str):
    """Send one request as it is; returns status, headers (lower case) and body."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


class Upstream(BaseHTTPRequestHandler):
    """A server behind the console that notes what reaches it and can be slow."""

    seen: list[tuple[str, str, dict[str, str]]] = []  # noqa: RUF012 - one list for the test's server
    gone = threading.Event()

    def do_GET(self):
        """Answer; where the path says slow, notice when the asker hangs up."""
        self.seen.append((self.command, self.path, {key.lower(): value for key, value in self.headers.items()}))
        if "slow" in self.path:
            self.connection.settimeout(15)
            if self.connection.recv(1) == b"":
                self.gone.set()
            return
        content = b'{"status":"success"}'
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("set-cookie", "a=b")
        self.send_header("access-control-allow-origin", "*")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_):
        """Be quiet."""


@contextmanager
def console(*arguments: str):
    """A console process over servers of the test's own; yields its address."""
    port = free_port()
    command = [sys.executable, "-P", "-m", "stackctl.console.server", "--port", str(port), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                if ask(url, "/-/ready")[0] == 200:
                    break
            except OSError:
                time.sleep(0.05)
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0, process.stderr.read()
        process.stderr.close()


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]):
    """A server for the console to forward to; yields its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def upstream():
    """A server that notes what reaches it."""
    Upstream.seen.clear()
    Upstream.gone.clear()
    with serving(Upstream) as url:
        yield url


def test_only_query_paths_are_forwarded(upstream):
    """What writes, deletes or administrates cannot be reached; POST goes to PromQL alone; other methods nowhere."""
    with console("--prometheus", upstream, "--tempo", upstream) as url:
        fine = [("/api/prometheus/api/v1/query?query=up", "GET"), ("/api/prometheus/api/v1/query_range", "POST")]
        fine += [("/api/prometheus/api/v1/label/le/values", "GET"), ("/api/tempo/api/search?q=%7B%7D", "GET")]
        fine += [("/api/tempo/api/v2/traces/0af7", "GET"), ("/api/tempo/api/v2/search/tag/span.a/values", "GET")]
        assert [ask(url, path, method)[0] for path, method in fine] == [200] * len(fine)
        reached = len(Upstream.seen)
        barred = [
            ("/api/prometheus/api/v1/admin/tsdb/delete_series", "POST"),
            ("/api/prometheus/-/quit", "POST"),
            ("/api/prometheus/api/v1/write", "POST"),
            ("/api/prometheus/api/v1/query/../admin/tsdb/snapshot", "GET"),
            ("/api/prometheus/api/v1/query%2f..%2fadmin", "GET"),
            ("/api/prometheus/api/v1/status/config", "GET"),
            ("/api/tempo/api/search", "POST"),
            ("/api/tempo/flush", "GET"),
            ("/api/prometheus/api/v1/query", "DELETE"),
            ("/api/prometheus/api/v1/query", "PUT"),
        ]
        assert all(ask(url, path, method)[0] in (404, 405) for path, method in barred)
        assert len(Upstream.seen) == reached


def test_nothing_of_the_browser_but_the_question_goes_upstream(upstream):
    """Cookies and credentials stay here, and no cookie or CORS header of a server comes through."""
    with console("--prometheus", upstream, "--tempo", upstream) as url:
        path = "/api/prometheus/api/v1/query?query=a%2Bb&time=1"
        status, headers, _ = ask(url, path, cookie="secret=1", authorization="Basic x", origin=url)
        assert status == 200
        (method, forwarded, sent), *_ = Upstream.seen
        assert (method, forwarded) == ("GET", "/api/v1/query?query=a%2Bb&time=1")
        assert not {"cookie", "authorization", "origin"} & sent.keys()
        assert not {"set-cookie", "access-control-allow-origin"} & headers.keys()


def test_a_query_ends_when_the_browser_gives_up(upstream):
    """A closed connection closes the one to the server, so that it can stop calculating."""
    with console("--prometheus", upstream, "--tempo", upstream) as url:
        parts = urlsplit(url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
        connection.request("GET", "/api/prometheus/api/v1/query?query=slow")
        deadline = time.monotonic() + 10
        while not Upstream.seen and time.monotonic() < deadline:
            time.sleep(0.02)
        connection.close()
        assert Upstream.gone.wait(10)


def test_a_kept_connection_that_the_server_closed_is_no_error():
    """A server may close a kept connection just as it is used again: the question is asked on a new one."""
    served = []

    class Forgetful(Upstream):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self):
            """Answer the first question of a connection, hang up on the second without a word."""
            if served.count(self.client_address):
                self.rfile.readline()
                self.close_connection = True
                return
            served.append(self.client_address)
            super().handle_one_request()

    with serving(Forgetful) as server, console("--prometheus", server, "--tempo", server) as url:
        assert [ask(url, "/api/prometheus/api/v1/labels")[0] for _ in range(3)] == [200, 200, 200]
        assert len(served) == 3


def test_a_server_that_is_down_is_named():
    """The answer says which server cannot be reached, and the console goes on."""
    nobody = f"http://127.0.0.1:{free_port()}"
    with console("--prometheus", nobody, "--tempo", nobody) as url:
        status, _, body = ask(url, "/api/tempo/api/search")
        assert status == 502
        assert nobody in body.decode()
        report = json.loads(ask(url, "/api/stack")[2])
        assert report["servers"]["tempo"] == {"url": nobody, "version": None}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:80", "", "[::2]"])
def test_other_host_names_are_not_served(seeded, host):
    """A name that somebody bound to this address (DNS rebinding) gets neither pages nor data."""
    for path in ("/", "/api/stack", "/api/boards"):
        assert ask(seeded.url, path, Host=host)[0] == 421


def test_other_sites_may_not_ask(seeded):
    """A page of another origin cannot make a browser send queries, and gets no permission to read."""
    path = "/api/prometheus/api/v1/query"
    assert ask(seeded.url, path, "POST", b"query=up", Sec_Fetch_Site="cross-site")[0] == 403
    status, headers, _ = ask(seeded.url, path, "OPTIONS", origin="https://evil.example")
    assert status == 405
    assert not any(name.startswith("access-control") for name in headers)


def test_every_answer_binds_the_browser(seeded):
    """Pages, files, data and refusals: the same strict policy, no sniffing, no framing, no cookie."""
    for path, host in (
        ("/", "127.0.0.1"),
        ("/api/boards", "localhost"),
        ("/nothing", "127.0.0.1"),
        ("/", "evil.example"),
    ):
        _, headers, _ = ask(seeded.url, path, Host=host)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "set-cookie" not in headers


def test_pages_and_files(seeded):
    """Every address of the pages gives the page; files are packed and kept for ever; nothing else is served."""
    page = ask(seeded.url, "/")[2].decode()
    for path in (
        "/d/cost",
        "/traces",
        "/traces/0af7651916cd43dd8448eb211c80319c",
        "/traces/compare/a/b",
        "/stack",
        "/explore",
    ):
        assert ask(seeded.url, path)[2].decode() == page
    name = page.split('type="module" src="/assets/')[1].split('"')[0]
    status, headers, content = ask(seeded.url, f"/assets/{name}", Accept_Encoding="gzip")
    assert (status, headers["content-encoding"]) == (200, "gzip")
    assert "immutable" in headers["cache-control"]
    assert content[:2] == b"\x1f\x8b"
    for path in (
        "/assets/../server.py",
        "/assets/%2e%2e%2fserver.py",
        "/assets/built-from.txt.gz",
        "/server.py",
        "/assets/",
    ):
        assert ask(seeded.url, path)[0] == 404
    licences = ask(seeded.url, "/assets/licences.txt")[2].decode()
    assert all(name in licences for name in ("uplot", "marked", "dompurify", "inter"))


def test_the_stack_tells_its_state(seeded):
    """Components, endpoints, versions and what the engine counts, as `status` has them; nothing secret."""
    report = json.loads(ask(seeded.url, "/api/stack")[2])
    assert {row["name"]: row["state"] for row in report["components"]} == dict.fromkeys(
        ("ingest", "query", "console"), "healthy"
    )
    assert report["endpoints"] == seeded.endpoints
    assert report["servers"]["prometheus"]["version"]
    assert report["engine"]["spans_total"] > 0
    assert "token" not in json.dumps(report)


def test_beyond_loopback_data_needs_the_token(seeded, tmp_path):
    """With a token the pages come, the data only to who shows it, by whatever name the console is reached."""
    token = tmp_path / "token"
    token.write_text("s3cret\n")
    servers = ("--prometheus", seeded.endpoints["prometheus"], "--tempo", seeded.endpoints["tempo"])
    with console(*servers, "--token-file", str(token)) as url:
        assert ask(url, "/", Host="box.local:3000")[0] == 200
        assert ask(url, "/api/boards", Host="box.local")[0] == 401
        assert ask(url, "/api/boards", Authorization="Bearer wrong")[0] == 401
        assert ask(url, "/api/boards", Host="box.local", Authorization="Bearer s3cret")[0] == 200


def test_the_console_stands_alone(seeded, tmp_path):
    """`stackctl console` shows any pair of servers and ends with Ctrl-C; a taken port is said, exit 3."""
    port = free_port()
    flags = ("--prometheus", seeded.endpoints["prometheus"], "--tempo", seeded.endpoints["tempo"])
    command = [sys.executable, "-m", "stackctl", "console", *flags, "--port", str(port)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            try:
                answer = ask(f"http://127.0.0.1:{port}", "/api/prometheus/api/v1/label/service_name/values")
                break
            except OSError:
                time.sleep(0.05)
        assert "stackctl-demo" in json.loads(answer[2])["data"]
        taken = run_stackctl("console", *flags, "--port", str(port), home=tmp_path)
        assert taken.code == 3
        assert f"port {port} on 127.0.0.1 is taken" in taken.stderr
    finally:
        os.killpg(running.pid, signal.SIGINT)
        assert running.wait(10) == 0
        running.stderr.close()


def test_a_stack_without_a_console(seeded, stackctl_cli, tmp_path):
    """`--console grafana` is refused with the way out; the setting reaches `config`."""
    refused = stackctl_cli("up", "--runtime", "embedded", "--console", "grafana", "--data-dir", tmp_path / "d")
    assert refused.code == 2
    assert "--console builtin" in refused.stderr
    shown = stackctl_cli("config", "--json", env={"STACKCTL_CONSOLE": "none"}).json()["settings"]
    assert {row["key"]: row["value"] for row in shown}["console"] == "none"


def test_findings_stand_worst_first_and_counters_at_zero_are_none():
    """What fires comes before what may, what is critical before the rest; an engine that lost nothing finds nothing."""
    alert = {"state": "pending", "labels": {"severity": "critical"}, "annotations": {"summary": "soon"}}
    firing = {
        "state": "firing",
        "labels": {"alertname": "Slow", "severity": "warning"},
        "activeAt": "2026-11-25T20:00:00Z",
    }
    found = findings({"alerts": [alert, firing]}, {"refused_total": 0, "lost_spans_total": 2, "disk_ok": True})
    assert [(one["title"], one["state"]) for one in found] == [
        ("2 records lost", "firing"),
        ("Slow", "firing"),
        ("soon", "pending"),
    ]
    assert findings(None, None) == []
    assert findings({"alerts": []}, {"disk_ok": False})[0]["title"] == "The disk refuses writes"
