"""An ingest process that seals, merges and rolls all the time and says what it is doing, so that kills meet all of it.

`python killed_ingest.py MARKS CONFIG`: MARKS is a file with one byte for each phase, 0 while it is not under way. It is
shared memory, so it says what was under way when the process was killed.
"""

import functools
import math
import mmap
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stackctl.embedded import ingest, process, sealing, workers
from stackctl.embedded.series import blocks, head
from stackctl.embedded.store import log, retention, writer
from stackctl.embedded.store.writer import SealLimits

PHASES = ("recovery", "append", "sealing", "trimming", "compaction", "series roll", "series block", "workers")

ROWS = 200
"""Spans of a segment: some requests."""
WITHOUT_WORKERS = 0.6
"""Share of the starts after which there are no worker processes: two of them are most of what a start costs."""
_SETTINGS: tuple[tuple[Any, str, Any], ...] = (
    (process, "_SEAL_EVERY_SECONDS", 0.1),
    (process, "_RETAIN_EVERY_SECONDS", 0.4),
    (retention, "MERGE_AT_FILES", 3),
    (retention, "GRACE_SECONDS", 1.0),
    (workers, "_WINDOW_SECONDS", 0.2),
    (workers, "_BUSY_SHARE", 0.02),
    (workers, "_CALM_SHARE", 0.0),
    (head.Pace, "within", lambda roll_ms: head.Pace(full_ms=500, wanted_ms=50, roll_ms=1500)),
)


class Marks:
    """What is under way.

    Args:
        path: of the file; made if it is not there.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(len(PHASES)))
        with path.open("r+b") as file:
            self._bytes = mmap.mmap(file.fileno(), len(PHASES))

    def active(self) -> list[str]:
        """Return the phases under way."""
        return [name for name, count in zip(PHASES, self._bytes[:], strict=True) if count]

    def clear(self) -> None:
        """Nothing is under way: the process is dead, or has just begun."""
        self._bytes[:] = bytes(len(PHASES))

    def put(self, phase: str, count: int) -> None:
        """Say how many of a phase are under way."""
        self._bytes[PHASES.index(phase)] = count

    def around(self, owner: Any, name: str, phase: str) -> None:
        """Mark a phase while a function or method runs."""
        plain: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(plain)
        def marked(*args: Any, **kwargs: Any) -> Any:
            self.put(phase, 1)
            try:
                return plain(*args, **kwargs)
            finally:
                self.put(phase, 0)

        setattr(owner, name, marked)


def prepare(marks: Marks) -> None:
    """Set the thresholds low and mark the phases. What has another name by now is an error, not a test of nothing."""
    for owner, name, value in _SETTINGS:
        getattr(owner, name)
        setattr(owner, name, value)
    marks.around(process, "serve_grpc", "recovery")  # what ends it: both logs are read and the ports open
    marks.around(log.LogFile, "append", "append")
    marks.around(sealing.Sealer, "seal", "sealing")
    marks.around(writer.SpanStore, "trim", "trimming")
    marks.around(retention, "place_parts", "compaction")
    marks.around(retention.Retention, "_drop_merged", "compaction")
    marks.around(head.Head, "_roll", "series roll")
    marks.around(blocks, "seal", "series block")
    look = workers.Workforce.look

    def looked(self: workers.Workforce, queue_bytes: int) -> None:
        look(self, queue_bytes)
        marks.put("workers", self.size)

    workers.Workforce.look = looked  # type: ignore[method-assign]


def main(arguments: list[str]) -> int:
    """Run the process."""
    marks = Marks(Path(arguments[0]))
    marks.clear()
    prepare(marks)
    marks.put("recovery", 1)
    if random.random() < WITHOUT_WORKERS:
        workers._BUSY_SHARE = workers._QUEUE_SECONDS = math.inf
    return ingest.main(arguments[1:], SealLimits(rows=ROWS))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
