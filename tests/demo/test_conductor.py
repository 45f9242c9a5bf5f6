"""A process that the demo began is stopped, whenever the interrupt comes."""

import os
import signal
import subprocess
import sys
from tempfile import TemporaryFile
from typing import Any

import pytest

from stackctl.demo import conductor


def test_an_interrupt_while_a_process_begins_leaves_none_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C between fork and return of `Popen`: raised once the process is known, which is then ended."""
    begun: list[subprocess.Popen[bytes]] = []
    real = subprocess.Popen

    def interrupted(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        begun.append(real(*arguments, **options))
        os.kill(os.getpid(), signal.SIGINT)
        return begun[0]

    monkeypatch.setattr(conductor.subprocess, "Popen", interrupted)
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    with TemporaryFile() as said, pytest.raises(KeyboardInterrupt), conductor.started(command, os.environ, said):
        raise AssertionError("it went on")
    assert begun[0].returncode == -signal.SIGTERM
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
