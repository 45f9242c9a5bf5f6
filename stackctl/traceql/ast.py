"""What a TraceQL query is, as frozen dataclasses. `at` is always an offset in characters into the query text."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """The type of a value. ANY is an attribute's: what it holds is seen span by span."""

    STRING = "string"
    INT = "int"
    FLOAT = "float"
    DURATION = "duration"
    BOOL = "bool"
    STATUS = "status"
    SPAN_KIND = "kind"
    NIL = "nil"
    ANY = "any"


NUMERIC: Final = frozenset({Kind.INT, Kind.FLOAT, Kind.DURATION})

# What status and span kind are called, by their OTLP numbers.
ENUM_NAMES: Final[dict[Kind, tuple[str, ...]]] = {
    Kind.STATUS: ("unset", "ok", "error"),
    Kind.SPAN_KIND: ("unspecified", "internal", "server", "client", "producer", "consumer"),
}

# Every intrinsic by the names that a query may use: old bare ones and scoped ones. To: canonical name, type.
INTRINSICS: Final[dict[str, tuple[str, Kind]]] = {
    "name": ("span:name", Kind.STRING),
    "duration": ("span:duration", Kind.DURATION),
    "status": ("span:status", Kind.STATUS),
    "statusMessage": ("span:statusMessage", Kind.STRING),
    "kind": ("span:kind", Kind.SPAN_KIND),
    "childCount": ("span:childCount", Kind.INT),
    "parent": ("parent", Kind.NIL),
    "rootName": ("trace:rootName", Kind.STRING),
    "rootServiceName": ("trace:rootService", Kind.STRING),
    "traceDuration": ("trace:duration", Kind.DURATION),
    "nestedSetLeft": ("nestedSetLeft", Kind.INT),
    "nestedSetRight": ("nestedSetRight", Kind.INT),
    "nestedSetParent": ("nestedSetParent", Kind.INT),
    "span:name": ("span:name", Kind.STRING),
    "span:duration": ("span:duration", Kind.DURATION),
    "span:status": ("span:status", Kind.STATUS),
    "span:statusMessage": ("span:statusMessage", Kind.STRING),
    "span:kind": ("span:kind", Kind.SPAN_KIND),
    "span:childCount": ("span:childCount", Kind.INT),
    "span:id": ("span:id", Kind.STRING),
    "span:parentID": ("span:parentID", Kind.STRING),
    "trace:id": ("trace:id", Kind.STRING),
    "trace:duration": ("trace:duration", Kind.DURATION),
    "trace:rootName": ("trace:rootName", Kind.STRING),
    "trace:rootService": ("trace:rootService", Kind.STRING),
    "event:name": ("event:name", Kind.STRING),
    "event:timeSinceStart": ("event:timeSinceStart", Kind.DURATION),
    "link:traceID": ("link:traceID", Kind.STRING),
    "link:spanID": ("link:spanID", Kind.STRING),
    "instrumentation:name": ("instrumentation:name", Kind.STRING),
    "instrumentation:version": ("instrumentation:version", Kind.STRING),
}


@dataclass(frozen=True)
class Node:
    """Base of everything that stands at a place in the query text."""

    at: int = field(compare=False)


@dataclass(frozen=True)
class Literal(Node):
    """A value written in the query. Durations are nanoseconds; status and span kind are their OTLP numbers."""

    value: str | int | float | bool | None
    kind: Kind


@dataclass(frozen=True)
class Attribute(Node):
    """An attribute of a span or of what it belongs to.

    Attributes:
        scope: `span`, `resource`, `event`, `link`, `instrumentation`, or empty: the span's, else the resource's.
        parent: the parent span's attribute is meant.
    """

    scope: str
    name: str
    parent: bool = False

    def __str__(self) -> str:
        """The name as a query writes it."""
        return f"{'parent.' if self.parent else ''}{self.scope}.{self.name}".replace("..", ".")


@dataclass(frozen=True)
class Intrinsic(Node):
    """A fact that every span has, by its canonical name (`span:duration`)."""

    name: str
    kind: Kind


