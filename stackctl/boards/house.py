"""The house style: boards and panels in one look, a thin layer over grafanalib's core classes.

A definition is a file `<uid>.dashboard.py` with one variable, as grafanalib has it:

    from stackctl.boards import house

    dashboard = house.Board(
        __file__,
        title="Throughput",
        description="How fast answers are written.",
        rows=[
            house.row(
                "Speed",
                house.stat(
                    "Calls", "Accounted calls in the range shown.", "short",
                    "sum(increase(llm_requests_total[$__range] anchored))",
                ),
            )
        ],
    )

Queries are whole and literal; what every board shares (variables, selectors, data sources, grid, ids, colours) is put
in by this module and the policy pass. grafanalib's own panels may stand in a row too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from grafanalib import core
from grafanalib._gen import DashboardEncoder

from stackctl.boards import layout, links, policy, scope, styles
from stackctl.boards.limits import NO_LIMIT, Limit
from stackctl.boards.styles import Column

# grafanalib ships no types: a panel is one of its objects, or the JSON of one where it has no class for the kind.
Panel = Any
Queries = str | Mapping[str, str]  # one query, or legend -> query

DEFINITION_SUFFIX: Final = ".dashboard.py"
GAP_MS: Final = 5 * 60_000  # lines are drawn across gaps up to the time after which Prometheus calls a series stale
STAT_HEIGHT, GRAPH_HEIGHT, TABLE_HEIGHT = 4, 8, 9  # grid units of 30 px


@dataclass(frozen=True)
class Row:
    """A titled band of panels, laid out from left to right."""

    title: str
    panels: tuple[Panel, ...]
    collapsed: bool = False


@dataclass(frozen=True)
class Board:
    """A dashboard. `to_json_data` is the whole render, so grafanalib's `generate-dashboard` gives the same bytes.

    Attributes:
        file: the definition's `__file__`; its name is the board's uid.
        description: one sentence: which question the board answers.
        variables: what every query is narrowed by.
        extra: further grafanalib `Template`s, such as a budget.
        range: the time range shown at first, up to now.
    """

    file: str
    title: str
    description: str
    rows: Sequence[Row]
    variables: tuple[scope.Variable, ...] = scope.VARIABLES
    extra: tuple[Any, ...] = ()
    tags: tuple[str, ...] = ()
    range: str = "1h"

    @property
    def uid(self) -> str:
        """The board's identity, from its file name."""
        return Path(self.file).name.removesuffix(DEFINITION_SUFFIX)

    def to_json_data(self) -> dict[str, Any]:
        """Return the finished JSON.

        Raises:
            SettingsInvalid: a panel is of a kind that Grafana no longer has.
        """
        dashboard = core.Dashboard(
            title=self.title,
            description=self.description,
            links=[_board_list()],
            panels=_laid_out(self.rows),
            tags=list(self.tags),
            templating=core.Templating([*(_choice(one) for one in self.variables), *self.extra]),
            time=core.Time(f"now-{self.range}", "now"),
        )
        raw = json.loads(json.dumps(dashboard, cls=DashboardEncoder))
        return policy.finish(raw, self.uid, self.variables)


# --- rows and variables
def row(title: str, *panels: Panel, collapsed: bool = False) -> Row:
    """Return a row of panels: those of one height stand side by side and share the width, unless told theirs."""
    return Row(title, panels, collapsed)


def number_input(name: str, title: str, default: float) -> Any:
    """Return a variable that a reader types a number into, such as a budget. Queries spell it `$name`."""
    text = f"{default:g}"
    option = {"selected": True, "text": text, "value": text}
    template = core.Template(name=name, label=title, query=text, type="textbox", options=[option]).to_json_data()
    return template | {"current": option}


def _choice(variable: scope.Variable) -> Any:
    template = core.Template(
        name=variable.name,
        label=variable.title,
        query="",
        dataSource=policy.PROMETHEUS,
        includeAll=True,
        multi=True,
        allValue=scope.ALL,
        refresh=core.REFRESH_ON_TIME_RANGE_CHANGE,  # a service of last week is a choice last week
        regex="",
    ).to_json_data()
    query = {"qryType": 1, "query": variable.values, "refId": "PrometheusVariableQueryEditor-VariableQuery"}
    return template | {"query": query, "current": {"selected": True, "text": ["All"], "value": ["$__all"]}}


