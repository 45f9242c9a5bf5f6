"""Each operation of the rows, on columns and read naively on one span: they agree for any value.

The naive reading below is the meaning of the rows; a second executor is held to it the same way.
"""

import json
import math
import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl import semconv
from stackctl.embedded.columns.batch import Batch
from stackctl.embedded.columns.conditions import holds
from stackctl.embedded.columns.conversions import convert
from stackctl.embedded.columns.normalise import normalise
from stackctl.embedded.columns.planning import Planner
from stackctl.genai import rows
from stackctl.genai.rows import (
    All,
    Const,
    Copy,
    Dialect,
    Equals,
    Erase,
    EventOffset,
    Extract,
    Field,
    Has,
    IsoOffset,
    JsonField,
    JsonList,
    Less,
    MapValue,
    Matches,
    Not,
    ResourceAttr,
    Row,
    Scale,
    SpanAttr,
)

START = 1_700_000_000_000_000_000
TYPES = {"s": pa.string(), "i": pa.int64(), "d": pa.float64(), "b": pa.bool_()}

WORDS = ["", "chat", "LLM", "12", "-3", "4.5", "1e3", "true", "FALSE", "x y", "né", "nan", "0x10", " 5", "9" * 25]
JSONS = ['{"a":{"b":7}}', '{"a":[1,"z"]}', '["stop"]', "[not json", "2023-11-14T22:13:20.250Z"]
texts = st.sampled_from([*WORDS, *JSONS])
whole = st.one_of(st.integers(-3, 20), st.integers(-(2**60), 2**60))
numbers = st.floats(allow_nan=False, allow_infinity=False, width=32)
VALUES = {"s": texts, "i": whole, "d": numbers, "b": st.booleans()}
KEYS = ("a", "b", "c")


@st.composite
def spans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Up to six spans with attributes of up to three keys, each of one type per key and span."""
    kinds = {key: draw(st.sampled_from("sidb")) for key in KEYS}
    return [
        {
            f"{draw(st.sampled_from('sr'))}:{key}:{kind}": draw(VALUES[kind])
            for key, kind in kinds.items()
            if draw(st.booleans())
        }
        | {"scope": draw(st.sampled_from(["lib.one", "lib.two"]))}
        for _ in range(draw(st.integers(1, 6)))
    ]


sources = st.one_of(
    st.sampled_from(KEYS).map(SpanAttr), st.sampled_from(KEYS).map(ResourceAttr), st.just(Field("scope"))
)
scalars = st.one_of(texts, st.integers(-3, 20), st.booleans(), st.just(4.5))
leaves = st.one_of(
    st.builds(Has, sources),
    st.builds(Equals, sources, st.lists(scalars, min_size=1, max_size=3).map(tuple)),
    st.builds(Matches, sources, st.sampled_from(["^chat$", "[0-9]+", "a", "two$", "é"])),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(All, st.lists(inner, max_size=3).map(tuple)),
        st.builds(rows.Any, st.lists(inner, max_size=3).map(tuple)),
    ),
    max_leaves=6,
)


def batch_of(records: list[dict[str, Any]]) -> Batch:
    """Return the records as a batch of the contract's columns."""
    names = sorted({name for record in records for name in record if ":" in name})
    columns = {name: pa.array([record.get(name) for record in records], TYPES[name[-1]]) for name in names}
    scope = pa.array([record["scope"] for record in records], pa.string())
    starts = pa.array([START] * len(records), pa.int64())
    return Batch(pa.table({"start_ns": starts, "dur_ns": starts, "scope": scope, **columns}))


# --- the naive reading ------------------------------------------------------------------------------------------------
def values(source: rows.Source, span: dict[str, Any]) -> list[Any]:
    """Values of a source on one span; empty text is no value."""
    match source:
        case SpanAttr(key):
            found = [value for name, value in span.items() if name.startswith(f"s:{key}:")]
        case ResourceAttr(key):
            found = [value for name, value in span.items() if name.startswith(f"r:{key}:")]
        case Field(name):
            return [span[name]]
        case _:
            raise AssertionError(source)
    return [value for value in found if value != ""]


def true_of(when: rows.When, span: dict[str, Any]) -> bool:
    """Whether a condition holds on one span."""
    match when:
        case Has(source):
            return bool(values(source, span))
        case Equals(source, wanted):
            return any(_same(value, want) for value in values(source, span) for want in wanted)
        case Matches(source, pattern):
            return any(isinstance(value, str) and re.search(pattern, value) for value in values(source, span))
        case Not(of):
            return not true_of(of, span)
        case All(parts):
            return all(true_of(part, span) for part in parts)
        case rows.Any(parts):
            return any(true_of(part, span) for part in parts)


