"""Scripts that fix what queries answer: load series, evaluate, expected. In the manner of Prometheus' promqltest.

    load 15s
      requests_total{job="api"} 0+10x20 5 _x3 stale
    eval instant at 5m sum(requests_total)
      {} 200
    eval range from 1m to 3m step 1m requests_total
      requests_total{job="api"} 40 80 _
    eval instant at 5m requests_total + on () requests_total
      fails many-to-many matching not allowed

Moments count from `START_MS`. In a series `a+bxn` is a and n further values, each b more; `_` is no sample.
`sorted` behind `eval` says that the order of the answer counts.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from stackctl.bench.promql_corpus import Query
from stackctl.bench.promql_series import START_MS, Samples
from stackctl.promql import Series
from stackctl.promql.values import STALE_BITS

_LABEL = re.compile(r'([\w.]+)="((?:[^"\\]|\\.)*)"')
_UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
_COUNTED = re.compile(r"(?P<first>-?[\d.e]+)(?:(?P<step>[+-][\d.e]+))?x(?P<more>\d+)")


@dataclass
class Evaluation:
    """A query of a script with what it must answer.

    Attributes:
        expected: values by label set, None where a step has none; in the order of the script.
        fails: part of the error's message, when the query must fail.
        ordered: whether the order of series counts.
    """

    query: Query
    line: int
    expected: dict[tuple[tuple[str, str], ...], list[float | None]] = field(default_factory=dict)
    fails: str | None = None
    ordered: bool = False


@dataclass
class Script:
    """A parsed script."""

    samples: Samples
    evaluations: list[Evaluation]
    has_stale: bool


def read(path: Path) -> Script:
    """Parse a script."""
    script = Script(Samples([]), [], False)
    interval = 0
    for number, line in enumerate(path.read_text().splitlines(), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        if text.startswith("load "):
            interval = duration(text.split()[1])
        elif text.startswith("eval "):
            script.evaluations.append(_evaluation(text, number))
        elif not script.evaluations:
            labels, rest = labelled(text)
            script.has_stale |= "stale" in rest
            script.samples.series.append(_series(labels, rest, interval))
        else:
            _expect(script.evaluations[-1], text)
    return script


def duration(text: str) -> int:
    """Return milliseconds of a duration such as 1m30s or -5m."""
    parts = re.findall(r"(\d+)(ms|s|m|h)", text)
    total = sum(int(count) * _UNITS[unit] for count, unit in parts)
    return -total if text.startswith("-") else total


def labelled(text: str) -> tuple[dict[str, str], str]:
    """Cut a line into labels (with the metric name) and the rest."""
    found = re.match(r"([\w:]*)(?:\{([^}]*)\})?\s*(.*)", text)
    assert found is not None, text
    labels = dict(_LABEL.findall(found.group(2) or ""))
    return ({"__name__": found.group(1), **labels} if found.group(1) else labels), found.group(3)


def _series(labels: dict[str, str], text: str, interval: int) -> Series:
    t, v = [], []
    for place, value in enumerate(_values(text)):
        if value is not None:
            t.append(START_MS + place * interval)
            v.append(value)
    return Series(labels, np.array(t, np.int64), np.array(v, np.float64))


def _values(text: str) -> Iterator[float | None]:
    for word in text.split():
        counted = _COUNTED.fullmatch(word)
        if word.startswith("_"):
            yield from [None] * int(word[2:] or 1)
        elif word == "stale":
            yield float(np.array([STALE_BITS]).view(np.float64)[0])
        elif counted:
            first, step = float(counted["first"]), float(counted["step"] or 0)
            yield from (first + step * i for i in range(int(counted["more"]) + 1))
        else:
            yield float(word)


def _evaluation(text: str, line: int) -> Evaluation:
    ordered = text.startswith("eval sorted ")
    text = text.replace("eval sorted ", "eval ", 1)
    instant = re.match(r"eval instant at (\S+) (.*)", text)
    if instant:
        return Evaluation(Query("", instant[2], START_MS + duration(instant[1])), line, ordered=ordered)
    ranged = re.match(r"eval range from (\S+) to (\S+) step (\S+) (.*)", text)
    assert ranged is not None, text
    start, end, step = (duration(ranged[i]) for i in (1, 2, 3))
    return Evaluation(Query("", ranged[4], START_MS + start, START_MS + end, step), line)


def _expect(evaluation: Evaluation, text: str) -> None:
    if text.startswith("fails"):
        evaluation.fails = text.removeprefix("fails").strip()
        return
    labels, rest = labelled(text)
    values = [None if word == "_" else float(word) for word in rest.split()]
    evaluation.expected[tuple(sorted(labels.items()))] = values
