"""Tempo's nested set model of a trace: a span's descendants are those whose `left` lies between its `left` and `right`.

The intrinsics: https://grafana.com/docs/tempo/latest/traceql/construct-traceql-queries/. Grafana draws trees by them.
"""

from collections import defaultdict
from collections.abc import MutableMapping
from typing import Any, Final

_NO_PARENT: Final = -1


def nested_sets(spans: MutableMapping[int, dict[str, Any]]) -> None:
    """Number the spans of one trace: adds nestedSetLeft, nestedSetRight and nestedSetParent to their rows.

    Spans that no root leads to get 0 for all three, as Tempo leaves them.

    Args:
        spans: rows with parent_id and start_ns by span id, in order of their start.
    """
    children: dict[int, list[int]] = defaultdict(list)
    for span_id, row in spans.items():
        row.update(nestedSetLeft=0, nestedSetRight=0, nestedSetParent=0)
        children[row["parent_id"]].append(span_id)
    number = 0
    # A span is entered when its left is unset, and left when it comes up again.
    pending = [(root, _NO_PARENT) for root in reversed(children[0])]
    while pending:
        span_id, parent = pending.pop()
        row = spans[span_id]
        number += 1
        if row["nestedSetLeft"]:
            row["nestedSetRight"] = number
            continue
        row.update(nestedSetLeft=number, nestedSetParent=parent)
        pending.append((span_id, parent))
        pending += [(child, number) for child in reversed(children[span_id])]
