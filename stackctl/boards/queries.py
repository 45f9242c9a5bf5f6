"""Every query of a rendered board, as a person's browser would send it: panels and variables, macros put in."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from stackctl.boards import policy
from stackctl.boards.render import Rendered
from stackctl.errors import SettingsInvalid

Language = Literal["promql", "traceql", "label_values"]

SCRAPE_SECONDS: Final = 15  # the stack's sample interval, `timeInterval` of the data source
_MACRO: Final = re.compile(r"\$(?:\{(\w+)(?::\w+)?\}|(\w+))")
_LABEL_VALUES: Final = re.compile(r"label_values\((\w+), (\w+)\)")


@dataclass(frozen=True)
class Query:
    """One query of a board.

    Attributes:
        panel: the panel's title, or `$name` for a variable.
        text: as the board holds it, with macros.
        instant: asked for one moment instead of a range.
    """

    board: str
    panel: str
    language: Language
    text: str
    instant: bool = False


def of(board: Rendered) -> Iterator[Query]:
    """Yield the queries of a board's variables, then those of its panels."""
    for variable in board.json["templating"]["list"]:
        if variable["type"] == "query":
            yield Query(board.uid, f"${variable['name']}", "label_values", variable["query"]["query"])
    for panel in policy.panels(board.json):
        for target in panel["targets"]:
            if target["datasource"]["type"] == policy.TEMPO["type"]:
                yield Query(board.uid, panel["title"], "traceql", target["query"])
            else:
                yield Query(board.uid, panel["title"], "promql", target["expr"], target["instant"])


def values(board: Rendered, window_seconds: int) -> dict[str, str]:
    """Return what each macro of a board stands for: "All" for choices, typed-in numbers, Grafana's own for a window."""
    found = {
        "__range": f"{window_seconds}s",
        "__rate_interval": f"{4 * SCRAPE_SECONDS}s",  # as Grafana: four scrape intervals at least
        "__interval": f"{SCRAPE_SECONDS}s",
    }
    for variable in board.json["templating"]["list"]:
        found[variable["name"]] = _chosen(variable)
    return found


def substituted(text: str, macros: Mapping[str, str]) -> str:
    """Return a query with its macros replaced.

    Raises:
        SettingsInvalid: it uses a variable that the board does not have.
    """

    def value(found: re.Match[str]) -> str:
        name = found[1] or found[2]
        if name not in macros:
            raise SettingsInvalid(
                f"the query uses ${name}, which the board does not have", next_step="add it to the board's variables"
            )
        return macros[name]

    return _MACRO.sub(value, text)


def label_values(text: str) -> tuple[str, str]:
    """Return the metric and the label of a variable's query, `label_values(metric, label)`.

    Raises:
        SettingsInvalid: it has another form.
    """
    found = _LABEL_VALUES.fullmatch(text)
    if found is None:
        raise SettingsInvalid(f"{text!r} is no label_values(metric, label)", next_step="write the variable's query so")
    return found[1], found[2]


def _chosen(variable: Mapping[str, Any]) -> str:
    current = variable["current"]["value"]
    return str(variable.get("allValue", current) if current == ["$__all"] else current)
