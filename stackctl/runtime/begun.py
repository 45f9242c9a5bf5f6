"""Processes that a command begins itself: none is there that nobody knows of, and each is ended in order."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def interrupt_deferred() -> Iterator[None]:
    """Let a Ctrl-C wait for the end of the block, which raises it: within the `try` that ends what was begun.

    For the main thread alone, as Ctrl-C is.
    """
    pressed: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: pressed.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if pressed:
        raise KeyboardInterrupt


def stop(process: "subprocess.Popen[Any]", patience_seconds: float) -> None:
    """Ask a process to end, kill it where it does not, and wait until it is gone.

    Args:
        patience_seconds: how long it may take.
    """
    process.terminate()
    try:
        process.wait(patience_seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
