"""Plans: where among the values of an outline the observations of each kind of record go.

A plan depends on which kinds of records were observed for which rows of the catalogue, and on nothing else of a batch.
A service sends the same few kinds for ever, so plans are remembered over batches.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from stackctl.genai.metrics import MetricRow
from stackctl.remembering import Memory

from .family import LabelSet
from .labelling import Labelling
from .outline import Heading, Outline

Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]
Kind = tuple[str, ...]

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
        starts: for each row and kind the place of the first value of its label set.
    """

    outline: Outline
    starts: Places


@dataclass(frozen=True)
class Plans:
    """Makes plans and remembers them."""

    _known: Memory[tuple[Any, ...], Plan] = field(default_factory=lambda: Memory(_REMEMBERED_BYTES))

    def of(self, rows: Sequence[Counted], kinds: Sequence[Kind], observed: Mask) -> Plan:
        """Return the plan of a batch.

        Args:
            rows: of the catalogue.
            kinds: of the batch's records.
            observed: for each row and kind whether there is an observation.
        """
        # In the order of the texts, not of the records: the same kinds make the same outline, whichever comes first.
        order = sorted(np.flatnonzero(observed.any(axis=0)).tolist(), key=kinds.__getitem__)
        chosen, pairs = tuple([kinds[number] for number in order]), observed[:, order]
        key = (tuple(map(id, rows)), chosen, pairs.tobytes())
        plan = self._known.get(key)
        if plan is None:
            plan = _made(rows, chosen, pairs)
            characters = sum(len(text) for kind in chosen for text in kind)
            self._known.put(key, plan, characters + plan.starts.nbytes + len(plan.outline.encoded))
        starts = np.zeros(observed.shape, np.int64)
        starts[:, order] = plan.starts
        return Plan(plan.outline, starts)


def _made(rows: Sequence[Counted], kinds: Sequence[Kind], observed: Mask) -> Plan:
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
    return Plan(Outline(tuple(headings)), starts)
