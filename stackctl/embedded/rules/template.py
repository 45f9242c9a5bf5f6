"""Texts of alert rules: the part of Go's templates that stackctl evaluates.

`{{ $labels.name }}` and `{{ $value }}`, each through any of Prometheus' `humanize` functions
(https://prometheus.io/docs/prometheus/latest/configuration/template_reference/). Whatever else a text asks for is
refused by name when the rule is loaded: a text that comes out wrong would be found out in an incident.
"""

import datetime
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Self

from stackctl.errors import SettingsInvalid

_ACTION: Final = re.compile(r"\{\{(-\s)?(.*?)(\s-)?\}\}", re.DOTALL)
_LABEL: Final = re.compile(r"(?:\$labels|\.Labels)\.([A-Za-z_][A-Za-z0-9_]*)")
_VALUES: Final = frozenset({"$value", ".Value"})
_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
# Go prints times of these years; a value far outside is no time.
_TIMES: Final = (-62_135_596_800.0, 253_402_300_799.0)


@dataclass(frozen=True)
class _Action:
    """One pair of braces: a label or, with None, the value, and the functions it goes through."""

    label: str | None
    functions: tuple[str, ...]

    def render(self, labels: Mapping[str, str], value: float) -> str:
        found: str | float = value if self.label is None else labels.get(self.label, "")
        for name in self.functions:
            found = FUNCTIONS[name](_number(found))
        return found if isinstance(found, str) else _plain(found)


@dataclass(frozen=True)
class Template:
    """A parsed text.

    Attributes:
        text: as the file has it.
    """

    text: str
    _parts: tuple[str | _Action, ...]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a text.

        Raises:
            SettingsInvalid: it uses what is not built; the message names it.
        """
        parts: list[str | _Action] = []
        at = 0
        for found in _ACTION.finditer(text):
            parts += [_literal(text[at : found.start()]), _action(found)]
            at = found.end()
        return cls(text, (*parts, _literal(text[at:])))

    def render(self, labels: Mapping[str, str], value: float) -> str:
        """Return the text for one series; what cannot be formatted is said in it, as Prometheus does.

        Args:
            labels: of the series, its name included; a label that is absent is empty.
        """
        try:
            return "".join(part if isinstance(part, str) else part.render(labels, value) for part in self._parts)
        except ValueError as error:
            return f"<error expanding template: {error}>"


def _literal(text: str) -> str:
    if "{{" in text:
        raise _refused("a brace pair that is not closed", text)
    return text


def _action(found: re.Match[str]) -> _Action:
    if found[1] or found[3]:
        raise _refused("the trim markers {{- and -}}", found[0])
    operand, *functions = (part.strip() for part in found[2].split("|"))
    for name in functions:
        if name not in FUNCTIONS:
            raise _refused(f"the function {name or '(none)'}", found[0])
    if operand in _VALUES:
        return _Action(None, tuple(functions))
    label = _LABEL.fullmatch(operand)
    if label is None:
        raise _refused(operand or "an empty action", found[0])
    return _Action(label[1], tuple(functions))


def _refused(what: str, text: str) -> SettingsInvalid:
    return SettingsInvalid(
        f"unsupported in the template {text!r}: {what}",
        next_step=f"Use $labels.<name>, $value and {', '.join(FUNCTIONS)}.",
    )


# --- functions --------------------------------------------------------------------------------------------------------
def _number(found: str | float) -> float:
    if isinstance(found, float):
        return found
    try:
        return float(found)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{found}": invalid syntax') from None


def humanize(value: float) -> str:
    """Return four digits and a metric prefix."""
    if value == 0 or not math.isfinite(value):
        return _four(value)
    if abs(value) >= 1:
        return "".join(_scaled(value, 1000, _LARGE))
    return "".join(_fraction(value))


def humanize_1024(value: float) -> str:
    """Return four digits and a binary prefix."""
    if abs(value) <= 1 or not math.isfinite(value):
        return _four(value)
    return "".join(_scaled(value, 1024, ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")))


def humanize_duration(value: float) -> str:
    """Return seconds as days, hours, minutes and seconds, or as a fraction of a second."""
    if not math.isfinite(value):
        return _four(value)
    if value == 0 or abs(value) < 1:
        return "".join(_fraction(value)) + "s"
    sign, whole = "-" if value < 0 else "", int(abs(value))
    minutes, seconds = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_four(abs(value))}s"


def humanize_percentage(value: float) -> str:
    """Return a share as percent."""
    return f"{_four(value * 100)}%"


def humanize_timestamp(value: float) -> str:
    """Return unix seconds as Go prints a time in UTC.

    Raises:
        ValueError: no calendar has that day.
    """
    if not math.isfinite(value):
        return _four(value)
    if not _TIMES[0] <= value <= _TIMES[1]:
        raise ValueError(f"{value} cannot be represented as a nanoseconds timestamp since it overflows int64")
    moment = _EPOCH + datetime.timedelta(milliseconds=math.trunc(value * 1000))
    fraction = f".{moment.microsecond:06d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _scaled(value: float, base: int, prefixes: Sequence[str]) -> tuple[str, str]:
    prefix = ""
    for larger in prefixes:
        if abs(value) < base:
            break
        prefix, value = larger, value / base
    return _four(value), prefix


def _fraction(value: float) -> tuple[str, str]:
    prefix = ""
    for smaller in _SMALL:
        if value == 0 or abs(value) >= 1:
            break
        prefix, value = smaller, value * 1000
    return _four(value), prefix


def _four(value: float) -> str:
    """Go's `%.4g`."""
    return f"{value:.4g}" if math.isfinite(value) else _special(value)


def _plain(value: float) -> str:
    """Go's `%v`: the fewest digits, an exponent below 1e-4 and from 1e21 on."""
    if not math.isfinite(value):
        return _special(value)
    text = repr(value)
    if "e" in text and 1e-4 <= abs(value) < 1e21:
        text = format(Decimal(text), "f")
    return text.removesuffix(".0")


def _special(value: float) -> str:
    return "NaN" if math.isnan(value) else "+Inf" if value > 0 else "-Inf"


FUNCTIONS: Final[Mapping[str, Callable[[float], str]]] = {
    "humanize": humanize,
    "humanize1024": humanize_1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
}
"""What a value may go through."""