def _board_list() -> Any:
    return core.DashboardLink(
        asDropdown=True,
        icon="dashboard",
        includeVars=True,
        keepTime=True,
        tags=[policy.TAG],
        title="Boards",
        tooltip="The other boards, with this choice and range",
    )


# --- panels
def timeseries(
    title: str,
    help: str,
    unit: str,
    series: Queries,
    *,
    limit: Limit | None = None,
    traces: str | None = None,
    stacked: bool = False,
    right: Mapping[str, str] | None = None,
    width: int | None = None,
) -> Panel:
    """Return lines over time.

    Args:
        help: one sentence: what is shown and how to read it.
        unit: Grafana's unit id.
        series: legend -> range query; the legend may hold `{{label}}`.
        limit: drawn as dashed lines.
        traces: TraceQL of the traces behind it, opened from a point of the graph.
        stacked: for parts of a whole.
        width: grid columns of 24; an equal share if None.
    """
    return core.TimeSeries(
        **_common(title, help, _targets(series), limit, width, GRAPH_HEIGHT),
        unit=unit,
        colorMode="palette-classic-by-name",
        fillOpacity=40 if stacked else 10,
        stacking={"group": "A", "mode": "normal" if stacked else "none"},
        thresholdsStyleMode="dashed" if limit else "off",
        axisSoftMin=0,
        overrides=[*styles.colour_overrides(series), *styles.right_axis(right or {})],
        extraJson=_merged(
            styles.TIMESERIES, _links(traces), {"fieldConfig": {"defaults": {"custom": {"spanNulls": GAP_MS}}}}
        ),
    )


def stat(
    title: str,
    help: str,
    unit: str,
    values: Queries,
    *,
    limit: Limit | None = None,
    traces: str | None = None,
    empty: str = "no data",
    width: int | None = None,
) -> Panel:
    """Return one number over the whole range (or several, by legend), coloured by its limit.

    Args:
        values: instant queries.
        empty: what stands there without a value: unknown is never shown as 0.
    """
    return core.Stat(
        **_common(title, help, _targets(values, instant=True), limit, width, STAT_HEIGHT),
        format=unit,
        color={"mode": "thresholds"},
        colorMode="value",
        graphMode="none",
        reduceCalc="lastNotNull",
        noValue=empty,
        extraJson=_merged(styles.STAT, _links(traces)),
    )


def gauge(
    title: str,
    help: str,
    unit: str,
    value: str,
    *,
    limit: Limit,
    maximum: float,
    empty: str = "no data",
    width: int | None = None,
) -> Panel:
    """Return one number on a dial from 0 to `maximum`, for a share of something that has an end."""
    return core.GaugePanel(
        **_common(title, help, _targets(value, instant=True), limit, width, STAT_HEIGHT),
        format=unit,
        max=maximum,
        min=0,
        extraJson=_merged(styles.GAUGE, {"fieldConfig": {"defaults": {"noValue": empty}}}),
    )


def bargauge(
    title: str,
    help: str,
    unit: str,
    values: Queries,
    *,
    limit: Limit | None = None,
    traces: str | None = None,
    width: int | None = None,
) -> Panel:
    """Return one bar per series, for a ranking: who costs most, who is slowest. Write the query with `sort_desc`."""
    return core.Panel(
        **_common(title, help, _targets(values, instant=True), limit, width, GRAPH_HEIGHT), extraJson=_links(traces)
    ).panel_json(_merged(styles.BARGAUGE, {"fieldConfig": {"defaults": {"unit": unit}}}))


def piechart(title: str, help: str, unit: str, values: Queries, *, width: int | None = None) -> Panel:
    """Return a ring, for few parts of one whole."""
    return core.PieChartv2(
        **_common(title, help, _targets(values, instant=True), None, width, GRAPH_HEIGHT),
        unit=unit,
        colorMode="palette-classic-by-name",
        pieType="donut",
        legendPlacement="right",
        legendValues=["value", "percent"],
        tooltipMode="multi",
        overrides=styles.colour_overrides(values),
        extraJson=styles.PIECHART,
    )


