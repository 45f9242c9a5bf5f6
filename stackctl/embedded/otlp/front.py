"""What the servers of both OTLP ports share: connections bounded in number, memory and time, and a stop."""

import asyncio
import resource
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Protocol, TypeVar

from stackctl.embedded.otlp.signals import BUSY, Refused
from stackctl.errors import PortTaken

T = TypeVar("T")

# Each is a file: some are left for the store. Two ports with 384 each fit into the 1,024 that are usual.
_MOST_CONNECTIONS: Final = 2048
_OTHER_FILES: Final = 256
# Bytes of requests that have not come whole, over all connections; one of the largest always fits.
UNFINISHED_BYTES: Final = 96 * 1024**2
# A batch of spans comes in one piece, or few.
SCRATCH_BYTES: Final = 1024**2
# Within this a request must have come whole, and an answer be taken.
REQUEST_SECONDS: Final = 60.0
# Within this a connection must have said what it speaks, and a head that was begun must be whole.
GREETING_SECONDS: Final = 10.0
_BACKLOG: Final = 1024
_LOOK_SECONDS: Final = 1.0
_STOP_LOOK_SECONDS: Final = 0.01
# Inflating or reading JSON of this many bytes would hold the event loop for a millisecond: a thread does it.
LARGE_BYTES: Final = 16 * 1024
_THREADS: Final = 2  # each may hold a request of the largest size twice


class Connection(Protocol):
    """One connection as its server sees it."""

    @property
    def idle_since(self) -> float | None:
        """Time of the loop's clock when it was last heard of; None while something is under way."""

    def look(self, now: float) -> None:
        """End what takes too long.

        Args:
            now: seconds of the loop's clock.
        """

    def drain(self) -> None:
        """Take nothing new; close when what is under way is answered."""

    def abort(self) -> None:
        """Close at once."""


class Unfinished:
    """The memory of requests that have not come whole.

    Args:
        most: bytes.
    """

    def __init__(self, most: int = UNFINISHED_BYTES) -> None:
        self._most = most
        self.held = 0

    def hold(self, size: int) -> None:
        """Count bytes that came.

        Raises:
            Refused: too many are held already; these are not counted.
        """
        if self.held + size > self._most:
            raise Refused(BUSY, "too many unfinished requests are held")
        self.held += size

    def release(self, size: int) -> None:
        """Uncount bytes that went on, or were dropped."""
        self.held -= size


class Front:
    """One listening port.

    Args:
        unfinished: memory of what has not come whole.
        most_connections: when more come, the one that was idle the longest is closed; without an idle one the newest.
            By default a half of what files the process may open.

    Attributes:
        loop: the event loop.
        scratch: where connections may have bytes read to that they take at once.
        draining: it is being stopped.
    """

    def __init__(self, unfinished: Unfinished, most_connections: int | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.unfinished = unfinished
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        self._most = _connections_allowed() if most_connections is None else most_connections
        self._open: set[Connection] = set()
        self._threads: ThreadPoolExecutor | None = None
        self._server: asyncio.Server | None = None
        self._looking: asyncio.TimerHandle | None = None
        self.draining = False

    async def listen(self, bound: socket.socket, connection: Callable[["Front"], asyncio.BaseProtocol]) -> None:
        """Take connections on a bound socket."""
        self._server = await self.loop.create_server(lambda: connection(self), sock=bound, backlog=_BACKLOG)

    def opened(self, connection: Connection) -> None:
        """Enter a connection; one is closed where there are too many."""
        self._open.add(connection)
        if self.draining:  # it was accepted while the stop began
            connection.drain()
        if self._looking is None:
            self._looking = self.loop.call_later(_LOOK_SECONDS, self._look)
        if len(self._open) > self._most:
            idle = [one for one in self._open if one.idle_since is not None and one is not connection]
            leaves = min(idle, key=lambda one: one.idle_since or 0.0, default=connection)
            self._open.discard(leaves)
            leaves.abort()

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""
        self._open.discard(connection)

    async def aside(self, work: Callable[[bytes], T], body: bytes, large_bytes: int = LARGE_BYTES) -> T:
        """Do work on a body, in a thread when it is large."""
        if len(body) <= large_bytes:
            return work(body)
        self._threads = self._threads or ThreadPoolExecutor(_THREADS, "inflate")
        return await self.loop.run_in_executor(self._threads, work, body)

    async def stop(self, grace: float) -> None:
        """Take nothing new, answer what is under way, close.

        Args:
            grace: seconds for that.
        """
        self.draining = True
        if self._server is not None:
            self._server.close()
        for connection in list(self._open):
            connection.drain()
        end = self.loop.time() + grace
        while self._open and self.loop.time() < end:
            await asyncio.sleep(_STOP_LOOK_SECONDS)
        for connection in list(self._open):
            connection.abort()
        if self._looking is not None:
            self._looking.cancel()
        if self._threads is not None:
            self._threads.shutdown(wait=False)

    def _look(self) -> None:
        now = self.loop.time()
        for connection in list(self._open):
            connection.look(now)
        self._looking = self.loop.call_later(_LOOK_SECONDS, self._look) if self._open else None


def _connections_allowed() -> int:
    """How many connections one of two ports may have."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(_MOST_CONNECTIONS, (files - _OTHER_FILES) // 2)) if files > 0 else _MOST_CONNECTIONS


def keep_alive(transport: Any) -> None:
    """Let the kernel find out about peers that vanished: nothing else would close such a connection."""
    bound = transport.get_extra_info("socket")
    if bound is not None:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def listen(host: str, port: int, endpoint: str) -> socket.socket:
    """Bind a TCP socket.

    Raises:
        PortTaken: another program listens there.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets it only on sockets of a named protocol; without it an answer in two writes waits 40 ms for an ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortTaken(
            f"port {port} on {host} is taken ({endpoint})", next_step="stop what listens there, or use --ports"
        ) from error
    return bound
