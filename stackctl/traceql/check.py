"""What a syntax tree must hold besides syntax: matching types, regular expressions that compile, stages in an order.

The rules are Tempo's (`validate` in its pkg/traceql); breaking one is an invalid query, HTTP 400.
"""

from collections.abc import Iterator

import re2

from stackctl.errors import QueryInvalid
from stackctl.traceql import ast
from stackctl.traceql.ast import NUMERIC, Kind
from stackctl.traceql.parse import children, invalid

LOGICAL = frozenset({"&&", "||"})
ARITHMETIC = frozenset({"+", "-", "*", "/", "%", "^"})
REGEX = frozenset({"=~", "!~"})
EQUALITY = frozenset({"=", "!="})
_PARAMETERS = {"quantile_over_time": (2, None), "rate": (0, 0), "count_over_time": (0, 0)}


def check(query: ast.Query, text: str) -> None:
    """Check a parsed query.

    Args:
        text: what it was parsed from, for line and column in messages.

    Raises:
        QueryInvalid: a rule is broken; the position is that of the offending operator or value.
    """
    try:
        _check(query.body)
    except QueryInvalid as error:
        raise invalid(text, error.position or 0, error.message) from None


def kind_of(expression: ast.Expression) -> Kind:
    """Return the type of an expression's value, checking everything in it.

    Raises:
        QueryInvalid: operator and operands do not fit.
    """
    match expression:
        case ast.Literal() | ast.Intrinsic():
            return expression.kind
        case ast.Variable():
            raise _variable(expression.at, expression.name)
        case ast.Attribute():
            if "${" in expression.name:
                raise _variable(expression.at, expression.name)
            return Kind.ANY
        case ast.Unary():
            return _unary(expression)
        case ast.Binary():
            return _binary(expression)


def mentions(node: ast.Node) -> Iterator[ast.Attribute | ast.Intrinsic]:
    """Yield every attribute and intrinsic in a tree, in the order of the text."""
    if isinstance(node, ast.Attribute | ast.Intrinsic):
        yield node
    for child in children(node):
        yield from mentions(child)


def _wrong(at: int, reason: str) -> QueryInvalid:
    return QueryInvalid(reason, next_step="correct the query", position=at)


def _variable(at: int, name: str) -> QueryInvalid:
    return _wrong(at, f"{name} is a variable, which Grafana replaces by a value before it asks")


def _unary(expression: ast.Unary) -> Kind:
    operand = kind_of(expression.operand)
    fitting = {Kind.BOOL, Kind.ANY} if expression.op == "!" else NUMERIC | {Kind.ANY}
    if operand not in fitting:
        raise _wrong(expression.at, f"{expression.op!r} does not work on a {operand}")
    return Kind.BOOL if expression.op == "!" else operand


def _binary(expression: ast.Binary) -> Kind:
    op, left, right = expression.op, kind_of(expression.left), kind_of(expression.right)
    if not _match(left, right):
        raise _wrong(expression.at, f"{op!r} needs two values of one type, not {left} and {right}")
    for kind in {left, right} - {Kind.ANY}:
        if not _applies(op, kind):
            raise _wrong(expression.at, f"{op!r} does not work on a {kind}")
    if op in REGEX:
        _check_regex(expression.right)
    return Kind.FLOAT if op in ARITHMETIC else Kind.BOOL


def _match(left: Kind, right: Kind) -> bool:
    return left == right or bool({left, right} & {Kind.ANY, Kind.NIL}) or {left, right} <= NUMERIC


def _applies(op: str, kind: Kind) -> bool:
    if op in LOGICAL:
        return kind == Kind.BOOL
    if op in ARITHMETIC:
        return kind in NUMERIC
    if op in REGEX:
        return kind == Kind.STRING
    return op in EQUALITY or kind in NUMERIC | {Kind.STRING}


def _check_regex(pattern: ast.Expression) -> None:
    if not isinstance(pattern, ast.Literal):
        raise _wrong(pattern.at, "the right side of a regular expression match must be a string")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(str(pattern.value), options)
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        raise _wrong(pattern.at, f"invalid regular expression: {reason}") from None


