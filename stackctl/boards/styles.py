"""How each panel kind looks on every board, options in full, as Grafana 13 writes them; what a colour means.

Source of the option names and values: `@grafana/schema` 13.2.3, `raw/composable/<kind>/panelcfg`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from stackctl import semconv
from stackctl.boards.limits import Limit

Json = dict[str, Any]

# One meaning, one colour, on every board. Grafana gives the others out by name, so that a model keeps its colour too.
COLOURS: Final[Mapping[str, str]] = {
    "p50": "light-blue",
    "p95": "purple",
    "errors": "red",
    semconv.STATUS_PRICED: "green",
    semconv.STATUS_UNPRICED: "orange",
    semconv.STATUS_NO_USAGE: "yellow",
    semconv.TOKEN_INPUT: "blue",
    semconv.TOKEN_OUTPUT: "purple",
    semconv.TOKEN_CACHE_READ: "green",
    semconv.TOKEN_CACHE_WRITE: "light-green",
    semconv.TOKEN_REASONING: "orange",
    "grounded": "green",
    "hallucinated": "red",
}
# Labels whose values have a colour above.
_COLOURED: Final = (semconv.LABEL_TOKEN_TYPE, semconv.LABEL_COST_STATUS, semconv.LABEL_SCORE_LABEL)

# Span attributes as columns of trace tables: head, unit.
ATTRIBUTES: Final[Mapping[str, tuple[str, str]]] = {
    semconv.SERVICE_NAME: ("Service", "string"),
    semconv.OPERATION: ("Operation", "string"),
    semconv.REQUEST_MODEL: ("Model", "string"),
    semconv.TIME_TO_FIRST_CHUNK: ("First token", "s"),
    semconv.OUTPUT_RATE: ("Output speed", "suffix: tok/s"),
    semconv.INPUT_TOKENS: ("Input tokens", "short"),
    semconv.OUTPUT_TOKENS: ("Output tokens", "short"),
    semconv.COST_USD: ("Cost", "currencyUSD"),
    semconv.COST_STATUS: ("Cost known", "string"),
    semconv.ERROR_TYPE: ("Error", "string"),
    semconv.RETRIEVED_DOCUMENTS: ("Documents", "short"),
    semconv.DATA_SOURCE_ID: ("Source", "string"),
    semconv.EVALUATION_NAME: ("Evaluation", "string"),
    semconv.EVALUATION_SCORE: ("Score", "none"),
}

_LAST: Final = {"calcs": ["lastNotNull"], "fields": "", "values": False}

TIMESERIES: Final[Json] = {
    "fieldConfig": {
        "defaults": {
            "custom": {
                "axisBorderShow": False,
                "axisCenteredZero": False,
                "axisColorMode": "text",
                "insertNulls": False,
                "lineWidth": 2,
            }
        }
    },
    "options": {
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"hideZeros": False, "mode": "multi", "sort": "desc"},
    },
}
STAT: Final[Json] = {
    "options": {"percentChangeColorMode": "standard", "showPercentChange": False, "wideLayout": True},
}
GAUGE: Final[Json] = {
    "fieldConfig": {"defaults": {"color": {"mode": "thresholds"}}},
    "options": {
        "barShape": "flat",
        "barWidthFactor": 0.5,
        "effects": {"barGlow": False, "centerGlow": False, "gradient": False},
        "endpointMarker": "none",
        "minVizHeight": 75,
        "minVizWidth": 75,
        "orientation": "auto",
        "reduceOptions": _LAST,
        "segmentCount": 1,
        "segmentSpacing": 0.3,
        "shape": "gauge",
        "showThresholdLabels": False,
        "showThresholdMarkers": True,
        "sizing": "auto",
        "sparkline": False,
        "textMode": "auto",
    },
}
BARGAUGE: Final[Json] = {
    "type": "bargauge",
    "fieldConfig": {"defaults": {"color": {"mode": "thresholds"}, "min": 0}, "overrides": []},
    "options": {
        "displayMode": "basic",
        "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": False},
        "maxVizHeight": 40,
        "minVizHeight": 16,
        "minVizWidth": 8,
        "namePlacement": "left",
        "orientation": "horizontal",
        "reduceOptions": _LAST,
        "showUnfilled": True,
        "sizing": "auto",
        "valueMode": "text",
    },
}
PIECHART: Final[Json] = {
    "options": {
        "displayLabels": [],
        "legend": {"calcs": [], "showLegend": True},
        "orientation": "auto",
        "sort": "desc",
        "tooltip": {"hideZeros": False, "sort": "none"},
    },
}
HEATMAP: Final[Json] = {
    "type": "heatmap",
    "fieldConfig": {
        "defaults": {"custom": {"hideFrom": {"legend": False, "tooltip": False, "viz": False}}},
        "overrides": [],
    },
    "options": {
        "calculate": False,
        "cellGap": 1,
        "color": {
            "exponent": 0.5,
            "fill": "dark-orange",
            "mode": "scheme",
            "reverse": False,
            "scale": "exponential",
            "scheme": "Blues",
            "steps": 64,
        },
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": 1e-9},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "showColorScale": False, "yHistogram": False},
        "yAxis": {"axisPlacement": "left", "reverse": False},
    },
}
TABLE: Final[Json] = {
    "fieldConfig": {
        "defaults": {
            "color": {"mode": "thresholds"},
            # grafanalib writes `displayMode`, which `cellOptions` has replaced.
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "displayMode": None, "inspect": False},
            "noValue": "–",
        }
    },
    "options": {"cellHeight": "sm", "frameIndex": 0, "showHeader": True},
}
TEXT: Final[Json] = {
    "options": {"code": {"language": "plaintext", "showLineNumbers": False, "showMiniMap": False}},
}


@dataclass(frozen=True)
class Column:
    """One column of a table.

    Attributes:
        title: its head.
        unit: Grafana's unit id.
        query: an instant PromQL query that gives one value per row.
        limit: colours the numbers.
    """

    title: str
    unit: str
    query: str
    limit: Limit | None = None


def colour_overrides(queries: str | Mapping[str, str]) -> list[Json]:
    """Return the fixed colours of series whose legend has a meaning, or takes one from a label that has."""
    if isinstance(queries, str):
        return []
    if any(label in legend for label in _COLOURED for legend in queries):
        names: Sequence[str] = tuple(COLOURS)
    else:
        names = [legend for legend in queries if legend in COLOURS]
    return [_override(name, ("color", {"fixedColor": COLOURS[name], "mode": "fixed"})) for name in names]


def right_axis(units: Mapping[str, str]) -> list[Json]:
    """Return the overrides that move series to the right axis, with a unit of their own."""
    return [_override(legend, ("unit", unit), ("custom.axisPlacement", "right")) for legend, unit in units.items()]


def joined(key: tuple[str, str], titles: Sequence[str]) -> list[Json]:
    """Return the transformations that make one table of one instant query per column."""
    label, head = key
    values = [f"Value #{chr(ord('A') + index)}" for index in range(len(titles))]
    # Grafana calls the value column of a single query `Value`.
    names = {"Value": titles[0]} if len(titles) == 1 else dict(zip(values, titles, strict=True))
    order = {name: index for index, name in enumerate((label, *names))}
    return [
        {"id": "merge", "options": {}},
        {
            "id": "organize",
            "options": {
                "excludeByName": {"Time": True},
                "includeByName": {},
                "indexByName": order,
                "renameByName": {label: head, **names},
            },
        },
    ]


def key_overrides(head: str, link: Mapping[str, Any] | None) -> list[Json]:
    """Return the key column's look: text, and a link where one is given."""
    return [_override(head, ("unit", "string"), *([("links", [link])] if link else []))]


def column_override(column: Column) -> Json:
    """Return a column's unit and colours."""
    properties: list[tuple[str, Any]] = [("unit", column.unit)]
    if column.limit:
        properties.append(("thresholds", {"mode": "absolute", "steps": column.limit.steps()}))
        properties.append(("custom.cellOptions", {"type": "color-text"}))
    return _override(column.title, *properties)


def attribute_overrides(traceql: str) -> list[Json]:
    """Return head and unit of the attributes that a query selects as columns."""
    selected = re.findall(r"(?:span|resource)\.([\w.]+)", traceql.rpartition("select(")[2])
    return [
        _override(key, ("displayName", ATTRIBUTES[key][0]), ("unit", ATTRIBUTES[key][1]))
        for key in selected
        if key in ATTRIBUTES
    ]


def _override(name: str, *properties: tuple[str, Any]) -> Json:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties],
    }
