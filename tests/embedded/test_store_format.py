"""Formats of the store: a newer one is refused without damage, an older one is taken and raised in time."""

from pathlib import Path

import pytest
from crashing_disk import Crash, crashing_disk
from old_frames import make_old
from store_frames import found, frame, newest_log, open_store

from stackctl.embedded.store.digests import digest
from stackctl.embedded.store.frame import scan
from stackctl.embedded.store.layout import Layout
from stackctl.errors import StoreUnusable


@pytest.mark.parametrize("version", ["3", "999", "x", ""])
def test_a_newer_format_is_refused(tmp_path: Path, version: str) -> None:
    """Data of a newer stackctl is not touched: not a byte of it is another afterwards."""
    store = open_store(tmp_path)
    store.append(frame(1))
    with newest_log(store).open("ab") as file:
        file.write(b"what a newer format may have here")
    store.close()
    (Layout.below(tmp_path).root / "format").write_text(version)
    (Layout.below(tmp_path).root / ".newer.tmp").write_text("not ours to remove")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(StoreUnusable, match="format"):
        open_store(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_store_of_the_first_format_is_taken(tmp_path: Path) -> None:
    """Recovered, read, appended to and sealed, its frames and new ones in one log file; its format is raised."""
    store = open_store(tmp_path)
    for n in range(4):
        store.append(frame(n))
    store.close()
    make_old(tmp_path)
    assert found(tmp_path) == [0, 1, 2, 3]
    again = open_store(tmp_path, rows=6)
    assert (store.layout.root / "format").read_text() == "2\n"
    assert (again.last_seq, again.spans_total, again.torn_bytes) == (4, 4, 0)
    assert digest("trace", repr((3,)).encode()) in again.digests
    again.append(frame(4))
    again.append(frame(5))
    assert found(tmp_path) == [0, 1, 2, 3, 4, 5]
    assert list(again.replay(3)) == [(seq, b"inc") for seq in (4, 5, 6)]
    data = newest_log(again).read_bytes()
    assert [data[at : at + 4] for at in [0, *(one.end for one in scan(memoryview(data)))]] == [
        *[b"SCF1"] * 4,
        *[b"SCF2"] * 2,
        b"",
    ]
    assert again.roll_if_due()
    again.seal_closed()
    again.trim(again.last_seq)
    assert again.layout.logs() == [7]
    assert found(tmp_path) == [0, 1, 2, 3, 4, 5]


def test_the_format_is_raised_before_a_frame_of_it_is_written(tmp_path: Path) -> None:
    """Killed at any change of a start on a store of the first format: it says 1 or 2, and a new frame only with 2."""
    for dies_at in range(1, 100):
        data_dir = tmp_path / str(dies_at)
        store = open_store(data_dir)
        store.append(frame(1))
        store.close()
        make_old(data_dir)
        with crashing_disk() as disk:
            disk.arm(dies_at)
            try:
                open_store(data_dir).append(frame(2))
                died = False
            except Crash:
                died = True
        version = (store.layout.root / "format").read_text()
        assert version == "2\n" or (version == "1\n" and b"SCF2" not in newest_log(store).read_bytes())
        if not died:
            assert disk.names.index("rename") < disk.names.index("pwritev")
            break
        again = open_store(data_dir)
        assert again.torn_bytes == 0
        again.append(frame(3))
        assert found(data_dir) in ([1, 3], [1, 2, 3])
    else:
        pytest.fail("it never got to its end")
