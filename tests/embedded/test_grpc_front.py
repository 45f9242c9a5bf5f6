"""The HTTP/2 server under OTLP/gRPC: what a well-behaved peer may do, cut anywhere, and how it is answered."""

import gzip
import random
import zlib
from collections.abc import Iterator

import pytest
from front_ports import Port, until
from hpack import Decoder, Encoder
from http2_peer import HEADERS, Peer, framed

from stackctl.embedded.otlp import http2
from stackctl.embedded.otlp.header_blocks import HeaderBlocks
from stackctl.embedded.otlp.limits import MAX_REQUEST_BYTES, Guard
from stackctl.embedded.otlp.signals import BUSY, INVALID, Accepted, Refused, Signal

OK, INVALID_ARGUMENT, EXHAUSTED, UNIMPLEMENTED, INTERNAL, UNAUTHENTICATED = "0", "3", "8", "12", "13", "16"


@pytest.fixture(scope="module")
def shared() -> Iterator[Port]:
    port = Port()
    yield port
    port.close()


@pytest.fixture
def port(shared: Port) -> Iterator[Port]:
    shared.taken.clear()
    shared.outcome = Accepted()
    yield shared
    assert shared.unfinished.held == 0


def changed(**changes: str | None) -> tuple[tuple[str, str], ...]:
    """The headers of a call with some of them changed, added or (None) left out; `_` stands for `:`, `-` for itself."""
    found = dict(HEADERS)
    for key, value in changes.items():
        name = key.replace("_", ":", 1) if key.startswith("_") else key.replace("_", "-")
        found.pop(name, None)
        if value is not None:
            found[name] = value
    return tuple(sorted(found.items(), key=lambda one: not one[0].startswith(":")))


def test_a_call_is_taken_wherever_its_bytes_are_cut(port: Port) -> None:
    """Each byte in a TCP segment of its own, or all in one: the same message arrives."""
    peer = Peer(port, greets=False)
    whole = http2.PREFACE + http2.settings({}) + http2.frame(http2.HEADERS, http2.END_HEADERS, 1, peer.block())
    whole += http2.frame(http2.DATA, 0, 1, framed(b"hello")[:3]) + http2.frame(http2.DATA, 1, 1, framed(b"hello")[3:])
    for byte in whole:
        peer.send(bytes([byte]))
    assert peer.status(1) == OK
    again = Peer(port, greets=False)
    again.send(whole)
    assert again.status(1) == OK
    assert port.taken == [(Signal.TRACES, b"hello")] * 2


def test_padding_priority_continuation_trailers_and_unknown_frames_are_understood(port: Port) -> None:
    """Whatever RFC 9113 lets a client send around a message changes nothing of it."""
    peer = Peer(port)
    block = peer.block()
    peer.send(
        http2.frame(http2.HEADERS, http2.PADDED | http2.HAS_PRIORITY, 1, b"\x04" + bytes(5) + block[:7] + bytes(4)),
        http2.frame(http2.CONTINUATION, 0, 1, block[7:9]),
        http2.frame(http2.CONTINUATION, http2.END_HEADERS, 1, block[9:]),
        http2.frame(http2.PRIORITY, 0, 1, bytes(5)),
        http2.frame(0x42, 0xFF, 77, b"unknown" * 5000),
        http2.frame(http2.DATA, http2.PADDED, 1, b"\x05" + framed(b"padded") + bytes(5)),
        http2.frame(http2.DATA, http2.PADDED, 1, b"\x00"),
        http2.frame(http2.WINDOW_UPDATE, 0, 1, (5).to_bytes(4, "big")),
        http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, peer.block((("x-end", "1"),))),
    )
    assert peer.status(1) == OK
    assert port.taken == [(Signal.TRACES, b"padded")]


