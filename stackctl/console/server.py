"""The console's process: `python -m stackctl.console.server ENGINE.json`, or `--prometheus URL --tempo URL`.

Serves its own files, forwards to the two query APIs and the stack's state, and nothing else. Exits 0 on SIGTERM or
SIGINT; 3 with one line on stderr when the port is taken or the console was not built.
"""

import argparse
import asyncio
import contextlib
import logging
import signal
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx2
import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from stackctl.console.config import ConsoleConfig
from stackctl.console.forward import PROMETHEUS_PATHS, TEMPO_PATHS, Forward, client
from stackctl.console.guard import Guarded
from stackctl.console.health import Health
from stackctl.console.pages import Boards, Pages
from stackctl.errors import PortTaken, StackctlError
from stackctl.stack import EngineConfig

log = logging.getLogger("stackctl.console")

# Addresses that the page's script draws; a reload or a bookmark of any of them must reach the page.
PAGES = ("/", "/d/{uid}", "/d/{uid}/{slug}", "/explore", "/traces", "/traces/{rest:path}", "/stack")
_PACK_FROM_BYTES = 2_000
_PACK_LEVEL = 4  # most of the size for little of the time


def app(config: ConsoleConfig, http: httpx2.AsyncClient) -> Starlette:
    """Return the application.

    Args:
        http: what the forwards and the health report ask with.

    Raises:
        PackageMissing: the console was not built.
    """
    pages, boards = Pages(), Boards()
    metrics = Forward(http, config.prometheus, PROMETHEUS_PATHS)
    traces = Forward(http, config.tempo, TEMPO_PATHS)
    routes = [
        *(Route(path, pages.page) for path in PAGES),
        Route("/assets/{name}", pages.asset),
        Route("/api/boards", boards.index),
        Route("/api/boards/{uid}", boards.board),
        Route("/api/stack", Health(config, http).report),
        Route("/api/prometheus/{path:path}", metrics.forward, methods=["GET", "POST"]),
        Route("/api/tempo/{path:path}", traces.forward, methods=["GET"]),
        Route("/-/ready", _ready),
    ]
    guard = Middleware(Guarded, hosts=frozenset({config.host}), token=config.token())
    packing = Middleware(GZipMiddleware, minimum_size=_PACK_FROM_BYTES, compresslevel=_PACK_LEVEL)
    return Starlette(routes=routes, middleware=[guard, packing])


async def _ready(_: Request) -> Response:
    return PlainTextResponse("ready\n")


class _Server(uvicorn.Server):
    """uvicorn whose owner handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the process."""
        yield


async def serve(config: ConsoleConfig, stop: asyncio.Event) -> None:
    """Answer until `stop` is set.

    Raises:
        PortTaken: another program listens there.
        PackageMissing: the console was not built.
    """
    bound = _listen(config.host, config.port)
    async with client(config.token()) as http:
        server = _Server(
            uvicorn.Config(
                app(config, http),
                loop="none",
                lifespan="off",
                ws="none",
                log_level="error",
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=1,
            )
        )
        serving = asyncio.create_task(server.serve([bound]))
        stopping = asyncio.create_task(stop.wait())
        log.info("ready: http://%s:%d over %s and %s", config.host, config.port, config.prometheus, config.tempo)
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
        stopping.cancel()
        await serving
    log.info("stopped")


def _listen(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # asyncio sets it only on sockets of a named protocol; without it an answer in two writes waits 40 ms for an ACK.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise PortTaken(
            f"port {port} on {host} is taken (console)", next_step="stop what listens there, or choose another port"
        ) from error
    return bound


async def _until_told(config: ConsoleConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(config, stop)


def _config(arguments: Sequence[str]) -> ConsoleConfig:
    parser = argparse.ArgumentParser(prog="stackctl.console.server")
    parser.add_argument("engine", nargs="?", type=Path, help="configuration of an embedded stack")
    parser.add_argument("--prometheus")
    parser.add_argument("--tempo")
    parser.add_argument("--host", default=ConsoleConfig.host)
    parser.add_argument("--port", type=int, default=ConsoleConfig.port)
    parser.add_argument("--token-file", type=Path)
    found = parser.parse_args(arguments)
    if found.engine is not None:
        return ConsoleConfig.of_engine(EngineConfig.read(found.engine))
    return ConsoleConfig(found.prometheus, found.tempo, found.host, found.port, found.token_file)


def main(arguments: Sequence[str]) -> int:
    """Run the process; return its exit code."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("httpx2").setLevel(logging.WARNING)  # it would write every query
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_until_told(_config(arguments)))
    except StackctlError as error:
        sys.stderr.write(f"error: {error.message}; next: {error.next_step}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
