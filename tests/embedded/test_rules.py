"""Rules over time: what is recorded, when an alert waits, fires and ends, and what a restart leaves."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rule_runs import START, Run

from stackctl.embedded.series.reader import SampleReader
from stackctl.errors import StoreUnusable
from stackctl.promql import Matcher

MINUTE = 60
HOT = "groups: [{name: g, rules: [{alert: Hot, expr: heat > 1, %s}]}]"
Begin = Callable[..., Run]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begin a run in this test's directory; the one before is ended as a process is."""
    runs: list[Run] = []

    def again(rules: str, start_ms: int = START, restored: bool = True) -> Run:
        if runs:
            runs.pop().close()
        runs.append(Run(tmp_path, rules, start_ms, restored))
        return runs[-1]

    yield again
    for run in runs:
        run.close()


def states(run: Run) -> list[str]:
    return [one.state for one in run.alerts()]


def test_recorded_series_are_queried_and_feed_later_rules(begin: Begin) -> None:
    """A rule sees what the rule before it recorded at the same moment, and a query sees both."""
    run = begin(
        """
        groups:
          - name: g
            rules:
              - {record: "job:heat:sum", expr: "sum by (job) (heat)", labels: {unit: K, job_id: ""}}
              - {record: "heat:max", expr: "max(job:heat:sum) * 2"}
              - {record: "one", expr: "1"}
        """
    )
    for place, value in (("a", 1.0), ("b", 2.0)):
        run.feed("heat", value, {"job": "oven", "place": place})
    run.evaluate()
    assert run.query("job:heat:sum") == {"{'__name__': 'job:heat:sum', 'job': 'oven', 'unit': 'K'}": 3.0}
    assert run.query("heat:max") == {"{'__name__': 'heat:max'}": 6.0}
    assert run.query("one") == {"{'__name__': 'one'}": 1.0}
    assert len(run.query("{__name__=~'heat|heat:max'}")) == 3


def test_a_recorded_series_ends_when_its_query_has_no_answer(begin: Begin) -> None:
    """The series is gone at once, not after the lookback of five minutes."""
    run = begin("groups: [{name: g, rules: [{record: r, expr: heat > 1}]}]")
    run.feed("heat", 2)
    run.step()
    assert run.query("r") == {"{'__name__': 'r'}": 2.0}
    run.feed("heat", 0)
    run.step()
    assert run.query("r") == {}
    assert run.query("count_over_time(r[1h])") == {"{}": 1.0}


def test_recorded_series_go_on_after_a_restart(begin: Begin) -> None:
    """What was recorded is on disk: a query over the restart sees both sides of it."""
    rules = "groups: [{name: g, rules: [{record: r, expr: heat}]}]"
    run = begin(rules)
    for value in (1, 2):
        run.feed("heat", value)
        run.step()
    again = begin(rules, start_ms=run.now)
    assert again.query("sum_over_time(r[1h])") == {"{}": 3.0}
    again.feed("heat", 4)
    again.evaluate()
    assert again.query("sum_over_time(r[1h])") == {"{}": 7.0}


def test_an_alert_waits_fires_and_ends(begin: Begin) -> None:
    """Pending for as long as `for` says, then firing with the moment it began, and inactive once the query is empty."""
    run = begin(HOT % "for: 1m")
    run.step()
    assert states(run) == []
    for expected in ("pending",) * 4 + ("firing",) * 2:
        run.feed("heat", 2)
        run.evaluate()
        assert states(run) == [expected]
        assert run.query(f"ALERTS{{alertstate='{expected}'}}") != {}
        assert list(run.query("ALERTS_FOR_STATE").values()) == [START / 1000 + 15]
        run.now += 15_000
    assert run.alerts()[0].active_ms == START + 15_000
    assert len(run.query("ALERTS")) == 1
    run.feed("heat", 0)
    run.evaluate()
    assert states(run) == []
    assert run.query("ALERTS or ALERTS_FOR_STATE") == {}


def test_a_pending_alert_that_ends_begins_anew(begin: Begin) -> None:
    """The wait does not add up over interruptions: a flicker never fires."""
    run = begin(HOT % "for: 30s")
    for value in (2, 2, 0, 2, 2):
        run.feed("heat", value)
        run.step()
        assert "firing" not in states(run)
    assert run.alerts()[0].active_ms == START + 45_000


def test_an_alert_without_a_wait_fires_at_once(begin: Begin) -> None:
    """Without `for` there is no pending."""
    run = begin(HOT % "labels: {severity: page}")
    run.feed("heat", 2, {"place": "a"})
    run.evaluate()
    (alert,) = run.alerts()
    assert (alert.state, dict(alert.labels)) == ("firing", {"alertname": "Hot", "place": "a", "severity": "page"})


def test_keep_firing_for_bridges_a_gap(begin: Begin) -> None:
    """A firing alert outlives its query's answer by that time, and is reset when the answer is back."""
    run = begin(HOT % "keep_firing_for: 30s")
    seen = []
    for value in (2, 0, 0, 2, 0, 0, 0):
        run.feed("heat", value)
        run.step()
        seen.append([(one.state, one.keep_since_ms is not None) for one in run.alerts()])
    kept, live, none = [("firing", True)], [("firing", False)], []
    assert seen == [live, kept, kept, live, kept, kept, none]


def test_texts_follow_the_value(begin: Begin) -> None:
    """Annotations are filled at each evaluation; labels, which say which alert it is, may be templates as well."""
    run = begin(HOT % "labels: {where: 'in {{ $labels.place }}'}, annotations: {s: '{{ $value | humanize }}'}")
    for value in (2000, 3000):
        run.feed("heat", value, {"place": "a"})
        run.step()
    (alert,) = run.alerts()
    assert (alert.labels["where"], alert.annotations["s"], alert.value) == ("in a", "3k", 3000)


