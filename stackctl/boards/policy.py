"""One pass over every board: from what grafanalib writes to what a current Grafana writes itself.

grafanalib 0.7.1 still writes keys of Grafana 5 to 8 (see its core.py). What is kept is an allow list, so that nothing
old slips through; a panel whose meaning sits in old keys is refused by name instead of losing it.
Shapes: `@grafana/schema` 13.2.3, compared by tests.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from stackctl.boards import links, scope
from stackctl.boards.limits import NO_LIMIT
from stackctl.errors import SettingsInvalid

Json = dict[str, Any]

SCHEMA_VERSION: Final = 42
TAG: Final = "stackctl"
REFRESH: Final = "30s"
PROMETHEUS: Final = {"type": "prometheus", "uid": "prometheus"}
TEMPO: Final = {"type": "tempo", "uid": "tempo"}

# The panel kinds of Grafana 13 that boards may use. `graph`, `singlestat` and the angular heatmap are gone since 12.
KINDS: Final = ("timeseries", "stat", "gauge", "bargauge", "table", "piechart", "heatmap", "text", "row")

_BOARD_KEYS: Final = (
    *("annotations", "description", "editable", "fiscalYearStartMonth", "graphTooltip", "links", "panels", "refresh"),
    *("schemaVersion", "tags", "templating", "time", "timepicker", "timezone", "title", "uid", "version"),
)
_PANEL_KEYS: Final = (
    *("datasource", "description", "fieldConfig", "gridPos", "id", "interval", "links", "maxDataPoints", "options"),
    *(
        "repeat",
        "repeatDirection",
        "targets",
        "timeFrom",
        "timeShift",
        "title",
        "transformations",
        "transparent",
        "type",
    ),
)
_ROW_KEYS: Final = ("collapsed", "gridPos", "id", "panels", "repeat", "title", "type")
_FIELD_KEYS: Final = (
    *("actions", "color", "custom", "decimals", "description", "displayName", "links", "mappings"),
    *("max", "min", "noValue", "thresholds", "unit"),
)
_VARIABLE_KEYS: Final = (
    *("allValue", "allowCustomValue", "current", "datasource", "description", "hide", "includeAll", "label", "multi"),
    *("name", "options", "query", "refresh", "regex", "skipUrlSync", "sort", "type"),
)
_TYPED_VARIABLE_KEYS: Final = ("current", "description", "hide", "label", "name", "options", "query", "type")
_TIMEPICKER_KEYS: Final = ("hidden", "nowDelay", "quick_ranges", "refresh_intervals")
_TARGET_KEYS: Final = (
    "editorMode",
    "exemplar",
    "expr",
    "format",
    "hide",
    "instant",
    "interval",
    "legendFormat",
    "range",
)
_TRACEQL_KEYS: Final = ("filters", "limit", "query", "queryType", "spss", "tableType")


def finish(raw: Json, uid: str, variables: Sequence[scope.Variable]) -> Json:
    """Return the board as Grafana 13 writes it.

    Args:
        raw: plain JSON of a grafanalib dashboard.
        uid: the board's identity, from its file name.
        variables: what queries are narrowed by.

    Raises:
        SettingsInvalid: a panel is of a kind, or written in a form, that Grafana no longer has.
    """
    ids = iter(range(1, 10_000))
    board = _kept(raw, _BOARD_KEYS) | {
        "fiscalYearStartMonth": 0,
        "graphTooltip": 1,  # one crosshair over all panels: what happened together is seen together
        "panels": [_any_panel(panel, ids, variables) for panel in raw["panels"]],
        "refresh": REFRESH,
        "schemaVersion": SCHEMA_VERSION,
        "tags": sorted({*raw["tags"], TAG}),
        "templating": {"list": [_variable(one) for one in raw["templating"]["list"]]},
        "timepicker": _kept(raw["timepicker"], _TIMEPICKER_KEYS),
        "timezone": "utc",
        "uid": uid,
        "version": 1,
    }
    finished: Json = _without_nulls(board)
    return finished


def panels(board: Json) -> Iterator[Json]:
    """Yield a finished board's panels, those inside collapsed rows too, rows themselves not."""
    for panel in board["panels"]:
        yield from panel["panels"] if panel["type"] == "row" else (panel,)


