"""The head: exact counters over any stop, and when samples are written."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from stackctl.embedded.series import head as head_module
from stackctl.embedded.series.family import Family, LabelSet
from stackctl.embedded.series.frame import SampleFrame, scan
from stackctl.embedded.series.head import Head, Pace
from stackctl.embedded.series.increments import EXEMPLAR, Block, Increments
from stackctl.embedded.series.layout import SeriesLayout
from stackctl.embedded.series.points import STALE, Points
from stackctl.embedded.series.reader import SampleReader
from stackctl.errors import StoreUnusable
from stackctl.promql import Matcher

START = 1_700_000_000_000
LABELS: LabelSet = (("job", "shop"), ("service_name", "shop"))


class Clock:
    """Time that tests set, unix milliseconds."""

    def __init__(self, now: int = START) -> None:
        self.now = now

    def __call__(self) -> int:
        return self.now


def calls(count: float, arrival_ms: int = START, labels: LabelSet = LABELS) -> Increments:
    block = Block("llm_requests_total", "counter", (), (labels,), np.array([[count]]))
    return Increments.of(arrival_ms, [block])


def durations(counts: Sequence[float], total: float, exemplars: np.ndarray) -> Increments:
    values = np.array([[*counts, total]])
    block = Block("llm_request_duration_seconds", "histogram", (0.1, 1.0), (LABELS,), values, exemplars)
    return Increments.of(START, [block])


def frames(data_dir: Path) -> list[SampleFrame]:
    """Every frame of the log that is no state frame."""
    layout = SeriesLayout.below(data_dir)
    found = []
    for number in layout.logs():
        found += [frame for frame, _ in scan(layout.log_file(number).read_bytes()) if not frame.state]
    return found


def samples(data_dir: Path, slot: int = 0) -> list[tuple[int, float]]:
    """Time after START and value of each sample of one slot, in the order of the log."""
    return [
        (int(time) - START, float(value))
        for frame in frames(data_dir)
        for at, time, value in zip(frame.slots, frame.times, frame.values, strict=True)
        if at == slot
    ]


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_first_sample_is_preceded_by_a_zero_before_the_first_arrival(tmp_path: Path, clock: Clock) -> None:
    """`increase` sees the very first calls, since a zero stands one millisecond before they arrived."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    head.apply(calls(3, START + 5_000), 1)
    clock.now += 15_000
    head.beat()
    assert samples(tmp_path) == [(4_999, 0.0), (15_000, 3.0)]


def test_zero_comes_after_the_tick_before(tmp_path: Path, clock: Clock) -> None:
    """A zero never stands at or before a tick that was written already, even if calls arrived before it."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    head.apply(calls(3, START - 1_000), 1)
    clock.now += 1
    head.tick()
    assert samples(tmp_path) == [(1, 0.0), (2, 3.0)]


def test_live_series_are_sampled_every_pace_whether_they_changed_or_not(tmp_path: Path, clock: Clock) -> None:
    """An idle counter goes on having samples, so that its line does not break and later increments count."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    head.apply(calls(1), 1)
    for _ in range(4):
        clock.now += 15_000
        head.beat()
    assert [time for time, _ in samples(tmp_path)][1:] == [15_000, 30_000, 45_000, 60_000]


def test_series_idle_for_a_day_ends_and_comes_back_with_its_former_value(tmp_path: Path, clock: Clock) -> None:
    """An ended series is marked stale; when it counts again its former value stands before the new one."""
    head = Head(tmp_path, clock_ms=clock, pace=Pace(live_ms=20_000))
    head.start()
    head.apply(calls(2), 1)
    for _ in range(3):
        clock.now += 15_000
        head.beat()
    head.apply(calls(5, clock.now + 100), 2)
    clock.now += 15_000
    head.beat()
    values = samples(tmp_path)
    assert values[:2] == [(1, 0.0), (15_000, 2.0)]
    assert values[2][0] == 30_000
    assert np.float64(values[2][1]).view(np.uint64) == np.float64(STALE).view(np.uint64)
    assert values[3:] == [(45_099, 2.0), (60_000, 7.0)]


