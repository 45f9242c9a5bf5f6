"""What the pages calculate: units, times, steps, macros, variables, transformations, reductions."""

import itertools
import json
from pathlib import Path

import pytest

from tests.console.javascript import run

ORACLE = json.loads(Path(__file__).with_name("units.json").read_text(encoding="utf-8"))
HOUR = 3_600_000
NOON = 1_795_608_000_000  # 2026-11-25 12:00:00 UTC


def test_units_are_written_as_grafana_writes_them():
    """Every unit, value and number of decimals has the text that `@grafana/data` gave for it."""
    program = """
      const { format } = await use("format/units.js");
      const { values, decimals, texts } = given;
      result = Object.fromEntries(Object.keys(texts).map((unit) =>
        [unit, values.flatMap((value) => decimals.map((places) => format(value, unit, places)))]));
    """
    assert run(program, ORACLE) == ORACLE["texts"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"from": "now-1h", "to": "now"}, [NOON - HOUR, NOON]),
        ({"from": "now-2d", "to": "now-1d"}, [NOON - 48 * HOUR, NOON - 24 * HOUR]),
        ({"from": "now/d", "to": "now/d"}, [NOON - 12 * HOUR, NOON + 12 * HOUR - 1]),
        ({"from": str(NOON - HOUR), "to": str(NOON)}, [NOON - HOUR, NOON]),
        ({"from": "2026-11-25 10:00:00", "to": "2026-11-25 12:00"}, [NOON - 2 * HOUR, NOON]),
        ({"from": "now", "to": "now-1h"}, None),
        ({"from": "yesterday", "to": "now"}, None),
        ({"from": "now-1h<script>", "to": "now"}, None),
    ],
)
def test_time_ranges_are_read_as_grafana_reads_them(wanted, expected):
    """Relative, rounded, absolute; what is no range is refused, not guessed."""
    program = """
      (await use("format/times.js")).useUtc(true);
      const found = (await use("time/range.js")).resolve(given, %d);
      result = found && [found.from, found.to];
    """
    assert run(program % NOON, wanted) == expected


def test_steps_are_grafanas():
    """An hour on 600 pixels is asked in scrapes of 15 s, a week in 15 minutes; never more steps than a server takes."""
    program = """
      const { interval, rateInterval, duration } = await use("time/steps.js");
      const step = (hours, points) => interval({ from: 0, to: hours * 3600000 }, points);
      result = [step(1, 600), step(24, 600), step(168, 600), step(24 * 365, 100000), rateInterval(15000),
                rateInterval(600000), duration(90000), duration(7200000)];
    """
    *steps, widest, short, long, ninety, two_hours = run(program, None)
    assert steps == [15_000, 120_000, 900_000]
    assert 365 * 24 * HOUR / widest <= 11_000
    assert (short, long, ninety, two_hours) == (60_000, 615_000, "90s", "2h")


def test_choices_become_queries_without_breaking_out():
    """A choice stands escaped in PromQL and TraceQL, several as alternatives, all as what stands for all."""
    program = """
      const { interpolate, inPromql, inTraceql } = await use("board/interpolate.js");
      const scope = (values, single = false, literal = false) =>
        ({ lookup: (name) => name === "m" ? { values, single, literal } : null });
      const promql = (...found) => interpolate('{model=~"$m"}', scope(...found), inPromql);
      result = [promql(["gpt-4.1"]), promql(["a", "b(c)"]), promql([".*"], false, true), promql(["5"], true),
                interpolate('{ "$m" =~ "x" } ${m:pipe} [[m]] $other', scope(['a"b', "c"]), inTraceql)];
    """
    assert run(program, None) == [
        '{model=~"gpt-4\\\\.1"}',
        '{model=~"(a|b\\\\(c\\\\))"}',
        '{model=~".*"}',
        '{model=~"5"}',
        '{ "a\\"b|c" =~ "x" } a"b|c a\\"b|c $other',
    ]


def test_tables_merge_by_what_they_share():
    """Answers of several queries become one row for each label, in the order and with the names of the board."""
    program = """
      const { toTable } = await use("board/frames.js");
      const { transform } = await use("board/transform.js");
      const row = ([name, value]) => ({ metric: { name }, value: [1, value] });
      const table = (refId, ...pairs) => toTable({ resultType: "vector", result: pairs.map(row) }, { refId });
      const options = { excludeByName: { Time: true }, indexByName: { "Value #B": 0 }, renameByName: { name: "Name" } };
      const [merged] = transform([table("A", ["a", "1"], ["b", "2"]), table("B", ["b", "NaN"])],
        [{ id: "merge" }, { id: "organize", options }]);
      const shown = (value) => Number.isNaN(value) ? "NaN" : value;
      result = merged.fields.map(({ name, values }) => [name, values.map(shown)]);
    """
    # organize puts what has a place before what has none
    assert run(program, None) == [["Value #B", [None, "NaN"]], ["Name", ["a", "b"]], ["Value #A", [1, 2]]]


