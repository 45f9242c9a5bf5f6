"""Whether a stack has a console, and the console that stands alone."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from stackctl.errors import Misuse, PackageMissing
from stackctl.files import console_pages
from stackctl.runtime.child import child_environment
from stackctl.setting_values import AUTO
from stackctl.settings import Settings

ENDPOINT = "console"
MODULE = "stackctl.console.server"
BUILTIN, GRAFANA = "builtin", "grafana"


def wanted(settings: Settings, tell: Callable[[str], None]) -> bool:
    """True when the embedded runtime is to start its console.

    Args:
        tell: called with the reason where one could be expected and there is none.

    Raises:
        Misuse: Grafana was asked for, which only the docker runtime has.
        PackageMissing: the console was asked for by name and this installation carries none.
    """
    if settings.console == GRAFANA:
        raise Misuse(
            "the embedded runtime has no Grafana", next_step="take its own console: stackctl up --console builtin"
        )
    if settings.console not in (AUTO, BUILTIN):
        return False
    try:
        console_pages()
    except PackageMissing as missing:
        if settings.console == BUILTIN:
            raise
        tell(f"{missing.message}; {missing.next_step}")
        return False
    return True


def alone(prometheus: str, tempo: str, host: str, port: int, token_file: Path | None) -> int:
    """Run the console over a pair of servers until it is told to stop; return its exit code."""
    command = [sys.executable, "-P", "-m", MODULE, "--prometheus", prometheus, "--tempo", tempo]
    command += ["--host", host, "--port", str(port)]
    if token_file is not None:
        command += ["--token-file", str(token_file.absolute())]
    process = subprocess.Popen(command, env=child_environment())
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the terminal's Ctrl-C reached the console too: it ends by itself
            continue
