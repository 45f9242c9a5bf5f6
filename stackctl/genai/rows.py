"""Row types: the closed union of operations in which dialects, accounting and metrics are written.

A rule sees one span with its scope and resource, never its neighbours, since that is what both executors see: Arrow
columns (`stackctl.embedded.columns`) and OTTL statements in a Collector. So every operation here has a plain reading
in both. Regular expressions are RE2's, which Arrow and the Collector share; Python's `re` is never the judge.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Final, Literal

from stackctl import semconv

# The value types of attribute columns: string, int64, float64, bool.
ValueType = Literal["s", "i", "d", "b"]
Scalar = str | int | float | bool

# The type of each canonical key. A value that came in another type is converted where it can be, else dropped.
KEY_TYPES: Final[Mapping[str, ValueType]] = {
    semconv.OPERATION: "s",
    semconv.PROVIDER: "s",
    semconv.REQUEST_MODEL: "s",
    semconv.RESPONSE_MODEL: "s",
    semconv.RESPONSE_ID: "s",
    semconv.FINISH_REASONS: "s",  # JSON text of an array, such as ["stop"]
    semconv.STREAM: "b",
    semconv.TIME_TO_FIRST_CHUNK: "d",
    semconv.INPUT_TOKENS: "i",
    semconv.OUTPUT_TOKENS: "i",
    semconv.CACHE_READ_TOKENS: "i",
    semconv.CACHE_WRITE_TOKENS: "i",
    semconv.REASONING_TOKENS: "i",
    semconv.CONVERSATION_ID: "s",
    semconv.API_TYPE: "s",
    semconv.REQUEST_TIER: "s",
    semconv.RESPONSE_TIER: "s",
    semconv.SERVER_ADDRESS: "s",
    semconv.SERVER_PORT: "i",
    semconv.ERROR_TYPE: "s",
    semconv.TOOL_NAME: "s",
    semconv.AGENT_NAME: "s",
    semconv.DATA_SOURCE_ID: "s",
    semconv.USER_ID: "s",
    semconv.SESSION_ID: "s",
    semconv.NESTED: "b",
    semconv.TIME_TO_FIRST_TEXT: "d",
    semconv.RETRIEVED_DOCUMENTS: "i",
    semconv.SENT_COST_USD: "d",
}

# No call has so many tokens, or took so many seconds. Sums of larger ones would lose those of every other call: beyond
# 2^53 a counter, which is a double, no longer sees a thousand tokens.
LARGEST_QUANTITY: Final = 2**40
# Canonical quantities that cannot be below zero or above that: such a one is unknown, not a number.
QUANTITIES: Final = (
    semconv.INPUT_TOKENS,
    semconv.OUTPUT_TOKENS,
    semconv.CACHE_READ_TOKENS,
    semconv.CACHE_WRITE_TOKENS,
    semconv.REASONING_TOKENS,
    semconv.TIME_TO_FIRST_CHUNK,
    semconv.TIME_TO_FIRST_TEXT,
    semconv.RETRIEVED_DOCUMENTS,
)


# --- sources: where a value comes from --------------------------------------------------------------------------------
@dataclass(frozen=True)
class SpanAttr:
    """A span attribute. An empty string counts as absent: libraries write it for "not known"."""

    key: str


@dataclass(frozen=True)
class ResourceAttr:
    """A resource attribute."""

    key: str


@dataclass(frozen=True)
class Field:
    """A column of the table itself: `name`, `scope`, `kind`, `status` of a span; `score`, `label` of an evaluation."""

    name: str


@dataclass(frozen=True)
class EventAttr:
    """An attribute of the span's first event of that name, as text, integer, float or bool."""

    event: str
    key: str


@dataclass(frozen=True)
class EventTime:
    """The time of the span's first event of that name, in nanoseconds since 1970."""

    event: str


@dataclass(frozen=True)
class Duration:
    """How long the span took, in seconds. Null where the end lies before the start."""


@dataclass(frozen=True)
class One:
    """The number one: what a counter of spans adds."""


Source = SpanAttr | ResourceAttr | Field | EventAttr | EventTime | Duration | One


# --- conversions: what becomes of the value ---------------------------------------------------------------------------
@dataclass(frozen=True)
class Copy:
    """The value as it is, in the type of its canonical key."""


@dataclass(frozen=True)
class Scale:
    """A number times a factor, such as milliseconds to seconds."""

    factor: float


@dataclass(frozen=True)
class Const:
    """A fixed value, wherever the source has one."""

    value: Scalar


@dataclass(frozen=True)
class MapValue:
    """A text replaced by its pair; a text without a pair stays, or is dropped when `closed`."""

    pairs: tuple[tuple[str, str], ...]
    closed: bool = False


@dataclass(frozen=True)
class JsonField:
    """A member of a JSON object that stands in a string, by its path of keys (or array indices in digits)."""

    path: tuple[str, ...]


@dataclass(frozen=True)
class JsonList:
    """One text as JSON text of a list that holds it: `stop` becomes `["stop"]`. A JSON list stays as it is.

    A list of words as Python shows it, `['stop']`, is read as what it is.
    """


# A list of words as Python shows it.
PYTHON_LIST: Final = r"^\['[A-Za-z0-9_-]*'(, ?'[A-Za-z0-9_-]*')*\]$"