def test_an_answer_is_what_grpc_says(port: Port) -> None:
    """Headers, one message, trailers; a partial success is the message's content."""
    port.outcome = Accepted(2, "no ids")
    peer = Peer(port)
    peer.call(1, b"x")
    head, message, end = (peer.next(kind) for kind in (http2.HEADERS, http2.DATA, http2.HEADERS))
    decoder = Decoder()
    assert decoder.decode(head.payload) == [(":status", "200"), ("content-type", "application/grpc")]
    assert int.from_bytes(message.payload[1:5], "big") == len(message.payload) - 5
    assert b"no ids" in message.payload
    assert (decoder.decode(end.payload), end.flags) == ([("grpc-status", "0")], http2.END_HEADERS | http2.END_STREAM)


def test_many_calls_of_one_connection_are_answered_each(port: Port) -> None:
    """Streams beside one another, their DATA mixed, keep their own messages."""
    peer = Peer(port)
    streams = range(1, 101, 2)
    for stream in streams:
        peer.call(stream, None)
    for half in (slice(0, 6), slice(6, None)):
        for stream in streams:
            last = http2.END_STREAM if half.stop is None else 0
            peer.send(http2.frame(http2.DATA, last, stream, framed(b"message %d" % stream)[half]))
    assert sorted(peer.status(stream) for stream in [max(streams)]) == [OK]
    until(lambda: len(port.taken) == len(streams))
    assert {body for _, body in port.taken} == {b"message %d" % stream for stream in streams}


@pytest.mark.parametrize(
    ("headers", "message", "status"),
    [
        (changed(_path="/opentelemetry.proto.collector.trace.v1.TraceService/Other"), b"", UNIMPLEMENTED),
        (changed(_path="/grpc.health.v1.Health/Check"), b"", UNIMPLEMENTED),
        (changed(grpc_encoding="snappy"), b"", UNIMPLEMENTED),
        (changed(_method="GET"), b"", "405"),
        (changed(content_type="application/json"), b"", "415"),
        (changed(content_type="application/grpc-web"), b"", "415"),
        (changed(content_type=None), b"", "415"),
        (changed(content_type="application/grpc+proto; a=b", te=None, grpc_timeout="1n"), b"", OK),
        (changed(_path=None), b"", None),
        (changed(connection="close"), b"", None),
        (changed(te="gzip"), b"", None),
        (changed(_extra="1"), b"", None),
        (changed(Upper="1"), b"", None),
        ((*HEADERS, (":authority", "behind")), b"", None),
        ((*HEADERS, ("x", "a\r\nb")), b"", None),
    ],
)
def test_headers_decide_what_is_called(
    port: Port, headers: tuple[tuple[str, str], ...], message: bytes, status: str | None
) -> None:
    """Another method, type or coding is refused by name, a malformed list (8.1.1) reset; the connection goes on."""
    peer = Peer(port)
    peer.call(1, message, headers)
    assert peer.status(1) == status
    peer.call(3, b"next")
    assert peer.status(3) == OK


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", UNIMPLEMENTED),
        (framed(b"one") + framed(b"two"), UNIMPLEMENTED),
        (framed(b"one")[:-1], INVALID_ARGUMENT),
        (b"\0\0", INVALID_ARGUMENT),
        (framed(b"x", flag=1), INTERNAL),
        (framed(b"x", flag=7), INTERNAL),
        (b"\0" + (MAX_REQUEST_BYTES + 1).to_bytes(4, "big"), EXHAUSTED),
    ],
)
def test_a_call_has_exactly_one_whole_message(port: Port, body: bytes, status: str) -> None:
    """None, two, half of one, a bad prefix, or one that is too large: refused, in gRPC's words."""
    peer = Peer(port)
    peer.call(1, None)
    peer.send(http2.frame(http2.DATA, http2.END_STREAM, 1, body))
    assert peer.status(1) == status
    assert port.taken == []


