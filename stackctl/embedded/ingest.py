"""The ingest process: `python -m stackctl.embedded.ingest CONFIG.json`.

Listens on the OTLP ports, stores spans, evaluations and samples, and exits 0 after flushing on SIGTERM or SIGINT; 3
with one line on stderr when a port is taken or the store cannot be used.
"""

import ctypes
import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stackctl.errors import StackctlError
from stackctl.stack import EngineConfig

if TYPE_CHECKING:
    from stackctl.embedded.store.writer import SealLimits

# malloc.h: M_TRIM_THRESHOLD and M_TOP_PAD in bytes, M_MMAP_MAX and M_ARENA_MAX as counts. One arena: the others give
# their memory back whenever a batch ends.
_MALLOC_OPTIONS: Final = ((-1, 128 * 1024**2), (-2, 16 * 1024**2), (-4, 0), (-8, 1))


def keep_memory() -> None:
    """Let glibc keep what Rust, protobuf and Arrow free between batches, which they want again a moment later.

    Page faults of fresh memory took a quarter of the decoding time. Other C libraries have no `mallopt`: no harm.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in _MALLOC_OPTIONS:
            mallopt(option, value)
        # Arrow's own allocator gives memory back as eagerly as glibc did.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")


def main(arguments: Sequence[str], limits: "SealLimits | None" = None) -> int:
    """Run the process.

    Args:
        arguments: the path of an `EngineConfig` file.
        limits: when spans are sealed into segments; the defaults when None.

    Returns:
        Its exit code.
    """
    keep_memory()
    os.umask(0o077)  # whatever is made below the data directory is for its owner only
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("asyncio").setLevel(logging.ERROR)
    # Imported after `keep_memory`: some of these packages start threads, which keep the arenas that they were given.
    import uvloop

    from stackctl.embedded.nursery import Nursery
    from stackctl.embedded.process import serve

    try:
        config = EngineConfig.read(Path(arguments[0]))
        with suppress(KeyboardInterrupt):
            uvloop.run(serve(config, limits, Nursery.found()))
    except StackctlError as error:
        sys.stderr.write(f"error: {error.message}; next: {error.next_step}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
