"""Links from a panel to the traces behind it, as Grafana's Explore reads them."""

import json
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import quote

from stackctl.boards import scope

_TEMPO: Final = {"type": "tempo", "uid": "tempo"}
_MACRO = re.compile(r"(\$\{[^}]+\})")
_PLAIN_VARIABLE = re.compile(r"\$(\w+)")


def to_traces(traceql: str, title: str = "Traces behind it") -> dict[str, Any]:
    """Return a data link that opens a TraceQL search over the range shown; the policy pass narrows and encodes it."""
    return {"title": title, "traceql": traceql}


def to_board(uid: str, title: str, variable: str, field: str) -> dict[str, Any]:
    """Return a data link to another board with one variable set to the value of a field of the clicked row."""
    query = f'var-{variable}=${{__data.fields["{field}"]}}&${{__url_time_range}}'
    return {"title": title, "url": f"/d/{uid}?{query}", "targetBlank": False}


def finished(link: dict[str, Any], variables: Sequence[scope.Variable]) -> dict[str, Any]:
    """Return a data link with its address."""
    if "traceql" not in link:
        return link
    query = scope.traceql(link["traceql"], variables)
    return {"targetBlank": False, "title": link["title"], "url": explore(query)}


def explore(traceql: str) -> str:
    """Return the address of Grafana's Explore for a TraceQL search over the range shown.

    Several choices of a variable become alternatives of a regular expression (`pipe`).
    """
    query = _PLAIN_VARIABLE.sub(r"${\1:pipe}", traceql)
    target = {
        "refId": "A",
        "datasource": _TEMPO,
        "queryType": "traceql",
        "query": query,
        "limit": 20,
        "tableType": "traces",
    }
    pane = {
        "datasource": _TEMPO["uid"],
        "queries": [target],
        "range": {"from": "${__from}", "to": "${__to}"},
    }
    panes = json.dumps({"stackctl": pane}, separators=(",", ":"))
    # Grafana puts the values in before the browser sees the address, so the macros stay as they are.
    encoded = "".join(part if part.startswith("${") else quote(part, safe="") for part in _MACRO.split(panes))
    return f"/explore?schemaVersion=1&orgId=1&panes={encoded}"
