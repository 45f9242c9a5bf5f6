"""Panels of Grafana's JSON that our own boards do not all have: every kind, repeated ones, annotations."""

import re
from typing import Any

import pytest

from tests.console.conftest import Seeded, Watched

RANGE = "from=now-15m&to=now"
CALLS = "sum by (gen_ai_request_model) (increase(llm_requests_total[$__range] anchored))"
BUCKETS = "sum by (le) (increase(llm_time_to_first_token_seconds_bucket[$__rate_interval]))"
LEGEND = {"displayMode": "table", "placement": "bottom", "calcs": ["max", "sum"], "showLegend": True}


def panel(kind: str, place: int, expr: str = CALLS, **more: Any) -> dict[str, Any]:
    """One panel of a board that has three in a row."""
    target = {"refId": "A", "expr": expr, "legendFormat": "{{gen_ai_request_model}}", "instant": True}
    return {
        "type": kind,
        "title": kind,
        "gridPos": {"x": place % 3 * 8, "y": place // 3 * 8, "w": 8, "h": 8},
        "targets": [target | more.pop("target", {})],
        **more,
    }


def every_kind(trace_id: str) -> list[dict[str, Any]]:
    """A board with one panel of each kind that the console draws."""
    over_time = {"instant": False, "range": True, "expr": CALLS.replace("$__range] anchored", "$__rate_interval]")}
    table = {"target": {"format": "table"}, "fieldConfig": {"defaults": {"unit": "short"}, "overrides": []}}
    return [
        panel("timeseries", 0, target=over_time, options={"legend": LEGEND}),
        # The demo has only begun, so that its own series may be a single sample: no line yet.
        panel(
            "stat",
            1,
            target=over_time | {"expr": "time()"},
            options={"graphMode": "area", "reduceOptions": {"calcs": ["max"]}},
        ),
        panel("gauge", 2, options={"reduceOptions": {"calcs": ["lastNotNull"]}}),
        panel("bargauge", 3),
        panel("table", 4, **table),
        panel("piechart", 5, options={"legend": {"values": ["value", "percent"]}}),
        panel("heatmap", 6, BUCKETS, target={"instant": False, "range": True, "format": "heatmap"}),
        panel("histogram", 7, target=over_time),
        panel("text", 8, options={"mode": "markdown", "content": "Some **bold** words"}),
        panel("traces", 9, target={"datasource": {"type": "tempo"}, "queryType": "traceql", "query": trace_id}),
    ]


@pytest.fixture
def own_board(watched: Watched) -> Any:
    """Put a board of one's own where `/d/own` is: `own_board(panels, **more)`."""

    def put(panels: list[dict[str, Any]], **more: Any) -> None:
        board = {"uid": "own", "title": "Own", "panels": panels, **more}
        watched.page.route("**/api/boards/own", lambda route: route.fulfill(json=board))

    return put


# What stands in a panel of each kind when it has drawn data.
MARKS = {
    "timeseries": ".legend.as-table tbody tr .number",
    "stat": ".stat .sparkline polyline",
    "gauge": ".gauge-bar",
    "bargauge": ".bar-row .bar-fill",
    "table": "tbody tr td.number",
    "piechart": ".slice, .pie-legend td.number",
    "heatmap": ".colour-scale",
    "histogram": ".column",
    "text": ".prose strong",
    "traces": ".span-row",
}
PAINTED = "(one) => one.getContext('2d').getImageData(0, 0, one.width, one.height).data.some(Boolean)"


def test_every_kind_of_panel_is_drawn_with_data(watched: Watched, seeded: Seeded, own_board: Any) -> None:
    """Each of the ten kinds draws the demo's numbers in the form that is its own."""
    own_board(every_kind(seeded.demo["trace_ids"][0]))
    page = watched.open(f"/d/own?{RANGE}")
    for kind, mark in MARKS.items():
        watched.until(f"() => document.querySelector('[data-title={kind}] :is({mark})')")
        assert page.locator(f"[data-title={kind}] .state:not([role=status])").count() == 0, kind
    assert page.locator("[data-title=bargauge] .bar-row").count() > 2
    assert page.locator("[data-title=piechart] .slice").count() > 2
    assert page.locator("[data-title=traces] .span-row").count() > 3
    for kind in ("timeseries", "heatmap"):
        assert page.locator(f"[data-title={kind}] canvas").evaluate(PAINTED), kind
    calls = sum(float(text) for text in page.locator("[data-title=table] td.number").all_inner_texts())
    assert calls == seeded.demo["calls"]


MODEL = {
    "name": "model",
    "type": "query",
    "query": "label_values(llm_requests_total, gen_ai_request_model)",
    "multi": True,
    "includeAll": True,
    "current": {"value": "$__all"},
}


def test_a_panel_repeats_for_each_value(watched: Watched, seeded: Seeded, own_board: Any) -> None:
    """A repeated panel stands once for each chosen value, asks for it alone, and follows another choice."""
    one = 'sum(increase(llm_requests_total{gen_ai_request_model=~"$model"}[$__range] anchored))'
    repeated = panel("stat", 0, one, repeat="model", maxPerRow=3) | {"title": "of $model"}
    below = panel("text", 3, options={"content": "below"})
    own_board([repeated, below], templating={"list": [MODEL]})
    page = watched.open(f"/d/own?{RANGE}", drawn=False)
    watched.until("() => document.querySelectorAll('.panel-stat[data-state=drawn]').length > 3")
    titles = page.locator(".panel-stat h3").all_inner_texts()
    assert len(set(titles)) == len(titles)
    assert "of gpt-4.1" in titles
    shown = [float(text) for text in page.locator(".panel-stat .stat-value").all_inner_texts()]
    assert sum(shown) == seeded.demo["calls"]
    boxes = [one.bounding_box() for one in page.locator(".panel").all()]
    assert max(box["y"] for box in boxes[:-1]) < boxes[-1]["y"]
    watched.open(f"/d/own?{RANGE}&var-model=gpt-4.1", drawn=False)
    watched.until("() => document.querySelectorAll('.panel-stat[data-state=drawn]').length === 1")
    assert page.locator(".panel-stat h3").all_inner_texts() == ["of gpt-4.1"]


def test_annotations_are_marked_and_can_be_switched_off(watched: Watched, own_board: Any) -> None:
    """What an annotation's query tells of is marked on the charts; the switch is in the address."""
    busy = {
        "name": "Busy",
        "datasource": {"type": "prometheus"},
        "expr": "sum by (service_name) (llm_requests_total) > 0",
        "titleFormat": "{{service_name}} is busy",
        "enable": True,
        "iconColor": "red",
    }
    over_time = {"instant": False, "range": True}
    own_board([panel("timeseries", 0, "sum(llm_requests_total)", target=over_time)], annotations={"list": [busy]})
    page = watched.open(f"/d/own?{RANGE}")
    box = watched.plot("timeseries")
    told = "() => document.querySelector('.tip-mark')?.innerText.includes('stackctl-demo is busy')"
    for step in range(1, 60):
        page.mouse.move(box["x"] + box["width"] - step * 3, box["y"] + 60)
        if page.evaluate(told):
            break
    else:
        pytest.fail("no mark was found")
    page.get_by_label("Busy").uncheck()
    assert re.search(r"annotation-Busy=off", page.url)
    watched.drawn()
    page.mouse.move(box["x"] + box["width"] - step * 3, box["y"] + 64)
    watched.until("() => !document.querySelector('.tip-mark')")
