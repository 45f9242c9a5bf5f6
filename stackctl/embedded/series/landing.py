"""Landings: the slots in which the values of an outline are counted, worked out once for as long as slots stand."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Self

import numpy as np

from .frame import Floats
from .outline import Outline
from .slots import Mask, Rows


@dataclass(frozen=True, slots=True)
class Landing:
    """Where increments of one outline go.

    Attributes:
        slots: of each value, then of each histogram's count.
        alone: whether no slot is there twice: label sets beyond the limit share one.
        buckets: which values are a bucket's observations.
        before: for each value the first of its row.
        tops: for each count the value of its last bucket.
    """

    slots: Rows
    alone: bool
    buckets: Mask
    before: Rows
    tops: Rows

    @classmethod
    def of(cls, outline: Outline, firsts: Sequence[int]) -> Self:
        """Work it out.

        Args:
            firsts: first slot of each row of the outline.
        """
        widths = np.repeat([one.width for one in outline.headings], [len(one.labels) for one in outline.headings])
        starts = np.array(list(accumulate(widths.tolist(), initial=0)), np.int64)[:-1]
        histograms = widths > 1
        before = np.repeat(starts, widths)
        offsets = np.arange(outline.size) - before
        last = np.repeat(widths, widths) - 1
        # A family's slots are as its values and then the count, which is what the last bucket comes to.
        first = np.array(firsts, np.int64)
        slots = np.concatenate([np.repeat(first, widths) + offsets, (first + widths)[histograms]])
        alone = len(set(firsts)) == len(firsts)  # what families have never overlaps
        return cls(slots, alone, offsets < last, before, (starts + widths - 2)[histograms])

    def gained(self, values: Floats) -> Floats:
        """Return what each slot gained: buckets cumulative, as Prometheus stores them."""
        # Sums over rows before a row cancel exactly: observations are whole numbers.
        passed = np.zeros(len(values) + 1)
        np.where(self.buckets, values, 0.0).cumsum(out=passed[1:])
        each = np.where(self.buckets, passed[1:] - passed.take(self.before), values)
        return np.concatenate([each, each.take(self.tops)])
