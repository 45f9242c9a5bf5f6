"""A directory is listed as it is, however soon after another change it was changed."""

import os
from pathlib import Path

import pytest

from stackctl.embedded.store.listing import Listing

SECOND_NS = 1_000_000_000


def test_a_directory_that_is_the_same_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").touch()
    listing = Listing(tmp_path, lambda: tmp_path.stat().st_mtime_ns + 3 * SECOND_NS)
    found = listing.names()
    assert found == ["one"]
    monkeypatch.setattr(os, "listdir", lambda _: pytest.fail("listed again"))
    assert listing.names() is found
    monkeypatch.undo()
    (tmp_path / "two").touch()
    assert sorted(listing.names()) == ["one", "two"]


def test_changes_that_bear_the_same_time_are_all_seen(tmp_path: Path) -> None:
    """A file that came within the file system's tick of the one before, or by a clock that was set back."""
    now = tmp_path.stat().st_mtime_ns
    listing = Listing(tmp_path, lambda: now)
    for age in (0, 1, -1):
        (tmp_path / f"file{age}").touch()
        os.utime(tmp_path, ns=(now, now + age * SECOND_NS))
        assert sorted(listing.names()) == sorted(os.listdir(tmp_path))
        (tmp_path / f"more{age}").touch()
        os.utime(tmp_path, ns=(now, now + age * SECOND_NS))
        assert sorted(listing.names()) == sorted(os.listdir(tmp_path))


def test_a_directory_that_is_gone_is_told(tmp_path: Path) -> None:
    listing = Listing(tmp_path / "gone")
    with pytest.raises(FileNotFoundError):
        listing.names()