@pytest.mark.parametrize(
    ("coding", "packed", "status"),
    [
        ("gzip", gzip.compress(b"content" * 30_000), OK),
        ("deflate", zlib.compress(b"content" * 30_000), OK),
        ("gzip", b"content", INVALID_ARGUMENT),
        ("deflate", zlib.compress(b"content")[:-1], INVALID_ARGUMENT),
        ("gzip", gzip.compress(bytes(MAX_REQUEST_BYTES + 1), 1), EXHAUSTED),
        ("deflate", zlib.compress(bytes(MAX_REQUEST_BYTES + 1), 1), EXHAUSTED),
    ],
)
def test_compressed_messages_are_inflated_up_to_the_limit(port: Port, coding: str, packed: bytes, status: str) -> None:
    """gzip and deflate, as gRPC names them; a bomb is refused."""
    peer = Peer(port)
    peer.call(1, None, changed(grpc_encoding=coding))
    peer.send(http2.frame(http2.DATA, http2.END_STREAM, 1, framed(packed, flag=1)))
    assert peer.status(1) == status
    assert port.taken == ([(Signal.TRACES, b"content" * 30_000)] if status == OK else [])


def test_the_largest_message_flows_in_windows(port: Port) -> None:
    """64 MiB in frames of 16 KiB: the server opens both windows in time, and takes all of it."""
    body = bytes(MAX_REQUEST_BYTES)
    peer = Peer(port)
    peer.call(1, None)
    rest, window = memoryview(framed(body)), http2.FIRST_WINDOW
    stream_window = 4 * 1024**2
    while rest:
        while min(window, stream_window) < 16_384:
            found = peer.next(http2.WINDOW_UPDATE)
            more = int.from_bytes(found.payload, "big")
            window, stream_window = (
                (window + more, stream_window) if not found.stream else (window, stream_window + more)
            )
        piece, rest = rest[:16_384], rest[16_384:]
        window, stream_window = window - len(piece), stream_window - len(piece)
        peer.send(http2.frame(http2.DATA, 0 if rest else http2.END_STREAM, 1, bytes(piece)))
    assert peer.status(1) == OK
    assert len(port.taken[0][1]) == MAX_REQUEST_BYTES


def test_an_answer_waits_for_the_window_of_its_reader(port: Port) -> None:
    """With windows of nothing the message comes byte by byte, as WINDOW_UPDATE and SETTINGS allow; then trailers."""
    port.outcome = Accepted(1, "why")
    peer = Peer(port, settings={http2.INITIAL_WINDOW_SIZE: 0})
    peer.call(1, b"x")
    peer.next(http2.HEADERS)
    peer.send(http2.window_update(1, 2))
    found = peer.next(http2.DATA).payload
    peer.send(http2.settings({http2.INITIAL_WINDOW_SIZE: 1}))
    found += peer.next(http2.DATA).payload
    assert len(found) == 3
    peer.send(http2.settings({http2.INITIAL_WINDOW_SIZE: 0}), http2.window_update(1, 1000))
    found += peer.next(http2.DATA).payload
    assert len(found) == 5 + int.from_bytes(found[1:5], "big")
    assert peer.next(http2.HEADERS).flags & http2.END_STREAM


@pytest.mark.parametrize("refused", [Refused(BUSY, "later: 100 %"), Refused(INVALID, "never")])
def test_refusals_are_trailers_with_retry_details(port: Port, refused: Refused) -> None:
    """Status, percent-encoded message and, where trying again helps, both keys that say when."""
    port.outcome = refused
    peer = Peer(port)
    peer.call(1, b"x")
    found = peer.next(http2.HEADERS)
    said = dict(Decoder().decode(found.payload))
    assert found.flags & http2.END_STREAM
    assert said["grpc-status"] == str(refused.kind.grpc)
    assert said["grpc-message"] == refused.message.replace("%", "%25")
    details = {"grpc-status-details-bin", "google.rpc.retryinfo-bin"}
    assert details & said.keys() == (details if refused.kind.retry_seconds else set())


def test_a_defect_of_the_server_is_an_answer(port: Port) -> None:
    """Whatever fails, the sender hears INTERNAL, and the connection goes on."""
    port.outcome = ZeroDivisionError()
    peer = Peer(port)
    peer.call(1, b"x")
    assert peer.status(1) == INTERNAL
    port.outcome = Accepted()
    peer.call(3, b"x")
    assert peer.status(3) == OK