@dataclass(frozen=True)
class Variable(Node):
    """`$name` or `${name:format}`: what Grafana replaces by a value of its board before it asks."""

    name: str


@dataclass(frozen=True)
class Unary(Node):
    """`-` or `!` before an expression."""

    op: str
    operand: "Expression"


@dataclass(frozen=True)
class Binary(Node):
    """Two expressions joined by a logical, comparing or arithmetic operator."""

    op: str
    left: "Expression"
    right: "Expression"


Expression = Literal | Variable | Attribute | Intrinsic | Unary | Binary


@dataclass(frozen=True)
class Filter(Node):
    """`{ condition }`: the spans for which it is true; None takes every span."""

    condition: Expression | None


@dataclass(frozen=True)
class SpansetOperation(Node):
    """Two spansets joined by `&&`, `||` or a structural operator such as `>>`."""

    op: str
    left: "Spanset"
    right: "Spanset"


@dataclass(frozen=True)
class Aggregate(Node):
    """`count()`, or `avg`, `max`, `min`, `sum` of an expression over a spanset."""

    function: str
    operand: Expression | None


@dataclass(frozen=True)
class ScalarPipeline(Node):
    """`({ ... } | count())`: the number that a pipeline ends in."""

    stages: tuple["Stage", ...]
    aggregate: Aggregate


@dataclass(frozen=True)
class ScalarOperation(Node):
    """Arithmetic on scalars."""

    op: str
    left: "Scalar"
    right: "Scalar"


Scalar = Aggregate | Literal | Variable | ScalarPipeline | ScalarOperation


@dataclass(frozen=True)
class ScalarFilter(Node):
    """A comparison of two scalars that a spanset must meet."""

    op: str
    left: Scalar
    right: Scalar


@dataclass(frozen=True)
class GroupBy(Node):
    """`by(expression, ...)`: a spanset for each combination of their values."""

    expressions: tuple[Expression, ...]


@dataclass(frozen=True)
class Coalesce(Node):
    """`coalesce()`: the groups become one spanset again."""


@dataclass(frozen=True)
class Select(Node):
    """`select(...)`: further values to return with each span."""

    expressions: tuple[Expression, ...]


@dataclass(frozen=True)
class Metrics(Node):
    """A metrics function: `rate`, `count_over_time`, `quantile_over_time` and so on.

    Attributes:
        arguments: the expression measured, then parameters such as quantiles.
        by: what the series are split by.
        selected: the spans that `compare` sets against the others.
    """

    function: str
    arguments: tuple[Expression, ...]
    by: tuple[Expression, ...]
    selected: Filter | None = None


@dataclass(frozen=True)
class Rank(Node):
    """`topk(n)` or `bottomk(n)` over the series of a metrics function."""

    function: str
    count: int


@dataclass(frozen=True)
class Threshold(Node):
    """`> 5` behind what gives series: the values that a comparison with a number holds for."""

    op: str
    number: Literal


@dataclass(frozen=True)
class Pipeline(Node):
    """Stages from left to right, each working on what the one before it yields."""

    stages: tuple["Stage", ...]


Spanset = Filter | SpansetOperation | Pipeline
Ranking = Rank | Threshold
Stage = Filter | SpansetOperation | Pipeline | ScalarFilter | GroupBy | Coalesce | Select | Metrics | Ranking


@dataclass(frozen=True)
class MetricsMath(Node):
    """Arithmetic between the series of two metrics pipelines, or of one and a number.

    Attributes:
        after: what is done with the series that it gives, from left to right.
    """

    op: str
    left: "Pipeline | MetricsMath"
    right: "Pipeline | MetricsMath | Literal"
    after: tuple[Ranking, ...] = ()


@dataclass(frozen=True)
class Query(Node):
    """A whole query: what to find, and hints (`with (...)`) that may change how, never what."""

    body: Pipeline | MetricsMath
    hints: tuple[tuple[str, Literal], ...] = ()
