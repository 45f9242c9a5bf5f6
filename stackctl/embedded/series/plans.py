"""Plans: where among the values of an outline the observations of each kind of record go.

A plan depends on which kinds of records were observed for which rows of the catalogue, and on nothing else of a batch.
A service sends the same few kinds for ever, so plans are remembered over batches.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stackctl.genai.metrics import MetricRow
from stackctl.remembering import Memory

from .family import LabelSet
from .kinds import Kind, KindSet, Places
from .labelling import Labelling
from .outline import Heading, Outline

Mask = npt.NDArray[np.bool_]

# Characters of kinds and bytes of what belongs to them.
_REMEMBERED_BYTES: Final = 4 * 1024**2


@dataclass(frozen=True)
class Counted:
    """A catalogue row and what it shares with others.

    Attributes:
        bounds: of its buckets, as numpy searches them.
        labelling: makes its label sets.
        condition: number of its condition.
        value: number of its value.
    """

    row: MetricRow
    bounds: npt.NDArray[np.float64]
    labelling: Labelling
    condition: int
    value: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Where observations go.

    Attributes:
        starts: for each kind of each row, one row behind the other, the place of the first value of its label set.
        sums: likewise the place of a histogram's sum, which stands behind its buckets.
        cells: for each histogram the number of its first bucket among those of all, and of how many there are.
        traced: which of the rows have exemplars; None for all.
    """

    outline: Outline
    starts: Places
    sums: Places
    cells: Places
    traced: Mask | None


@dataclass(frozen=True)
class Plans:
    """Makes plans and remembers them, by the kinds that there are and by those that were observed."""

    _known: Memory[tuple[Any, ...], Plan] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))
    _made: Memory[tuple[Any, ...], tuple[Outline, Places]] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))

    def of(self, rows: Sequence[Counted], kinds: KindSet, pairs: Places) -> Plan:
        """Return the plan of a batch.

        Args:
            rows: of the catalogue, counters first.
            kinds: of the batch's records.
            pairs: of each observation the number of its row and kind among those of all rows.
        """
        observed = np.bincount(pairs, minlength=len(rows) * len(kinds)).nonzero()[0]
        key = tuple(map(id, rows)), kinds, observed.tobytes()
        plan = self._known.get(key)
        if plan is None:
            plan = self._plan(rows, kinds, observed)
            self._known.put(key, plan, kinds.characters + 2 * plan.starts.nbytes + observed.nbytes)
        return plan

    def _plan(self, rows: Sequence[Counted], kinds: KindSet, observed: Places) -> Plan:
        hits = np.zeros((len(rows), len(kinds)), np.bool_)
        hits.ravel()[observed] = True
        # Records that nothing was observed of come with other texts each time, maybe.
        order = np.flatnonzero(hits.any(axis=0)).tolist()
        chosen, pairs = tuple([kinds.kinds[number] for number in order]), hits[:, order]
        key = tuple(map(id, rows)), chosen, pairs.tobytes()
        made = self._made.get(key)
        if made is None:
            made = _made(rows, chosen, pairs)
            characters = sum(len(text) for kind in chosen for text in kind)
            self._made.put(key, made, characters + made[1].nbytes + len(made[0].encoded))
        starts = np.zeros(hits.shape, np.int64)
        starts[:, order] = made[1]
        widths = np.array([len(one.row.bounds) + 1 for one in rows])
        cells = [0, *accumulate(len(one.row.bounds) + 1 for one in rows if one.row.kind == "histogram")]
        traced = np.array([one.row.exemplars for one in rows])
        sums = (starts + widths[:, np.newaxis]).ravel()
        return Plan(made[0], starts.ravel(), sums, np.array(cells), None if traced.all() else traced)


def _made(rows: Sequence[Counted], kinds: Sequence[Kind], observed: Mask) -> tuple[Outline, Places]:
    """Return the outline of what was observed, and for each row and kind the place of its label set's first value."""
    headings = []
    starts = np.zeros(observed.shape, np.int64)
    named: defaultdict[int, dict[int, LabelSet]] = defaultdict(dict)  # by labelling, then by kind
    at = 0
    for counted, hits, places in zip(rows, observed, starts, strict=True):
        known = named[id(counted.labelling)]
        sets: dict[LabelSet, int] = {}
        present = np.flatnonzero(hits).tolist()
        for number in present:
            if number not in known:
                known[number] = counted.labelling.of(kinds[number])
        numbers = [sets.setdefault(known[number], len(sets)) for number in present]
        if sets:
            heading = Heading(counted.row.name, counted.row.kind, counted.row.bounds, tuple(sets))
            places[present] = at + np.array(numbers) * heading.width
            at += len(sets) * heading.width
            headings.append(heading)
    return Outline(tuple(headings)), starts
