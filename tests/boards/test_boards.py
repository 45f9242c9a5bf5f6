"""The shipped boards: each panel is whole, each name is known, each query parses, and the committed JSON is theirs."""

import json
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any
from urllib.parse import unquote

import pytest
from grafanalib import _gen as grafanalib

from stackctl import files, semconv
from stackctl.boards import limits, policy, queries, render, scope, styles
from stackctl.boards.queries import Query
from stackctl.boards.render import Rendered
from stackctl.promql import parse as promql
from stackctl.promql import tree
from stackctl.traceql import ast
from stackctl.traceql import parse as traceql

BOARDS = render.boards()
PANELS = [(board, panel) for board in BOARDS for panel in policy.panels(board.json)]
QUERIES = [(board, query) for board in BOARDS for query in queries.of(board)]
PROMQL = [pytest.param(*row, id=f"{row[0].uid}-{row[1].panel}") for row in QUERIES if row[1].language == "promql"]
TRACEQL = [pytest.param(*row, id=f"{row[0].uid}-{row[1].panel}") for row in QUERIES if row[1].language == "traceql"]
EACH_BOARD = pytest.mark.parametrize("board", BOARDS, ids=lambda board: board.uid)
EACH_PANEL = pytest.mark.parametrize(
    "panel", [pytest.param(panel, id=f"{board.uid}-{panel['title']}") for board, panel in PANELS]
)

# Grafana's unit ids that these boards use, from `@grafana/data` 13.2.3, valueFormats/categories.
UNITS = {"s", "currencyUSD", "short", "percentunit", "none", "reqps", "string", "suffix: tok/s"}
# What grafanalib writes and Grafana has dropped since, or moved.
LEGACY = {
    *("__inputs", "rows", "style", "hideControls", "sharedCrosshair", "gnetId", "intervalFactor", "step", "metric"),
    *("target", "span", "minSpan", "height", "editable", "error", "fieldOptions", "tagsQuery", "useTags", "auto"),
    *("columns", "fontSize", "displayMode", "override", "yaxes", "seriesOverrides"),
}
VALUES = {value for value in vars(semconv).values() if isinstance(value, str)}


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
        for one in value.values():
            yield from _keys(one)
    if isinstance(value, list):
        for one in value:
            yield from _keys(one)


def _text(board: Rendered, query: Query) -> str:
    return queries.substituted(query.text, queries.values(board, 3600))


def _nodes(node: Any) -> Iterator[Any]:
    """Yield a TraceQL tree's nodes."""
    yield node
    children = vars(node).values() if hasattr(node, "__dict__") else node if isinstance(node, tuple) else ()
    for child in children:
        if isinstance(child, ast.Node | tuple):
            yield from _nodes(child)


def test_committed_json_is_what_the_definitions_render() -> None:
    """Nobody edits `provisioning/grafana/dashboards` by hand. Update it with `stackctl dashboards render`."""
    assert render.differing(BOARDS, render.committed()) == []


@EACH_BOARD
def test_grafanalibs_own_generator_gives_the_same_bytes(board: Rendered, tmp_path) -> None:
    """A definition is an ordinary grafanalib one: `generate-dashboard` needs nothing of ours on its command line."""
    definition = files.shipped("dashboards") / f"{board.uid}.dashboard.py"
    assert grafanalib.generate_dashboard(["-o", str(tmp_path / "out"), str(definition)]) == 0
    assert (tmp_path / "out").read_text() == board.text


def test_uids_and_titles_are_unique() -> None:
    """Grafana freezes provisioning when two boards share a uid or a title; within a board a title names one panel."""
    assert len({board.json["title"] for board in BOARDS}) == len({board.uid for board in BOARDS}) == len(BOARDS) == 7
    for board in BOARDS:
        titles = [panel["title"] for panel in policy.panels(board.json)]
        ids = [panel["id"] for panel in (*policy.panels(board.json), *board.json["panels"]) if panel["type"] != "row"]
        assert len(titles) == len(set(titles)), board.uid
        assert len({*ids}) == len(titles)


@EACH_BOARD
def test_json_holds_no_null_and_nothing_legacy(board: Rendered) -> None:
    """What is written is what a current Grafana writes itself."""
    assert "null" not in re.sub(r'"(?:\\.|[^"\\])*"', "", board.text)
    found = set(_keys(board.json["panels"])) | set(_keys(board.json["templating"]))
    # A legend's, pie's or bar gauge's `displayMode` is current, a table cell's is not.
    assert found & LEGACY <= {"displayMode"}
    assert set(board.json) & LEGACY == {"editable"}
    assert {panel["type"] for panel in board.json["panels"]} <= set(policy.KINDS)
    assert (board.json["schemaVersion"], board.json["timezone"]) == (policy.SCHEMA_VERSION, "utc")


@EACH_PANEL
def test_every_panel_says_what_it_shows(panel: dict[str, Any]) -> None:
    """A panel has a title, one line of help, a unit that Grafana knows, a query, and ascending threshold steps."""
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith((".", "?"))
    assert "\n" not in panel["description"]
    assert panel["targets"]
    if panel["type"] == "heatmap":
        assert panel["options"]["yAxis"]["unit"] in UNITS
    else:
        assert defaults["unit"] in UNITS
    steps = [step["value"] for step in defaults["thresholds"]["steps"]]
    assert steps == sorted(steps)


