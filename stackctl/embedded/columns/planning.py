"""Planning: what of all rows and conditions can find anything in batches that look alike; most cannot."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from stackctl import semconv
from stackctl.genai import implied, rows
from stackctl.genai.derived import DERIVED_TYPES, INCOMPLETE_WHEN, RATE_WHEN
from stackctl.genai.rows import (
    ALWAYS,
    KEY_TYPES,
    LARGEST_QUANTITY,
    QUANTITIES,
    AddTo,
    Dialect,
    Erase,
    EventAttr,
    EventTime,
    Field,
    ResourceAttr,
    Row,
    Source,
    SpanAttr,
    ValueType,
    When,
    span_attributes,
)
from stackctl.remembering import Memory

from .batch import Batch
from .conditions import text_matches

Step = Erase | Row | AddTo

_NEVER: Final = rows.Any()
_QUANTITIES: Final = tuple(f"s:{key}:{KEY_TYPES[key]}" for key in QUANTITIES)
_USAGE: Final = (semconv.INPUT_TOKENS, semconv.OUTPUT_TOKENS)
_ERROR: Final = 2  # OTLP's status of a span that failed
_FEW_SCOPES: Final = 16
# Characters of keys and scopes, which senders choose; a plan or a set of keys counts for some itself.
_REMEMBERED: Final = 1024**2
_EACH: Final = 4096


@dataclass(frozen=True)
class Plan:
    """What is to be done with batches that look alike.

    Attributes:
        ours: columns that only the pipeline may write.
        whole: columns that have a canonical key in its own type, which no span has in another.
        mixed: canonical keys that came in another type or without a column, with their own.
        steps: erases, rows and sums, in the order in which they run, with as much of their conditions as may be open.
        quantities: columns of canonical quantities that there may be then, and may be impossible.
        counts: which spans are accounted, likewise.
        incomplete: which streams broke off, likewise.
        rate: which calls have an output rate, likewise.
    """

    ours: tuple[str, ...]
    whole: tuple[str, ...]
    mixed: tuple[tuple[str, ValueType], ...]
    steps: tuple[Step, ...]
    quantities: tuple[str, ...]
    counts: When
    incomplete: When
    rate: When


class Planner:
    """Plans batches; a plan is remembered, since services send the same keys for ever.

    Args:
        dialects: whose rows are run.
        counts: which spans are accounted.
    """

    def __init__(self, dialects: Iterable[Dialect], counts: When = ALWAYS) -> None:
        dialects = tuple(dialects)
        erases = [erase for dialect in dialects for erase in dialect.erases]
        filling = [row for dialect in dialects for row in dialect.rows]
        sums = [one for dialect in dialects for one in dialect.sums]
        self._steps: tuple[Step, ...] = (*erases, *filling, *sums, *implied.SUMS, *implied.ERASES, *implied.ROWS)
        self._counts = counts
        self._plans: Memory[_Likeness, Plan] = Memory(_REMEMBERED)
        # The keys that steps of each scope read.
        self._reads: dict[str, set[str]] = {}
        for step in self._steps:
            self._reads.setdefault(step.scope, set()).update(span_attributes(step))
        self._read: Memory[frozenset[str], frozenset[str]] = Memory(_REMEMBERED)

    def read(self, scopes: frozenset[str]) -> frozenset[str]:
        """The span attributes that may be read where spans of these scopes came together."""
        read = self._read.get(scopes)
        if read is None:
            few = scopes if len(scopes) <= _FEW_SCOPES else None
            read = frozenset[str]().union(*(keys for pattern, keys in self._reads.items() if _is_of(pattern, few)))
            self._read.put(scopes, read, _EACH + sum(map(len, scopes)))
        return read

    def of(self, batch: Batch) -> Plan:
        """Return the plan of a batch that nothing was done with yet."""
        likeness = _Likeness.of(batch)
        plan = self._plans.get(likeness)
        if plan is None:
            plan = self._planned(likeness)
            self._plans.put(likeness, plan, _EACH + likeness.length())
        return plan

    def _planned(self, likeness: "_Likeness") -> Plan:
        ours = [name for name in likeness.names if name.startswith("s:") and name[2:-2] in DERIVED_TYPES]
        keys = likeness.unplaced.union(name[2:-2] for name in likeness.names.difference(ours) if name.startswith("s:"))
        own = {key: f"s:{key}:{kind}" for key, kind in KEY_TYPES.items() if key in keys}
        whole = [name for key, name in own.items() if likeness.has_alone(key, name)]
        steps, known = _narrowed(self._steps, likeness, keys)
        priced = replace(known, keys=known.keys.union(DERIVED_TYPES))
        return Plan(
            tuple(sorted(ours)),
            tuple(whole),
            tuple((key, KEY_TYPES[key]) for key, name in own.items() if name not in whole),
            steps,
            tuple(
                f"s:{key}:{KEY_TYPES[key]}"
                for key in QUANTITIES
                if key in known.keys and not (likeness.possible and known.came(key))
            ),
            known.open(self._counts),
            *map(priced.open, (INCOMPLETE_WHEN, RATE_WHEN)),
        )


def _is_of(pattern: str, scopes: Iterable[str] | None) -> bool:
    """Whether one of the scopes matches; of None it is not known, so one may."""
    return scopes is None or not pattern or any(text_matches(pattern, scope) for scope in scopes)


class _Likeness(NamedTuple):
    """What batches of one plan have in common.

    Attributes:
        names: columns.
        unplaced: keys of span attributes without a column.
        scopes: instrumentation scopes; None where they are many, of which none is looked at.
        events: whether there are any.
        possible: whether no canonical quantity that came is impossible, as in most batches. Of this and the next two
            only so much is told, since for each combination there is a plan.
        used: whether no input or output that came has zero tokens either, likewise.
        failed: whether a span may have failed.
    """

    names: frozenset[str]
    unplaced: frozenset[str]
    scopes: frozenset[str | None] | None
    events: bool
    possible: bool
    used: bool
    failed: bool

    @classmethod
    def of(cls, batch: Batch) -> "_Likeness":
        rest = batch.rest()
        scopes = batch.coded(batch.columns["scope"]).values
        least = batch.least(_QUANTITIES, LARGEST_QUANTITY)
        possible = all(number >= 0 for number in least.values())
        return cls(
            frozenset(batch.columns),
            frozenset() if rest is None else rest.keys,
            frozenset(scopes) if len(scopes) <= _FEW_SCOPES else None,
            batch.has_events(),
            possible,
            possible and all(least.get(f"s:{key}:i", 1) > 0 for key in _USAGE),
            batch.has_octet("status", _ERROR),
        )

    def length(self) -> int:
        """How many characters a memory of it holds."""
        texts = (*self.names, *self.unplaced, *(self.scopes or ()))
        return sum(len(text) for text in texts if text is not None)

    def has_alone(self, key: str, name: str) -> bool:
        """Whether a column has all values of its key."""
        return key not in self.unplaced and [kind for kind in "sidb" if f"s:{key}:{kind}" in self.names] == [name[-1]]

    def fits(self, matches: Callable[[str], bool]) -> bool | None:
        """Whether all scopes match, or none does; None where some do or they are not known."""
        found = None if self.scopes is None else {scope is not None and matches(scope) for scope in self.scopes}
        return found.pop() if found is not None and len(found) == 1 else None


@dataclass(frozen=True)
class _Known:
    """What can be said of sources and conditions before a batch is looked at.

    Attributes:
        likeness: of the batch.
        keys: span attributes that there may be at any time.
        filled: those that a row may fill.
    """

    likeness: _Likeness
    keys: frozenset[str]
    filled: frozenset[str] = frozenset()

    def may_find(self, source: Source) -> bool:
        """Whether there may be a value of a source."""
        match source:
            case SpanAttr(key):
                return key in self.keys
            case ResourceAttr(key):
                return any(f"r:{key}:{kind}" in self.likeness.names for kind in "sidb")
            case Field(name):
                return name in self.likeness.names
            case EventAttr() | EventTime():
                return self.likeness.events
            case _:
                return True

    def came(self, key: str) -> bool:
        """Whether all values that there will be of a canonical key came in its own column."""
        return key not in self.filled and self.likeness.has_alone(key, f"s:{key}:{KEY_TYPES[key]}")

    def open(self, when: When) -> When:
        """Return what of a condition is not decided yet."""
        match when:
            case rows.Equals(SpanAttr(key), (0,)) if key in _USAGE and self.likeness.used and self.came(key):
                return _NEVER
            case rows.Equals(Field("status"), (int(code),)) if code == _ERROR and not self.likeness.failed:
                return _NEVER
            case rows.Has(source) | rows.Equals(source, _) | rows.Matches(source, _) if not self.may_find(source):
                return _NEVER
            case rows.Equals(Field("scope"), values):
                return _decided(self.likeness.fits(values.__contains__), when)
            case rows.Matches(Field("scope"), pattern):
                return _decided(self.likeness.fits(lambda scope: text_matches(pattern, scope)), when)
            case rows.Not(of):
                return _inverse(self.open(of))
            case rows.All(parts):
                left = [part for part in map(self.open, parts) if part != ALWAYS]
                return _NEVER if _NEVER in left else left[0] if len(left) == 1 else rows.All(tuple(left))
            case rows.Any(parts):
                left = [part for part in map(self.open, parts) if part != _NEVER]
                return ALWAYS if ALWAYS in left else left[0] if len(left) == 1 else rows.Any(tuple(left))
        return when

    def step(self, step: Step) -> Step | None:
        """Return a step with what of its conditions is not decided yet; None for one that does nothing."""
        if not (self.may_find(step.source) if isinstance(step, Row) else step.key in self.keys):
            return None
        if isinstance(step, AddTo) and self.keys.isdisjoint(step.parts):
            return None
        inside = self.likeness.fits(lambda scope: text_matches(step.scope, scope)) if step.scope else True
        when = self.open(step.when)
        if inside is False or when == _NEVER:
            return None
        return replace(step, when=when, scope="" if inside else step.scope)


def _decided(truth: bool | None, when: When) -> When:
    return when if truth is None else ALWAYS if truth else _NEVER


def _inverse(when: When) -> When:
    return _NEVER if when == ALWAYS else ALWAYS if when == _NEVER else rows.Not(when)


def _narrowed(
    steps: tuple[Step, ...], likeness: _Likeness, keys: frozenset[str], filled: frozenset[str] = frozenset()
) -> tuple[tuple[Step, ...], _Known]:
    """Return the steps that may do anything, and what is known of all keys that there may be in their course."""
    known = _Known(likeness, keys, filled)
    left = tuple(step for step in map(known.step, steps) if step is not None)
    # A row may make what another reads, so keys are added until no row adds one.
    made = filled.union(step.key for step in left if isinstance(step, Row))
    return (left, known) if made == filled else _narrowed(steps, likeness, keys | made, made)