@dataclass(frozen=True)
class IsoOffset:
    """Seconds from the span's start to an ISO 8601 time, quoted or not."""


@dataclass(frozen=True)
class EventOffset:
    """Seconds from the span's start to a time in nanoseconds since 1970."""


@dataclass(frozen=True)
class Less:
    """A whole number less a part of it: another canonical key, which an earlier row or the sender filled.

    Nothing where the part is unknown, below zero or larger than the whole.
    """

    part: SpanAttr

    def __post_init__(self) -> None:
        if KEY_TYPES.get(self.part.key) != "i":
            raise ValueError(f"{self.part.key} is no whole number: nothing can be less it")


@dataclass(frozen=True)
class Extract:
    """The first group of a regular expression, where it matches."""

    pattern: str


Convert = Copy | Scale | Const | MapValue | JsonField | JsonList | IsoOffset | EventOffset | Less | Extract


# --- conditions -------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Has:
    """The source has a value."""

    source: Source


@dataclass(frozen=True)
class Equals:
    """The source's value is one of `values`, in the type it has. Absent is not equal."""

    source: Source
    values: tuple[Scalar, ...]


@dataclass(frozen=True)
class Matches:
    """The source's text holds a match of the pattern (RE2; anchor it for the whole text). Absent does not match."""

    source: Source
    pattern: str


@dataclass(frozen=True)
class Not:
    """The condition does not hold."""

    of: "When"


@dataclass(frozen=True)
class All:
    """Each condition holds. An empty one always does."""

    of: tuple["When", ...] = ()


@dataclass(frozen=True)
class Any:
    """At least one condition holds. An empty one never does."""

    of: tuple["When", ...] = ()


When = Has | Equals | Matches | Not | All | Any

ALWAYS: Final = All()


# --- rows -------------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Row:
    """How one canonical key is found in one dialect.

    A canonical key that already has a value is not overwritten: of several rows the first that gives a value wins. A
    row that reads the very key that it writes rewrites it, where its conversion gives a value and its condition holds.

    Attributes:
        key: the canonical span attribute that is written; its type stands in `KEY_TYPES`.
        scope: RE2 pattern of the instrumentation scope's name, anchored by its author; empty for every scope.
        why: what a reader must know, where the row does not say it itself.
    """

    key: str
    source: Source
    convert: Convert = Copy()
    when: When = ALWAYS
    scope: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        _check_key(self.key)

    @property
    def rewrites(self) -> bool:
        """Whether it reads the key that it writes."""
        return self.source == SpanAttr(self.key)


@dataclass(frozen=True)
class Wrapper:
    """Spans that look like an inference call and are not the one that counts."""

    when: When
    why: str


@dataclass(frozen=True)
class Erase:
    """A canonical key whose value means nothing in this dialect (a zero for unknown, a copied model): removed first."""

    key: str
    when: When
    scope: str = ""
    why: str = ""

    def __post_init__(self) -> None:
        _check_key(self.key)


@dataclass(frozen=True)
class AddTo:
    """A whole number to which others are added that it leaves out. Runs once the rows have filled all of them.

    Only where it is known; parts that are unknown or below zero add nothing.

    Attributes:
        key: the canonical key that is written.
        parts: two canonical keys at most, for which the sum of two wrong numbers is seen to be wrong.
        beyond: only where the parts together are more than the number, which therefore cannot include them.
    """

    key: str
    parts: tuple[str, ...]
    when: When = ALWAYS
    scope: str = ""
    why: str = ""
    beyond: bool = False

    def __post_init__(self) -> None:
        if len(self.parts) > 2 or any(KEY_TYPES.get(key) != "i" for key in (self.key, *self.parts)):
            raise ValueError(f"{self.key} and {self.parts}: a sum is of a key and two others, all whole numbers")


def _check_key(key: str) -> None:
    if key not in KEY_TYPES:
        raise ValueError(f"{key} has no type in KEY_TYPES: a row cannot write it")


@dataclass(frozen=True)
class Dialect:
    """One way in which libraries spell an LLM call.

    Attributes:
        name: as people know the library.
        rows: where the canonical keys come from.
        erases: canonical keys that this dialect fills wrongly.
        sums: canonical numbers that leave out what they should include.
        wrappers: spans that repeat a call.
        content: RE2 patterns, matched against whole keys, of attributes that carry prompts, answers or documents.
        verbatim: further attribute keys, exact, that hold no free text and may be stored.
    """

    name: str
    rows: tuple[Row, ...] = ()
    erases: tuple[Erase, ...] = ()
    sums: tuple[AddTo, ...] = ()
    wrappers: tuple[Wrapper, ...] = ()
    content: tuple[str, ...] = ()
    verbatim: tuple[str, ...] = ()


def span_attributes(part: object) -> Iterator[str]:
    """Yield the keys of the span attributes that a row or condition reads, or several of them in tuples."""
    if isinstance(part, SpanAttr):
        yield part.key
    elif isinstance(part, tuple):
        for one in part:
            yield from span_attributes(one)
    elif is_dataclass(part):
        for field in fields(part):
            yield from span_attributes(getattr(part, field.name))