def _check(node: ast.Pipeline | ast.MetricsMath | ast.Literal) -> None:
    if isinstance(node, ast.Literal):
        return
    if isinstance(node, ast.MetricsMath):
        for side in (node.left, node.right):
            if not _gives_series(side):
                raise _wrong(side.at, f"{node.op!r} calculates with metrics functions, such as rate()")
            _check(side)
        return
    measured = False
    for position, stage in enumerate(node.stages):
        if measured and not isinstance(stage, ast.Ranking):
            raise _wrong(stage.at, "nothing but topk, bottomk and comparisons may follow a metrics function")
        if isinstance(stage, ast.Ranking) and not measured:
            name = stage.function if isinstance(stage, ast.Rank) else repr(stage.op)
            raise _wrong(stage.at, f"{name} needs a metrics function before it")
        if isinstance(stage, ast.Coalesce) and position == 0:
            raise _wrong(stage.at, "a query cannot begin with coalesce()")
        measured = measured or isinstance(stage, ast.Metrics)
        _check_stage(stage)


def _gives_series(side: ast.Node) -> bool:
    if isinstance(side, ast.Pipeline):
        return any(isinstance(stage, ast.Metrics) for stage in side.stages)
    return isinstance(side, ast.MetricsMath | ast.Literal)


def _check_stage(stage: ast.Stage) -> None:
    match stage:
        case ast.Filter(condition=condition) if condition is not None:
            kind = kind_of(condition)
            if kind not in {Kind.BOOL, Kind.ANY}:
                raise _wrong(condition.at, f"a filter needs a condition, not a {kind}")
        case ast.SpansetOperation():
            _check_stage(stage.left)
            _check_stage(stage.right)
        case ast.Pipeline():
            _check(stage)
        case ast.ScalarFilter():
            _check_scalar(stage.left)
            _check_scalar(stage.right)
        case ast.GroupBy():
            for expression in stage.expressions:
                _check_of_span(expression)
        case ast.Select():
            for expression in stage.expressions:
                if not isinstance(expression, ast.Attribute | ast.Intrinsic):
                    raise _wrong(expression.at, "select() takes attributes and intrinsics")
        case ast.Metrics():
            _check_metrics(stage)


def _check_scalar(scalar: ast.Scalar) -> None:
    match scalar:
        case ast.Aggregate(operand=operand) if operand is not None:
            kind = kind_of(operand)
            if kind not in NUMERIC | {Kind.ANY}:
                raise _wrong(operand.at, f"{scalar.function}() needs numbers, not a {kind}")
            _check_of_span(operand)
        case ast.Variable():
            raise _variable(scalar.at, scalar.name)
        case ast.ScalarOperation():
            _check_scalar(scalar.left)
            _check_scalar(scalar.right)
        case ast.ScalarPipeline():
            _check(ast.Pipeline(scalar.at, scalar.stages))
            _check_scalar(scalar.aggregate)


def _check_of_span(expression: ast.Expression) -> None:
    kind_of(expression)
    if next(mentions(expression), None) is None:
        raise _wrong(expression.at, "the expression must look at the span")


def _check_metrics(stage: ast.Metrics) -> None:
    if stage.selected is not None:
        _check_stage(stage.selected)
        return
    least, most = _PARAMETERS.get(stage.function, (1, 1))
    if len(stage.arguments) < least or (most is not None and len(stage.arguments) > most):
        raise _wrong(stage.at, f"{stage.function}() takes another number of arguments, not {len(stage.arguments)}")
    for expression in stage.arguments[:1]:
        kind = kind_of(expression)
        if kind not in NUMERIC | {Kind.ANY}:
            raise _wrong(expression.at, f"{stage.function}() needs numbers, not a {kind}")
    for parameter in stage.arguments[1:]:
        if not (isinstance(parameter, ast.Literal) and parameter.kind in {Kind.INT, Kind.FLOAT}):
            raise _wrong(parameter.at, f"the parameters of {stage.function}() are numbers")
        if not 0 <= float(parameter.value or 0) <= 1:  # of quantile_over_time: no other function has any
            raise _wrong(parameter.at, "a quantile lies between 0 and 1")
    for expression in stage.by:
        _check_of_span(expression)
