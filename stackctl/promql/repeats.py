"""Parts that stand in a query more than once, evaluated once: panels divide a part by what it is a part of."""

from collections import Counter
from collections.abc import Callable
from typing import Final

from stackctl.promql import tree
from stackctl.promql.values import Times, Vector

_MOST_VALUES: Final = 1_000_000
"""So many values are held for the next place: 9 MB, of which a query would hold the most while it is evaluated."""


class Repeats:
    """Functions of range selectors that a query has more than once, without other arguments.

    Args:
        node: the query.
        times: its steps; inside of subqueries there are others.
    """

    def __init__(self, node: tree.Node, times: Times) -> None:
        calls = (one for one in tree.walk(node) if isinstance(one, tree.Call) and len(one.args) == 1)
        counted = Counter(one for one in calls if isinstance(one.args[0], tree.Selector))
        self._repeated = {call for call, count in counted.items() if count > 1}
        self._times = times
        self._found: dict[tree.Call, Vector] = {}
        self._values = 0

    def once(self, call: tree.Call, times: Times, evaluate: Callable[[], Vector]) -> Vector:
        """Return a call's answer, evaluated where it is not there yet.

        Args:
            times: at which it is wanted.
        """
        if times is not self._times or call not in self._repeated:
            return evaluate()
        found = self._found.get(call)
        if found is None:
            found = evaluate()
            self._values += found.v.size
            if self._values <= _MOST_VALUES:
                self._found[call] = found
        return found
