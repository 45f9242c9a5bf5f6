"""The query process: `python -m stackctl.embedded.query CONFIG.json`.

Answers as Prometheus and as Tempo, reads what ingest stores, evaluates the rules, and exits 0 on SIGTERM or SIGINT; 3
with one line on stderr when a port is taken.
"""

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Final

import uvloop
from starlette.applications import Starlette
from starlette.types import Receive, Scope, Send

from stackctl.embedded.allocator import share_arenas
from stackctl.embedded.api.http import Guarded
from stackctl.embedded.api.sending import Sending, Unread
from stackctl.embedded.asgi_server import asgi_server
from stackctl.embedded.otlp.front import listen
from stackctl.embedded.otlp.limits import guard_of
from stackctl.embedded.store.asked import Asked
from stackctl.embedded.store.layout import Layout
from stackctl.embedded.turns import take_short_turns
from stackctl.errors import StackctlError
from stackctl.stack import EngineConfig

log = logging.getLogger("stackctl.query")

# Endpoint to the module whose `app(config)` answers there.
APPS: Final = {"prometheus": "stackctl.embedded.api.prometheus", "tempo": "stackctl.embedded.api.tempo"}

# A request goes from thread to thread and back. Whoever else computes, such as what follows the store, keeps the
# interpreter for so long each time; by default that is ten times as long, and half of a short answer's time.
SWITCH_SECONDS: Final = 0.0005


class Coming:
    """An application that is made in a thread while the process listens already; requests wait for it.

    DuckDB and the like take longer to import than everything else here. What the application does beside answering
    (its lifespan) lasts from then until `stop` is set.

    Args:
        make: returns the application; an exception of it fails each request.

    Attributes:
        living: ends with the lifespan, or with what `make` raised.
    """

    def __init__(self, make: Callable[[], Starlette], stop: asyncio.Event) -> None:
        self._made: asyncio.Future[Starlette] = asyncio.get_running_loop().create_future()
        self.living = asyncio.create_task(self._live(make, stop))

    async def _live(self, make: Callable[[], Starlette], stop: asyncio.Event) -> None:
        try:
            app = await asyncio.to_thread(make)
            gc.freeze()  # what a start made stays: to look through it again holds an answer up for 0.1 s
            async with app.router.lifespan_context(app):
                self._made.set_result(app)
                await stop.wait()
        except BaseException as error:
            if not self._made.done():
                self._made.set_exception(error)
                self._made.exception()  # seen here: there may be no request that would see it
            raise

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        app = await asyncio.shield(self._made)
        await app(scope, receive, send)


async def serve(config: EngineConfig, stop: asyncio.Event) -> None:
    """Answer on both ports until `stop` is set.

    Raises:
        PortTaken: another program listens on one of them.
        StackctlError: an application cannot be made.
    """
    token = Path(config.token_file).read_text().strip() if config.token_file else None
    guard = guard_of(config.host, token)
    sockets = {name: listen(config.host, config.ports[name], name) for name in APPS}
    ended = asyncio.Event()
    coming = {name: Coming(_maker(name, config), ended) for name in APPS}
    asked, unread = Asked(Layout.below(Path(config.data_dir)).asked), Unread()
    servers = {name: asgi_server(Sending(Guarded(coming[name], guard, asked.note), unread)) for name in APPS}
    serving = [asyncio.create_task(servers[name].serve([sockets[name]]), name=name) for name in APPS]
    stopping = asyncio.create_task(stop.wait(), name="stop")
    log.info("ready: prometheus %s, tempo %s", config.ports["prometheus"], config.ports["tempo"])
    living = [one.living for one in coming.values()]
    done, _ = await asyncio.wait({stopping, *serving, *living}, return_when=asyncio.FIRST_COMPLETED)
    for server in servers.values():
        server.should_exit = True
    stopping.cancel()
    await asyncio.gather(*serving)
    ended.set()
    await asyncio.gather(*living, return_exceptions=True)
    for task in done - {stopping}:
        task.result()  # what ended by itself failed: the supervisor starts the process again
    log.info("stopped")


def _maker(name: str, config: EngineConfig) -> Callable[[], Starlette]:
    def make() -> Starlette:
        made: Starlette = import_module(APPS[name]).app(config)
        return made

    return make


async def _until_told(config: EngineConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await serve(config, stop)


def main(arguments: Sequence[str]) -> int:
    """Run the process; return its exit code."""
    sys.setswitchinterval(SWITCH_SECONDS)
    take_short_turns()  # before there are other threads, which take after this one
    share_arenas()  # before pyarrow is imported, which the applications do
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    try:
        with suppress(KeyboardInterrupt):
            uvloop.run(_until_told(EngineConfig.read(Path(arguments[0]))))
    except StackctlError as error:
        sys.stderr.write(f"error: {error.message}; next: {error.next_step}\n")
        return error.exit_code
    finally:
        gc.unfreeze()  # DuckDB tells of everything that is there at the end as of a leak
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
