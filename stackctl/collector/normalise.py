"""Normalise and account as statements: the dialects' rows, in their order."""

from collections.abc import Iterable, Sequence
from itertools import chain

from stackctl import semconv
from stackctl.collector import ottl
from stackctl.collector.group import Group
from stackctl.collector.ottl import Line, cached, is_type, put, span, text
from stackctl.collector.pricing import OWN_KEYS
from stackctl.genai import implied, rows
from stackctl.genai.accounting import counts
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.rows import KEY_TYPES, LARGEST_QUANTITY, QUANTITIES, AddTo, Dialect, Erase, Row

# The largest finite float64: what is beyond is infinite.
_POINT = {"i": "", "d": ".0"}


def groups(dialects: Sequence[Dialect] = DIALECTS, exclude_scopes: Iterable[str] = ()) -> list[Group]:
    """Return what brings the canonical keys into their one spelling, type and unit, and marks what counts."""
    every_row = [*chain.from_iterable(dialect.rows for dialect in dialects), *implied.ROWS]
    return [
        _ours(),
        *_lifted(every_row),
        _canonical_types(),
        *_erased(dialects),
        *(_dialect(dialect) for dialect in dialects if dialect.rows),
        *_summed([*chain.from_iterable(dialect.sums for dialect in dialects), *implied.SUMS]),
        _implied(),
        _accounted(dialects, exclude_scopes),
    ]


def _ours() -> Group:
    """An application that sends what only the pipeline may write would choose its own cost."""
    return Group(
        "Keys that only this pipeline writes (genai/derived.py) are not taken from outside.",
        lines=[Line(f"delete_key(span.attributes, {text(key)})") for key in (*DERIVED_TYPES, *OWN_KEYS)],
    )


def _lifted(every_row: Iterable[Row]) -> list[Group]:
    """A rule reads one span, and events have a context of their own: what rows read of them is put beside the span."""
    times = dict.fromkeys(row.source.event for row in every_row if isinstance(row.source, rows.EventTime))
    read = dict.fromkeys(row.source for row in every_row if isinstance(row.source, rows.EventAttr))
    events = dict.fromkeys([*times, *(source.event for source in read)])
    if not events:
        return []
    keys = [f"{ottl.LIFTED}time.{event}" for event in events]
    keys += [f"{ottl.LIFTED}{source.key}.{source.event}" for source in read]
    forged = [Line(f"delete_key(span.attributes, {text(key)})") for key in keys]
    lines = []
    for event in events:
        seen = ottl.path(rows.EventTime(event))
        first = f"spanevent.name == {text(event)} and {seen} == nil"
        lines += [
            Line(put(ottl.path(source), f"spanevent.attributes[{text(source.key)}]", first))
            for source in read
            if source.event == event
        ]
        lines.append(Line(put(seen, "spanevent.time_unix_nano", first)))
    return [
        Group("Nor are those under which events are read.", forged),
        Group(
            "The first event of each name that a row reads, lifted onto its span.",
            context="spanevent",
            conditions=[f"spanevent.name == {text(event)}" for event in events],
            lines=lines,
        ),
    ]


def _canonical_types() -> Group:
    lines, conditions = [], []
    for key, kind in KEY_TYPES.items():
        other = f"{span(key)} != nil and not {is_type(span(key), kind)}"
        conditions.append(other)
        lines += [Line(statement) for statement in ottl.typed(span(key), span(key), kind, other)]
        lines.append(Line(f"delete_key(span.attributes, {text(key)}) where {other}"))
        if kind == "s":
            conditions.append(f'{span(key)} == ""')
            lines.append(Line(f'delete_key(span.attributes, {text(key)}) where {span(key)} == ""'))
    return Group(
        "Canonical keys in their own type (KEY_TYPES in genai/rows.py); what has no reading in it goes.",
        conditions=conditions,
        lines=lines,
    )


