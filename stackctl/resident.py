"""How much memory a process takes, with those that it made and that work for it."""

import sys
from contextlib import suppress

import psutil


def resident_bytes(pid: int) -> int | None:
    """Return the resident memory of a process and of all below it, in bytes; None where it has ended.

    On Linux a page that several processes share counts once among them (PSS, proc_pid_smaps(5)): copies of a process
    share most of theirs.
    """
    try:
        first = psutil.Process(pid)
        total, made = _taken(first), first.children(recursive=True)
    except psutil.Error:
        return None
    for one in made:
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile
            total += _taken(one)
    return total


def _taken(process: psutil.Process) -> int:
    if sys.platform == "linux":
        return int(process.memory_full_info().pss)
    return int(process.memory_info().rss)
