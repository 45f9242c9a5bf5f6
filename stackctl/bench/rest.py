"""A disk at rest: what was removed before must not be taken for what is measured.

A file system that is mounted with `discard`, as cloud images are, hands freed space back to the disk long after the
files are gone: two gigabytes held up one sync every two seconds, by 60 to 160 ms, for twelve seconds.
"""

import os
import tempfile
import time
from collections.abc import Callable
from typing import Final

QUIET_SECONDS: Final = 3.0  # longer than the time between two such syncs
LONGEST_SECONDS: Final = 40.0
SLOW_SECONDS: Final = 0.03
_PAUSE_SECONDS: Final = 0.01
_PROBE: Final = bytes(64 * 1024)


def await_rest(
    sync: Callable[[int], None] = os.fdatasync,
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> bool:
    """Wait until syncs of a little are quick for a while, where temporary directories are.

    Args:
        sync: makes a file's bytes durable.
        clock: seconds that never run backwards.
        pause: waits for so many seconds.

    Returns:
        False where the disk does not come to rest.
    """
    began = quiet_since = clock()
    with tempfile.TemporaryFile(prefix="stackctl-bench-") as probe:
        while clock() - began < LONGEST_SECONDS:
            before = clock()
            os.pwrite(probe.fileno(), _PROBE, 0)
            sync(probe.fileno())
            if clock() - before > SLOW_SECONDS:
                quiet_since = clock()
            elif clock() - quiet_since >= QUIET_SECONDS:
                return True
            pause(_PAUSE_SECONDS)
    return False
