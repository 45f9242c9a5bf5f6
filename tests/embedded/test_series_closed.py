"""Samples of a closed log file come sorted, a share at a time, whatever the frames were that they came in."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stackctl.embedded.series import closed
from stackctl.embedded.series.closed import Samples

frames = st.lists(st.lists(st.integers(0, 12), max_size=9), max_size=12)


def taken(found: Sequence[Sequence[int]]) -> tuple[Samples, list[tuple[int, int, float]]]:
    """Samples of frames, each with a time of its own, and the same as rows."""
    samples, rows = Samples(), []
    for number, slots in enumerate(found):
        times = [1_000 * number + place for place in range(len(slots))]
        values = [float(time) / 7 for time in times]
        samples.add(np.array(slots, np.int32), np.array(times, np.int64), np.array(values))
        rows += list(zip(slots, times, values, strict=True))
    return samples, rows


@given(frames, st.sampled_from([1, 4, 100]), st.sampled_from([1, 5, 100]), st.sets(st.integers(0, 20)))
def test_samples_are_those_of_one_sort(found: list[list[int]], piece: int, share: int, known: set[int]) -> None:
    """Series in their order, each in that of time, none cut between two shares; what no series has is told."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(closed, "_PIECE", piece)
        patch.setattr(closed, "_SHARE", share)
        samples, rows = taken(found)
        expected = sorted((row for row in rows if row[0] in known), key=lambda row: row[:2])
        assert samples.keep(known) == len(rows) - len(expected)
        counts = samples.counts()
        assert counts.tolist() == [sum(row[0] == slot for row in expected) for slot in range(len(counts))]
        assert counts.sum() == len(expected)
        shares = list(samples.sorted())
        assert [
            row
            for level in shares
            for row in zip(level.ids.tolist(), level.times.tolist(), level.values.tolist(), strict=True)
        ] == expected
        ends = [(int(level.ids[0]), int(level.ids[-1])) for level in shares]
        assert all(last < first for (_, last), (first, _) in pairwise(ends))
        assert all(len(level.ids) < share + int(counts.max()) for level in shares)
        if expected:
            assert samples.bounds_ms() == (min(row[1] for row in expected), max(row[1] for row in expected))