def portable(board: Json) -> Json:
    """Return the board for a Prometheus without extended range selectors: totals are then extrapolated."""
    plain: Json = _mapped(board, lambda text: text.replace("] anchored", "]"))
    return plain


def _any_panel(panel: Json, ids: Iterator[int], variables: Sequence[scope.Variable]) -> Json:
    if panel["type"] == "row":
        row = {"id": next(ids), **_kept(panel, _ROW_KEYS, "id")}
        return row | {"panels": [_panel(inner, ids, variables) for inner in panel["panels"]]}
    return _panel(panel, ids, variables)


def _panel(raw: Json, ids: Iterator[int], variables: Sequence[scope.Variable]) -> Json:
    _refuse_old(raw)
    panel = {"id": next(ids), **_kept(raw, _PANEL_KEYS, "id", "targets", "fieldConfig")}
    targets = [_target(target, index, variables) for index, target in enumerate(raw["targets"])]
    panel["targets"] = targets
    panel["datasource"] = raw.get("datasource") or (targets[0]["datasource"] if targets else PROMETHEUS)
    panel["fieldConfig"] = _field_config(raw["fieldConfig"], variables)
    for empty in ("links", "transformations", "repeat", "interval"):
        if not panel.get(empty):
            panel.pop(empty, None)
    return panel


def _refuse_old(panel: Json) -> None:
    kind, title = panel["type"], panel.get("title", "")
    old = (
        f"the kind {kind!r}"
        if kind not in KINDS
        else "its options in `fieldOptions`"
        if "fieldOptions" in panel.get("options", {})
        else "the angular form of the heatmap"
        if kind == "heatmap" and "yAxis" not in panel.get("options", {})
        else None
    )
    if old is not None:
        raise SettingsInvalid(
            f"panel {title!r} has {old}, which Grafana 13 does not draw",
            next_step=f"use a constructor of stackctl.boards.house: {', '.join(KINDS)}",
        )


def _field_config(raw: Json, variables: Sequence[scope.Variable]) -> Json:
    defaults = _kept(raw["defaults"], _FIELD_KEYS)
    if not defaults.get("thresholds", {}).get("steps"):
        defaults["thresholds"] = {"mode": "absolute", "steps": NO_LIMIT}
    found = [links.finished(link, variables) for link in defaults.pop("links", None) or ()]
    if found:
        defaults["links"] = found
    overrides = [_override(one, variables) for one in raw.get("overrides") or ()]
    return {"defaults": defaults, "overrides": overrides}


def _override(raw: Json, variables: Sequence[scope.Variable]) -> Json:
    def finished(row: Json) -> Json:
        if row["id"] != "links":
            return row
        return row | {"value": [links.finished(link, variables) for link in row["value"]]}

    return raw | {"properties": [finished(row) for row in raw["properties"]]}


def _target(raw: Json, index: int, variables: Sequence[scope.Variable]) -> Json:
    """Return one query, narrowed by the variables; grafanalib's `expr` of a Tempo target is TraceQL."""
    source = raw.get("datasource") or PROMETHEUS
    common = {"datasource": source, "refId": raw.get("refId") or chr(ord("A") + index)}
    if source["type"] == TEMPO["type"]:
        return common | _kept(raw, _TRACEQL_KEYS) | {"query": scope.traceql(raw["query"], variables)}
    kept = _kept(raw, _TARGET_KEYS)
    for empty in ("hide", "interval"):
        if not kept.get(empty):
            kept.pop(empty, None)
    instant = bool(raw.get("instant"))
    return (
        common
        | kept
        | {
            "editorMode": "code",
            "exemplar": not instant,  # an exemplar belongs to a time, a number over the whole range has none
            "expr": scope.promql(raw["expr"], variables),
            "instant": instant,
            "range": not instant,
        }
    )


def _variable(raw: Json) -> Json:
    keys = _VARIABLE_KEYS if raw["type"] == "query" else _TYPED_VARIABLE_KEYS
    return {"skipUrlSync": False} | _kept(raw, keys)


def _kept(raw: Mapping[str, Any], keys: Sequence[str], *but: str) -> Json:
    return {key: raw[key] for key in keys if key in raw and key not in but}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, dict):
        return {key: _mapped(one, change) for key, one in value.items()}
    if isinstance(value, list):
        return [_mapped(one, change) for one in value]
    return change(value) if isinstance(value, str) else value
