"""A process that a command began is stopped, whenever the interrupt comes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import pytest

from stackctl.demo import conductor
from stackctl.runtime.compose import Compose

LASTING = (sys.executable, "-c", "import time; time.sleep(60)")


def demo(_: Path) -> None:
    with TemporaryFile() as said, conductor.started([*LASTING], os.environ, said):
        raise AssertionError("it went on")


def compose(directory: Path) -> None:
    Compose(LASTING, "5").up(directory, (), (), lambda _: None)


@pytest.mark.parametrize("begin", [demo, compose])
def test_an_interrupt_while_a_process_begins_leaves_none_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begin: Callable[[Path], None]
) -> None:
    """Ctrl-C between fork and return of `Popen`: raised once the process is known, which is then ended."""
    begun: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        begun.append(real(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return begun[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    with pytest.raises(KeyboardInterrupt):
        begin(tmp_path)
    assert begun[0].returncode == -signal.SIGTERM
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