def _erased(dialects: Iterable[Dialect]) -> list[Group]:
    erases = [erase for dialect in dialects for erase in dialect.erases]
    if not erases:
        return []
    return [Group("Canonical keys that a dialect fills wrongly (its erases).", lines=[_erase(one) for one in erases])]


def _erase(erase: Erase) -> Line:
    where = ottl.every(f"{span(erase.key)} != nil", ottl.of_scope(erase.scope), ottl.holds(erase.when))
    return Line(f"delete_key(span.attributes, {text(erase.key)}) where {where}", erase.why)


def _summed(sums: Sequence[AddTo]) -> list[Group]:
    """A group for each number that is added to, which runs only where one of its parts is known."""
    keys = dict.fromkeys(one.key for one in sums)
    return [
        Group(
            f"What {key} leaves out (the dialects' sums, then the one of genai/implied.py).",
            conditions=[
                f"{span(key)} >= 0 and {span(part)} > 0"
                for part in dict.fromkeys(chain.from_iterable(one.parts for one in sums if one.key == key))
            ],
            lines=list(chain.from_iterable(_add(one) for one in sums if one.key == key)),
        )
        for key in keys
    ]


def _add(one: AddTo) -> list[Line]:
    more, number = cached("more"), span(one.key)
    where = ottl.every(ottl.of_scope(one.scope), ottl.holds(one.when))
    enough = f"{more} > {number}" if one.beyond else f"{more} > 0"
    return [
        Line(put(more, "0", where), one.why),
        *(Line(put(more, f"{more} + {span(part)}", where, f"{span(part)} > 0")) for part in one.parts),
        Line(put(number, f"{number} + {more}", where, enough, f"{number} + {more} >= {more}")),
    ]


def _dialect(dialect: Dialect) -> Group:
    scopes = {row.scope for row in dialect.rows}
    of_one = len(scopes) == 1 and "" not in scopes
    if of_one:
        conditions = [ottl.of_scope(next(iter(scopes)))]
    elif any(isinstance(row.source, rows.Field) for row in dialect.rows):
        conditions = []
    else:
        conditions = [f"{path} != nil" for path in dict.fromkeys(ottl.path(row.source) for row in dialect.rows)]
    return Group(
        f"{dialect.name} (genai/dialects)",
        conditions=conditions,
        lines=[*_parsed(dialect.rows), *chain.from_iterable(ottl.fill(row, scope=not of_one) for row in dialect.rows)],
    )


def _parsed(of: Iterable[Row]) -> list[Line]:
    """JSON in strings is read once, and only where a row needs it."""
    needs: dict[str, list[str]] = {}
    for row in of:
        if isinstance(row.convert, rows.JsonField):
            needs.setdefault(ottl.path(row.source), []).append(f"{span(row.key)} == nil")
    return [
        Line(put(ottl.json_cache(source), f"ParseJSON({source})", f"{source} != nil", _any_of(keys)))
        for source, keys in needs.items()
    ]


def _any_of(conditions: Iterable[str]) -> str:
    return ottl.either(*dict.fromkeys(conditions))


def _implied() -> Group:
    lines = [_erase(erase) for erase in implied.ERASES]
    lines += chain.from_iterable(ottl.fill(row) for row in implied.ROWS)
    for key in QUANTITIES:
        impossible = f"not ({span(key)} >= 0 and {span(key)} <= {LARGEST_QUANTITY}{_POINT[KEY_TYPES[key]]})"
        lines.append(Line(f"delete_key(span.attributes, {text(key)}) where {span(key)} != nil and {impossible}"))
    return Group(
        "What follows from the canonical keys alone (genai/implied.py), and no impossible quantity.", lines=lines
    )


def _accounted(dialects: Sequence[Dialect], exclude_scopes: Iterable[str]) -> Group:
    counted = ottl.holds(counts(dialects, exclude_scopes))
    return Group(
        "Account: exactly the leaf inference calls count (genai/accounting.py).",
        lines=[Line(put(span(semconv.ACCOUNTED), "true", counted))],
    )
