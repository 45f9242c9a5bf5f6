"""Log files as the first format of the store has them: their frames are checked with crc32."""

import zlib
from collections.abc import Collection
from pathlib import Path

from stackctl.embedded.store.frame import HEAD, StoredFrame, scan
from stackctl.embedded.store.layout import Layout

CHECKED = HEAD.size - 8  # from the sequence number on


def earlier_form(data: bytes, numbers: Collection[int] = range(2**62)) -> bytes:
    """Return a log file's bytes with the frames of some numbers as the first format has them."""
    found, at = [], 0
    for frame in scan(memoryview(data)):
        assert isinstance(frame, StoredFrame)
        one = data[at : frame.end]
        if frame.seq in numbers:
            _, length, _, seq = HEAD.unpack_from(one)
            one = HEAD.pack(b"SCF1", length, zlib.crc32(one[CHECKED:]), seq) + one[HEAD.size :]
        found.append(one)
        at = frame.end
    return b"".join(found)


def make_old(data_dir: Path) -> None:
    """Make a store, which nobody writes to, one of the first format."""
    layout = Layout.below(data_dir)
    for path in map(layout.log_file, layout.logs()):
        path.write_bytes(earlier_form(path.read_bytes()))
    (layout.root / "format").write_text("1\n")
