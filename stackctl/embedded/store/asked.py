"""Whether somebody asks: noted by the query process, looked at by ingest, which then leaves a core to the answers."""

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

# Who asked is one who will ask again for so long.
LATELY_SECONDS: Final = 15.0
_NOTED_SECONDS: Final = 1.0
_LOOKED_SECONDS: Final = 0.1  # who commits groups asks hundreds of times a second


class Asked:
    """A file whose time is that of the last question.

    Args:
        path: its path (`Layout.asked`).
        clock: unix seconds.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._noted = self._looked = 0.0
        self._found = False

    def note(self) -> None:
        """Note a question, once a second at most."""
        now = self._clock()
        if 0 <= now - self._noted < _NOTED_SECONDS:
            return
        self._noted = now
        # Where nothing can be written, questions are answered all the same, only later.
        with suppress(OSError):
            self._path.touch(mode=0o600)

    def lately(self) -> bool:
        """Whether there was a question within the last `LATELY_SECONDS`, as it was a tenth of a second ago at most."""
        now = self._clock()
        if not 0 <= now - self._looked < _LOOKED_SECONDS:
            self._looked, self._found = now, self._look(now)
        return self._found

    def _look(self, now: float) -> bool:
        try:
            return 0 <= now - self._path.stat().st_mtime < LATELY_SECONDS
        except FileNotFoundError:
            return False
