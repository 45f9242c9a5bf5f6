"""How the libraries in C are told to treat the engine's processes, before anything else is loaded.

Most of it is for the C library's allocator; others than glibc's have no `mallopt`: no harm.
"""

import ctypes
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

# malloc.h: counts but for the first two, which are bytes.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_MAX, _ARENA_MAX = -1, -2, -4, -8
# One arena: the others give their memory back whenever a batch ends.
_KEEPING: Final = {_TRIM_THRESHOLD: 128 * 1024**2, _TOP_PAD: 16 * 1024**2, _MMAP_MAX: 0, _ARENA_MAX: 1}
# Each arena keeps what the largest answer that was made in one of its threads took: sixteen on two cores by default.
_SHARING: Final = {_ARENA_MAX: 2}


def keep_memory() -> None:
    """Let glibc keep what Rust, protobuf and Arrow free between batches, which they want again a moment later.

    Page faults of fresh memory took a quarter of the decoding time.
    """
    _tell(_KEEPING)


def share_arenas() -> None:
    """Let all threads take memory from the same few places, so that what one answer took serves the next."""
    _tell(_SHARING)


def give_back() -> None:
    """Give the system what is free: a heavy answer leaves a hundred megabytes that none of the next ones needs."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _tell(options: Mapping[int, int]) -> None:
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in options.items():
            mallopt(option, value)
    # Arrow's own allocator gives memory back as eagerly as glibc did, and keeps twice what hot spans need.
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    # numpy's OpenBLAS has a thread for each further core, which first waits for work by asking all the time: a sixth of
    # a start's processor time. There is none here: nobody multiplies matrices.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
