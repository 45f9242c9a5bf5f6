"""Checks of a parsed query: types, numbers of arguments, what may stand together.

The rules and their order are those of Prometheus 3's promql/parser/parse.go (checkAST): children first, then the node
itself, so that the fault reported first is the same.
"""

from stackctl.errors import QueryInvalid, QueryUnsupported
from stackctl.promql import tree
from stackctl.promql.reading import fault
from stackctl.promql.regex import matches
from stackctl.promql.signatures import REFUSED, SIGNATURES, WORDS, Kind, Signature
from stackctl.promql.values import NAME, Matcher

COMPARISONS = frozenset(("==", "!=", "<", ">", "<=", ">="))
SETS = frozenset(("and", "or", "unless"))
_OF_NATIVE_HISTOGRAMS = frozenset(("</", ">/"))
_TEXT_PARAM = "count_values"
_OPERANDS = "binary expression must contain only scalar and instant vector types"


def kind(node: tree.Node) -> Kind:
    """Return the type of an expression's value."""
    match node:
        case tree.Number():
            return "scalar"
        case tree.Text():
            return "string"
        case tree.Selector():
            return "vector" if node.range is None else "matrix"
        case tree.Subquery():
            return "matrix"
        case tree.Call():
            return SIGNATURES[node.name].gives
        case tree.Aggregation():
            return "vector"
        case tree.Unary():
            return kind(node.expr)
        case tree.Binary():
            return "scalar" if kind(node.left) == kind(node.right) == "scalar" else "vector"


def check(query: str, node: tree.Node) -> None:
    """Check a parsed query.

    Raises:
        QueryInvalid: types do not fit.
        QueryUnsupported: it is valid, and uses what this engine does not have.
    """
    _Checker(query).check(node)
    for found in tree.walk(node):
        if isinstance(found, tree.Call) and found.name in REFUSED:
            raise _unsupported(f"the function {found.name}: {REFUSED[found.name]}")
        if isinstance(found, tree.Binary) and found.op in _OF_NATIVE_HISTOGRAMS:
            raise _unsupported(f"the operator {found.op} of native histograms")


def _unsupported(what: str) -> QueryUnsupported:
    return QueryUnsupported(
        f"unsupported: {what}", next_step="Rewrite the query without it, or use the docker runtime's Prometheus."
    )


