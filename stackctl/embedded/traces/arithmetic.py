"""Arithmetic of TraceQL as SQL, by the types that values turn out to have in a span, as Tempo does it.

What two integers give is an integer of 64 bits: a sum or product beyond them wraps around, and division drops what is
behind the point. All else, durations too, is calculated in doubles: `x / 0` is infinite there, `x % 0` no number. Other
than in Tempo

- integers divided by 0, and -2^63 by -1, have no value: Tempo's querier panics;
- `a ^ b` is a to the power of b for integers too, whose sides Tempo takes the other way round; a power that is no
  integer of 64 bits is a double, and from 2^53 on only as exact as a double.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from stackctl.embedded.traces.values import Number, Operand, Typed, guarded_value
from stackctl.traceql.ast import Kind

_BITS: Final = 2**64 - 1
_HALF: Final = 2**63


@dataclass(frozen=True)
class _Sides:
    """SQL of a number: as an integer and as a double, of which at most one is not NULL; None for never."""

    integer: str | None
    real: str | None

    def as_double(self) -> str:
        """Return SQL of the number as a double, whichever it is."""
        found = [f"{self.integer}::DOUBLE"] if self.integer else []
        return _first_of([*found, *([self.real] if self.real else [])]) or "NULL::DOUBLE"

    def as_pair(self) -> str:
        """Return SQL of both as a struct."""
        return f"{{'i': {self.integer or 'NULL::BIGINT'}, 'd': {self.real or 'NULL::DOUBLE'}}}"


@dataclass(frozen=True)
class _Pair(Typed):
    """A number that may turn out an integer or a double, as a struct: what is calculated with it names it once.

    With both written out, each level of an expression would hold all below it twice.
    """

    pair: str = ""


def calculated(op: str, left: Operand, right: Operand) -> Typed:
    """Return the value of two operands joined by an arithmetic operator; no value where one of them is no number.

    Args:
        op: `+`, `-`, `*`, `/`, `%` or `^`.
    """
    a, b = _sides(left), _sides(right)
    if a.integer is None or b.integer is None or not _paired(left, right):
        return _typed(_joined(op, a, b))
    named = (_Sides(f"pairs['{side}']['i']", f"pairs['{side}']['d']") for side in ("a", "b"))
    pairs = f"{{'a': {_as_pair(left)}, 'b': {_as_pair(right)}}}"
    return _of_pair(f"list_transform([{pairs}], lambda pairs: {_joined(op, *named).as_pair()})[1]")


def on_doubles(op: str, left: str, right: str) -> str:
    """Return SQL of two doubles joined by an arithmetic operator."""
    return f"pow({left}, {right})" if op == "^" else f"({left} {op} {right})"


def negated(operand: Operand) -> Typed:
    """Return an operand's number with its sign turned: of the same type, a duration stays one."""
    if any(number.kind == Kind.DURATION for place in operand for number in place.numbers):
        return Typed(numbers=tuple(Number(f"(-{n.sql})", n.kind) for place in operand for n in place.numbers))
    if _paired(operand):
        turned = _negative(_Sides("pair['i']", "pair['d']")).as_pair()
        return _of_pair(f"list_transform([{_as_pair(operand)}], lambda pair: {turned})[1]")
    return _typed(_negative(_sides(operand)))


def _joined(op: str, a: _Sides, b: _Sides) -> _Sides:
    doubles = on_doubles(op, a.as_double(), b.as_double())
    if a.integer is None or b.integer is None:
        return _Sides(None, doubles)
    integer = _on_integers(op, a.integer, b.integer)
    if op == "^":
        return _Sides(integer, f"CASE WHEN {integer} IS NULL THEN {doubles} END")
    if a.real is None and b.real is None:
        return _Sides(integer, None)
    # Never where both are integers: these have no value where they are divided by 0.
    return _Sides(integer, f"CASE WHEN {a.integer} IS NULL OR {b.integer} IS NULL THEN {doubles} END")


def _negative(sides: _Sides) -> _Sides:
    return _Sides(
        sides.integer and _wrapped(f"-({sides.integer}::HUGEINT)"),
        sides.real and f"(-{sides.real})",
    )


def _paired(*operands: Operand) -> bool:
    return any(isinstance(place, _Pair) for operand in operands for place in operand)


def _as_pair(operand: Operand) -> str:
    place = operand[0]
    return place.pair if isinstance(place, _Pair) else _sides(operand).as_pair()


def _typed(sides: _Sides) -> Typed:
    found = ((sides.integer, Kind.INT), (sides.real, Kind.FLOAT))
    numbers = tuple(Number(sql, kind) for sql, kind in found if sql)
    return _Pair(numbers=numbers, pair=sides.as_pair()) if len(numbers) > 1 else Typed(numbers=numbers)


def _of_pair(pair: str) -> Typed:
    return _Pair(numbers=(Number(f"{pair}['i']", Kind.INT), Number(f"{pair}['d']", Kind.FLOAT)), pair=pair)


def _sides(operand: Operand) -> _Sides:
    integers: list[str] = []
    doubles: list[str] = []
    for place in operand:
        for number in place.numbers:
            kind, found = ("BIGINT", integers) if number.kind == Kind.INT else ("DOUBLE", doubles)
            found.append(guarded_value(place.guard, f"{number.sql}::{kind}"))
    return _Sides(_first_of(integers), _first_of(doubles))


def _first_of(values: Iterable[str]) -> str | None:
    found = list(values)
    return f"COALESCE({', '.join(found)})" if len(found) > 1 else next(iter(found), None)


def _on_integers(op: str, left: str, right: str) -> str:
    match op:
        case "/" | "%":
            return f"TRY({left} {'//' if op == '/' else '%'} NULLIF({right}, 0))"
        case "^":
            power = f"pow({left}::DOUBLE, {right}::DOUBLE)"
            whole = f"CASE WHEN power = trunc(power) AND abs(power) < {_HALF} THEN power::BIGINT END"
            return f"list_transform([{power}], lambda power: {whole})[1]"
    return _wrapped(f"{left}::HUGEINT {op} {right}::HUGEINT")


def _wrapped(sql: str) -> str:
    """Return the lower 64 bits of an integer of 128 as an integer with a sign."""
    return f"(((({sql}) + {_HALF}::HUGEINT) & {_BITS}::HUGEINT) - {_HALF}::HUGEINT)::BIGINT"