def test_a_rule_that_fails_says_so_and_the_others_go_on(begin: Begin) -> None:
    """Health and reason of each rule are told; one that cannot be evaluated stops none of its group."""
    run = begin(
        """
        groups:
          - name: g
            limit: 1
            rules:
              - {record: same, expr: heat, labels: {place: ""}}
              - {record: text, expr: "'x'"}
              - {record: many, expr: heat}
              - {alert: Many, expr: heat}
              - {alert: Same, expr: heat, labels: {place: ""}}
              - {record: fine, expr: sum(heat)}
        """
    )
    assert set(run.health().values()) == {("unknown", "")}
    for place in "ab":
        run.feed("heat", 1, {"place": place})
    run.evaluate()
    assert run.health() == {
        "same": ("err", "vector contains metrics with the same labelset after applying rule labels"),
        "text": ("err", "rule result is not a vector or scalar"),
        "many": ("err", "exceeded limit of 1 with 2 series"),
        "Many": ("err", "exceeded limit of 1 with 2 alerts"),
        "Same": ("err", "vector contains metrics with the same labelset after applying alert labels"),
        "fine": ("ok", ""),
    }
    assert run.alerts("Many") == []
    run.now += 60_000
    run.feed("heat", None, {"place": "b"})
    run.evaluate()
    assert [name for name, (health, _) in run.health().items() if health == "err"] == ["text"]


def test_a_defect_in_one_rule_stops_no_other(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the evaluator should never raise is that rule's failure, seen in its health."""
    run = begin("groups: [{name: g, rules: [{record: r, expr: heat}, {record: fine, expr: '1'}]}]")
    select = SampleReader.select

    def broken(*_: object) -> object:
        raise ZeroDivisionError

    monkeypatch.setattr(SampleReader, "select", broken)
    run.evaluate()
    monkeypatch.setattr(SampleReader, "select", select)
    assert run.health() == {"r": ("err", "internal error: ZeroDivisionError"), "fine": ("ok", "")}


@pytest.mark.parametrize(
    ("waited", "down", "left"),
    [
        (15 * MINUTE, MINUTE, 15 * MINUTE),  # the time in between does not count
        (25 * MINUTE, MINUTE, 10 * MINUTE),  # but ten minutes are waited at least
        (35 * MINUTE, MINUTE, 0),  # it had fired before
        (15 * MINUTE, 90 * MINUTE, 30 * MINUTE),  # too long ago
    ],
)
def test_a_restart_keeps_the_time_waited(begin: Begin, waited: int, down: int, left: int) -> None:
    """An alert that waited a quarter of an hour does not begin anew because the stack was restarted."""
    rules = HOT % "for: 30m"
    run = begin(rules)
    for _ in range(waited // 15 + 1):
        run.feed("heat", 2)
        run.step()
    again = begin(rules, start_ms=run.now - 15_000 + down * 1000, restored=False)
    for _ in range(2):
        again.feed("heat", 2)
        again.evaluate()
        assert again.query("ALERTS") == {} or down == MINUTE  # written from the third evaluation on
    begun = again.now
    again.feed("heat", 2)
    again.step()
    found = again.alerts()[0]
    assert max(found.active_ms + 30 * MINUTE * 1000 - begun, 0) == left * 1000
    assert found.state == ("firing" if left == 0 else "pending")
    assert again.query("ALERTS") != {}


def test_groups_are_evaluated_at_their_own_slots(begin: Begin) -> None:
    """Each interval has one evaluation at the group's own place in it; what was slept through is left out."""
    run = begin(
        """
        groups:
          - {name: fast, interval: 10s, rules: [{record: f, expr: vector(1)}]}
          - {name: slow, interval: 30s, rules: [{record: s, expr: vector(1)}]}
        """
    )
    for _ in range(601):
        assert 0 <= run.rules.step() <= 1
        run.now += 100
    assert run.query("count_over_time(f[1h])") == {"{}": 6.0}
    assert run.query("count_over_time(s[1h])") == {"{}": 2.0}
    (samples,) = run.recorded.storage.select((Matcher("__name__", "=", "f"),), START, run.now)
    assert set((samples.t_ms[1:] - samples.t_ms[:-1]).tolist()) == {10_000}
    run.now += 3_600_000
    run.rules.step()
    assert run.query("count_over_time(f[1h])") == {"{}": 1.0}
    run.now -= 7_200_000
    run.rules.step()
    for _ in range(20):  # after the clock was set back it goes on as well
        run.rules.step()
        run.now += 1000
    assert run.now - 11_000 <= run.rules.groups[0].evaluated_ns // 1_000_000 < run.now


def test_rules_run_in_the_background_until_the_application_ends(tmp_path: Path) -> None:
    """The evaluation is over before the log is closed, and a second process is not let in meanwhile."""
    rules = "groups: [{name: g, interval: 1s, rules: [{record: r, expr: vector(1)}]}]"
    run = Run(tmp_path, rules)

    async def lifespan() -> None:
        async with run.rules.running():
            run.now += 2000
            for _ in range(3_000):
                await asyncio.sleep(0.01)
                if run.health() == {"r": ("ok", "")}:
                    break
            with pytest.raises(StoreUnusable):
                Run(tmp_path, rules)

    asyncio.run(lifespan())
    assert run.health() == {"r": ("ok", "")}
    Run(tmp_path, rules).close()
