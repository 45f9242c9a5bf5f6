"""The syntax tree that the evaluator walks: frozen nodes, times in milliseconds, parentheses gone.

`parse` builds it from promql-parser's tree. Ours is smaller, typed, and knows the two range words that parser lacks.
"""

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from stackctl.promql.values import Matcher

Extended: TypeAlias = Literal["anchored", "smoothed"]
At: TypeAlias = int | Literal["start", "end"] | None
"""The @ modifier: milliseconds since the epoch, or a bound of the query's own range."""


@dataclass(frozen=True)
class Number:
    """A number literal; durations such as `5m` are numbers of seconds."""

    value: float


@dataclass(frozen=True)
class Text:
    """A string literal."""

    value: str


@dataclass(frozen=True)
class Selector:
    """An instant selector, or a range selector when `range_ms` is set.

    Attributes:
        matchers: all must be fulfilled.
        extended: the word `anchored` or `smoothed` behind the selector.
    """

    matchers: tuple[Matcher, ...]
    offset_ms: int = 0
    at: At = None
    range_ms: int | None = None
    extended: Extended | None = None


@dataclass(frozen=True)
class Subquery:
    """`expr[range:step]`; `step_ms` None means the default evaluation interval."""

    expr: "Node"
    range_ms: int
    step_ms: int | None = None
    offset_ms: int = 0
    at: At = None


@dataclass(frozen=True)
class Call:
    """A function call."""

    name: str
    args: tuple["Node", ...]


@dataclass(frozen=True)
class Negation:
    """Unary minus."""

    expr: "Node"


@dataclass(frozen=True)
class Aggregation:
    """`op by|without (labels) (param, expr)`."""

    op: str
    expr: "Node"
    param: "Node | None" = None
    labels: tuple[str, ...] = ()
    without: bool = False


@dataclass(frozen=True)
class Matching:
    """How the two sides of a binary operator find each other.

    Attributes:
        on: match on `labels` only; otherwise on all but `labels`.
        many: which side may have several series per match group.
        include: labels copied from the one side by group_left or group_right.
    """

    on: bool = False
    labels: tuple[str, ...] = ()
    many: Literal["left", "right"] | None = None
    include: tuple[str, ...] = ()


@dataclass(frozen=True)
class Binary:
    """A binary operation; `matching` says how two instant vectors are paired."""

    op: str
    left: "Node"
    right: "Node"
    returns_bool: bool = False
    matching: Matching = field(default_factory=Matching)


Node: TypeAlias = Number | Text | Selector | Subquery | Call | Negation | Aggregation | Binary


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct sub-expressions of a node, left to right."""
    match node:
        case Subquery() | Negation():
            return (node.expr,)
        case Call():
            return node.args
        case Aggregation():
            return (node.expr,) if node.param is None else (node.param, node.expr)
        case Binary():
            return (node.left, node.right)
        case _:
            return ()
