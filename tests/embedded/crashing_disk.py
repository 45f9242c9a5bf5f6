"""A file system whose program dies at its n-th change: every state that a kill can leave, one after the other.

Changes are counted in the functions through which the store and the series log make them. At the chosen one `Crash` is
raised, before the change or halfway through a write, and nothing is changed any more: `finally` does not run in a
process that was killed.
"""

import os
import pathlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from stackctl.embedded.series import blocks
from stackctl.embedded.store import seal

_SYSTEM_CALLS = ("pwritev", "pwrite", "fdatasync", "fsync", "ftruncate", "rename", "unlink", "mkdir", "rmdir")


class Crash(BaseException):
    """The process was killed. No `except Exception` gets hold of it."""


class CrashingDisk:
    """Counts changes and ends the program at one.

    Attributes:
        changes: made so far.
        dies_at: number of the change that is not made; None for never.
        halfway: whether a write at that place gets half of its bytes to the disk.
        names: what each change was.
    """

    def __init__(self) -> None:
        self.changes = 0
        self.dies_at: int | None = None
        self.halfway = False
        self.names: list[str] = []
        self._handles: set[int] = set()

    def arm(self, dies_at: int | None, halfway: bool = False) -> None:
        """Begin to count for a new process."""
        self.changes, self.dies_at, self.halfway, self.names = 0, dies_at, halfway, []

    def release(self) -> None:
        """Close what the dead process had open, as the kernel does."""
        for handle in self._handles:
            with suppress(OSError):
                _close(handle)
        self._handles.clear()

    def change(self, name: str, make: Callable[[], Any], half: Callable[[], None] = lambda: None) -> Any:
        """Count a change and make it, or die."""
        self.changes += 1
        self.names.append(name)
        if self.dies_at is not None and self.changes >= self.dies_at:
            if self.halfway and self.changes == self.dies_at:
                half()
            raise Crash(f"{self.changes}: {name}")
        return make()

    def opened(self, handle: int) -> int:
        """Note a file that is open."""
        self._handles.add(handle)
        return handle

    def closed(self, handle: int) -> None:
        """Note that it is no more."""
        self._handles.discard(handle)


_close, _pwrite = os.close, os.pwrite


@contextmanager
def crashing_disk() -> Iterator[CrashingDisk]:
    """Put a disk between the store and the system."""
    disk = CrashingDisk()
    with pytest.MonkeyPatch.context() as patch:
        for name in _SYSTEM_CALLS:
            patch.setattr(os, name, _counted(disk, name, getattr(os, name)))
        plain_open = os.open

        def opening(path: Any, flags: int, *rest: Any, **named: Any) -> int:
            make = lambda: disk.opened(plain_open(path, flags, *rest, **named))  # noqa: E731
            fresh = flags & os.O_CREAT and not os.path.exists(path)
            return disk.change("create", make) if fresh else make()

        def closing(handle: int) -> None:
            disk.closed(handle)
            _close(handle)

        patch.setattr(os, "open", opening)
        patch.setattr(os, "close", closing)
        for owner, name in (
            (pathlib.Path, "write_bytes"),
            (pathlib.Path, "write_text"),
            (pathlib.Path, "touch"),
            (seal, "write_parquet"),
            (blocks, "_write_series"),
            (blocks, "_write_samples"),
            (blocks, "_write_exemplars"),
        ):
            patch.setattr(owner, name, _counted(disk, name, getattr(owner, name)))
        yield disk
        disk.release()


def _counted(disk: CrashingDisk, name: str, plain: Callable[..., Any]) -> Callable[..., Any]:
    def counted(*args: Any, **named: Any) -> Any:
        def half() -> None:
            if name == "pwritev":
                handle, buffers, offset = args
                whole = b"".join(buffers)
                _pwrite(handle, whole[: len(whole) // 2], offset)

        return disk.change(name, lambda: plain(*args, **named), half)

    return counted
