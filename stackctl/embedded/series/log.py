"""The sample log below `series/`: numbered files of frames, each beginning with the whole state.

    log/<number>.samples     frames; the highest number is being written, lower ones wait to become blocks
    blocks/<number>-<first>-<last>/   a sealed log file (`blocks.py`); first and last sample in unix ms

A new file appears under its name with its state frame synced, so after any stop the newest file brings the state back.
"""

import os
from collections.abc import Iterable

from stackctl.embedded.store.layout import sync_directory
from stackctl.embedded.store.log import LogFile, Sync, refused
from stackctl.errors import StoreUnusable

from .frame import SampleFrame, damage, encode, scan
from .layout import SeriesLayout


class SampleLog:
    """The log being written.

    Args:
        layout: where it lies; its directories are there.
        sync: makes a file's bytes durable; tests count or break it.

    Attributes:
        number: of the file being written; 0 before the first `roll`.
        samples: how many are in it.
        torn_bytes: bytes found by `recover` that were no whole frame, and cut off or passed over.
        set_aside: files that `recover` could not go on from, renamed to end in `.damaged`.
    """

    def __init__(self, layout: SeriesLayout, sync: Sync = os.fdatasync) -> None:
        self.layout = layout
        self.number = self.samples = self.torn_bytes = 0
        self.set_aside: list[str] = []
        self._sync = sync
        self._file: LogFile | None = None

    @property
    def size(self) -> int:
        """Bytes in the file being written."""
        return self._file.size if self._file else 0

    def recover(self) -> list[SampleFrame]:
        """Open the newest file that has a whole state frame, cut its torn tail and return its frames; none at first.

        Raises:
            StoreUnusable: the file cannot be opened or cut.
        """
        for number in reversed(self.layout.logs()):
            path = self.layout.log_file(number)
            data = path.read_bytes()
            frames = list(scan(data))
            if frames and frames[0][0].state:
                self.number = number
                self.torn_bytes = damage(data)
                self.samples = sum(len(frame.slots) for frame, _ in frames if not frame.state)
                self._file = LogFile(path, frames[-1][1], self._sync)
                return [frame for frame, _ in frames]
            # Damage: a file gets its name after its state frame is synced. Set aside for who wants to look.
            self.set_aside.append(path.with_suffix(".damaged").name)
            path.rename(path.with_suffix(".damaged"))
        return []

    def append(self, frame: SampleFrame) -> None:
        """Write one frame and make it durable.

        Raises:
            StoreUnusable: the disk refused; the log is as before.
        """
        if self._file is None:
            raise AssertionError("roll() opens the first file")
        self._file.append([encode(frame)])
        self.samples += len(frame.slots)

    def roll(self, state: SampleFrame) -> None:
        """Begin the next file with a state frame.

        Raises:
            StoreUnusable: the disk refused; the old file goes on.
        """
        number = max([self.number, *self.layout.logs(), *_block_numbers(self.layout)]) + 1
        path = self.layout.log_file(number)
        fresh = path.with_suffix(".new")
        file = LogFile(fresh, 0, self._sync)
        try:
            file.append([encode(state)])
            fresh.rename(path)
            sync_directory(self.layout.log_dir)
        except (OSError, StoreUnusable) as error:
            # Without the new file: a start would take the newest, while the old one goes on.
            file.close()
            for one in (fresh, path):
                one.unlink(missing_ok=True)
            if isinstance(error, StoreUnusable):
                raise
            raise refused(path, error) from error
        self.close()
        self.number, self._file, self.samples = number, file, 0

    def closed(self) -> list[int]:
        """Numbers of files that are written no more and wait to become blocks."""
        return [number for number in self.layout.logs() if number < self.number]

    def close(self) -> None:
        """Close the file being written; everything in it is durable already."""
        if self._file:
            self._file.close()


def _block_numbers(layout: SeriesLayout) -> Iterable[int]:
    return (int(name.split("-")[0]) for name in os.listdir(layout.blocks_dir) if name[:10].isdigit())
