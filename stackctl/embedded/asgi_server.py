"""uvicorn as the query process runs it: on a socket that is bound, silent, its signals left to the process."""

import contextlib
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


class AsgiServer(uvicorn.Server):
    """uvicorn whose owner handles the signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave SIGTERM and SIGINT to the process."""
        yield


def asgi_server(app: ASGIApp) -> AsgiServer:
    """A server for `serve(sockets=[...])`, silent but for errors."""
    config = uvicorn.Config(
        app,
        http="httptools",
        loop="none",
        lifespan="off",
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=5,
    )
    return AsgiServer(config)
