"""Boards and rules ask only for what every runtime's Prometheus answers."""

import pytest

from stackctl import files
from stackctl.boards import queries, render
from stackctl.embedded.rules.load import load
from stackctl.promql import tree
from stackctl.promql.parse import parse
from stackctl.promql.signatures import EXPERIMENTAL, EXPERIMENTAL_MODIFIERS

BOARDS = {
    f"{board.uid}: {query.text}": queries.substituted(query.text, queries.values(board, 3600))
    for board in render.boards()
    for query in queries.of(board)
    if query.language == "promql"
}
RULES = {
    f"{group.name}: {rule.name}": rule.expr
    for group in load(files.shipped("provisioning") / "prometheus" / "rules")
    for rule in group.rules
}


def _used(text: str) -> set[str]:
    """Return the functions, aggregations and fill modifiers that a query uses."""
    used: set[str] = set()
    for node in tree.walk(parse(text)):
        match node:
            case tree.Call():
                used.add(node.name)
            case tree.Aggregation():
                used.add(node.op)
            case tree.Binary() if node.matching.fills:
                used |= EXPERIMENTAL_MODIFIERS
    return used


def test_experimental_names_are_found_in_queries() -> None:
    """The check below sees functions, aggregations and modifiers, however deep."""
    text = "sum(limitk(2, mad_over_time(a[5m])) + fill (1) b)"
    assert _used(text) & (EXPERIMENTAL | EXPERIMENTAL_MODIFIERS) == {"limitk", "mad_over_time"} | EXPERIMENTAL_MODIFIERS


@pytest.mark.parametrize("text", [*BOARDS.values(), *RULES.values()], ids=[*BOARDS, *RULES])
def test_no_board_and_no_rule_needs_experimental_promql(text: str) -> None:
    """The docker runtime's Prometheus runs without promql-experimental-functions; ours has a superset."""
    assert not _used(text) & (EXPERIMENTAL | EXPERIMENTAL_MODIFIERS)
