"""Large answers arrive whole, and readers that take nothing hold neither memory nor others up."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress

import httpx2
import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from stackctl.embedded.api import sending
from stackctl.embedded.api.sending import Sending, Unread
from stackctl.embedded.asgi_server import asgi_server
from stackctl.embedded.otlp.front import listen

BODY = bytes(range(256)) * 32_768  # 8 MB


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await Response(BODY if scope["path"] == "/large" else b"small")(scope, receive, send)


@pytest.fixture
def unread() -> Unread:
    return Unread()


@pytest.fixture
def port(unread: Unread) -> Iterator[int]:
    server = asgi_server(Sending(app, unread))
    bound = listen("127.0.0.1", 0, "test")
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([bound])))
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    try:
        yield bound.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


def get(port: int, path: str) -> httpx2.Response:
    with httpx2.Client(trust_env=False, timeout=20) as http:
        return http.get(f"http://127.0.0.1:{port}{path}")


def mute(port: int) -> socket.socket:
    """Ask for the large answer and do not read it."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", port))
    reader.sendall(b"GET /large HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n")
    return reader


def until(unread: Unread, nbytes: int) -> None:
    deadline = time.monotonic() + 20
    while unread.nbytes != nbytes:
        assert time.monotonic() < deadline, unread.nbytes
        time.sleep(0.005)


def test_a_large_answer_arrives_whole(port: int, unread: Unread) -> None:
    """The pieces are the answer, byte by byte, and nothing of it is counted any more."""
    answer = get(port, "/large")
    assert answer.content == BODY
    assert answer.headers["content-length"] == str(len(BODY))
    assert get(port, "/small").content == b"small"
    until(unread, 0)


def test_answers_that_nobody_reads_do_not_pile_up(port: int, unread: Unread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the room for them the next large answer is refused, small ones come; a reader that goes makes room."""
    monkeypatch.setattr(sending, "MOST_UNREAD_BYTES", 2 * len(BODY))
    readers = [mute(port), mute(port)]
    until(unread, 2 * len(BODY))
    refused = get(port, "/large")
    assert (refused.status_code, refused.text) == (503, "too many answers wait to be read")
    assert get(port, "/small").content == b"small"
    for reader in readers:
        reader.close()
    until(unread, 0)
    assert get(port, "/large").content == BODY


def test_a_reader_that_takes_nothing_is_left(port: int, unread: Unread, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its answer is given up after a while, and its connection ends before the answer does."""
    monkeypatch.setattr(sending, "STALLED_SECONDS", 1.0)
    with mute(port) as reader:
        until(unread, len(BODY))
        until(unread, 0)
        reader.settimeout(20)
        taken = 0
        with suppress(ConnectionResetError):
            while some := reader.recv(2**20):
                taken += len(some)
        assert taken < len(BODY)


def test_a_sender_that_goes_is_no_error(port: int, caplog: pytest.LogCaptureFixture) -> None:
    """Half a form and no one behind it: nothing is logged, and others are answered."""
    with socket.create_connection(("127.0.0.1", port)) as sender:
        sender.sendall(b"POST /small HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 10\r\n\r\nquery")
        time.sleep(0.1)
    assert get(port, "/small").content == b"small"
    time.sleep(0.1)
    assert not caplog.records


@pytest.mark.parametrize(("reason", "raises"), [("<TCPTransport>; the handler is closed", False), ("defect", True)])
def test_a_connection_that_closes_just_now_is_no_error(reason: str, raises: bool) -> None:
    """uvloop refuses what is sent between a connection's end and the notice of it; other failures are told."""

    async def send(_: Message) -> None:
        raise RuntimeError(reason)

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    scope = {"type": "http", "path": "/small", "method": "GET", "headers": []}
    with pytest.raises(RuntimeError) if raises else nullcontext():
        asyncio.run(Sending(app, Unread())(scope, receive, send))
