"""Rules against Prometheus' own evaluator: promtool runs the same rules over the same samples, moment by moment."""

import random
import subprocess
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from rule_runs import START, Run

from stackctl.promql import instant
from stackctl.promql.values import NAME
from tests.realstack import program

STEP = 15
STEPS = 60
SERIES = [("heat", place, zone) for place in ("a", "b", "c", "d") for zone in ("in", "out")]
RULES = """
groups:
  - name: first
    interval: 15s
    rules:
      - {record: "place:heat:sum", expr: "sum by (place) (heat)", labels: {unit: K}}
      - {record: "hot:count", expr: "count(heat > 2)"}
      - {record: "hot", expr: "max without (zone) (heat > 2)", labels: {team: ""}}
      - {record: "heat:rate", expr: "rate(heat[1m])"}
  - name: then
    interval: 15s
    labels: {team: kitchen}
    rules:
      - {alert: Now, expr: "heat > 3", annotations: {s: "{{ $labels.place }}: {{ $value }}", h: "{{$value|humanize}}"}}
      - {alert: Waits, expr: "heat > 2", for: 45s, labels: {level: "{{ $labels.zone }}", zone: ""}}
      - {alert: Keeps, expr: "place:heat:sum > 4", keep_firing_for: 1m, annotations: {d: "{{$value|humanizeDuration}}"}}
      - {alert: Both, expr: "hot:count > 3", for: 30s, keep_firing_for: 30s, labels: {team: ""}}
      - {alert: None, expr: "absent(heat{place='a'})", annotations: {p: "{{ $value | humanizePercentage }}"}}
"""
WATCHED = ("place:heat:sum", "hot:count", "hot", "heat:rate", "ALERTS", "ALERTS_FOR_STATE")


def story(seed: int) -> list[list[float | str]]:
    """Values of each series at each step: slow walks with gaps (`_`) and ends (`stale`)."""
    chance = random.Random(seed)
    lines = []
    for _ in SERIES:
        value, line, there = 2.0, [], True
        for _ in range(STEPS):
            value = max(value + chance.choice((-0.5, 0.0, 0.0, 0.5)), 0)
            if chance.random() < 0.05:
                there = not there
                line.append("stale" if not there else value)
            else:
                line.append(value if there else "_")
        lines.append(line)
    return lines


def ours(directory: Path, lines: Sequence[Sequence[float | str]]) -> Iterator[tuple[int, Run]]:
    """Evaluate the rules at every step; yields seconds since the start and the run."""
    run = Run(directory, RULES)
    for at in range(STEPS):
        for (name, place, zone), line in zip(SERIES, lines, strict=True):
            if line[at] != "_":
                run.feed(name, None if line[at] == "stale" else float(line[at]), {"place": place, "zone": zone})
        run.evaluate()
        yield at * STEP, run
        run.now += STEP * 1000
    run.close()


def expected(at: int, run: Run) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """What promtool shall find at a moment: firing alerts and all that was recorded."""
    alerts = []
    for name in ("Now", "Waits", "Keeps", "Both", "None"):
        firing = [one for one in run.alerts(name) if one.state == "firing"]
        labels = [{key: value for key, value in one.labels.items() if key != "alertname"} for one in firing]
        found = [
            {"exp_labels": own, "exp_annotations": dict(one.annotations)}
            for own, one in zip(labels, firing, strict=True)
        ]
        alerts.append({"eval_time": f"{at}s", "alertname": name, "exp_alerts": found})
    queries = []
    for name in WATCHED:
        samples = []
        for one in instant(f"{{{NAME}='{name}'}}", run.now, run.recorded.storage).series:
            value = float(one.v[0]) - (START / 1000 if name == "ALERTS_FOR_STATE" else 0)  # promtool begins in 1970
            rest = ",".join(f'{key}="{text}"' for key, text in one.labels.items() if key != NAME)
            samples.append({"labels": f'{{{NAME}="{name}",{rest}}}', "value": value})
        queries.append({"expr": f"{{{NAME}='{name}'}}", "eval_time": f"{at}s", "exp_samples": samples})
    return alerts, queries


@pytest.mark.realstack
@pytest.mark.parametrize("seed", range(3))
def test_every_moment_is_as_prometheus_has_it(tmp_path: Path, seed: int) -> None:
    """States, labels, texts, recorded values and their ends agree at each of 60 evaluations."""
    lines = story(seed)
    alerts, queries = [], []
    for at, run in ours(tmp_path, lines):
        more = expected(at, run)
        alerts += more[0]
        queries += more[1]
    assert sum(bool(one["exp_alerts"]) for one in alerts) > STEPS  # else nothing was compared
    given = [
        {"series": f'{name}{{place="{place}",zone="{zone}"}}', "values": " ".join(map(str, line))}
        for (name, place, zone), line in zip(SERIES, lines, strict=True)
    ]
    test = {"interval": f"{STEP}s", "input_series": given, "alert_rule_test": alerts, "promql_expr_test": queries}
    (tmp_path / "rules.yml").write_text(textwrap.dedent(RULES))
    # Without an order promtool takes the groups as they come out of a map, and the second reads what the first records.
    order = {"group_eval_order": ["first", "then"]}
    whole = {"rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s", "tests": [test], **order}
    (tmp_path / "test.yml").write_text(yaml.safe_dump(whole))
    done = subprocess.run(
        [program("promtool"), "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