@EACH_PANEL
def test_every_panel_leads_to_traces(panel: dict[str, Any]) -> None:
    """A number is never a dead end: a link to the traces behind it, a row's link to a board, or traces themselves."""
    config = panel["fieldConfig"]
    links = list(config["defaults"].get("links", ()))
    links += [row for one in config["overrides"] for row in one["properties"] if row["id"] == "links"]
    shows_traces = panel["datasource"] == policy.TEMPO
    parts_of_a_sum = panel["type"] in ("piechart", "gauge", "table")  # their sums stand beside them, with links
    assert links or shows_traces or parts_of_a_sum


@EACH_BOARD
def test_panels_do_not_overlap(board: Rendered) -> None:
    """Panels lie within Grafana's 24 columns, none on another."""
    cells = [panel["gridPos"] for panel in board.json["panels"]]
    assert all(cell["x"] >= 0 and cell["x"] + cell["w"] <= 24 for cell in cells)
    for a, b in combinations(cells, 2):
        apart = a["x"] + a["w"] <= b["x"] or b["x"] + b["w"] <= a["x"]
        assert apart or a["y"] + a["h"] <= b["y"] or b["y"] + b["h"] <= a["y"], (board.uid, a, b)


@pytest.mark.parametrize(("board", "query"), PROMQL)
def test_promql_parses_and_every_name_is_in_the_catalogue(board: Rendered, query: Query) -> None:
    """Metrics and labels are those that the catalogue gives them, and every variable with a label narrows."""
    for selector in promql.selectors(promql.parse(_text(board, query))):
        names = [matcher.value for matcher in selector.matchers if matcher.name == "__name__"]
        labels = {matcher.name for matcher in selector.matchers} - {"__name__", "le"}
        assert len(names) == 1
        assert labels <= scope.SERIES[names[0]]
        assert {one.label for one in scope.VARIABLES if one.label in scope.SERIES[names[0]]} <= labels


@pytest.mark.parametrize(("board", "query"), PROMQL)
def test_sums_are_by_labels_of_the_catalogue(board: Rendered, query: Query) -> None:
    """A misspelt `by` would silently sum everything into one line."""

    def check(node: tree.Node) -> None:
        if isinstance(node, tree.Aggregation):
            known = frozenset.union(*(_labels(selector) for selector in promql.selectors(node)))
            assert set(node.labels) <= known
        for child in tree.children(node):
            check(child)

    check(promql.parse(_text(board, query)))


def _labels(selector: tree.Selector) -> frozenset[str]:
    name = next(matcher.value for matcher in selector.matchers if matcher.name == "__name__")
    return scope.SERIES[name] | {"le"}


@pytest.mark.parametrize(("board", "query"), PROMQL)
def test_totals_are_anchored(board: Rendered, query: Query) -> None:
    """Whatever covers the whole range is exact from the first call; `--portable` renders the same without the word."""
    assert query.text.count("[$__range]") == query.text.count("[$__range] anchored)")
    plain = policy.portable(board.json)
    assert "anchored" not in json.dumps(plain)


@pytest.mark.parametrize(("board", "query"), TRACEQL)
def test_traceql_parses_and_every_attribute_is_known(board: Rendered, query: Query) -> None:
    """Attributes are spelled as `semconv` has them, and those that are selected have a head and a unit."""
    found = [node for node in _nodes(traceql(_text(board, query))) if isinstance(node, ast.Attribute)]
    assert found
    assert {node.name for node in found} <= VALUES
    selected = re.findall(r"(?:span|resource)\.([\w.]+)", query.text.rpartition("select(")[2])
    assert set(selected) <= set(styles.ATTRIBUTES)


@EACH_BOARD
def test_links_to_traces_parse(board: Rendered) -> None:
    """What a click asks Tempo is TraceQL too."""
    for panel in policy.panels(board.json):
        for link in panel["fieldConfig"]["defaults"].get("links", ()):
            pane = json.loads(unquote(link["url"].partition("&panes=")[2]))["stackctl"]
            assert pane["range"] == {"from": "${__from}", "to": "${__to}"}
            found = _nodes(traceql(queries.substituted(pane["queries"][0]["query"], queries.values(board, 3600))))
            assert {node.name for node in found if isinstance(node, ast.Attribute)} <= VALUES


@EACH_BOARD
def test_a_sum_of_money_never_stands_alone(board: Rendered) -> None:
    """A band of panels that shows cost also shows how many calls are not in it."""
    for row in _rows(board):
        text = json.dumps([panel["targets"] for panel in row])
        if semconv.LLM_COST in text:
            assert semconv.LLM_COST_REQUESTS in text


def _rows(board: Rendered) -> list[list[dict[str, Any]]]:
    rows: list[list[dict[str, Any]]] = []
    for panel in board.json["panels"]:
        if panel["type"] == "row":
            rows.append(list(panel["panels"]))
        else:
            rows[-1].append(panel)
    return rows


def test_every_limit_has_its_reason_and_a_use() -> None:
    """A threshold says where its numbers come from; one that no board uses is none."""
    rows = {name: value for name, value in vars(limits).items() if isinstance(value, limits.Limit)}
    definitions = "".join(path.read_text() for path in files.shipped("dashboards").glob("*.py"))
    for name, row in rows.items():
        assert len(row.why) > 30, name
        assert f"limits.{name}" in definitions, name