def test_a_sender_that_gives_up_is_not_waited_for(port: Port) -> None:
    """RST_STREAM, or the end of the connection, ends the waiting of its calls."""
    before = port.cancelled
    port.do(port.gate.clear)
    try:
        peer = Peer(port)
        for stream in (1, 3, 5):
            peer.call(stream, b"x")
        until(lambda: len(port.taken) == 3)
        peer.send(http2.reset(1, http2.Code.CANCEL))
        until(lambda: port.cancelled == before + 1)
        peer.call(7, None)
        peer.send(http2.frame(http2.DATA, 0, 7, framed(b"unfinished")[:-1]))
        peer.close()
        until(lambda: port.cancelled == before + 3)
    finally:
        port.do(port.gate.set)


def test_a_token_is_asked_for_before_anything_is_read() -> None:
    """Without it a call is UNAUTHENTICATED as soon as its headers are there, and its sender told to stop."""
    port = Port(Guard(token="s3cret"))
    try:
        peer = Peer(port)
        peer.call(1, None)
        assert peer.status(1) == UNAUTHENTICATED
        assert int.from_bytes(peer.next(http2.RST_STREAM).payload, "big") == http2.Code.NO_ERROR
        peer.send(http2.frame(http2.DATA, http2.END_STREAM, 1, framed(b"on its way")))
        peer.call(3, b"x", changed(authorization="Bearer s3cret"))
        assert peer.status(3) == OK
        assert port.taken == [(Signal.TRACES, b"x")]
    finally:
        port.close()


def test_a_stop_answers_what_is_under_way_and_takes_nothing_new() -> None:
    """GOAWAY names the last call that counts: it is answered; later ones are refused, idle connections closed."""
    port = Port()
    peer, idle = Peer(port), Peer(port)
    port.do(port.gate.clear)
    peer.call(1, b"under way")
    until(lambda: len(port.taken) == 1)
    stopping = port.do(lambda: port.front.loop.create_task(port.front.stop(5)))
    assert peer.next(http2.GOAWAY).payload[:4] == (1).to_bytes(4, "big")
    assert idle.goodbye() == http2.Code.NO_ERROR
    peer.call(3, b"new")
    assert int.from_bytes(peer.next(http2.RST_STREAM).payload, "big") == http2.Code.REFUSED_STREAM
    port.do(port.gate.set)
    assert peer.status(1) == OK
    assert peer.frame() is None
    until(stopping.done)
    assert port.taken == [(Signal.TRACES, b"under way")]
    port.close()


def test_other_protocols_are_told_or_closed(port: Port) -> None:
    """HTTP/1.1 gets an answer that says where it belongs; anything else, TLS for one, is closed at once."""
    peer = Peer(port, greets=False)
    peer.send(b"POST /v1/traces HTTP/1.1\r\nhost: x\r\n\r\n")
    answer = peer.rest()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"gRPC" in answer
    other = Peer(port, greets=False)
    other.send(b"\x16\x03\x01\x02\x00\x01\x00")
    assert other.rest() == b""


def test_repeated_header_blocks_mean_the_same_only_while_the_table_is_the_same() -> None:
    """Decoding once is as good as decoding always, whatever an encoder does between: compared with a plain decoder."""
    chance = random.Random(20261125)
    encoder, plain, cached = Encoder(), Decoder(), HeaderBlocks(list)
    for number in range(3000):
        headers = [(b"a%d" % chance.randint(0, 3), b"v" * chance.randint(0, 40)) for _ in range(chance.randint(1, 4))]
        if chance.random() < 0.1:
            encoder.header_table_size = chance.choice((0, 60, 120, 4096))
        if chance.random() < 0.2:
            headers.append((b"unique", b"%d" % number))
        block = encoder.encode(headers, huffman=chance.random() < 0.5)
        assert cached.read(block) == [tuple(one) for one in plain.decode(block, raw=True)] == headers
