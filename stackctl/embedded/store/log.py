"""The file that frames are appended to: written, synced, and cut back when the disk refuses."""

import mmap
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Self

from stackctl.embedded.store.frame import Gap, StoredFrame, scan
from stackctl.embedded.store.layout import sync_directory
from stackctl.errors import StoreUnusable

Sync = Callable[[int], None]


class LogFile:
    """One open log file, its size always that of its whole, synced frames.

    Args:
        path: the file; made if it is not there.
        size: bytes of whole frames in it; what stands behind is cut off.
        sync: makes written bytes durable; tests count or break it.

    Raises:
        StoreUnusable: the file cannot be opened or cut.
    """

    def __init__(self, path: Path, size: int = 0, sync: Sync = os.fdatasync) -> None:
        self.size = size
        self._sync = sync
        self._path = path
        self._handle = -1
        try:
            self._handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_CLOEXEC, 0o600)
            os.ftruncate(self._handle, size)
            # Frames of a killed process may be in the kernel's memory only; known again, they will be acknowledged.
            self._sync(self._handle)
            sync_directory(path.parent)
        except OSError as error:
            if self._handle >= 0:  # tried again for as long as the disk refuses: each time would cost a descriptor
                os.close(self._handle)
            raise refused(path, error) from error

    def append(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Write one frame and make it durable.

        Raises:
            StoreUnusable: the disk refused; the file is as it was before, and later appends may succeed.
        """
        try:
            written = _write_all(self._handle, buffers, self.size)
            self._sync(self._handle)
        except OSError as error:
            self._cut_back()
            raise refused(self._path, error) from error
        self.size += written

    def close(self) -> None:
        """Close the file; everything in it is durable already."""
        os.close(self._handle)

    def _cut_back(self) -> None:
        """Drop a frame that was refused, whole or in part, so that no reader and no recovery takes it for stored.

        Where even that fails, the next append overwrites it: writes go to `size`, not to the file's end.
        """
        try:
            os.ftruncate(self._handle, self.size)
        except OSError:
            return

    @classmethod
    def resume(cls, path: Path, sync: Sync = os.fdatasync) -> tuple[Self, list[StoredFrame], int]:
        """Open a log file after a stop of any kind.

        Returns:
            The file ready for appending, its whole frames, and how many bytes were no frame (cut at the file's end).
        """
        path.touch(mode=0o600)
        frames, gaps = read_log(path)
        size = max((frame.end for frame in frames), default=0)
        return cls(path, size, sync), frames, sum(gap.end - gap.start for gap in gaps)


def read_log(path: Path) -> tuple[list[StoredFrame], list[Gap]]:
    """Frames of a log file and the places that hold none."""
    frames: list[StoredFrame] = []
    gaps: list[Gap] = []
    for item in walk_log(path):
        if isinstance(item, Gap):
            gaps.append(item)
        else:
            frames.append(item)
    return frames, gaps


def walk_log(path: Path) -> Iterator[StoredFrame | Gap]:
    """Frames of a log file and the places that hold none, each read when its turn comes.

    Who needs the first ones only saves a tenth of a second on a file of 90 MB.
    """
    for item in scan(_map_file(path)):
        if isinstance(item, StoredFrame):
            item.let_go()
        yield item


def _write_all(handle: int, buffers: Sequence[bytes | memoryview], offset: int) -> int:
    """Write buffers at an offset, going on after short writes; return their total size in bytes."""
    total = sum(len(buffer) for buffer in buffers)
    done = os.pwritev(handle, buffers, offset)
    if done < total:
        rest = memoryview(b"".join(buffers))
        while done < total:
            done += os.pwrite(handle, rest[done:], offset + done)
    return total


def refused(path: Path, error: OSError) -> StoreUnusable:
    """The error that says which file the disk refuses, and why."""
    return StoreUnusable(
        f"the disk refuses {path.name}: {error.strerror}",
        next_step="free space in the data directory; the stack recovers by itself",
    )


def _map_file(path: Path) -> memoryview:
    """A whole file as memory that the kernel can drop again."""
    with path.open("rb") as file:
        if not path.stat().st_size:
            return memoryview(b"")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
