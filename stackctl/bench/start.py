"""How long `stackctl up` takes until the stack is proven: warm, and cold with its files evicted from the page cache."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median

from stackctl.bench.reports import StartReport
from stackctl.errors import ComponentUnhealthy

TIMEOUT_SECONDS = 120.0


def measure(runs: int, tell: Callable[[str], None]) -> StartReport:
    """Start and stop a stack of its own, once cold and then warm.

    Args:
        runs: how many warm starts.
        tell: called with each figure.

    Raises:
        ComponentUnhealthy: a start failed.
    """
    evict(Path(sys.prefix))
    cold = _timed_start()
    tell(f"cold {cold:.2f} s")
    warm: list[float] = []
    for _ in range(runs):
        warm.append(_timed_start())
        tell(f"warm {warm[-1]:.2f} s")
    return StartReport(cold_seconds=cold, warm_seconds=tuple(warm), warm_median_seconds=median(warm))


def evict(directory: Path) -> None:
    """Ask the kernel to drop the files below a directory from its page cache; pages that other programs map stay."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            descriptor = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            finally:
                os.close(descriptor)


def _timed_start() -> float:
    with tempfile.TemporaryDirectory(prefix="stackctl-bench-") as home:
        data_dir = Path(home) / "data"
        began = time.monotonic()
        _stackctl(data_dir, "up", "--runtime", "embedded", "--ports", "auto")
        took = time.monotonic() - began
        _stackctl(data_dir, "down", "--delete-data")
    return took


def _stackctl(data_dir: Path, *arguments: str) -> None:
    command: Sequence[str] = [sys.executable, "-m", "stackctl", "--data-dir", str(data_dir), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False)
    if done.returncode:
        raise ComponentUnhealthy(
            f"`stackctl {arguments[0]}` ended with {done.returncode}: {done.stderr.strip()}",
            next_step="start a stack by hand and look: stackctl up",
        )