class _Checker:
    """Walks a tree; each method raises for the first fault it finds."""

    def __init__(self, query: str) -> None:
        self.query = query

    def fault(self, node: tree.Node, reason: str) -> QueryInvalid:
        return fault(self.query, node.place.start, reason)

    def check(self, node: tree.Node) -> Kind:
        match node:
            case tree.Selector():
                self.selector(node)
            case tree.Subquery():
                self.subquery(node)
            case tree.Call():
                self.call(node)
            case tree.Aggregation():
                self.aggregation(node)
            case tree.Unary():
                self.unary(node)
            case tree.Binary():
                self.binary(node)
        return kind(node)

    def expect(self, node: tree.Node, wanted: Kind, where: str) -> None:
        found = self.check(node)
        if found != wanted:
            raise self.fault(node, f"expected type {WORDS[wanted]} in {where}, got {WORDS[found]}")

    def selector(self, node: tree.Selector, may_be_empty: bool = False) -> None:
        if node.named:
            twice = next((matcher for matcher in node.matchers[:-1] if matcher.name == NAME), None)
            if twice:
                name = node.matchers[-1].value
                raise self.fault(node, f'metric name must not be set twice: "{name}" or "{twice.value}"')
        elif not may_be_empty and all(map(_matches_empty, node.matchers)):
            raise self.fault(node, "vector selector must contain at least one non-empty matcher")

    def subquery(self, node: tree.Subquery) -> None:
        found = self.check(node.expr)
        if found != "vector":
            raise self.fault(node, f"subquery is only allowed on instant vector, got {found} instead")

    def unary(self, node: tree.Unary) -> None:
        found = self.check(node.expr)
        if found not in ("scalar", "vector"):
            raise self.fault(
                node,
                f'unary expression only allowed on expressions of type scalar or instant vector, got "{WORDS[found]}"',
            )

    def aggregation(self, node: tree.Aggregation) -> None:
        self.expect(node.expr, "vector", "aggregation expression")
        if node.param is not None:
            self.expect(node.param, "string" if node.op == _TEXT_PARAM else "scalar", "aggregation parameter")

    def call(self, node: tree.Call) -> None:
        signature = SIGNATURES[node.name]
        self.count(node, signature)
        if node.name == "info" and len(node.args) > 1:
            self.info_selector(node, node.args[1])
        for i, arg in enumerate(node.args):
            wanted = signature.takes[min(i, len(signature.takes) - 1)]
            if node.name == "info" and i == 1:
                continue
            self.expect(arg, wanted, f'call to function "{node.name}"')

    def count(self, node: tree.Call, signature: Signature) -> None:
        given, takes = len(node.args), len(signature.takes)
        if not signature.more and given != takes:
            raise self.fault(node, f'expected {takes} argument(s) in call to "{node.name}", got {given}')
        least = takes - 1
        if signature.more and given < least:
            raise self.fault(node, f'expected at least {least} argument(s) in call to "{node.name}", got {given}')
        most = least + signature.more
        if signature.more > 0 and given > most:
            raise self.fault(node, f'expected at most {most} argument(s) in call to "{node.name}", got {given}')

    def info_selector(self, call: tree.Call, node: tree.Node) -> None:
        if kind(node) != "vector":
            raise self.fault(call, f'expected type instant vector in call to function "info", got {WORDS[kind(node)]}')
        if not isinstance(node, tree.Selector):
            raise self.fault(node, "expected label selectors only")
        if node.named:
            raise self.fault(node, "expected label selectors only, got vector selector instead")
        self.selector(node, may_be_empty=True)

    def binary(self, node: tree.Binary) -> None:
        left, right = self.check(node.left), self.check(node.right)
        if node.returns_bool and node.op not in COMPARISONS:
            raise self.at_operator(node, "bool modifier can only be used on comparison operators")
        if node.op in COMPARISONS and not node.returns_bool and left == right == "scalar":
            raise self.at_operator(node, "comparisons between scalars must use BOOL modifier")
        both = set(node.matching.labels) & set(node.matching.include) if node.matching.on else set()
        for label in node.matching.labels:
            if label in both:
                raise self.at_operator(node, f'label "{label}" must not occur in ON and GROUP clause at once')
        for side, found in ((node.left, left), (node.right, right)):
            if found not in ("scalar", "vector"):
                raise self.fault(side, _OPERANDS)
        if left == right == "vector":
            self.vectors(node)
        else:
            self.with_scalar(node)

    def vectors(self, node: tree.Binary) -> None:
        if node.op in SETS and node.matching.many is not None:
            raise self.fault(node, f'no grouping allowed for "{node.op}" operation')
        if node.op in SETS and node.matching.fills:
            raise self.fault(node, "filling in missing series not allowed for set operators")

    def with_scalar(self, node: tree.Binary) -> None:
        if node.matching.labels:
            raise self.fault(node, "vector matching only allowed between instant vectors")
        if node.matching.fills:
            raise self.fault(node, "filling in missing series only allowed between instant vectors")
        if node.op in SETS:
            raise self.fault(node, f'set operator "{node.op}" not allowed in binary scalar expression')

    def at_operator(self, node: tree.Binary, reason: str) -> QueryInvalid:
        at = node.left.place.stop
        while self.query[at : at + 1].isspace():
            at += 1
        return fault(self.query, at, reason)


def _matches_empty(matcher: Matcher) -> bool:
    found = matches(matcher.value, "") if "~" in matcher.op else matcher.value == ""
    return not found if matcher.op.startswith("!") else found
