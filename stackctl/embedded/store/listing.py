"""The names in a directory, listed again when it was changed: who follows a store looks a hundred times a second."""

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

# Two changes within a tick of the file system's clock bear the same time, and that clock may be another machine's: the
# listing of a directory that was changed lately is not relied on.
_SETTLED_NS: Final = 2_000_000_000


class Listing:
    """A directory's names.

    Args:
        path: of the directory.
        clock_ns: unix nanoseconds.
    """

    def __init__(self, path: Path, clock_ns: Callable[[], int] = time.time_ns) -> None:
        self._path = path
        self._clock_ns = clock_ns
        self._names: Sequence[str] = ()
        self._changed_ns: int | None = None

    def names(self) -> Sequence[str]:
        """Return them; the same object as long as the directory is the same.

        Raises:
            FileNotFoundError: there is no such directory.
        """
        changed_ns = self._path.stat().st_mtime_ns
        if changed_ns != self._changed_ns:
            names = os.listdir(self._path)
            if names != self._names:
                self._names = names
            self._changed_ns = changed_ns if 0 <= changed_ns < self._clock_ns() - _SETTLED_NS else None
        return self._names
