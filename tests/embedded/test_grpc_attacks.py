"""Peers of the OTLP/gRPC port that break HTTP/2 or wear it down: each is told and closed, and others are served on."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

import pytest
import uvloop
from front_ports import Port, until
from http2_peer import Peer, framed

from stackctl.embedded.otlp import front, http2
from stackctl.embedded.otlp.http2 import Code
from stackctl.embedded.otlp.http2_connection import CONNECTION_WINDOW, FRAME_BYTES, MOST_STREAMS, STREAM_WINDOW
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES
from stackctl.embedded.otlp.signals import BUSY

END_HEADERS, END_STREAM = http2.END_HEADERS, http2.END_STREAM
MANY = 20_000
"""More of anything than an honest sender has."""
REFUSED = b"\x83\x86\x04\x01/\x0f\x10\x10application/grpc"
"""The header block of a call that nobody serves: 31 bytes, answered with 100 and more."""
Loop = Callable[[], asyncio.AbstractEventLoop]


@pytest.fixture(scope="module")
def shared() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


@pytest.fixture
def port(shared: Port) -> Iterator[Port]:
    """A port that serves an honest peer before, beside and after, and holds nothing of the other one."""
    honest = Peer(shared)
    honest.call(1, b"before")
    assert honest.status(1) == "0"
    yield shared
    honest.call(3, b"after")
    assert honest.status(3) == "0"
    until(lambda: shared.unfinished.held == 0)
    honest.close()


def refuses(peer: Peer, parts: Iterable[bytes]) -> bool:
    """Send all of it; whether the server ended the connection, or did not read on."""
    try:
        for part in parts:
            peer.send(part)
    except OSError:
        return True
    try:
        peer.goodbye()
    except TimeoutError:
        return False
    finally:
        peer.close()
    return True


def setting(key: int, value: int) -> bytes:
    return http2.frame(http2.SETTINGS, 0, 0, struct.pack(">HL", key, value))


def headers(stream: int, flags: int = END_HEADERS, payload: bytes | None = None) -> bytes:
    """HEADERS of a call, by a block that leaves the table alone."""
    block = b"\x83\x86\x04\x01/" if payload is None else payload
    return http2.frame(http2.HEADERS, flags, stream, block)


BROKEN = {
    "no SETTINGS first": (b"", http2.frame(http2.PING, 0, 0, bytes(8)), Code.PROTOCOL_ERROR),
    "DATA first": (b"", http2.frame(http2.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "DATA on stream 0": (None, http2.frame(http2.DATA, 0, 0, b"x"), Code.PROTOCOL_ERROR),
    "DATA on an idle stream": (None, http2.frame(http2.DATA, 0, 5, b"x"), Code.PROTOCOL_ERROR),
    "RST_STREAM on an idle stream": (None, http2.reset(5, Code.CANCEL), Code.PROTOCOL_ERROR),
    "WINDOW_UPDATE on an idle stream": (None, http2.window_update(5, 1), Code.PROTOCOL_ERROR),
    "HEADERS on stream 0": (None, headers(0), Code.PROTOCOL_ERROR),
    "HEADERS on the server's stream": (None, headers(2), Code.PROTOCOL_ERROR),
    "HEADERS padded away": (None, headers(1, END_HEADERS | http2.PADDED, b"\x05abc"), Code.PROTOCOL_ERROR),
    "HEADERS too short": (None, headers(1, END_HEADERS | http2.HAS_PRIORITY, b"abc"), Code.FRAME_SIZE_ERROR),
    "DATA padded away": (None, headers(1) + http2.frame(0, http2.PADDED, 1, b"\x05abc"), Code.PROTOCOL_ERROR),
    "DATA padded, empty": (None, headers(1, END_HEADERS) + http2.frame(0, http2.PADDED, 1) + b"\0", None),
    "CONTINUATION of nothing": (None, http2.frame(http2.CONTINUATION, 4, 1, b"\x83"), Code.PROTOCOL_ERROR),
    "another frame within a block": (
        None,
        headers(1, 0) + http2.frame(http2.PING, 0, 0, bytes(8)),
        Code.PROTOCOL_ERROR,
    ),
    "DATA within a block": (None, headers(1, 0) + http2.frame(http2.DATA, 0, 1, b"x"), Code.PROTOCOL_ERROR),
    "another stream's CONTINUATION": (None, headers(1, 0) + http2.frame(9, 4, 3, b"\x83"), Code.PROTOCOL_ERROR),
    "an unknown frame within a block": (None, headers(1, 0) + http2.frame(0x42, 0, 1), Code.PROTOCOL_ERROR),
    "PUSH_PROMISE": (None, http2.frame(http2.PUSH_PROMISE, 4, 1, bytes(4)), Code.PROTOCOL_ERROR),
    "PING on a stream": (None, http2.frame(http2.PING, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "PING of 7 bytes": (None, http2.frame(http2.PING, 0, 0, bytes(7)), Code.FRAME_SIZE_ERROR),
    "SETTINGS on a stream": (None, http2.frame(http2.SETTINGS, 0, 1), Code.PROTOCOL_ERROR),
    "SETTINGS of 5 bytes": (None, http2.frame(http2.SETTINGS, 0, 0, bytes(5)), Code.FRAME_SIZE_ERROR),
    "SETTINGS acknowledged with content": (None, http2.frame(http2.SETTINGS, 1, 0, bytes(6)), Code.FRAME_SIZE_ERROR),
    "ENABLE_PUSH of 2": (None, setting(http2.ENABLE_PUSH, 2), Code.PROTOCOL_ERROR),
    "a window of 2^31": (None, setting(http2.INITIAL_WINDOW_SIZE, 2**31), Code.FLOW_CONTROL_ERROR),
    "frames of 100 bytes": (None, setting(http2.MAX_FRAME_SIZE, 100), Code.PROTOCOL_ERROR),
    "GOAWAY on a stream": (None, http2.frame(http2.GOAWAY, 0, 1, bytes(8)), Code.PROTOCOL_ERROR),
    "GOAWAY of 3 bytes": (None, http2.frame(http2.GOAWAY, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "RST_STREAM of 3 bytes": (None, headers(1) + http2.frame(http2.RST_STREAM, 0, 1, bytes(3)), Code.FRAME_SIZE_ERROR),
    "PRIORITY of 4 bytes": (None, http2.frame(http2.PRIORITY, 0, 1, bytes(4)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE of 3 bytes": (None, http2.frame(http2.WINDOW_UPDATE, 0, 0, bytes(3)), Code.FRAME_SIZE_ERROR),
    "WINDOW_UPDATE by nothing": (None, http2.window_update(0, 0), Code.PROTOCOL_ERROR),
    "a window beyond the largest": (None, http2.window_update(0, 2**31 - 1), Code.FLOW_CONTROL_ERROR),
    "a control frame beyond its size": (None, headers(1, 0, bytes(16_385)), Code.FRAME_SIZE_ERROR),
    "DATA beyond the frame size": (None, headers(1) + http2.HEAD.pack(0xFF, 0xFFFF, 0, 0, 1), Code.FRAME_SIZE_ERROR),
    "an unknown frame beyond the size": (None, http2.HEAD.pack(0xFF, 0xFFFF, 66, 0, 1), Code.FRAME_SIZE_ERROR),
    "a block that is no HPACK": (None, headers(1, END_HEADERS, b"\xff\xff\xff\xff\xff"), Code.COMPRESSION_ERROR),
    "an index beyond the table": (None, headers(1, END_HEADERS, b"\xff\x20"), Code.COMPRESSION_ERROR),
    "a table beyond the limit": (None, headers(1, END_HEADERS, b"\x3f\xff\xff\x03"), Code.COMPRESSION_ERROR),
    "a table resized all the time": (None, headers(1, END_HEADERS, b"\x20" * 16_000), Code.COMPRESSION_ERROR),
}


@pytest.mark.parametrize("case", BROKEN)
def test_what_breaks_the_protocol_ends_the_connection_with_its_error(port: Port, case: str) -> None:
    """GOAWAY with the code that RFC 9113 names, then the end; a case without a code lasts until its sender goes."""
    greeting, raw, code = BROKEN[case]
    peer = Peer(port, greets=greeting is None)
    peer.send(b"" if greeting is None else http2.PREFACE, raw)
    if code is not None:
        assert peer.goodbye() is code
    peer.close()


FLOODS = {
    "PING": http2.frame(http2.PING, 0, 0, bytes(8)),
    "acknowledged PING": http2.frame(http2.PING, http2.ACK, 0, bytes(8)),
    "SETTINGS": http2.settings({http2.INITIAL_WINDOW_SIZE: 1000}),
    "acknowledged SETTINGS": http2.frame(http2.SETTINGS, http2.ACK, 0),
    "PRIORITY": http2.frame(http2.PRIORITY, 0, 1, bytes(5)),
    "WINDOW_UPDATE": http2.window_update(0, 1),
    "WINDOW_UPDATE of a stream": http2.window_update(1, 1),
    "GOAWAY": http2.go_away(0, Code.NO_ERROR),
    "empty DATA": http2.frame(http2.DATA, 0, 1),
    "padded empty DATA": http2.frame(http2.DATA, http2.PADDED, 1, b"\x05" + bytes(5)),
    "unknown frames": http2.frame(0x42, 0, 1),
    "RST_STREAM": http2.reset(1, Code.CANCEL),
}


@pytest.mark.parametrize("case", FLOODS)
def test_a_flood_of_frames_that_carry_nothing_is_ended(port: Port, case: str) -> None:
    """Empty frames of any kind without end: the connection ends soon, whether its sender reads or not."""
    peer = Peer(port)
    peer.call(1, None)
    assert refuses(peer, (FLOODS[case] * (MANY // 100) for _ in range(100)))


@pytest.mark.parametrize("whole", [False, True])
def test_rapid_resets_are_ended(port: Port, whole: bool) -> None:
    """CVE-2023-44487: calls that are begun and reset at once, whole or not, end their connection, not the server."""
    port.do(port.gate.clear)
    try:
        peer, before = Peer(port), len(port.taken)
        message = http2.frame(http2.DATA, END_STREAM, 0, framed(b"x")) if whole else b""
        block = peer.block()

        def calls() -> Iterator[bytes]:
            for stream in range(1, MANY, 2):
                body = message[:5] + stream.to_bytes(4, "big") + message[9:] if whole else b""
                yield headers(stream, END_HEADERS, block if stream == 1 else peer.block()) + body
                yield http2.reset(stream, Code.CANCEL)

        assert refuses(peer, calls())
        assert len(port.taken) - before < MANY / 4
    finally:
        port.do(port.gate.set)


def test_a_header_block_without_end_is_ended(port: Port) -> None:
    """CVE-2024-27316: CONTINUATION after CONTINUATION, large or empty, is held no longer than a block may be."""
    for fragment in (b"", b"\x83" * 1000):
        peer = Peer(port)
        peer.send(headers(1, 0))
        assert refuses(peer, (http2.frame(http2.CONTINUATION, 0, 1, fragment) * 10 for _ in range(MANY)))


def test_a_header_list_that_unpacks_to_too_much_is_ended(port: Port) -> None:
    """An HPACK bomb: one long value put into the table, then named again by one byte each."""
    peer = Peer(port)
    large = b"\x40\x01a\x7f" + bytes([0x80 | (3000 - 127) % 128, (3000 - 127) // 128]) + b"v" * 3000
    peer.send(headers(1, END_HEADERS, large + b"\xbe" * 10_000))
    assert peer.goodbye() is Code.ENHANCE_YOUR_CALM


def test_who_minds_no_window_is_held_to_the_same_limits(port: Port) -> None:
    """Windows are open whenever a frame begins; a peer that never minds them is bounded by one message's size."""
    assert FRAME_BYTES <= STREAM_WINDOW // 2 <= CONNECTION_WINDOW // 2
    peer = Peer(port)
    peer.call(1, None)
    head = b"\0" + MAX_REQUEST_BYTES.to_bytes(4, "big")
    frames = (http2.frame(http2.DATA, 0, 1, bytes(FRAME_BYTES)) for _ in range(MAX_REQUEST_BYTES // FRAME_BYTES + 1))
    peer.send(http2.frame(http2.DATA, 0, 1, head), *frames)
    assert peer.status(1) == "12"
    peer.close()


def test_streams_are_limited(port: Port) -> None:
    """Calls beyond what SETTINGS allow are refused unprocessed; those within go on."""
    peer = Peer(port)
    for stream in range(1, 2 * MOST_STREAMS + 2, 2):
        peer.call(stream, None)
    found = peer.next(http2.RST_STREAM)
    assert (found.stream, int.from_bytes(found.payload, "big")) == (2 * MOST_STREAMS + 1, Code.REFUSED_STREAM)
    peer.send(http2.frame(http2.DATA, END_STREAM, 1, framed(b"x")))
    assert peer.status(1) == "0"
    peer.close()


def test_a_stream_that_is_whole_takes_no_more(port: Port) -> None:
    """DATA or HEADERS behind the end of a request reset that stream; the connection goes on."""
    port.do(port.gate.clear)
    try:
        peer = Peer(port)
        for stream, more in ((1, http2.frame(http2.DATA, 0, 1, b"x")), (3, headers(3))):
            peer.call(stream, b"x")
            peer.send(more)
            found = peer.next(http2.RST_STREAM)
            assert (found.stream, int.from_bytes(found.payload, "big")) == (stream, Code.STREAM_CLOSED)
    finally:
        port.do(port.gate.set)
    peer.call(5, b"x")
    assert peer.status(5) == "0"


def test_unfinished_requests_have_a_common_limit() -> None:
    """Many large messages that never end: what does not fit is BUSY, and what is given up makes room."""
    port = Port(most_unfinished=1_000_000)
    try:
        peers = [Peer(port) for _ in range(3)]
        for number, peer in enumerate(peers):
            peer.call(1, None)
            peer.send(http2.frame(http2.DATA, 0, 1, framed(bytes(500_000))[:400_001]))
            if number < 2:
                until(lambda: port.unfinished.held > 400_000 * (number + 1))  # noqa: B023 - called within the turn
            else:
                assert peer.status(1) == str(BUSY.grpc)
        peers[0].close()
        until(lambda: port.unfinished.held < 500_000)
        peers[2].call(3, b"x" * 500_000)
        assert peers[2].status(3) == "0"
    finally:
        port.close()


def test_slow_peers_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a greeting, within a header block, within a request or before an answer: each has its time, no more."""
    for name in ("grpc_connection.REQUEST_SECONDS", "http2_connection.REQUEST_SECONDS"):
        monkeypatch.setattr(f"stackctl.embedded.otlp.{name}", 0.4)
    monkeypatch.setattr("stackctl.embedded.otlp.http2_connection.GREETING_SECONDS", 0.4)
    monkeypatch.setattr(front, "_LOOK_SECONDS", 0.1)
    port = Port()
    try:
        silent, half, block, request, answer = Peer(port, False), Peer(port, False), *(Peer(port) for _ in range(3))
        half.send(http2.PREFACE[:5])
        block.send(headers(1, 0))
        request.call(1, None)
        answer.send(setting(http2.INITIAL_WINDOW_SIZE, 0))
        answer.call(1, b"x")
        for peer in (silent, half, block):
            assert peer.goodbye() is None
        assert request.status(1) == "4"
        assert int.from_bytes(answer.next(http2.RST_STREAM).payload, "big") == Code.CANCEL
        request.call(3, b"x")
        assert request.status(3) == "0"
    finally:
        port.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
@pytest.mark.parametrize("at_once", [1, 20_000])
def test_a_peer_that_never_reads_is_not_read_from(loop: Loop, at_once: int) -> None:
    """Answers that nobody takes fill the socket, not the memory, however much came in one read: it waits elsewhere."""
    port = Port(loop=loop())
    try:
        peer = Peer(port)
        peer._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        peer._socket.settimeout(0.5)
        # Many more than the buffers of two sockets hold, which on a busy machine took 200,000 (8 MB).
        calls = (headers(stream, END_HEADERS | END_STREAM, REFUSED) for stream in range(1, 4_000_001, 2))
        assert refuses(peer, map(b"".join, iter(lambda: list(islice(calls, at_once)), [])))
        connection = next(iter(port.front._open), None)
        assert connection is None or connection.transport.get_write_buffer_size() < 10**6
    finally:
        port.close()


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_peer_that_reads_late_gets_every_answer(loop: Loop) -> None:
    """What was read and not answered, as the answers would have filled the memory, is answered when there is room."""
    port = Port(loop=loop())
    try:
        peer = Peer(port)
        streams = range(1, 200_001, 2)  # answered with 12 MB
        calls = b"".join(headers(stream, END_HEADERS | END_STREAM, REFUSED) for stream in streams)
        sending = threading.Thread(target=peer.send, args=(calls,))
        sending.start()
        until(lambda: any(connection._stuck_since is not None for connection in port.front._open))
        assert [peer.next(http2.HEADERS).stream for _ in streams] == list(streams)
        sending.join()
        peer.call(200_001, b"x")
        assert peer.status(200_001) == "0"
    finally:
        port.close()


def test_connections_are_limited_and_the_idlest_leaves() -> None:
    """More connections than there may be: the one that said nothing for the longest time is closed for the new one."""
    port = Port()
    try:
        port.do(lambda: setattr(port.front, "_most", 3))
        busy, *idle = (Peer(port) for _ in range(3))
        busy.call(1, None)
        idle[0].send(http2.frame(http2.PING, 0, 0, bytes(8)))
        idle[0].next(http2.PING)
        newest = Peer(port)
        assert idle[1].goodbye() is None
        for peer, stream in ((busy, 1), (idle[0], 1), (newest, 1)):
            if peer is busy:
                peer.send(http2.frame(http2.DATA, END_STREAM, 1, framed(b"x")))
            else:
                peer.call(stream, b"x")
            assert peer.status(stream) == "0"
    finally:
        port.close()
