"""The ingest process: `python -m stackctl.embedded.ingest CONFIG.json`.

Listens on the OTLP ports, stores spans, evaluations and samples, and exits 0 after flushing on SIGTERM or SIGINT; 3
with one line on stderr when a port is taken or the store cannot be used.
"""

import logging
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from stackctl.embedded.allocator import keep_memory
from stackctl.errors import StackctlError
from stackctl.stack import EngineConfig

if TYPE_CHECKING:
    from stackctl.embedded.store.writer import SealLimits


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
    from stackctl.embedded.workwire import Setup

    try:
        setup = Setup.of(EngineConfig.read(Path(arguments[0])))
        with suppress(KeyboardInterrupt):
            uvloop.run(serve(setup, limits, Nursery.found(setup)))
    except StackctlError as error:
        sys.stderr.write(f"error: {error.message}; next: {error.next_step}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
