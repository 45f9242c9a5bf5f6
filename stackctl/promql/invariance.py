"""What Prometheus works out once for all steps of a query: its step invariant expressions.

Nobody sees that but where an aggregation's parameter is another at each step: over spans of time fixed by `@` it stays
what it was at the first one. Source: PreprocessExpr of promql/engine.go; of functions what its map of those unsafe
beside `@` names.
"""

from typing import Final

from stackctl.promql import functions, tree

_OF_THE_STEP: Final = frozenset((*functions.CALENDAR, "predict_linear", "time"))


def invariant(node: tree.Node) -> bool:
    """Say whether an expression is worked out at the first step alone."""
    match node:
        case tree.Selector() | tree.Subquery():
            return node.at is not None
        case tree.Unary() | tree.Aggregation():
            return invariant(node.expr)
        case tree.Binary():
            return invariant(node.left) and invariant(node.right)
        case tree.Call(name="timestamp"):  # of a sample, or of the step where there is none
            return isinstance(node.args[0], tree.Selector) and invariant(node.args[0])
        case tree.Call():
            return node.name not in _OF_THE_STEP and all(map(invariant, node.args))
    return True  # a number or a text
