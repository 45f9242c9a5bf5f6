"""Which records have a value, worked out once for all columns in which the same do; and what that lets rules skip."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl import semconv
from stackctl.embedded.arrays import Coded
from stackctl.embedded.columns.batch import Batch
from stackctl.embedded.columns.kinds import combined
from stackctl.embedded.columns.planning import Planner
from stackctl.embedded.columns.presence import Presences
from stackctl.genai.rows import LARGEST_QUANTITY, Dialect, Row, SpanAttr, ValueType
from tests.embedded.span_tables import spans_of

INPUT = f"s:{semconv.INPUT_TOKENS}:i"


@settings(max_examples=200, deadline=None)
@given(values=st.lists(st.none() | st.integers(0, 3), min_size=1, max_size=40), skipped=st.integers(0, 9))
def test_a_column_and_a_mask_of_the_same_records_share_one(values: list[int | None], skipped: int) -> None:
    """Wherever a column begins, its bitmap is found again, and what is worked out of it says what its nulls do."""
    column = pa.array([None, 1, *values][: len(values) + 2], pa.int64())[2:][skipped:]
    valid = [value is not None for value in column.to_pylist()]
    if not len(column) or not column.null_count:
        return
    presences = Presences(len(column))
    found = presences.of(column)
    assert found is presences.where(np.array(valid))
    assert found is presences.of_kinds(np.array(valid).astype(int), (False, True))
    assert (found.valid.tolist(), found.codes.tolist()) == (valid, [int(not there) for there in valid])
    made = found.repeated("é")
    made.validate(full=True)
    assert (made.to_pylist(), made.null_count) == (["é" if there else None for there in valid], column.null_count)


def test_columns_of_the_same_codes_are_combined_as_others_are() -> None:
    """Those that are there together tell records apart once, in the order in which they would anyway."""
    codes = np.array([1, 0, 1, 2])
    columns = [Coded(codes, ["a", "b", None]), Coded(np.array([0, 0, 1, 1]), [1, 2]), Coded(codes, ["x", "y", None])]
    copies = [Coded(column.codes.copy(), column.values) for column in columns]
    for some, others in ((columns, copies), (columns[::2], copies[::2])):
        one, other = combined(some, 4), combined(others, 4)
        assert (one.codes.tolist(), one.values) == (other.codes.tolist(), other.values)


def test_codes_that_no_record_has_make_no_kind() -> None:
    """A single column that tells records apart may have values that do not occur."""
    kinds = combined([Coded(np.array([2, 0, 2]), ["a", "b", "c"])], 3)
    assert (kinds.codes.tolist(), kinds.values) == ([1, 0, 1], [("a",), ("c",)])


@pytest.mark.parametrize(
    ("tokens", "least"),
    [
        ([1, 2, None], 1),
        ([1, 0, None], 0),
        ([1, -1, 2], -1),
        ([1, 2**40 + 1], -math.inf),
        ([2**40], 2**40),
        ([None, None, 3], 1),
    ],
)
def test_quantities_above_zero_need_no_second_look(tokens: list[int | None], least: float) -> None:
    """A batch whose counts are all above 0 has no step for zeros, and one without less none for what cannot be."""
    spans = [{semconv.OPERATION: "chat"} | ({} if one is None else {semconv.INPUT_TOKENS: one}) for one in tokens]
    batch = Batch(spans_of(*spans))
    assert batch.least([INPUT, "s:not.there:i"], LARGEST_QUANTITY) == {INPUT: least}
    plan = Planner(()).of(batch)
    assert (INPUT not in plan.quantities) is (least >= 0)
    assert (semconv.INPUT_TOKENS not in {step.key for step in plan.steps}) is (least > 0)


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
def test_what_is_no_quantity_is_seen(seconds: float) -> None:
    """Neither NaN, which is no null, nor what has no end passes for a quantity."""
    name = f"s:{semconv.TIME_TO_FIRST_CHUNK}:d"
    for values in ([seconds, 1.0], [seconds, None], [seconds, seconds]):
        batch = Batch(pa.table({"scope": ["x"] * 2, name: pa.array(values, pa.float64())}))
        assert not batch.least([name], LARGEST_QUANTITY)[name] >= 0
        assert Planner(()).of(batch).quantities == (name,)
    assert Batch(pa.table({name: pa.array([0.5, None])})).least([name], LARGEST_QUANTITY) == {name: 0.5}


def test_what_a_row_may_fill_is_looked_at_then() -> None:
    """A row may bring a zero, or less, where there was no value, so the steps for these stay."""
    batch = Batch(
        spans_of({semconv.OPERATION: "chat", semconv.INPUT_TOKENS: 3}, {semconv.OPERATION: "chat", "mine": 0})
    )
    plan = Planner((Dialect("x", (Row(semconv.INPUT_TOKENS, SpanAttr("mine")),)),)).of(batch)
    assert batch.least([INPUT], LARGEST_QUANTITY)[INPUT] > 0
    assert INPUT in plan.quantities
    assert semconv.INPUT_TOKENS in {step.key for step in plan.steps if not isinstance(step, Row)}


@pytest.mark.parametrize(("kind", "found"), [(pa.int8(), False), (pa.int64(), True)])
def test_an_octet_is_looked_for_where_octets_are(kind: pa.DataType, found: bool) -> None:
    """Only within the column, and where its values are no octets it may be there."""
    batch = Batch(pa.table({"status": pa.array([2, 0, 1, 2], kind)[1:3]}))
    assert batch.has_octet("status", 2) is found
    assert batch.has_octet("status", 1)
    assert not batch.has_octet("nothing", 1)


def test_an_attribute_of_two_types_has_both_until_one_is_dropped() -> None:
    """What batches of the same columns share is not changed by one of them."""
    kinds: list[list[ValueType]] = []
    for drops in (True, False):
        batch = Batch(pa.table({"s:a:s": ["x"], "s:a:i": [1]}))
        if drops:
            batch.drop("s:a:s")
        kinds.append([kind for kind, _ in batch.spans("a")])
    assert kinds == [["i"], ["s", "i"]]
