"""Names of the store's files and what they say, so that a directory listing is the catalogue."""

import fcntl
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from stackctl.errors import StoreUnusable

# 2: frames with another check, behind a magic of their own. A stackctl that knows format 1 alone would take them for
# torn bytes, and cut them off: it must refuse the store.
FORMAT_VERSION: Final = 2
SPANS: Final = "spans"
EVALUATIONS: Final = "evals"
DIGESTS: Final = "digests"

_SEALED = re.compile(
    r"(?P<kind>spans|evals|digests)-(?P<first>\d{16})-(?P<last>\d{16})-(?P<newest>\d{13})\.(parquet|bin)"
)
_LOG = re.compile(r"(?P<first>\d{16})\.log")


@dataclass(frozen=True, order=True)
class Sealed:
    """An immutable file that holds the rows of frames `first` to `last`.

    Attributes:
        first: sequence number of the first frame it covers.
        last: sequence number of the last frame it covers.
        newest_ms: newest arrival within it, unix milliseconds; retention counts by it.
        kind: `spans`, `evals` or `digests`.
    """

    first: int
    last: int
    newest_ms: int
    kind: str

    @property
    def filename(self) -> str:
        """The file's name below `spans/`."""
        suffix = "bin" if self.kind == DIGESTS else "parquet"
        return f"{self.kind}-{self.first:016d}-{self.last:016d}-{self.newest_ms:013d}.{suffix}"

    def covers(self, seq: int) -> bool:
        """True where frame `seq` is in this file."""
        return self.first <= seq <= self.last

    @classmethod
    def parse(cls, filename: str) -> Self | None:
        """Read a file name; None for anything that is not a sealed file."""
        found = _SEALED.fullmatch(filename)
        if found is None:
            return None
        return cls(int(found["first"]), int(found["last"]), int(found["newest"]), found["kind"])


@dataclass(frozen=True)
class Layout:
    """Paths of one store.

    Attributes:
        root: the directory `spans/` of a data directory.
    """

    root: Path

    @classmethod
    def below(cls, data_dir: Path) -> Self:
        """The store of a data directory."""
        return cls(data_dir / "spans")

    @property
    def log_dir(self) -> Path:
        """Directory of the log files."""
        return self.root / "log"

    @property
    def asked(self) -> Path:
        """Touched by the query process: somebody asks."""
        return self.root / "asked"

    @property
    def committed(self) -> Path:
        """File with the sequence number of the newest synced frame, 8 bytes little-endian."""
        return self.root / "committed"

    def log_file(self, first: int) -> Path:
        """Log file whose first frame is `first`."""
        return self.log_dir / f"{first:016d}.log"

    def path(self, sealed: Sealed) -> Path:
        """Full path of a sealed file."""
        return self.root / sealed.filename

    def sealed(self, kind: str) -> list[Sealed]:
        """Sealed files of a kind in frame order, without those that a wider one (a compaction) covers."""
        found = sorted(s for s in map(Sealed.parse, os.listdir(self.root)) if s is not None and s.kind == kind)
        return without_covered(found)

    def logs(self) -> list[int]:
        """First sequence numbers of the log files, ascending."""
        return log_numbers(os.listdir(self.log_dir))

    def create(self) -> None:
        """Make the directories (owner only) and check the format version; the current one stands there from now on.

        Raises:
            StoreUnusable: the store was written by a newer stackctl, or the directory cannot be made.
        """
        try:
            for directory in (self.root, self.log_dir):
                make_directory(directory)
            version = self.root / "format"
            if not version.exists() or check_version(version) < FORMAT_VERSION:
                _write_version(version)
        except OSError as error:
            raise StoreUnusable(
                f"cannot use {self.root}: {error.strerror}",
                next_step="choose another --data-dir or mend its permissions",
            ) from error


def log_numbers(names: Iterable[str]) -> list[int]:
    """First sequence numbers of the log files among some names, ascending."""
    return sorted(int(m["first"]) for m in map(_LOG.fullmatch, names) if m is not None)


def without_covered(files: list[Sealed]) -> list[Sealed]:
    """Drop files whose frames another file holds as well: a compaction that has not removed its sources yet."""
    kept: list[Sealed] = []
    for file in sorted(files, key=lambda f: (f.first, -f.last)):
        if not kept or file.last > kept[-1].last:
            kept.append(file)
    return kept


def check_version(file: Path) -> int:
    """Return a store's format; refuse one that this code does not know.

    Raises:
        StoreUnusable: the version is newer than ours, or unreadable.
    """
    text = file.read_text().strip()
    if not text.isdigit() or int(text) > FORMAT_VERSION:
        raise StoreUnusable(
            f"{file.parent} has format {text!r}, this stackctl knows up to {FORMAT_VERSION}",
            next_step="upgrade stackctl, or choose another --data-dir",
        )
    return int(text)


def lock_writer(data_dir: Path) -> int:
    """Become the one writer of a data directory and return the descriptor that holds the lock.

    The kernel lets go of it when the process ends, however it ends.

    Raises:
        StoreUnusable: another process writes there.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    held = os.open(data_dir / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(held)
        raise StoreUnusable(
            f"another process writes to {data_dir}", next_step="stackctl down, or choose another --data-dir"
        ) from error
    return held


def make_directory(directory: Path) -> None:
    """Make a directory for its owner only, so that it survives a power cut; its parents too."""
    if directory.is_dir():
        return
    make_directory(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)
    sync_directory(directory.parent)


def _write_version(file: Path) -> None:
    """Write the format version, all or nothing: half of it would be a format that nobody knows, for ever."""
    fresh = file.with_name(".format.tmp")
    fresh.touch(mode=0o600)
    fresh.write_text(f"{FORMAT_VERSION}\n")
    sync_file(fresh)
    fresh.rename(file)
    sync_directory(file.parent)


def sync_file(path: Path) -> None:
    """Make the bytes of a closed file survive a power cut."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_directory(directory: Path) -> None:
    """Make renames and new names in a directory survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