def _same(value: Any, want: Any) -> bool:
    if isinstance(value, bool) != isinstance(want, bool) or isinstance(value, str) != isinstance(want, str):
        return False
    if isinstance(value, int) and not isinstance(value, bool) and isinstance(want, float) and want != int(want):
        return False
    return value == want


def as_type(value: Any, kind: str) -> Any:
    """One value in another type, None where it has no exact reading there."""
    if value is None or ((kind == "b") != isinstance(value, bool) and kind in "bid" and not isinstance(value, str)):
        return value if isinstance(value, bool) and kind == "b" else None
    match kind:
        case "s":
            return value if isinstance(value, str) else None if not isinstance(value, bool) else str(value).lower()
        case "b":
            return value if isinstance(value, bool) else {"true": True, "false": False}.get(value.lower())
        case "i":
            if isinstance(value, str):
                return int(value) if re.fullmatch(r"[+-]?[0-9]{1,18}", value) else None
            return (
                int(value) if value == math.floor(value) and (isinstance(value, int) or abs(value) <= 2**53) else None
            )
        case _:
            if isinstance(value, str):
                return (
                    float(value)
                    if re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", value)
                    else None
                )
            return float(value)


# --- properties -------------------------------------------------------------------------------------------------------
@settings(max_examples=250, deadline=None)
@given(records=spans(), when=conditions)
def test_conditions_hold_for_the_same_spans(records: list[dict[str, Any]], when: rows.When) -> None:
    """Any nesting of Has, Equals, Matches, Not, All and Any takes the same spans on columns as on one span."""
    assert holds(when, batch_of(records)).tolist() == [true_of(when, record) for record in records]


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from("sidb"), to=st.sampled_from("idb"), data=st.data())
def test_copies_change_type_exactly_or_not_at_all(kind: str, to: str, data: st.DataObject) -> None:
    """A value that has no exact reading in the canonical type becomes unknown."""
    given_values = data.draw(st.lists(st.one_of(st.none(), VALUES[kind]), min_size=1, max_size=5))
    got = convert(Copy(), pa.array(given_values, TYPES[kind]), to, _clock(len(given_values)))  # type: ignore[arg-type]
    assert got.to_pylist() == [as_type(value, to) for value in given_values]


def _clock(count: int) -> Batch:
    return batch_of([{"scope": "x"}] * count)


@pytest.mark.parametrize(
    ("how", "to", "given_values", "wanted"),
    [
        (Scale(0.001), "d", [1500, None, 0], [1.5, None, 0.0]),
        (Scale(0.001), "d", ["250", "soon"], [0.25, None]),
        (Const("openai"), "s", ["x", None], ["openai", None]),
        (Const(True), "b", [1, None], [True, None]),
        (MapValue((("LLM", "chat"),)), "s", ["LLM", "TOOL", None], ["chat", "TOOL", None]),
        (MapValue((("LLM", "chat"),), closed=True), "s", ["LLM", "TOOL", None], ["chat", None, None]),
        (JsonField(("a", "b")), "i", ['{"a":{"b":7}}', '{"a":1}', "[", None, "[]"], [7, None, None, None, None]),
        (JsonField(("a", "1")), "s", ['{"a":[1,"z"]}', '{"a":[1]}'], ["z", None]),
        (JsonField(("f",)), "b", ['{"f":true}', '{"f":"false"}', '{"f":null}'], [True, False, None]),
        (
            JsonList(),
            "s",
            ["stop", '["a","b"]', '"quoted"', "", None],
            ['["stop"]', '["a","b"]', '["quoted"]', None, None],
        ),
        (Extract("n=([0-9]+)"), "i", ["n=12,", "m=3", None], [12, None, None]),
        (EventOffset(), "d", [START + 250_000_000, None], [0.25, None]),
        (IsoOffset(), "d", ["2023-11-14T22:13:20.250Z", '"2023-11-14T22:13:21+00:00"', "noon"], [0.25, 1.0, None]),
        (IsoOffset(), "d", ["2023-11-14T22:13:20.5"], [0.5]),
    ],
)
def test_each_conversion_reads_as_it_says(
    how: rows.Convert, to: rows.ValueType, given_values: list[Any], wanted: list[Any]
) -> None:
    """Units, maps, JSON members, offsets and extracts give the value, or nothing: never a guess."""
    kind = next(pa.infer_type([value]) for value in given_values if value is not None)
    got = convert(how, pa.array(given_values, kind), to, _clock(len(given_values))).to_pylist()
    assert got == [want if want is None or isinstance(want, str | bool) else pytest.approx(want) for want in wanted]


