"""Places in Grafana's grid, so that definitions need none."""

from collections.abc import Sequence
from itertools import groupby
from typing import Any, Final

COLUMNS: Final = 24
MOST_IN_A_LINE: Final = 6  # narrower than four columns no number is legible


def placed(panels: Sequence[dict[str, Any]], top: int) -> tuple[list[dict[str, Any]], int]:
    """Return the panels with places, left to right and top down, and the first free line below them.

    Panels of one height that follow each other stand side by side. Who has no width gets an equal share of the rest.

    Args:
        panels: with `gridPos`, whose `w` may be None.
        top: the first free line of the grid.
    """
    found: list[dict[str, Any]] = []
    for height, band in groupby(panels, key=lambda panel: panel["gridPos"]["h"]):
        for line in _lines(list(band)):
            x = 0
            for panel, width in line:
                found.append(panel | {"gridPos": {"h": height, "w": width, "x": x, "y": top}})
                x += width
            top += height
    return found, top


def _lines(band: list[dict[str, Any]]) -> list[list[tuple[dict[str, Any], int]]]:
    """Return the panels of one height as lines of (panel, width)."""
    lines: list[list[dict[str, Any]]] = [[]]
    for panel in band:
        told = sum(one["gridPos"]["w"] or 1 for one in lines[-1]) + (panel["gridPos"]["w"] or 1)
        if len(lines[-1]) == MOST_IN_A_LINE or told > COLUMNS:
            lines.append([])
        lines[-1].append(panel)
    return [_shared(line) for line in lines]


def _shared(line: list[dict[str, Any]]) -> list[tuple[dict[str, Any], int]]:
    told = [panel["gridPos"]["w"] for panel in line]
    open_ones = told.count(None)
    share, rest = divmod(COLUMNS - sum(width or 0 for width in told), open_ones) if open_ones else (0, 0)
    widths: list[int] = []
    for width in told:
        if width is None:
            width, rest = share + (1 if rest > 0 else 0), rest - 1
        widths.append(width)
    return list(zip(line, widths, strict=True))