def test_a_waiting_reader_gets_what_changed_at_once(tmp_path: Path, clock: Clock) -> None:
    """A touch of `wanted` brings a tick of what changed, and only of that, and only if something did."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    head.apply(calls(1), 1)
    head.apply(calls(1, labels=(("job", "other"),)), 2)
    head.tick()
    clock.now += 1_000
    wanted = SeriesLayout.below(tmp_path).wanted
    wanted.touch()
    os.utime(wanted, ns=(clock.now * 10**6, clock.now * 10**6))
    head.beat()
    assert len(frames(tmp_path)) == 1
    head.apply(calls(4, clock.now), 3)
    head.beat()
    assert [(int(s), float(v)) for s, v in zip(frames(tmp_path)[1].slots, frames(tmp_path)[1].values, strict=True)] == [
        (0, 5.0)
    ]


def test_counters_go_on_exactly_after_a_kill(tmp_path: Path, clock: Clock) -> None:
    """What a tick held is not counted again, and what came after it is: no count lost, none twice."""
    arrived = {seq: calls(seq, START + seq) for seq in range(1, 8)}
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    for seq in (1, 2, 3):
        head.apply(arrived[seq], seq)
    clock.now += 15_000
    head.beat()
    for seq in (4, 5):
        head.apply(arrived[seq], seq)
    # Killed here: no close. The next process replays the span log from the durable sequence on.
    clock.now += 60_000
    again = Head(tmp_path, clock_ms=clock)
    assert again.applied_seq == again.durable_seq == 3
    for seq in range(again.applied_seq + 1, 8):
        again.apply(arrived[seq], seq)
    again.apply(arrived[7], 7)
    again.start()
    assert samples(tmp_path)[-1] == (75_000, float(sum(range(1, 8))))
    assert again.durable_seq == 7


def test_a_torn_tail_is_cut_and_counting_goes_on(tmp_path: Path, clock: Clock) -> None:
    """Half a frame at the end of the log costs that frame only, and the next one is readable."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    head.apply(calls(3), 1)
    head.tick()
    path = SeriesLayout.below(tmp_path).log_file(1)
    whole = path.read_bytes()
    head.apply(calls(4), 2)
    head.tick()
    path.write_bytes(path.read_bytes()[: len(whole) + 20])
    again = Head(tmp_path, clock_ms=clock)
    assert again.applied_seq == 1
    again.apply(calls(4), 2)
    clock.now += 1_000
    again.start()
    assert samples(tmp_path)[-1] == (1_000, 7.0)


def test_a_refusing_disk_loses_no_count(tmp_path: Path, clock: Clock) -> None:
    """A tick that the disk refused is an error by name; the next one holds everything."""
    broken = False

    def sync(handle: int) -> None:
        if broken:
            raise OSError(28, "No space left on device")

    head = Head(tmp_path, clock_ms=clock, sync=sync)
    head.start()
    head.apply(calls(3), 1)
    broken = True
    with pytest.raises(StoreUnusable, match="No space left"):
        head.tick()
    assert head.durable_seq == 0
    broken = False
    clock.now += 10
    head.apply(calls(1, clock.now), 2)
    head.tick()
    assert samples(tmp_path) == [(1, 0.0), (10, 4.0)]


def test_the_next_file_holds_everything_that_is_alive(tmp_path: Path, clock: Clock) -> None:
    """After a roll the newest file alone brings back values, sequence and the requests of the last minutes."""
    head = Head(tmp_path, clock_ms=clock, pace=Pace(roll_ms=30_000))
    head.start()
    head.apply(calls(3), 1)
    head.append((), clock.now, (b"0123456789abcdef",))
    clock.now += 30_000
    head.beat()
    layout = SeriesLayout.below(tmp_path)
    assert layout.logs() == [1, 2]
    layout.log_file(1).unlink()
    again = Head(tmp_path, clock_ms=clock)
    assert again.applied_seq == 1
    assert again.known(b"0123456789abcdef")
    clock.now += 1_000
    again.start()
    assert samples(tmp_path) == [(31_000, 3.0)]