@settings(max_examples=100, deadline=None)
@given(records=spans(), when=conditions, scope=st.sampled_from(["", r"one$", r"^none$"]))
def test_rows_fill_only_what_is_missing(records: list[dict[str, Any]], when: rows.When, scope: str) -> None:
    """Of two rows the first with a value wins, on spans of its scope and condition, never over a canonical value."""
    key = f"s:{semconv.REQUEST_MODEL}:s"
    first, second = SpanAttr("a"), ResourceAttr("b")
    dialect = Dialect(
        "x", (Row(semconv.REQUEST_MODEL, first, when=when, scope=scope), Row(semconv.REQUEST_MODEL, second))
    )
    records = [record | ({key: "kept"} if place % 3 == 0 else {}) for place, record in enumerate(records)]
    batch = batch_of(records)
    normalise(batch, Planner((dialect,)).of(batch))
    column = batch.columns.get(key)
    got = [None] * len(records) if column is None else column.to_pylist()
    for record, value in zip(records, got, strict=True):
        applies = true_of(when, record) and re.search(scope, record["scope"]) is not None
        wanted = [record.get(key), *(values(first, record) if applies else []), *values(second, record)]
        expected = next((one for one in wanted if one is not None), None)
        if not isinstance(expected, int | float) or isinstance(expected, bool):
            assert value == as_type(expected, "s")
        else:
            assert float(value) == pytest.approx(float(expected))


def test_erases_come_before_rows() -> None:
    """A dialect that fills a canonical key wrongly is corrected by an erase and a row of its own."""
    key = f"s:{semconv.TIME_TO_FIRST_CHUNK}:d"
    dialect = Dialect(
        "x",
        rows=(Row(semconv.TIME_TO_FIRST_CHUNK, SpanAttr("a")),),
        erases=(Erase(semconv.TIME_TO_FIRST_CHUNK, Equals(Field("scope"), ("lib.one",))),),
    )
    batch = batch_of([{"scope": "lib.one", key: 9.0, "s:a:d": 0.5}, {"scope": "lib.two", key: 9.0, "s:a:d": 0.5}])
    normalise(batch, Planner((dialect,)).of(batch))
    assert batch.columns[key].to_pylist() == [0.5, 9.0]


@pytest.mark.parametrize(
    ("whole", "part", "rest"),
    [(12, 5, 7), (5, 5, 0), (4, 5, None), (12, -1, None), (12, None, None), (None, 5, None), (-3, -5, None)],
)
def test_a_whole_less_its_part_is_the_rest(whole: int | None, part: int | None, rest: int | None) -> None:
    """Nothing where the part cannot be one, and where it is not known on any span."""
    dialect = Dialect("x", (Row(semconv.OUTPUT_TOKENS, SpanAttr("a"), Less(SpanAttr(semconv.INPUT_TOKENS))),))
    record = {f"s:{semconv.INPUT_TOKENS}:i": part, "s:a:i": whole}
    records = [{"scope": "x"} | {key: value for key, value in record.items() if value is not None}]
    for beside in ([], [{"scope": "x", "s:a:i": 9, f"s:{semconv.INPUT_TOKENS}:i": 1}]):
        batch = batch_of(records + beside)
        normalise(batch, Planner((dialect,)).of(batch))
        found = batch.columns.get(f"s:{semconv.OUTPUT_TOKENS}:i")
        wanted = [rest, *(8 for _ in beside)]
        assert ([None] * len(wanted) if found is None else found.to_pylist()) == wanted


def test_lists_and_maps_are_read_as_json_text() -> None:
    """A value without a column of its own is a source like any other, as JSON text."""
    rest = json.dumps({"a": {"b": 7}, "finish": ["stop"]})
    table = pa.table({"start_ns": [START], "dur_ns": [1], "scope": ["x"], "rest": [rest]})
    batch = Batch(table)
    dialect = Dialect(
        "x",
        (
            Row(semconv.INPUT_TOKENS, SpanAttr("a"), JsonField(("b",))),
            Row(semconv.FINISH_REASONS, SpanAttr("finish"), JsonList()),
        ),
    )
    normalise(batch, Planner((dialect,)).of(batch))
    assert batch.columns[f"s:{semconv.INPUT_TOKENS}:i"].to_pylist() == [7]
    assert batch.columns[f"s:{semconv.FINISH_REASONS}:s"].to_pylist() == ['["stop"]']
