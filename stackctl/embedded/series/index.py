"""The label index of the query process: which series fulfil which matchers.

Hundreds of thousands of series stay here for as long as the process lives, so each is kept once and kept small.
"""

from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import chain
from sys import intern
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt
import orjson

from stackctl.errors import QueryInvalid
from stackctl.promql import Matcher
from stackctl.promql.regex import compiled

SeriesIds: TypeAlias = npt.NDArray[np.int64]
Labels: TypeAlias = dict[str, str]

_REMEMBERED: Final = 512
_REMEMBERED_LENGTH: Final = 1024
"""What longer patterns match is looked up each time."""
_REMEMBERED_IDS: Final = 2_000_000
"""So many answers, of so many series together, are remembered: 16 MB."""


@dataclass
class LabelIndex:
    """Every series' labels by number, and numbers by label value.

    Attributes:
        labels: labels of each series by name, the metric name under `__name__`; not to be changed.
    """

    labels: list[Labels] = field(default_factory=list)
    _numbers: dict[bytes, int] = field(default_factory=dict)
    _postings: dict[str, dict[str, "array[int]"]] = field(default_factory=dict)
    _matched: dict[tuple[Matcher, ...], SeriesIds] = field(default_factory=dict)
    _matched_ids: int = 0

    def number(self, labels: Labels) -> int:
        """Return the number of the series with these labels; a new series gets the next one."""
        # Sixteen bytes instead of the labels once more, which take as much as all the rest.
        key = blake2b(orjson.dumps(labels, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()
        found = self._numbers.get(key)
        if found is None:
            found = self._numbers[key] = len(self.labels)
            kept = {intern(name): intern(value) for name, value in sorted(labels.items())}
            self.labels.append(kept)
            for name, value in kept.items():
                self._postings.setdefault(name, {}).setdefault(value, array("i")).append(found)
            self._forget()
        return found

    def match(self, matchers: Sequence[Matcher]) -> SeriesIds:
        """Return the numbers of the series that fulfil all matchers, ascending.

        Raises:
            QueryInvalid: a regular expression that RE2 does not take.
        """
        key = tuple(matchers)
        found = self._matched.get(key)
        if found is None:
            mask = np.ones(len(self.labels), np.bool_)
            for matcher in matchers:
                self._restrict(mask, matcher)
            found = np.flatnonzero(mask)
            if len(self._matched) >= _REMEMBERED or self._matched_ids + len(found) > _REMEMBERED_IDS:
                self._forget()
            if sum(len(one.value) for one in matchers) <= _REMEMBERED_LENGTH:
                self._matched[key] = found
                self._matched_ids += len(found)
        return found

    def _forget(self) -> None:
        self._matched.clear()
        self._matched_ids = 0

    def _restrict(self, mask: npt.NDArray[np.bool_], matcher: Matcher) -> None:
        """Take the series out of the mask that do not fulfil a matcher; an absent label is an empty one."""
        fulfils = judge(matcher)
        absent = fulfils("")
        keep = np.full(len(mask), absent)
        postings = self._postings.get(matcher.name, {})
        if matcher.op == "=" and not absent:
            postings = {matcher.value: postings[matcher.value]} if matcher.value in postings else {}
        others = chain.from_iterable(numbers for value, numbers in postings.items() if fulfils(value) is not absent)
        keep[np.fromiter(others, np.intp)] = not absent
        mask &= keep


def judge(matcher: Matcher) -> Callable[[str], bool]:
    """Return what tells whether a label value fulfils a matcher.

    Raises:
        QueryInvalid: a regular expression that RE2 does not take.
    """
    match matcher.op:
        case "=":
            return lambda value: value == matcher.value
        case "!=":
            return lambda value: value != matcher.value
        case "=~":
            matches = _whole(matcher.value).match
            return lambda value: matches(value) is not None
        case "!~":
            matches = _whole(matcher.value).match
            return lambda value: matches(value) is None


def _whole(pattern: str) -> Any:
    """A pattern as Prometheus reads it: RE2, anchored by its user, with a dot that takes line ends too."""
    try:
        return compiled(pattern)
    except ValueError as error:
        raise QueryInvalid(
            f"invalid regular expression {pattern!r}: {error}", next_step="Mend the expression; RE2 syntax."
        ) from error