def heatmap(
    title: str, help: str, unit: str, buckets: str, *, traces: str | None = None, width: int | None = None
) -> Panel:
    """Return a distribution over time.

    Args:
        buckets: a query that gives one series per bucket, `sum by (le) (...)`.
        unit: of the bucket bounds.
    """
    return core.Panel(
        **_common(title, help, _targets({"{{le}}": buckets}, format="heatmap"), None, width, GRAPH_HEIGHT),
        extraJson=_links(traces),
    ).panel_json(_merged(styles.HEATMAP, {"options": {"yAxis": {"unit": unit}}}))


def table(
    title: str,
    help: str,
    key: tuple[str, str],
    *columns: Column,
    link: Mapping[str, Any] | None = None,
    width: int | None = None,
) -> Panel:
    """Return a table with one row per value of a label.

    Args:
        key: the label and the head of its column, such as `("service_name", "Service")`.
        columns: each with an instant query that is `by` this label.
        link: a data link on the key's cells.
    """
    targets = [core.Target(expr=column.query, instant=True, format="table") for column in columns]
    return core.Table(
        **_common(title, help, targets, None, width, TABLE_HEIGHT),
        unit="short",
        transformations=styles.joined(key, [column.title for column in columns]),
        overrides=[*styles.key_overrides(key[1], link), *(styles.column_override(column) for column in columns)],
        extraJson=styles.TABLE,
    )


def trace_table(title: str, help: str, query: str, *, limit: int = 20, width: int | None = None) -> Panel:
    """Return the spans that a TraceQL query finds, newest first, each with a link to its trace.

    Args:
        query: TraceQL; attributes named in `select(...)` become columns.
        limit: at most so many traces.
    """
    target = {
        "datasource": policy.TEMPO,
        "filters": [],
        "limit": limit,
        "query": query,
        "queryType": "traceql",
        "spss": 3,
        "tableType": "spans",
    }
    return core.Table(
        **_common(title, help, [target], None, width, TABLE_HEIGHT),
        unit="none",
        overrides=styles.attribute_overrides(query),
        extraJson=styles.TABLE,
    )


def text(title: str, help: str, markdown: str, *, width: int | None = None, height: int = STAT_HEIGHT) -> Panel:
    """Return a few words of Markdown, for what a number cannot say."""
    return core.Text(**_common(title, help, [], None, width, height), content=markdown, extraJson=styles.TEXT)


# --- what panels share
def _common(
    title: str, help: str, targets: list[Any], limit: Limit | None, width: int | None, height: int
) -> dict[str, Any]:
    return {
        "title": title,
        "description": help,
        "targets": targets,
        "thresholds": limit.steps() if limit else NO_LIMIT,
        "gridPos": core.GridPos(h=height, w=width, x=0, y=0),  # the row gives the place, and the width if None
        "maxDataPoints": None,
    }


def _targets(queries: Queries, *, instant: bool = False, format: str = "time_series") -> list[Any]:
    named = {"": queries} if isinstance(queries, str) else queries
    return [
        core.Target(expr=query, legendFormat=legend or "__auto", instant=instant, format=format)
        for legend, query in named.items()
    ]


def _links(traces: str | None) -> dict[str, Any]:
    return {"fieldConfig": {"defaults": {"links": [links.to_traces(traces)]}}} if traces else {}


def _merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts as one, later ones over earlier ones, maps merged key by key."""
    whole: dict[str, Any] = {}
    for part in parts:
        for key, value in part.items():
            old = whole.get(key)
            whole[key] = _merged(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return whole


def _laid_out(rows: Sequence[Row]) -> list[Panel]:
    """Return the rows' panels with their places in the grid, each row under its title."""
    found: list[Panel] = []
    y = 0
    for one in rows:
        bar = core.RowPanel(
            title=one.title, collapsed=one.collapsed, gridPos=core.GridPos(h=1, w=layout.COLUMNS, x=0, y=y)
        )
        placed, bottom = layout.placed([_plain(panel) for panel in one.panels], y + 1)
        if one.collapsed:
            bar.panels = placed
        found += [bar] if one.collapsed else [bar, *placed]
        y = y + 1 if one.collapsed else bottom
    return found


def _plain(panel: Panel) -> dict[str, Any]:
    plain: dict[str, Any] = json.loads(json.dumps(panel, cls=DashboardEncoder))
    return plain | {"gridPos": plain.get("gridPos") or {"h": GRAPH_HEIGHT, "w": None}}
