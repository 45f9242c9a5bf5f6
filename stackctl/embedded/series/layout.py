"""Where the samples of a data directory lie: see `log` and `blocks` for what the files hold."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from stackctl.embedded.store.layout import make_directory
from stackctl.errors import StoreUnusable

_LOG: Final = re.compile(r"(\d{10})\.samples")


@dataclass(frozen=True)
class SeriesLayout:
    """Paths of the samples of one data directory.

    Attributes:
        root: the directory `series/`.
    """

    root: Path

    @classmethod
    def below(cls, data_dir: Path) -> Self:
        """The samples of a data directory."""
        return cls(data_dir / "series")

    @cached_property
    def log_dir(self) -> Path:
        """Directory of the log files."""
        return self.root / "log"

    @cached_property
    def blocks_dir(self) -> Path:
        """Directory of the sealed blocks."""
        return self.root / "blocks"

    @property
    def wanted(self) -> Path:
        """Touched by the query process: a reader waits for new numbers."""
        return self.root / "wanted"

    def log_file(self, number: int) -> Path:
        """Path of a log file."""
        return self.log_dir / f"{number:010d}.samples"

    def logs(self) -> list[int]:
        """Numbers of the log files, ascending."""
        return sorted(int(found[1]) for found in map(_LOG.fullmatch, listed(self.log_dir)) if found)

    def create(self) -> None:
        """Make the directories, owner only.

        Raises:
            StoreUnusable: they cannot be made.
        """
        try:
            for directory in (self.log_dir, self.blocks_dir):
                make_directory(directory)
        except OSError as error:
            raise StoreUnusable(
                f"cannot use {self.root}: {error.strerror}",
                next_step="Choose another --data-dir, or mend its permissions.",
            ) from error


def listed(directory: Path) -> list[str]:
    """Return the names in a directory; none where there is no directory yet."""
    try:
        return os.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return []
