"""The two OTLP ports, served in this process, so that tests see what they hold."""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from stackctl.embedded.otlp.front import Front, Unfinished, listen
from stackctl.embedded.otlp.grpc_server import serve_grpc
from stackctl.embedded.otlp.http_server import serve_http
from stackctl.embedded.otlp.limits import Guard
from stackctl.embedded.otlp.signals import Accepted, Signal
from tests.realstack import free_port

T = TypeVar("T")
ANSWER_SECONDS = 10.0


class Port:
    """A real OTLP port that keeps what it takes, in an event loop of its own; over gRPC.

    Attributes:
        taken: signal and body of each request.
        first: what the next requests are answered with, one each; an exception is raised.
        outcome: what those after them are answered with.
        gate: requests wait while it is clear.
    """

    def __init__(
        self,
        guard: Guard | None = None,
        most_unfinished: int | None = None,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self.number = free_port()
        self.taken: list[tuple[Signal, bytes]] = []
        self.first: list[Accepted | Exception] = []
        self.outcome: Accepted | Exception = Accepted()
        self.cancelled = 0
        self._loop = loop or asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.gate = asyncio.Event()
        self.gate.set()
        self.unfinished = Unfinished() if most_unfinished is None else Unfinished(most_unfinished)
        self.front: Front = self.run(self._serve(guard or Guard()))

    async def _serve(self, guard: Guard) -> Front:
        return await serve_grpc(self._take, guard, "127.0.0.1", self.number, self.unfinished)

    async def _take(self, signal: Signal, body: bytes) -> Accepted:
        self.taken.append((signal, body))
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        outcome = self.first.pop(0) if self.first else self.outcome
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the port's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(ANSWER_SECONDS)

    def do(self, work: Callable[[], T]) -> T:
        """Call something in the port's loop."""

        async def called() -> T:
            return work()

        return self.run(called())

    def close(self) -> None:
        """Stop it."""
        self.run(self.front.stop(0.5))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class HttpPort(Port):
    """The same over HTTP/1.1."""

    async def _serve(self, guard: Guard) -> Front:
        bound = listen("127.0.0.1", self.number, "otlp_http")
        return await serve_http(self._take, guard, dict, bound, self.unfinished)


def until(true: Callable[[], bool]) -> None:
    """Wait for something that happens on the server's side."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.005)
