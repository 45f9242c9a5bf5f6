"""The HTTP/1.1 server under OTLP/HTTP: requests cut anywhere, in a row, slow, too large or half of one."""

import asyncio
import gzip
import socket
import struct
import time
from collections.abc import Iterator

import pytest
from front_ports import ANSWER_SECONDS, HttpPort, until

from stackctl.embedded.otlp import front
from stackctl.embedded.otlp.http1_connection import Answer, HttpConnection, Request, Service, plain
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES
from stackctl.embedded.otlp.signals import BUSY, UNAVAILABLE, Accepted, Refused, Signal

HEAD = b"POST /v1/traces HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-protobuf\r\n"


@pytest.fixture(scope="module")
def shared() -> Iterator[HttpPort]:
    port = HttpPort()
    yield port
    port.close()


@pytest.fixture
def port(shared: HttpPort) -> Iterator[HttpPort]:
    shared.taken.clear()
    shared.outcome = Accepted()
    yield shared
    until(lambda: shared.unfinished.held == 0)


class Sender:
    """A client that says what it is told."""

    def __init__(self, port: HttpPort, *parts: bytes) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port.number), timeout=ANSWER_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._held = b""
        self.send(*parts)

    def send(self, *parts: bytes) -> None:
        for part in parts:
            self.socket.sendall(part)

    def answer(self, body: bool = True) -> tuple[int, dict[str, str], bytes]:
        """The next answer: status, headers, body."""
        while b"\r\n\r\n" not in self._held:
            self._more()
        head, _, self._held = self._held.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        headers = {name: value for name, _, value in (line.partition(": ") for line in lines)}
        size = int(headers.get("content-length", 0)) if body else 0
        while len(self._held) < size:
            self._more()
        content, self._held = self._held[:size], self._held[size:]
        return int(first.split()[1]), headers, content

    def closed(self) -> bool:
        """Whether the server closes, and says nothing before."""
        try:
            return not self._held and self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def _more(self) -> None:
        piece = self.socket.recv(65536)
        assert piece, "closed before the answer"
        self._held += piece


def post(body: bytes, *lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"Content-Length: %d\r\n\r\n" % len(body) + body


def chunked(*parts: bytes) -> bytes:
    pieces = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts)
    return HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\nContent-Encoding: gzip\r\n\r\n"


def test_requests_are_taken_wherever_they_are_cut(port: HttpPort) -> None:
    """Byte by byte or all in one piece, with a length or in chunks; trailers are passed over."""
    for raw in (post(b"hello"), chunked(b"he", b"llo")):
        sender = Sender(port)
        for byte in raw:
            sender.send(bytes([byte]))
        assert sender.answer()[0] == 200
        sender.send(raw)
        assert sender.answer()[0] == 200
    assert port.taken == [(Signal.TRACES, b"hello")] * 4


def test_requests_in_a_row_are_answered_in_their_order(port: HttpPort) -> None:
    """Pipelined requests, some answered at once and some later, keep their order; a broken one ends the row."""
    port.do(port.gate.clear)
    row = (
        post(b"1"),
        b"GET /-/ready HTTP/1.1\r\n\r\n",
        post(b"2"),
        b"GET /no HTTP/1.1\r\n\r\n",
        b"\0\0\r\n\r\n",
        post(b"3"),
    )
    sender = Sender(port, b"".join(row))
    until(lambda: bool(port.taken))
    port.do(port.gate.set)
    assert [sender.answer()[0] for _ in range(5)] == [200, 200, 200, 404, 400]
    assert sender.closed()
    assert port.taken == [(Signal.TRACES, b"1"), (Signal.TRACES, b"2")]


