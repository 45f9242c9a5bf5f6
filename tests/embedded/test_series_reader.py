"""The reader of samples: over the log, over blocks and beside a running writer it sees each of them once."""

from pathlib import Path

import numpy as np
import pytest
from series_data import EVERYTHING, START, fill

from stackctl.embedded.api.promjson import value_text
from stackctl.embedded.series import index
from stackctl.embedded.series import reader as reader_module
from stackctl.embedded.series.family import Family
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.increments import Block, Increments
from stackctl.embedded.series.index import LabelIndex
from stackctl.embedded.series.points import Points
from stackctl.embedded.series.reader import ALL_TIME, SampleReader
from stackctl.promql import Matcher


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("filled")
    fill(directory)
    return directory


def everything(data_dir: Path) -> dict[str, list[tuple[int, str]]]:
    found = SampleReader(data_dir).select(EVERYTHING, *ALL_TIME)
    return {
        str(sorted(one.labels.items())): list(zip(one.t_ms.tolist(), map(value_text, one.v.tolist()), strict=True))
        for one in found
    }


def test_blocks_hold_what_the_log_held(tmp_path: Path, filled: Path) -> None:
    """Sealing changes where samples lie and nothing else: same series, same times, same bits, same exemplars."""
    fill(tmp_path, seal_at=9)
    reader = SampleReader(tmp_path)
    assert [len(list(directory.iterdir())) for directory in reader.layout.blocks_dir.iterdir()] == [3]
    without_roll = everything(filled)
    sealed = everything(tmp_path)
    assert sealed.keys() == without_roll.keys()
    for key, points in without_roll.items():
        # The roll's own tick stands two milliseconds behind the one before.
        assert [one for one in sealed[key] if one[0] % 1000 != 2 or one in points] == points
    wanted = (Matcher("__name__", "=", "llm_request_duration_seconds_bucket"),)
    traces = [
        {one for few in SampleReader(path).exemplars(wanted, *ALL_TIME).values() for one in few.trace_ids}
        for path in (tmp_path, filled)
    ]
    assert traces[0] == traces[1] != set()


def test_a_reader_follows_the_writer_over_a_seal(tmp_path: Path) -> None:
    """A reader that is open all the time sees each new sample once, while files become blocks under it."""
    now = [START]
    head = Head(tmp_path, clock_ms=lambda: now[0], pace=Pace(roll_ms=40_000))
    head.start()
    reader = SampleReader(tmp_path)
    labels = (("job", "shop"),)
    for tick in range(1, 13):
        block = Block("llm_requests_total", "counter", (), (labels,), np.array([[1.0]]))
        head.apply(Increments.of(now[0], [block]), tick)
        now[0] += 15_000
        head.beat()
        (series,) = reader.select([Matcher("job", "=", "shop")], *ALL_TIME)
        assert series.v[-1] == tick
        assert len(series.v) == tick + 1
        head.seal_closed()
    assert len(list(reader.layout.blocks_dir.iterdir())) >= 3
    assert len(SampleReader(tmp_path).select([Matcher("job", "=", "shop")], *ALL_TIME)[0].v) == 13


def test_few_series_of_blocks_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks that nobody asked for lately are let go, and opened again with the same answer."""
    now = [START]
    head = Head(tmp_path, clock_ms=lambda: now[0], pace=Pace(roll_ms=40_000))
    head.start()
    for tick in range(1, 13):
        head.append([Points(Family("g", "gauge", (("job", "shop"),)), (tick,))], now[0])
        now[0] += 15_000
        head.beat()
    head.seal_closed()
    reader = SampleReader(tmp_path)
    whole = reader.select(EVERYTHING, *ALL_TIME)[0]
    monkeypatch.setattr(reader_module, "OPENED_ROWS", 0)
    names = reader._blocks
    assert len(names) >= 3
    for name in (*names, *reversed(names)):
        (some,) = reader.select(EVERYTHING, name.first_ms, name.last_ms)
        assert some.v.tolist() == whole.v[(whole.t_ms >= name.first_ms) & (whole.t_ms <= name.last_ms)].tolist()
        assert list(reader._opened) == [name]


def test_old_blocks_go_by_age_and_by_size(tmp_path: Path) -> None:
    """Retention removes whole blocks, the oldest first, and a reader does without them."""
    now = [START]
    head = Head(tmp_path, clock_ms=lambda: now[0], pace=Pace(roll_ms=30_000))
    head.start()
    block = Block("llm_requests_total", "counter", (), ((("job", "shop"),),), np.array([[1.0]]))
    for seq in range(1, 9):
        head.apply(Increments.of(now[0], [block]), seq)
        now[0] += 15_000
        head.beat()
    head.seal_closed()
    reader = SampleReader(tmp_path)
    assert reader.select(EVERYTHING, *ALL_TIME)[0].t_ms[0] == START - 1 + 2
    names = sorted(directory.name for directory in reader.layout.blocks_dir.iterdir())
    head.forget(int(names[0].split("-")[2]) + 1, 2**40)
    assert sorted(directory.name for directory in reader.layout.blocks_dir.iterdir()) == names[1:]
    assert reader.select(EVERYTHING, *ALL_TIME)[0].t_ms[0] > START + 15_000
    head.forget(0, 0)
    assert list(reader.layout.blocks_dir.iterdir()) == []


@pytest.mark.parametrize(
    ("matcher", "jobs"),
    [
        (Matcher("job", "=", "shop"), {"shop"}),
        (Matcher("job", "!=", "shop"), {"search"}),
        (Matcher("job", "=~", "s.*"), {"shop", "search"}),
        (Matcher("job", "=~", "sho"), set()),
        (Matcher("job", "!~", "sh.p|x"), {"search"}),
        (Matcher("job", "=~", "(?i)SHOP"), {"shop"}),
        (Matcher("absent", "=", ""), {"shop", "search"}),
        (Matcher("absent", "!=", ""), set()),
        (Matcher("absent", "=~", ".*"), {"shop", "search"}),
        (Matcher("absent", "=~", ".+"), set()),
        (Matcher("quote", "=", 'a"b\\c'), {"shop"}),
        (Matcher("quote", "!=", 'a"b\\c'), {"shop", "search"}),
    ],
)
def test_matchers_choose_as_prometheus_does(filled: Path, matcher: Matcher, jobs: set[str]) -> None:
    """Regular expressions are anchored, and a label that is absent is an empty one."""
    assert {one.labels["job"] for one in SampleReader(filled).select([matcher], *ALL_TIME)} == jobs


def test_what_was_matched_is_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many selectors choose however many series: the index holds few of the answers."""
    monkeypatch.setattr(index, "_REMEMBERED_IDS", 1000)
    labels = LabelIndex()
    for number in range(400):
        assert labels.number({"__name__": "m", "n": str(number)}) == number
    for number in range(50):
        assert len(labels.match((Matcher("n", "!=", str(number)),))) == 399
        assert labels._matched_ids == sum(map(len, labels._matched.values())) <= 1000
    assert labels.number({"n": "7", "__name__": "m"}) == 7
