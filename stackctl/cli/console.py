"""`stackctl console`: the web console alone, over any pair of servers."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from stackctl.cli.context import say


def console(
    prometheus: Annotated[str, typer.Option(help="URL of a Prometheus API.")],
    tempo: Annotated[str, typer.Option(help="URL of a Tempo API.")],
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="Port; the usual one if not said.")] = None,
    host: Annotated[str, typer.Option(help="Address it listens on.")] = "127.0.0.1",
    token_file: Annotated[
        Path | None, typer.Option(help="Bearer token that the servers ask for; the console then asks for it too.")
    ] = None,
) -> None:
    """Show the boards and traces of a Prometheus and a Tempo in a browser, until Ctrl-C."""
    from stackctl.files import console_pages
    from stackctl.runtime.console import alone
    from stackctl.stack import ENDPOINT_BY_NAME

    console_pages()
    endpoint = ENDPOINT_BY_NAME["console"]
    chosen = port or endpoint.port
    say(f"console: {endpoint.url(host, chosen)} over {prometheus} and {tempo}; Ctrl-C stops it")
    sys.exit(alone(prometheus, tempo, host, chosen, token_file))


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    root.command()(console)
