"""One command at a time may start or stop a stack."""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stackctl.errors import StoreUnusable

_WAIT_SECONDS = 90.0
_PAUSE_SECONDS = 0.05


@contextmanager
def exclusive(data_dir: Path, tell: Callable[[str], None]) -> Iterator[None]:
    """Hold the data directory for starting or stopping; wait while another command does.

    Raises:
        StoreUnusable: the directory cannot be written, or the other command does not end.
    """
    path = data_dir / "run" / "up.lock"
    descriptor = _take(path, tell)
    try:
        yield
    finally:
        os.close(descriptor)


def _take(path: Path, tell: Callable[[str], None]) -> int:
    deadline = time.monotonic() + _WAIT_SECONDS
    told = False
    while True:
        descriptor = _opened(path)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and os.fstat(descriptor).st_ino == path.stat().st_ino:
                return descriptor
        except BlockingIOError:
            if not told:
                tell("another stackctl command starts or stops this stack: waiting for it")
                told = True
        os.close(descriptor)  # taken, or deleted by `down --delete-data` between the two lines: look again
        if time.monotonic() > deadline:
            raise StoreUnusable(
                f"another stackctl command has been starting or stopping this stack for {_WAIT_SECONDS:.0f} s",
                next_step=f"end it: its pid is shown by `fuser {path}`",
            )
        time.sleep(_PAUSE_SECONDS)


def _opened(path: Path) -> int:
    try:
        path.parent.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StoreUnusable(
            f"{path.parent.parent} cannot be used as data directory: {error.strerror}",
            next_step="name another one: stackctl --data-dir DIR up",
        ) from error
