"""The client of the query bench: it says what was answered, keeps its connection, and finds a server again."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from stackctl.bench import asking
from stackctl.bench.asking import Asker
from stackctl.bench.ports import free_port


class _Server(ThreadingHTTPServer):
    connections = 0

    def get_request(self):
        self.connections += 1
        return super().get_request()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        body = orjson.dumps(parse_qs(asked.query))
        self.send_response(404 if asked.path == "/missing" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    found = _Server(("127.0.0.1", 0), _Echo)
    thread = threading.Thread(target=found.serve_forever)
    thread.start()
    yield found
    found.shutdown()
    thread.join()
    found.server_close()


def test_parameters_arrive_and_the_connection_is_kept(server: _Server) -> None:
    asker = Asker(server.server_address[1])
    query = 'sum by (a) (rate(x{b=~"c d&e"}[5m]))'
    for _ in range(3):
        answer = asker.get("/api/v1/query", {"query": query, "time": 1.5})
        assert answer.ok
        assert answer.json() == {"query": [query], "time": ["1.5"]}
    asker.close()
    assert server.connections == 1


def test_a_connection_that_the_server_will_have_closed_is_not_used(
    server: _Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "_KEPT_SECONDS", -1.0)
    asker = Asker(server.server_address[1])
    assert all(asker.get("/").ok for _ in range(2))
    asker.close()
    assert server.connections == 2


def test_what_is_no_answer_says_so(server: _Server) -> None:
    asker = Asker(server.server_address[1])
    answer = asker.get("/missing")
    asker.close()
    assert not answer.ok
    assert str(answer) == "HTTP 404: {}"
    with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of a port where nobody listens
        Asker(free_port()).get("/")
