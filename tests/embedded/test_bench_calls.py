"""The load generator's gRPC speaks to a server that is none of ours: windows, frame sizes, refusals, a lost server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
import pytest

from stackctl.bench.calls import EXPORT, CallFailed, GrpcSender
from stackctl.bench.ingest import free_port

Answer = Callable[[bytes, Any], Awaitable[bytes]]


async def _served(port: int, answer: Answer) -> grpc.aio.Server:
    """A server of gRPC's own, with its windows of 64 KiB and frames of 16."""
    server = grpc.aio.server(options=(("grpc.so_reuseport", 0),))
    handler = grpc.unary_unary_rpc_method_handler(answer)
    service, method = EXPORT.strip("/").split("/")
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, {method: handler}),))
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


def test_messages_larger_than_frames_and_windows_arrive_whole() -> None:
    """Twelve at a time over one connection, each of ten times what a new stream takes."""
    bodies = [bytes([number]) * 700_000 for number in range(12)]

    async def run() -> list[bytes]:
        taken = []

        async def take(body: bytes, _: Any) -> bytes:
            taken.append(body)
            return b""

        port = free_port()
        server = await _served(port, take)
        sender = GrpcSender(f"127.0.0.1:{port}")
        await asyncio.gather(*map(sender.call, bodies))
        await server.stop(None)
        return taken

    assert sorted(asyncio.run(run())) == bodies


def test_a_refusal_says_its_status_and_a_lost_server_is_found_again() -> None:
    """14 is UNAVAILABLE; a call to nobody is an error of the system's."""

    async def run() -> None:
        refusing = True

        async def take(_: bytes, context: Any) -> bytes:
            if refusing:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "later")
            return b""

        port = free_port()
        server = await _served(port, take)
        sender = GrpcSender(f"127.0.0.1:{port}")
        with pytest.raises(CallFailed, match=r"^14$"):
            await sender.call(b"x")
        await server.stop(None)
        refusing = False
        for _ in range(2):
            with pytest.raises(OSError):  # noqa: PT011 - whatever the system says of a port where nobody listens
                await sender.call(b"x")
        server = await _served(port, take)
        await sender.call(b"x")
        await server.stop(None)

    asyncio.run(run())


def test_a_call_without_an_answer_ends_in_time() -> None:
    """The others of its connection go on."""

    async def run() -> None:
        async def take(body: bytes, _: Any) -> bytes:
            await asyncio.sleep(0.0 if body else 30.0)
            return b""

        port = free_port()
        server = await _served(port, take)
        sender = GrpcSender(f"127.0.0.1:{port}")
        with pytest.raises(CallFailed, match=r"^no answer in time$"):
            await sender.call(b"", 0.2)
        await sender.call(b"x")
        await server.stop(None)

    asyncio.run(run())
