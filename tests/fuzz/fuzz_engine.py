"""The engine's two processes under fire, and a client that sends any bytes and notes what comes back.

How many requests there are says `STACKCTL_FUZZ` (all tests together), where they begin `STACKCTL_FUZZ_SEED`.
"""

import asyncio
import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psutil

from stackctl.embedded.otlp import http2
from stackctl.stack import EngineConfig
from tests.realstack import free_port

REQUESTS = int(os.environ.get("STACKCTL_FUZZ", "1500"))
SEED = int(os.environ.get("STACKCTL_FUZZ_SEED", "20261125"))
ANSWER_SECONDS = 150.0
"""No request may take longer: a little more than the time that a query may have."""
TIMED_OUT = 503
"""A query may run out of its time, never more than a few of them."""
IN_A_HURRY = "503 in the time it set"
_AT_ONCE = 8
TELEMETRY_AT_ONCE = 48
"""As many senders as share a group commit: what one of them sends must not become another's fault."""
_LOOK_EVERY = 2000
_SHOWN = 20


class Engine:
    """Ingest and query over one data directory, with logs that tests may read.

    Args:
        directory: empty.

    Attributes:
        sizes: megabytes of each process, as noted while requests were sent.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sizes: list[dict[str, float]] = []
        self.ports = {name: free_port() for name in ("otlp_grpc", "otlp_http", "prometheus", "tempo")}
        config = directory / "engine.json"
        EngineConfig(str(directory / "data"), ports=self.ports, price_hosts={}).write(config)
        self._processes = {name: self._start(name, config) for name in ("ingest", "query")}
        self._pids = {name: process.pid for name, process in self._processes.items()}
        for port, path in (("otlp_http", "/-/ready"), ("prometheus", "/-/ready"), ("tempo", "/ready")):
            self._wait(f"http://127.0.0.1:{self.ports[port]}{path}")

    def _start(self, name: str, config: Path) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("wb") as log:
            command = [sys.executable, "-X", "faulthandler", "-m", f"stackctl.embedded.{name}", config]
            return subprocess.Popen(command, stderr=log)  # one that crashes says where it was

    def _wait(self, url: str) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self.check()
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(url, trust_env=False, timeout=30).status_code == 200:
                    return
            time.sleep(0.05)
        raise AssertionError(f"no answer from {url}")

    def check(self) -> None:
        """Fail where a process ended: nothing starts one again here, so the same pid is the same process."""
        for name, process in self._processes.items():
            assert process.poll() is None, f"{name} ended with {process.returncode}: {self._last_words(name)}"

    def _last_words(self, name: str) -> str:
        """Return what a process said of its end: of a crash where it was, which stands before the other threads."""
        said = self.log(name)
        crash = said.rfind("Fatal Python error")
        return said[-3000:] if crash < 0 else said[crash : crash + 10_000]

    def log(self, name: str) -> str:
        """Return what a process wrote to stderr."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def tracebacks(self) -> list[str]:
        """Return the last lines of exceptions that a process logged."""
        return [
            block.strip().splitlines()[-1][:300]
            for name in self._processes
            for block in self.log(name).split("Traceback (most recent call last):")[1:]
        ]

    def megabytes(self) -> dict[str, float]:
        """Return the resident memory of each process with what its children have for themselves."""
        return {name: _bytes(psutil.Process(pid)) / 1e6 for name, pid in self._pids.items()}

    def watched(self, cases: Iterator["Case"]) -> Iterator["Case"]:
        """Yield the cases and note the memory from time to time: it must not go on growing."""
        for number, case in enumerate(cases):
            if number % _LOOK_EVERY == 0:
                self.sizes.append(self.megabytes())
            yield case

    def stop(self) -> None:
        """End both, and fail where one does not end cleanly."""
        for process in self._processes.values():
            process.send_signal(signal.SIGTERM)
        codes = {}
        for name, process in self._processes.items():
            try:
                codes[name] = process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                codes[name] = process.wait()
        assert set(codes.values()) == {0}, codes


def _bytes(process: psutil.Process) -> int:
    held = int(process.memory_info().rss)
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            held += int(child.memory_full_info().uss)
    return held


@dataclass(frozen=True)
class Case:
    """One request.

    Attributes:
        what: says it to people.
        raw: the bytes on the wire; for gRPC the message.
        path: for gRPC the method.
        hurried: it sets its own time, which may be over at once.
    """

    what: str
    raw: bytes
    path: str = ""
    hurried: bool = False