def test_what_is_not_supported_says_so_by_name():
    """A transformation or calculation that is not built is an error with its name, never left out."""
    program = """
      const message = (action) => { try { action(); } catch (error) { return error.message; } };
      const { transform } = await use("board/transform.js");
      const { reduce } = await use("board/reduce.js");
      result = [message(() => transform([], [{ id: "joinByLabels" }])), message(() => reduce([1], "changeCount"))];
    """
    assert run(program, None) == [
        'The transformation "joinByLabels" is not supported.',
        'The calculation "changeCount" is not supported.',
    ]


def test_missing_is_never_zero():
    """Nothing to calculate with gives nothing; a gap in a series stays a gap unless it is narrow enough to bridge."""
    program = """
      const { reduce } = await use("board/reduce.js");
      const { align, stack } = await use("charts/grid.js");
      const frame = (times, values) => ({ fields: [{ type: "time", values: times }, { type: "number", values }] });
      const { columns } = align([frame([0, 10, 20, 90], [1, 2, 3, 4]), frame([0, 20], [5, 6])], () => 15);
      const show = (value) => value === undefined ? "bridge" : value;
      result = [reduce([], "sum"), reduce([null, NaN], "lastNotNull"), reduce([null, 3, null], "lastNotNull"),
                columns.map((column) => column.map(show)), stack([[1, 2], [3, null]], [true, true])];
    """
    assert run(program, None) == [None, None, 3, [[1, 2, 3, 4], [5, None, 6, None]], [[1, 2], [4, 2]]]


def test_cumulative_buckets_become_their_own_counts():
    """A heat map shows what fell into each bucket, lowest first, not the sums that PromQL has."""
    program = """
      const { fromBuckets } = await use("board/frames.js");
      const row = (le, value) => ({ metric: { le }, values: [[60, value]] });
      const frames = fromBuckets({ result: [row("+Inf", "9"), row("0.5", "2"), row("1", "7")] }, { refId: "A" });
      result = frames.map((frame) => [frame.fields[1].name, frame.fields[1].values[0]]);
    """
    assert run(program, None) == [["0.5", 2], ["1", 5], ["+Inf", 2]]


def test_a_range_is_searched_in_parts_without_gaps():
    """Newest first, each part longer than the one before, together the whole range and nothing twice."""
    program = """
      const { parts } = await use("traces/search.js");
      result = given.map((hours) => parts({ from: 0, to: hours * 3600000 }));
    """
    for hours, found in zip((0.05, 1, 24, 720), run(program, [0.05, 1, 24, 720]), strict=True):
        assert found[0]["to"] == hours * HOUR
        assert found[-1]["from"] == 0
        assert all(newer["from"] == older["to"] for newer, older in itertools.pairwise(found))
        assert len(found) <= 4


def test_repeated_rows_push_down_what_follows():
    """A row repeats with its panels, each copy pinned to its value; a panel below moves by as much as was added."""
    program = """
      const { expand, signature } = await use("board/repeat.js");
      const at = (x, y, w, h) => ({ gridPos: { x, y, w, h } });
      const panels = [{ type: "row", repeat: "m", ...at(0, 0, 24, 1) }, { type: "stat", ...at(0, 1, 6, 4) },
        { type: "row", title: "rest", ...at(0, 5, 24, 1) }, { type: "stat", repeat: "m", ...at(0, 6, 24, 4) }];
      const valuesOf = () => given;
      const told = ({ type, pinned, gridPos: { x, y, w } }) => [type, pinned?.m ?? null, x, y, w];
      result = [expand(panels, valuesOf).map(told), signature(panels, valuesOf)];
    """
    placed, sign = run(program, ["a", "b"])
    assert placed == [
        ["row", "a", 0, 0, 24],
        ["stat", "a", 0, 1, 6],
        ["row", "b", 0, 5, 24],
        ["stat", "b", 0, 6, 6],
        ["row", None, 0, 10, 24],
        ["stat", "a", 0, 11, 12],
        ["stat", "b", 12, 11, 12],
    ]
    assert sign == '[["m",["a","b"]]]'
