"""Memory that two processes have: through a socket, megabytes would wait for both to take turns."""

import mmap
import os
from collections.abc import Sequence
from itertools import accumulate
from typing import Final, Self

# So much is mapped, which takes half the time that the system takes to write and read it, and counts as memory of both
# processes. Groups larger than that are single requests larger than any SDK's.
_MAPPED_BYTES: Final = 8 * 1024**2
_LEAST_BYTES: Final = 1024**2


class RoomLacks(Exception):
    """There is less in a room than was promised."""


class Room:
    """What one side puts there the other takes before anything else is put there.

    Args:
        handle: file descriptor of the memory; the room's from now on.
    """

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._mapped: mmap.mmap | None = None

    @classmethod
    def new(cls) -> Self | None:
        """A room, where the system has such (Linux has).

        Raises:
            OSError: it has no memory or no descriptor left.
        """
        return cls(os.memfd_create("stackctl-bodies", os.MFD_CLOEXEC)) if hasattr(os, "memfd_create") else None

    def fileno(self) -> int:
        """The descriptor, for who hands it to another process."""
        return self._handle

    def close(self) -> None:
        """Let go of it."""
        self._mapped = None  # not closed: who looks at it may do so, as long as he likes
        os.close(self._handle)

    def put(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Put bytes there, one behind the other, where those were that a `get` returned before.

        Raises:
            OSError: there is no memory left.
        """
        starts = list(accumulate(map(len, buffers), initial=0))
        if starts[-1] > _MAPPED_BYTES:
            for buffer, start in zip(buffers, starts, strict=False):
                self._write(buffer, start)
            return
        if not starts[-1]:
            return
        mapped = self._mapped
        if mapped is None or len(mapped) < starts[-1]:
            size = max(_LEAST_BYTES, 1 << (starts[-1] - 1).bit_length())
            os.posix_fallocate(self._handle, 0, size)  # memory that is lacking must be an error here, no signal later
            mapped = self._map(size)
        for buffer, start in zip(buffers, starts, strict=False):
            mapped[start : start + len(buffer)] = buffer

    def get(self, sizes: Sequence[int]) -> list[memoryview]:
        """Look at what was put there; it is not copied.

        Raises:
            RoomLacks: that is less: half a body must not pass for a whole one.
        """
        starts = list(accumulate(sizes, initial=0))
        if not starts[-1]:
            return [memoryview(b"")] * len(sizes)
        held = os.fstat(self._handle).st_size
        if held < starts[-1]:
            raise RoomLacks
        if starts[-1] > _MAPPED_BYTES:
            return [memoryview(self._read(size, start)) for size, start in zip(sizes, starts, strict=False)]
        mapped = self._mapped
        if mapped is None or len(mapped) < starts[-1]:
            mapped = self._map(min(held, _MAPPED_BYTES))
        view = memoryview(mapped)
        return [view[start : start + size] for size, start in zip(sizes, starts, strict=False)]

    def _map(self, size: int) -> mmap.mmap:
        self._mapped = mmap.mmap(self._handle, size)
        return self._mapped

    def _write(self, buffer: bytes | memoryview, at: int) -> None:
        left = memoryview(buffer)
        while len(left):  # the system may take less than it was given
            written = os.pwrite(self._handle, left, at)
            at, left = at + written, left[written:]

    def _read(self, size: int, start: int) -> bytes:
        found = os.pread(self._handle, size, start)
        if len(found) < size:
            raise RoomLacks
        return found
