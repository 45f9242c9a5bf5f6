"""Parameters of the Prometheus API, read and refused in Prometheus' words (web/api/v1/api.go)."""

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stackctl.errors import QueryInvalid
from stackctl.promql import Matcher
from stackctl.promql.parse import parse
from stackctl.promql.tree import Selector

MAX_POINTS: Final = 11_000
MAX_MARKS: Final = 1000
MAX_QUERY_CHARACTERS: Final = 256 * 1024
DEFAULT_TIMEOUT_MS: Final = 120_000
# What a time outside any data's reach comes to; larger ones overflow the arithmetic of queries.
MIN_TIME_MS: Final = -(2**53)
MAX_TIME_MS: Final = 2**53

_UNITS_MS: Final = {"y": 31_536_000_000, "w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000}
_DURATION: Final = re.compile(
    r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?(?:(\d+)ms)?", re.ASCII
)
_STRING: Final = re.compile(r""" "(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | `[^`]*` """, re.VERBOSE | re.DOTALL)
_MARK: Final = re.compile(r"[-+*/%^<>=!([{,@]|\b(?:and|or|unless|atan2)\b", re.IGNORECASE)
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class Parameters:
    """The parameters of one request, from its address and its form body alike."""

    values: Mapping[str, Sequence[str]]

    def text(self, name: str) -> str:
        """Return a parameter, empty where it is not given."""
        return next(iter(self.values.get(name, ())), "")

    def time_ms(self, name: str, default_ms: int | None = None) -> int:
        """Return a time in milliseconds since 1970.

        Args:
            default_ms: where it is not given; None where it must be.
        """
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        found = _time_ms(text)
        if found is None:
            reason = f'cannot parse "{text}" to a valid timestamp'
            raise invalid(name, reason if default_ms is None else f"invalid time value for '{name}': {reason}")
        return found

    def duration_ms(self, name: str, default_ms: int | None = None) -> int:
        """Return a duration in milliseconds."""
        text = self.text(name)
        if not text and default_ms is not None:
            return default_ms
        found = _duration_ms(text)
        if found is None:
            raise invalid(name, f'cannot parse "{text}" to a valid duration')
        return found

    def limit(self, name: str = "limit") -> int | None:
        """Return how many results are wanted at most; None for all."""
        text = self.text(name)
        if not text:
            return None
        try:
            found = int(text)
        except ValueError as error:
            raise invalid(name, f'strconv.Atoi: parsing "{text}": invalid syntax') from error
        if found < 0:
            raise invalid(name, "limit must be non-negative")
        return found or None

    def range_ms(self, start: str = "start", end: str = "end") -> tuple[int, int]:
        """Return a time range, all time where it is not given."""
        return self.time_ms(start, MIN_TIME_MS), self.time_ms(end, MAX_TIME_MS)

    def matchers(self, required: bool) -> list[Sequence[Matcher]]:
        """Return the series selectors of `match[]`.

        Args:
            required: whether at least one must be given.
        """
        texts = self.values.get("match[]", ())
        if required and not texts:
            raise QueryInvalid("no match[] parameter provided", next_step="Give match[]=<selector>.")
        return [_selector(text) for text in texts]


def steps(parameters: Parameters) -> tuple[int, int, int]:
    """Return start, end and step of a range query in milliseconds."""
    start, end = parameters.time_ms("start"), parameters.time_ms("end")
    if end < start:
        raise invalid("end", "end timestamp must not be before start time")
    step = parameters.duration_ms("step")
    if step <= 0:
        raise invalid("step", "zero or negative query resolution step widths are not accepted. Try a positive integer")
    if (end - start) // step > MAX_POINTS:
        raise QueryInvalid(
            "exceeded maximum resolution of 11,000 points per timeseries. "
            "Try decreasing the query resolution (?step=XX)",
            next_step="Ask with a longer step, or for a shorter time.",
        )
    return start, end, step


def invalid(name: str, reason: str) -> QueryInvalid:
    """Return the refusal of one parameter."""
    return QueryInvalid(f'invalid parameter "{name}": {reason}', next_step=f"Mend the parameter {name}.")


def simple_enough(query: str) -> str:
    """Return a query that a parser can follow in time and without running out of its stack.

    Raises:
        QueryInvalid: no person and no board writes so many operators and brackets.
    """
    marks = len(_MARK.findall(_STRING.sub("", query)))
    if marks > MAX_MARKS or len(query) > MAX_QUERY_CHARACTERS:
        raise QueryInvalid(
            f"parse error: the query is too complex: more than {MAX_MARKS} operators, brackets and commas or "
            f"{MAX_QUERY_CHARACTERS} characters",
            next_step="Ask in parts.",
        )
    return query


def _selector(text: str) -> Sequence[Matcher]:
    try:
        node = parse(simple_enough(text))
    except QueryInvalid as error:
        if "non-empty matcher" in error.message:
            raise invalid("match[]", "match[] must contain at least one non-empty matcher") from error
        raise invalid("match[]", error.message) from error
    if not isinstance(node, Selector) or node.range is not None or node.offset or node.at is not None:
        raise invalid("match[]", "parse error: only an instant selector is allowed here")
    return node.matchers


def _time_ms(text: str) -> int | None:
    try:
        seconds = float(text)
    except ValueError:
        return _rfc3339_ms(text)
    if not math.isfinite(seconds) or "_" in text:
        return None
    return min(max(round(seconds * 1000), MIN_TIME_MS), MAX_TIME_MS)


def _rfc3339_ms(text: str) -> int | None:
    if not _RFC3339.fullmatch(text):
        return None
    try:
        moment = datetime.datetime.fromisoformat(text.upper())
    except ValueError:
        return None  # a thirteenth month
    return (moment - _EPOCH) // datetime.timedelta(milliseconds=1)


def _duration_ms(text: str) -> int | None:
    try:
        seconds = float(text)
    except ValueError:
        found = _DURATION.fullmatch(text)
        if not text or not found:
            return None
        units = (*_UNITS_MS.values(), 1)
        return sum(int(count) * unit for count, unit in zip(found.groups(), units, strict=True) if count)
    return round(seconds * 1000) if math.isfinite(seconds) and abs(seconds) < 2**43 and "_" not in text else None
