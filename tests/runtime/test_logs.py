"""Component logs: nothing lost at a line's end, by rotation, or to a reader that follows."""

import pytest

from stackctl.errors import NotFound
from stackctl.runtime import logs


@pytest.fixture
def data_dir(tmp_path):
    (tmp_path / "logs").mkdir()
    return tmp_path


def writer(data_dir, name, limit=logs.LIMIT_BYTES):
    return logs.LogFile(logs.log_path(data_dir, name), limit)


def texts(entries):
    return [entry.text for entry in entries]


def test_lines_are_kept_whole_and_timed(data_dir):
    """A line that comes in pieces is one entry; the last one counts without its end."""
    log = writer(data_dir, "ingest")
    for piece in (b"one\ntw", b"o\nthr", b"ee"):
        log.feed(piece)
    log.close()
    entries = logs.tail(data_dir, ["ingest"], None)
    assert texts(entries) == ["one", "two", "three"]
    assert all(entry.time.endswith("Z") and len(entry.time) == 24 for entry in entries)


def test_a_line_without_an_end_does_not_grow_for_ever(data_dir):
    """A program that writes no line end cannot fill the supervisor's memory."""
    log = writer(data_dir, "ingest")
    log.feed(b"x" * 100_000)
    assert len(logs.tail(data_dir, ["ingest"], None)[0].text) == 100_000
    log.close()


def test_rotation_bounds_the_disk_and_keeps_the_newest(data_dir):
    """The files of a component stay within their number and size, and what goes is the oldest."""
    log = writer(data_dir, "ingest", limit=1000)
    for number in range(500):
        log.feed(b"line %d\n" % number)
    log.close()
    files = list((data_dir / "logs").iterdir())
    assert len(files) == logs.KEPT_FILES + 1
    assert all(path.stat().st_size <= 1000 for path in files)
    kept = texts(logs.tail(data_dir, ["ingest"], None))
    assert kept == [f"line {number}" for number in range(500 - len(kept), 500)]
    assert texts(logs.tail(data_dir, ["ingest"], 40)) == kept[-40:]


def test_components_are_merged_by_time(data_dir, monkeypatch):
    """`logs` without a component tells the story in the order in which it happened."""
    clock = iter(range(1_000_000, 1_000_010))
    monkeypatch.setattr(logs.time, "time", lambda: next(clock))
    ingest, query = writer(data_dir, "ingest"), writer(data_dir, "query")
    for log, text in ((ingest, b"a\n"), (query, b"b\n"), (ingest, b"c\n")):
        log.feed(text)
    entries = logs.tail(data_dir, logs.components(data_dir, None), None)
    assert [(entry.component, entry.text) for entry in entries] == [("ingest", "a"), ("query", "b"), ("ingest", "c")]
    assert texts(logs.tail(data_dir, ["ingest", "query"], None, since=logs.timestamp(1_000_001))) == ["b", "c"]
    ingest.close()
    query.close()


def test_a_follower_starts_now_and_misses_nothing_at_a_rotation(data_dir):
    """`logs -f` shows what comes, across a rotation, and not what was there before."""
    log = writer(data_dir, "ingest", limit=400)
    log.feed(b"before\n")
    following = logs.Place(logs.log_path(data_dir, "ingest"), "ingest")
    for number in range(15):
        log.feed(b"line %d\n" % number)
    assert logs.log_path(data_dir, "ingest").with_name("ingest.log.1").exists()
    assert texts(following.fresh()) == [f"line {number}" for number in range(15)]
    assert following.fresh() == []
    log.feed(b"last\n")
    assert texts(following.fresh()) == ["last"]
    log.close()


def test_a_component_without_a_log_is_not_found(data_dir):
    """A misspelt component is an error that lists the right ones."""
    writer(data_dir, "ingest").close()
    with pytest.raises(NotFound) as missing:
        logs.components(data_dir, "injest")
    assert missing.value.next_step == "name one of: ingest"
    assert logs.components(data_dir, None) == ["ingest"]