def test_an_answer_says_what_http_says(port: HttpPort) -> None:
    """Length, type and date; nothing of a body for HEAD; the connection's end where it was asked for or is due."""
    sender = Sender(port, post(b"x"))
    status, headers, body = sender.answer()
    assert (status, body, headers["content-length"], headers["content-type"]) == (
        200,
        b"",
        "0",
        "application/x-protobuf",
    )
    assert headers["date"].endswith("GMT")
    assert "connection" not in headers
    sender.send(b"HEAD /-/ready HTTP/1.1\r\n\r\n")
    status, headers, _ = sender.answer(body=False)
    assert (status, headers["content-length"]) == (200, "6")
    sender.send(b"GET /-/ready HTTP/1.1\r\nConnection: close\r\n\r\n")
    assert sender.answer()[1]["connection"] == "close"
    assert sender.closed()
    old = Sender(port, b"GET /-/ready HTTP/1.0\r\n\r\n")
    assert old.answer()[0] == 200
    assert old.closed()


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"GET /-/ready?x=1 HTTP/1.1\r\n\r\n", 200),
        (b"GET http://127.0.0.1/-/ready HTTP/1.1\r\n\r\n", 200),
        (b"GET http://127.0.0.1 HTTP/1.1\r\n\r\n", 404),
        (b"GET /v1/traces HTTP/1.1\r\n\r\n", 405),
        (b"OPTIONS /v1/traces HTTP/1.1\r\nOrigin: http://evil.example\r\n\r\n", 405),
        (b"POST /-/ready HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"POST /v1/other HTTP/1.1\r\nContent-Length: 1\r\n\r\nx", 404),
        (b"CONNECT 127.0.0.1:443 HTTP/1.1\r\n\r\n", 404),
        (b"GET /-/ready HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n", 200),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET /-/ready HTTP/1.1\r\nX: " + b"x" * 70_000 + b"\r\n\r\n", 431),
        (b"GET /-/ready HTTP/1.1\r\nX: " + b"x" * 300_000, 431),
        (b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET /-/ready HTTP/1.1\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", 431),
        (HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello", 400),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"Content-Length: %d\r\n\r\n" % (MAX_REQUEST_BYTES + 1), 413),
        (post(gzip.compress(b"x")[:-3], b"Content-Encoding: gzip"), 400),
        (post(b"x", b"Content-Encoding: br"), 415),
    ],
)
def test_what_is_not_served_is_said(port: HttpPort, raw: bytes, status: int) -> None:
    """One answer for whatever comes, without CORS, and nothing taken."""
    found, headers, _ = Sender(port, raw).answer()
    assert found == status
    assert not any(name.startswith("access-control") for name in headers)
    assert ("allow" in headers) == (status == 405)
    assert port.taken == []


@pytest.mark.parametrize("refused", [Refused(BUSY, "later"), Refused(UNAVAILABLE, "later")])
def test_refusals_say_when_to_come_again(port: HttpPort, refused: Refused) -> None:
    """429 and 503 with Retry-After in seconds; the connection is kept."""
    port.outcome = refused
    sender = Sender(port, post(b"x"))
    status, headers, _ = sender.answer()
    assert (status, headers["retry-after"]) == (refused.kind.http, str(refused.kind.retry_seconds))
    port.outcome = Accepted()
    sender.send(post(b"x"))
    assert sender.answer()[0] == 200


def test_a_defect_of_the_server_is_an_answer(port: HttpPort) -> None:
    """Whatever fails, the sender hears 500, and the connection goes on."""
    port.outcome = ZeroDivisionError()
    sender = Sender(port, post(b"x"))
    assert sender.answer()[0] == 500
    port.outcome = Accepted()
    sender.send(post(b"x"))
    assert sender.answer()[0] == 200


def test_a_sender_that_asks_first_is_told(port: HttpPort) -> None:
    """`Expect: 100-continue` gets 100 where the body is wanted, and the refusal at once where it is not."""
    sender = Sender(port, HEAD + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert sender.answer()[0] == 100
    sender.send(b"x")
    assert sender.answer()[0] == 200
    refused = Sender(port, b"POST /v1/traces HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert refused.answer()[0] == 415
    assert refused.closed()


def test_a_body_without_end_is_answered_while_it_comes(port: HttpPort) -> None:
    """413 reaches a sender that is still sending; what it sends on is not kept."""
    sender = Sender(port, HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    chunk = b"100000\r\n" + bytes(2**20) + b"\r\n"
    sender.send(*[chunk] * (MAX_REQUEST_BYTES // 2**20 + 1))
    status, headers, _ = sender.answer()
    assert (status, headers["connection"]) == (413, "close")
    assert sender.closed()


def test_a_refused_body_is_not_kept(port: HttpPort) -> None:
    """Of a request that will not be taken only the length counts; the next one on the connection is served."""
    sender = Sender(port, b"POST /v1/traces HTTP/1.1\r\nContent-Length: 3000000\r\n\r\n" + bytes(2_999_999))
    time.sleep(0.1)
    assert port.unfinished.held == 0
    sender.send(b"x", post(b"next"))
    assert [sender.answer()[0], sender.answer()[0]] == [415, 200]


def test_a_sender_that_goes_away_is_not_waited_for(port: HttpPort) -> None:
    """A reset ends the waiting; a sender that only closed its sending side still gets its answer."""
    before = port.cancelled
    port.do(port.gate.clear)
    try:
        gone, half = Sender(port, post(b"x")), Sender(port, post(b"y"))
        half.socket.shutdown(socket.SHUT_WR)
        until(lambda: len(port.taken) == 2)
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.socket.close()
        until(lambda: port.cancelled == before + 1)
    finally:
        port.do(port.gate.set)
    assert half.answer()[0] == 200
    assert half.closed()


def test_unfinished_requests_have_a_common_limit() -> None:
    """Bodies that never end: what does not fit is 429, and what is given up makes room."""
    port = HttpPort(most_unfinished=1_000_000)
    try:
        head = HEAD + b"Content-Length: 500000\r\n\r\n"
        first, second = (Sender(port, head, bytes(400_000)) for _ in range(2))
        until(lambda: port.unfinished.held == 800_000)
        third = Sender(port, head, bytes(500_000))
        assert third.answer()[0] == 429
        first.socket.close()
        until(lambda: port.unfinished.held == 400_000)
        third.send(post(bytes(500_000)))
        assert third.answer()[0] == 200
        second.socket.close()
    finally:
        port.close()


def test_slow_senders_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a head or half a body has its time, then 408; a connection between requests may rest."""
    for name in ("REQUEST_SECONDS", "GREETING_SECONDS"):
        monkeypatch.setattr(f"stackctl.embedded.otlp.http1_connection.{name}", 0.4)
    monkeypatch.setattr(front, "_LOOK_SECONDS", 0.1)
    port = HttpPort()
    try:
        resting = Sender(port, post(b"x"))
        assert resting.answer()[0] == 200
        head, body = Sender(port, b"GET /-/ready HT"), Sender(port, post(b"whole")[:-1])
        for slow in (head, body):
            assert slow.answer()[0] == 408
            assert slow.closed()
        resting.send(post(b"x"))
        assert resting.answer()[0] == 200
    finally:
        port.close()


def test_a_stop_answers_what_is_under_way() -> None:
    """Idle connections are closed, a request that waits or is half there is answered, and says that it is the last."""
    port = HttpPort()
    port.do(port.gate.clear)
    idle, waits, half = Sender(port), Sender(port, post(b"waits")), Sender(port, post(b"half")[:-1])
    until(lambda: len(port.taken) == 1)
    until(lambda: port.front.unfinished.held == len(b"hal"))  # what is not read yet is not half there
    stopping = port.do(lambda: port.front.loop.create_task(port.front.stop(5)))
    assert idle.closed()
    half.send(b"f")
    until(lambda: len(port.taken) == 2)
    port.do(port.gate.set)
    for sender in (waits, half):
        status, headers, _ = sender.answer()
        assert (status, headers["connection"]) == (200, "close")
        assert sender.closed()
    until(stopping.done)
    port.close()


def test_a_connection_dies_with_the_grace_of_a_stop() -> None:
    """What cannot be answered within the grace is closed without an answer: the sender sends again."""
    port = HttpPort()
    port.do(port.gate.clear)
    sender = Sender(port, post(b"x"))
    until(lambda: len(port.taken) == 1)
    began = time.monotonic()
    port.close()
    assert time.monotonic() - began < ANSWER_SECONDS
    assert sender.closed()


class Closing(asyncio.Transport):
    """uvloop's transport between a connection's end and the notice of it: it takes nothing."""

    def is_closing(self) -> bool:
        return True

    def write(self, _: object) -> None:
        raise RuntimeError("unable to perform operation on <TCPTransport>; the handler is closed")


def test_an_answer_that_comes_as_the_peer_goes_is_dropped() -> None:
    """A request is answered in the moment between the connection's end and the notice of it: no task fails."""

    async def answer(request: Request, body: bytes) -> Answer:
        return plain(200)

    async def meet() -> BaseException | None:
        connection = HttpConnection(
            front.Front(front.Unfinished()), Service(lambda _: None, answer, lambda *_: plain(500))
        )
        connection.connection_made(Closing())
        connection.data_received(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        answering = connection._task
        assert answering is not None
        await asyncio.wait([answering])
        connection.connection_lost(None)
        return answering.exception()

    assert asyncio.run(meet()) is None
