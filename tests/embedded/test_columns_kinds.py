"""Columns by their distinct values, and the kinds of records that several of them make up."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stackctl import semconv
from stackctl.embedded.arrays import Coded, spread
from stackctl.embedded.columns import holds
from stackctl.embedded.columns.batch import Batch
from stackctl.embedded.columns.kinds import NOTHING, combined
from stackctl.embedded.columns.looks import look
from stackctl.genai.rows import Has, SpanAttr
from tests.embedded.span_tables import spans_of

FEW = st.sampled_from(["a", "aa", "aaa", "b", "é", "", None])
TEXTS = st.lists(FEW, max_size=12) | st.builds(lambda text, count: [text] * count, FEW, st.integers(0, 9))


def _coded(column: pa.Array) -> Coded:
    return Batch(pa.table({"scope": column})).coded(column)


def _values(column: Coded) -> list[object]:
    return [column.values[code] for code in column.codes.tolist()]


@settings(max_examples=300, deadline=None)
@given(texts=TEXTS, skipped=st.integers(0, 3))
@example(texts=["a", "aaa", None], skipped=0)
@example(texts=["a", "", "aaa", "aa"], skipped=1)
def test_a_coded_column_says_the_same(texts: list[str | None], skipped: int) -> None:
    """Codes and distinct values give back each text, also where all are alike or the column is a part of another."""
    column = pa.array(texts, pa.string())[skipped:]
    found = _coded(column)
    assert _values(found) == column.to_pylist()
    assert len(set(found.values)) == len(found.values)
    made = spread(found)
    made.validate(full=True)
    assert (made.to_pylist(), made.null_count) == (column.to_pylist(), column.null_count)


@pytest.mark.parametrize(("ends", "empty"), [([0, 1, 1, 2], True), ([0, 1, 2, 2], False)])
def test_bytes_behind_a_null_are_no_text(ends: list[int], empty: bool) -> None:
    """Of two records without a letter between their bounds the one that is not null has an empty text."""
    parts = (np.array([0b011], np.uint8), np.array(ends, np.int32), b"aa")
    column = pa.Array.from_buffers(pa.string(), 3, [pa.py_buffer(part) for part in parts])
    (seen,) = look([column])
    assert seen.empty is empty
    assert _values(_coded(column)) == column.to_pylist()


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(FEW, FEW, FEW), max_size=20))
def test_kinds_are_the_distinct_combinations(rows: list[tuple[str | None, ...]]) -> None:
    """Several columns as one have the tuples of their values, each once; a column that is not there has none."""
    columns = [_coded(pa.array([row[at] for row in rows], pa.string())) for at in range(3)]
    kinds = combined([*columns, NOTHING], len(rows))
    assert _values(kinds) == [(*row, None) for row in rows]
    assert len(set(kinds.values)) == len(kinds.values)


def test_many_combinations_are_kept_apart() -> None:
    """Columns with more combinations than any table holds are combined all the same."""
    texts = [f"t{number}" for number in range(3000)]
    column = _coded(pa.array(texts, pa.string()))
    assert _values(combined([column] * 8, len(texts))) == [(text,) * 8 for text in texts]


@pytest.mark.parametrize("kept", ["here", "gone"])
def test_what_leaves_the_rest_is_judged_again(kept: str) -> None:
    """A condition that read an attribute without a column holds no more once that is taken out."""
    batch = Batch(spans_of({semconv.OPERATION: "chat", "my.list": ["a", "b"]}))
    condition = Has(SpanAttr("my.list"))
    assert holds(condition, batch).all()
    rest = batch.rest()
    assert rest is not None
    batch.put_texts("rest", rest.keep(lambda _, value: value if kept == "here" else None, lambda *_: None))
    assert holds(condition, batch).all() == (kept == "here")
