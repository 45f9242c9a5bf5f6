"""Removing a log file without a stall: a little at a time, when nobody reads it any more.

What a file held is given back to the disk with the next commit of the file system's journal, and where it is mounted
with `discard`, as cloud images are, that commit waits for the disk: 60 to 70 ms for a log file of 90 MB, in which no
frame is synced. In pieces it is not noticed.
"""

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

_PIECE_BYTES: Final = 2 * 1024**2
_PAUSE_SECONDS: Final = 0.01
# Names in the directory of the log files that are none of theirs.
_ASIDE: Final = ".gone"


def set_aside(path: Path) -> None:
    """Take away a file's name: nobody opens it any more, who has it open may read on."""
    path.rename(path.with_name(f".{path.name}{_ASIDE}"))


def aside(directory: Path) -> list[Path]:
    """The files that were set aside there."""
    return sorted(directory.glob(f".*{_ASIDE}"))


def shrink_away(path: Path, pause: Callable[[float], None] = time.sleep) -> bool:
    """Remove a file that was set aside, little by little.

    Args:
        pause: waits for so many seconds.

    Returns:
        False where somebody reads it: it is left as it is.
    """
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        for size in range(os.fstat(file.fileno()).st_size - _PIECE_BYTES, 0, -_PIECE_BYTES):
            os.ftruncate(file.fileno(), size)
            pause(_PAUSE_SECONDS)
    path.unlink()
    return True


def open_to_read(path: Path) -> int:
    """Open a file that may be set aside meanwhile: as long as the descriptor is open, it keeps what is in it.

    Raises:
        FileNotFoundError: it was.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        path.stat()  # it had its name still, so whoever shrinks it will find the lock
    except (BlockingIOError, FileNotFoundError) as error:
        os.close(handle)
        raise FileNotFoundError(path) from error
    return handle