@dataclass
class Tally:
    """What came back.

    Attributes:
        statuses: how often each status came; None where the connection was closed without one.
        wrong: what should not have come, with the request's beginning.
        slowest: seconds and request.
    """

    statuses: Counter[int | str | None] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")

    def note(self, case: Case, status: int | str | None, seconds: float, allowed: frozenset[int | str | None]) -> None:
        """Count one answer."""
        if case.hurried and status == TIMED_OUT:
            status = IN_A_HURRY
        self.statuses[status] += 1
        self.slowest = max(self.slowest, (seconds, case.what))
        if status not in allowed and status != IN_A_HURRY and len(self.wrong) < _SHOWN:
            self.wrong.append(f"{status} for {case.what}: {case.raw[:600]!r}")

    def check(self, label: str) -> None:
        """Fail on anything that should not have come."""
        print(f"\n{label}: {sum(self.statuses.values())} requests, {dict(self.statuses)}, slowest {self.slowest}")
        assert not self.wrong, "\n".join(self.wrong)
        assert self.slowest[0] < ANSWER_SECONDS, self.slowest


def chance(name: str) -> random.Random:
    """Return a source of chance of its own for one kind of request."""
    return random.Random(f"{SEED} {name}")


class Http:
    """One connection that is opened again when the server closed it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, case: Case) -> int | None:
        """Send a request and return the status of its answer; None where none came."""
        for _ in range(2):
            fresh = self._streams is None
            try:
                if self._streams is None:
                    self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**26)
                status = await self._exchange(*self._streams, case.raw)
            except (OSError, asyncio.IncompleteReadError):
                status = None
            if status is not None or fresh:
                if status is None:
                    await self.close()
                return status
            await self.close()  # the server had closed a connection that was kept: ask again on a new one
        return None

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, raw: bytes) -> int | None:
        writer.write(raw)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        status = int(head.split(None, 2)[1])
        if b"\r\ncontent-length:" in head:
            await reader.readexactly(int(head.split(b"\r\ncontent-length:")[1].split(b"\r\n")[0]))
        elif b"\r\ntransfer-encoding: chunked" in head:
            while size := int(await reader.readline(), 16):
                await reader.readexactly(size + 2)
            await reader.readline()
        if b"\r\nconnection: close" in head:
            await self.close()
        return status

    async def close(self) -> None:
        """Close the connection."""
        if self._streams:
            self._streams[1].close()
            with contextlib.suppress(OSError):
                await self._streams[1].wait_closed()
        self._streams = None


async def shout(port: int, raw: bytes) -> int | None:
    """Send bytes on a connection of their own, end it, and return the first status that comes; None for none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**26)
    except OSError:
        return None
    try:
        writer.write(raw)
        await writer.drain()
        writer.write_eof()
        line = await reader.readline()
        return int(line.split()[1]) if line.startswith(b"HTTP/") else None
    except (OSError, ValueError):
        return None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


async def farewell(port: int, raw: bytes) -> str | None:
    """Send bytes of HTTP/2 on a connection of their own, end it, and return the error it ends with; None for none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with contextlib.suppress(OSError):
            writer.write(raw)
            await writer.drain()
            writer.write_eof()
        answer, code = await reader.read(-1), None
        while len(answer) >= http2.HEAD_BYTES:
            high, low, kind, _, _ = http2.HEAD.unpack_from(answer)
            payload, answer = answer[9 : 9 + (high << 16 | low)], answer[9 + (high << 16 | low) :]
            if kind == http2.GOAWAY:
                code = http2.Code(int.from_bytes(payload[4:8], "big")).name
        writer.close()
        return code
    except OSError:
        return None


def fire(
    cases: Iterator[Case],
    asker: Callable[[], Callable[[Case], Awaitable[int | str | None]]],
    allowed: frozenset[int | str | None],
    at_once: int = _AT_ONCE,
) -> Tally:
    """Send all cases, some at a time.

    Args:
        asker: makes what sends one case after the other, for each of those at a time.
        allowed: statuses that may come.
        at_once: how many at a time.
    """
    tally = Tally()

    async def one() -> None:
        ask = asker()
        for case in cases:
            began = time.monotonic()
            try:
                status = await asyncio.wait_for(ask(case), ANSWER_SECONDS)
            except TimeoutError:
                status = "no answer in time"
            tally.note(case, status, time.monotonic() - began, allowed)

    async def many() -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(one())

    asyncio.run(many())
    return tally