def test_a_file_of_many_samples_is_closed_however_small_it_is(tmp_path: Path, clock: Clock) -> None:
    """Who reads it holds each sample: a million equal ones take next to nothing on disk, before and after a start."""
    layout, pace = SeriesLayout.below(tmp_path), Pace(roll_samples=5)
    for logs in ([1], [1], [1, 2]):
        head = Head(tmp_path, clock_ms=clock, pace=pace)
        clock.now += 1_000
        head.append([Points(Family("g", "gauge", (("n", str(n)),)), (n,)) for n in range(2)], clock.now)
        head.beat()
        assert layout.logs() == logs
        head._log.close()


def test_a_refused_roll_mixes_no_series(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the disk refuses the next file, the old one goes on as it was, however many series are to be forgotten."""
    head = Head(tmp_path, clock_ms=clock, pace=Pace(roll_ms=60_000, keep_ms=20_000, live_ms=20_000))
    head.start()
    for seq, name in enumerate(("idle", "busy"), 1):
        head.apply(calls(seq, clock.now, labels=(("job", name),)), seq)
    for _ in range(3):
        clock.now += 15_000
        head.beat()
    clock.now += 15_000
    head.apply(calls(5, clock.now, labels=(("job", "busy"),)), 3)
    handles = len(os.listdir("/proc/self/fd"))

    def refuse(directory: Path) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("stackctl.embedded.series.log.sync_directory", refuse)
        for _ in range(3):
            clock.now += 100
            with pytest.raises(StoreUnusable, match="No space left"):
                head.beat()
    assert SeriesLayout.below(tmp_path).logs() == [1]
    assert len(os.listdir("/proc/self/fd")) == handles
    head.apply(calls(1, clock.now, labels=(("job", "busy"),)), 4)
    head.tick()
    clock.now += 100
    head.beat()
    head.apply(calls(1, clock.now, labels=(("job", "busy"),)), 5)
    head.close()
    found = SampleReader(tmp_path).select([Matcher("__name__", "=", "llm_requests_total")], 0, 2**60)
    assert {one.labels["job"]: one.v[~np.isnan(one.v)].max() for one in found} == {"idle": 1.0, "busy": 9.0}


def test_histogram_becomes_cumulative_buckets_sum_and_count(tmp_path: Path, clock: Clock) -> None:
    """Observations of each bucket are summed as Prometheus stores them, and exemplars keep series and trace."""
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    one = np.array([(1, 0.5, 0x1234, -1, START)], EXEMPLAR)
    head.apply(durations([2, 1, 1], 7.5, one), 1)
    head.tick()
    frame = frames(tmp_path)[0]
    assert list(frame.values[-5:]) == [2.0, 3.0, 4.0, 7.5, 4.0]
    names = [series["__name__"] + series.get("le", "") for series in frame.families[0][1].series()]
    base = "llm_request_duration_seconds"
    assert names == [f"{base}_bucket0.1", f"{base}_bucket1", f"{base}_bucket+Inf", f"{base}_sum", f"{base}_count"]
    assert [(e.slot, e.value, e.trace_id) for e in frame.exemplars] == [(1, 0.5, "0000000000001234" + "f" * 16)]


def test_increments_survive_their_encoding_and_add_up() -> None:
    """What the span log keeps is what was counted, and merged batches are their sum."""
    one = np.array([(1, 0.5, 0x1234, -1, START)], EXEMPLAR)
    first, second = durations([2, 0, 1], 7.5, one), calls(2)
    whole = Increments.merge([first, second, Increments.from_bytes(first.to_bytes())])
    again = Increments.from_bytes(memoryview(whole.to_bytes()))
    assert again.arrival_ms == START
    by_name = {block.name: block for block in again.blocks}
    assert by_name["llm_request_duration_seconds"].values.tolist() == [[4.0, 0.0, 2.0, 15.0]]
    assert len(by_name["llm_request_duration_seconds"].exemplars) == 2
    assert by_name["llm_requests_total"].labels == (LABELS,)
    assert not Increments.from_bytes(b"")


def test_bytes_that_are_no_increments_are_refused() -> None:
    """Cut anywhere, longer, of another outline or none of ours: an error by name, never other numbers."""
    one = np.array([(1, 0.5, 0x1234, -1, START)], EXEMPLAR)
    whole = durations([2, 0, 1], 7.5, one).to_bytes()
    small = calls(2).to_bytes()
    outlines = [Increments.from_bytes(raw).outline.encoded for raw in (whole, small)]
    broken = [whole[:end] for end in range(1, len(whole))]
    broken += [whole + b"0", b"\0" * 200, whole.replace(b"[0]", b"[9]"), whole.replace(b'"sets"', b'"sats"')]
    swapped = whole.replace(*outlines)
    broken.append(swapped[:8] + len(outlines[1]).to_bytes(4, "little") + swapped[12:])
    for raw in broken:
        with pytest.raises(ValueError, match=r"."):
            Increments.from_bytes(raw)


def test_increments_that_were_read_are_stored_as_they_came() -> None:
    """What a worker encoded is not encoded again, and equal outlines are one object that others know them by."""
    raws = [calls(count).to_bytes() for count in (1, 2)]
    found = [Increments.from_bytes(raw) for raw in raws]
    assert [Increments.merge([one]).to_bytes() for one in found] == raws
    assert found[0].outline is found[1].outline
    assert Increments.merge(found).blocks[0].values.tolist() == [[3.0]]


def test_series_that_are_forgotten_give_their_slots_and_room_to_others(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same label sets again and again are counted where they are now, not where they were before a roll."""
    monkeypatch.setattr(head_module, "MOST_SETS", 2)
    head = Head(tmp_path, clock_ms=clock, pace=Pace(roll_ms=60_000, keep_ms=20_000, live_ms=20_000))
    head.start()
    first, second, third = (calls(1, clock.now, labels=(("job", name),)) for name in ("first", "second", "third"))
    for seq, one in enumerate((first, second, third, third), 1):  # third has no room: it is counted in one for the rest
        head.apply(one, seq)
    for seq in range(5, 9):
        clock.now += 15_000
        head.apply(Increments(clock.now, second.outline, second.values), seq)
        head.beat()
    assert SeriesLayout.below(tmp_path).logs() == [1, 2]
    for seq, one in enumerate((third, second, third, second), 9):
        head.apply(Increments(clock.now, one.outline, one.values), seq)
    head.close()
    found = SampleReader(tmp_path).select([Matcher("__name__", "=", "llm_requests_total")], 0, 2**60)
    last = {one.labels.get("job", "rest"): one.v[~np.isnan(one.v)].max() for one in found}
    assert last == {"first": 1.0, "second": 7.0, "rest": 2.0, "third": 2.0}


def test_label_sets_beyond_the_limit_share_one_series(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded whatever senders name their services, and sums over all series stay exact."""
    monkeypatch.setattr(head_module, "MOST_SETS", 3)
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    sets = tuple(
        (("gen_ai_token_type", kind), ("service_name", f"service {number}"))
        for number in range(5)
        for kind in ("input", "output")
    )
    values = np.arange(1.0, 11.0)[:, None]
    for seq in (1, 2):
        head.apply(Increments.of(clock.now, [Block("llm_tokens_total", "counter", (), sets, values)]), seq)
    clock.now += 15_000
    head.beat()
    found = SampleReader(tmp_path).select((Matcher("__name__", "=", "llm_tokens_total"),), 0, clock.now)
    last = {tuple(sorted(one.labels.items())): one.v[-1] for one in found}
    assert sum(last.values()) == 2 * values.sum()
    spilt = {
        dict(labels)["gen_ai_token_type"]: v for labels, v in last.items() if "otel_metric_overflow" in dict(labels)
    }
    assert spilt == {"input": 2 * (5 + 7 + 9), "output": 2 * (4 + 6 + 8 + 10)}
    assert len(last) == 5


def test_applications_series_beyond_the_limit_are_left_out(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label that is different in every point fills no memory; series that are known go on."""
    monkeypatch.setattr(head_module, "MOST_SLOTS", 2)
    head = Head(tmp_path, clock_ms=clock)
    head.start()
    points = [Points(Family("heat", "gauge", (("place", place),)), (1.0,)) for place in "abc"]
    assert list(head.admitted(points)) == points[:2]  # of one request as of many
    head.append(points[:2], clock.now)
    assert list(head.admitted(points)) == points[:2]
    head.append(points, clock.now + 1000)
    found = SampleReader(tmp_path).select((Matcher("__name__", "=", "heat"),), 0, 2**60)
    assert {one.labels["place"]: len(one.v) for one in found} == {"a": 2, "b": 2}
