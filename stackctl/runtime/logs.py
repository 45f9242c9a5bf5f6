"""Component logs: the supervisor writes them, a time before each line, rotated by size; `stackctl logs` reads them."""

import heapq
import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from stackctl.errors import NotFound

SUPERVISOR = "supervisor"
LIMIT_BYTES = 10 * 2**20
KEPT_FILES = 3  # older files beside the current one: .1 is the newest of them
_LONGEST_LINE_BYTES = 64 * 2**10  # a line without an end must not fill the supervisor's memory
_FOLLOW_SECONDS = 0.2
_TIME_LENGTH = len("2026-11-25T12:00:00.000Z")


@dataclass(frozen=True, order=True)
class Entry:
    """One line of a log.

    Attributes:
        time: RFC 3339, UTC, milliseconds; as text it sorts by time.
    """

    time: str
    component: str
    text: str


def log_path(data_dir: Path, component: str) -> Path:
    """Return the current log file of a component."""
    return data_dir / "logs" / f"{component}.log"


def timestamp(seconds: float) -> str:
    """Return a time (seconds since the epoch) as logs write it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds(moment: str) -> float:
    """Return the seconds since the epoch of a time as `timestamp` writes it."""
    return datetime.fromisoformat(moment).timestamp()


def open_log(path: Path) -> BinaryIO:
    """Open a log for appending, readable by its owner only."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0)


def components(data_dir: Path, name: str | None) -> list[str]:
    """Return the components that have a log, or only the named one.

    Raises:
        NotFound: no component of that name has a log.
    """
    known = sorted(path.stem for path in (data_dir / "logs").glob("*.log"))
    if name is None:
        return known
    if name not in known:
        raise NotFound(
            f"no component {name!r} has a log in {data_dir}",
            next_step=f"name one of: {', '.join(known)}" if known else "start the stack: stackctl up",
        )
    return [name]


class LogFile:
    """The writer of one component's log.

    Args:
        limit_bytes: when the file would outgrow this it becomes `.1`, and the oldest goes.
    """

    def __init__(self, path: Path, limit_bytes: int = LIMIT_BYTES) -> None:
        self._path = path
        self._limit = limit_bytes
        self._rest = b""
        self._file = open_log(path)

    def feed(self, chunk: bytes) -> None:
        """Append the whole lines of a chunk, each behind the time of its arrival; an unfinished line waits."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > _LONGEST_LINE_BYTES:
            lines, self._rest = [*lines, self._rest], b""
        if lines:
            head = timestamp(time.time()).encode() + b" "
            self._append(b"".join(head + line + b"\n" for line in lines))

    def close(self) -> None:
        """Write what is left and close the file."""
        if self._rest:
            self.feed(b"\n")
        self._file.close()

    def _append(self, block: bytes) -> None:
        if self._file.tell() + len(block) > self._limit:
            self._file.close()
            for number in range(KEPT_FILES, 0, -1):
                older = _numbered(self._path, number - 1)
                if older.exists():
                    older.replace(_numbered(self._path, number))
            self._file = open_log(self._path)
        self._file.write(block)


def tail(data_dir: Path, components: Sequence[str], count: int | None, since: str | None = None) -> list[Entry]:
    """Return the newest entries of some components, oldest first.

    Args:
        count: at most so many; None for all that is kept.
        since: leave out entries before this time (as `timestamp` writes it).
    """
    streams = [_newest(log_path(data_dir, name), name, count) for name in components]
    merged = (entry for entry in heapq.merge(*streams) if since is None or entry.time >= since)
    return list(deque(merged, maxlen=count))


def follow(data_dir: Path, components: Sequence[str]) -> Iterator[Entry]:
    """Yield entries as they are written, from now on and without end; rotation is followed."""
    places = {name: Place(log_path(data_dir, name), name) for name in components}
    while True:
        yield from sorted(entry for place in places.values() for entry in place.fresh())
        time.sleep(_FOLLOW_SECONDS)


class Place:
    """Where a follower stands in one log; it begins at the log's end."""

    def __init__(self, path: Path, component: str) -> None:
        self._path = path
        self._component = component
        self._inode, self._offset = self._end()

    def fresh(self) -> list[Entry]:
        """Return what was appended since the last call."""
        inode, size = self._end()
        if inode != self._inode:  # rotated or created: what stood behind our place in the old file is in `.1`
            old = self._read(_numbered(self._path, 1), self._offset) if self._inode else []
            self._inode, self._offset = inode, 0
            return old + self.fresh()
        return self._read(self._path, self._offset) if size > self._offset else []

    def _read(self, path: Path, offset: int) -> list[Entry]:
        with path.open("rb") as file:
            file.seek(offset)
            block = file.read()
        whole = block[: block.rfind(b"\n") + 1]
        self._offset = offset + len(whole)
        return list(_entries(whole.splitlines(), self._component))

    def _end(self) -> tuple[int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return 0, 0
        return found.st_ino, found.st_size


def _newest(path: Path, component: str, count: int | None) -> list[Entry]:
    """Return at least the newest `count` entries of one component, reading older files only as far as needed."""
    entries: list[Entry] = []
    for number in range(KEPT_FILES + 1):
        file = _numbered(path, number)
        if not file.exists() or (count is not None and len(entries) >= count):
            break
        entries = [*_entries(file.read_bytes().splitlines(), component), *entries]
    return entries


def _entries(lines: Sequence[bytes], component: str) -> Iterator[Entry]:
    """Split lines into time and text; one without a time (a dying supervisor's own words) belongs to the one before."""
    last = ""
    for raw in lines:
        line = raw.decode("utf-8", errors="replace")
        stamped = line[_TIME_LENGTH - 1 : _TIME_LENGTH + 1] == "Z "
        last = line[:_TIME_LENGTH] if stamped else last
        yield Entry(last, component, line[_TIME_LENGTH + 1 :] if stamped else line)


def _numbered(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}") if number else path
