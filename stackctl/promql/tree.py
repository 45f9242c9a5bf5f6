"""The syntax tree: frozen nodes with their place in the text, times in milliseconds, parentheses gone.

`parse` builds it. A place never counts when nodes are compared: `((m))` equals `m`.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stackctl.promql.values import Matcher

Extended: TypeAlias = Literal["anchored", "smoothed"]
At: TypeAlias = int | Literal["start", "end"] | None
"""The @ modifier: milliseconds since the epoch, or a bound of the query's own range."""


@dataclass(frozen=True)
class Place:
    """Where a node stands in the query: offsets in characters, `stop` behind its last one."""

    start: int
    stop: int


NOWHERE = Place(0, 0)


@dataclass(frozen=True)
class DurationExpr:
    """Arithmetic where a duration is expected, such as `[2 * step()]`; the query's range and step give its value.

    Attributes:
        op: an arithmetic operator (`-` with one operand negates), `step`, `range`, `min_of` or `max_of`.
        args: the operands, numbers in seconds.
    """

    op: str
    args: tuple["float | DurationExpr", ...] = ()


Duration: TypeAlias = int | DurationExpr
"""Milliseconds, or what they are to be computed from: after `durations.resolve` only milliseconds are left."""


def _milliseconds(duration: Duration | None) -> int:
    assert isinstance(duration, int), "durations are resolved before a query is evaluated"
    return duration


@dataclass(frozen=True)
class Number:
    """A number literal; durations such as `5m` are numbers of seconds."""

    value: float
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Text:
    """A string literal."""

    value: str
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Selector:
    """An instant selector, or a range selector when `range` is set.

    Attributes:
        matchers: all must be fulfilled; the one that a name before the braces makes comes last.
        extended: the word `anchored` or `smoothed` behind the selector.
        named: whether the metric name stands before the braces.
    """

    matchers: tuple[Matcher, ...]
    offset: Duration = 0
    at: At = None
    range: Duration | None = None
    extended: Extended | None = None
    named: bool = field(default=False, compare=False)
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def offset_ms(self) -> int:
        """The offset, resolved."""
        return _milliseconds(self.offset)

    @property
    def range_ms(self) -> int:
        """The range of a range selector, resolved."""
        return _milliseconds(self.range)


@dataclass(frozen=True)
class Subquery:
    """`expr[range:step]`; `step` None means the default evaluation interval."""

    expr: "Node"
    range: Duration
    step: Duration | None = None
    offset: Duration = 0
    at: At = None
    place: Place = field(default=NOWHERE, compare=False, repr=False)

    @property
    def offset_ms(self) -> int:
        """The offset, resolved."""
        return _milliseconds(self.offset)

    @property
    def range_ms(self) -> int:
        """The range, resolved."""
        return _milliseconds(self.range)

    @property
    def step_ms(self) -> int | None:
        """The step where one is given, resolved."""
        return None if self.step is None else _milliseconds(self.step)


@dataclass(frozen=True)
class Call:
    """A function call."""

    name: str
    args: tuple["Node", ...]
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Unary:
    """A sign before an expression: `-` negates, `+` changes nothing."""

    op: Literal["+", "-"]
    expr: "Node"
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Aggregation:
    """`op by|without (labels) (param, expr)`."""

    op: str
    expr: "Node"
    param: "Node | None" = None
    labels: tuple[str, ...] = ()
    without: bool = False
    place: Place = field(default=NOWHERE, compare=False, repr=False)


@dataclass(frozen=True)
class Matching:
    """How the two sides of a binary operator find each other.

    Attributes:
        on: match on `labels` only; otherwise on all but `labels`.
        many: which side may have several series per match group.
        include: labels copied from the one side by group_left or group_right.
        fill_left: the value that stands in for a missing left series; None where there is no filling.
        fill_right: the same for the right side.
    """

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["left", "right"] | None = None
    include: tuple[str, ...] = ()
    fill_left: float | None = None
    fill_right: float | None = None

    @property
    def fills(self) -> bool:
        """Whether any side is filled."""
        return self.fill_left is not None or self.fill_right is not None


@dataclass(frozen=True)
class Binary:
    """A binary operation; `matching` says how two instant vectors are paired."""

    op: str
    left: "Node"
    right: "Node"
    returns_bool: bool = False
    matching: Matching = field(default_factory=Matching)
    place: Place = field(default=NOWHERE, compare=False, repr=False)


Node: TypeAlias = Number | Text | Selector | Subquery | Call | Unary | Aggregation | Binary


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct sub-expressions of a node, left to right."""
    match node:
        case Subquery() | Unary():
            return (node.expr,)
        case Call():
            return node.args
        case Aggregation():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return (node.left, node.right)
        case _:
            return ()


def walk(node: Node) -> Iterator[Node]:
    """Yield a node and all below it, in reading order."""
    waiting = [node]
    while waiting:
        found = waiting.pop()
        yield found
        waiting.extend(reversed(children(found)))
