"""The kinds of records by the texts of their series' labels."""

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackctl.embedded.columns import Batch
from stackctl.embedded.series.kinds import Kinds
from stackctl.genai.rows import Field, SpanAttr

SOURCES = (Field("name"), SpanAttr("a"), SpanAttr("b"), SpanAttr("gone"))
FEW = st.sampled_from(["", "x", "y", "z", None])
KINDS = Kinds(SOURCES)  # one for all examples: what it remembers of one batch must not come out for another


def _batch(**columns: list[Any]) -> Batch:
    types = {"i": pa.int64()}
    return Batch(pa.table({name: pa.array(of, types.get(name[-1], pa.string())) for name, of in columns.items()}))


@settings(max_examples=200, deadline=None)
@given(rows=st.lists(st.tuples(FEW, FEW, FEW), min_size=1, max_size=20))
def test_kinds_are_the_distinct_combinations_in_order(rows: list[tuple[str | None, ...]]) -> None:
    """Every record has the number of its own texts, no text being an empty one; numbers follow the texts."""
    names = ("name", "s:a:s", "s:b:s")
    kinds, numbers = KINDS.of(_batch(**{name: [row[at] for row in rows] for at, name in enumerate(names)}))
    expected = [(*(text or "" for text in row), "") for row in rows]
    assert [kinds.kinds[number] for number in numbers] == expected
    assert kinds.kinds == tuple(sorted(set(expected)))


def test_the_same_kinds_are_the_same_object_in_any_order() -> None:
    """What is remembered by the kinds of one batch is found for the next."""
    one, _ = KINDS.of(_batch(name=["p", "q", "r"], **{"s:a:s": ["x", "y", None]}))
    other, _ = KINDS.of(_batch(name=["r", "q", "p"], **{"s:a:s": [None, "y", "x"]}))
    assert one is other


@pytest.mark.parametrize("count", [90, 3000])
def test_many_combinations_are_kept_apart(count: int) -> None:
    """Sources with more combinations than any table holds are told apart all the same."""
    texts = [f"t{number:04}" for number in range(count)]
    kinds, numbers = KINDS.of(_batch(name=texts, **{"s:a:s": texts[::-1], "s:b:s": texts}))
    assert kinds.kinds == tuple((text, other, text, "") for text, other in zip(texts, texts[::-1], strict=True))
    assert numbers.tolist() == list(range(count))


@pytest.mark.parametrize("count", [3, 400])
def test_an_attribute_of_several_types_has_the_first_that_is_there(count: int) -> None:
    """A key whose values are texts here and numbers there has one label, however many the numbers need to be told."""
    texts = [None if number % 2 else f"t{number}" for number in range(count)]
    numbered = [number % 2 or None for number in range(count)]
    kinds, numbers = KINDS.of(_batch(**{"s:a:s": texts, "s:a:i": numbered}))
    found = [kinds.kinds[number][1] for number in numbers]
    assert found == [text or "1" for text in texts]
