"""The house style as a library: what a user's own definition becomes."""

import json
from pathlib import Path
from urllib.parse import unquote

import pytest
from grafanalib import core

from stackctl.boards import house, layout, limits, links, policy, queries, render, scope
from stackctl.errors import NotFound, SettingsInvalid

OWN = """
from stackctl.boards import house

dashboard = house.Board(
    __file__,
    title="{title}",
    description="Mine.",
    rows=[house.row("All", house.stat("Mine", "My own.", "short", "sum(my_metric)"))],
)
"""


def _board(*panels: house.Panel, **options) -> dict:
    row = house.Row("Row", panels, **options)
    return house.Board("/somewhere/mine.dashboard.py", "Mine", "Is it mine?", [row]).to_json_data()


def test_uid_comes_from_the_file_name() -> None:
    """A board's address is told by its file."""
    assert _board()["uid"] == "mine"


@pytest.mark.parametrize(
    "panel",
    [
        core.Graph(title="old", targets=[]),
        core.SingleStat(title="old", targets=[]),
        core.Heatmap(title="old", targets=[]),
        core.BarGauge(title="old", targets=[]),
    ],
    ids=lambda panel: type(panel).__name__,
)
def test_panels_that_grafana_no_longer_draws_are_refused_by_name(panel: house.Panel) -> None:
    """A legacy panel is an error with the panel's title and a way out, never a blank square."""
    with pytest.raises(SettingsInvalid, match="'old'") as refused:
        _board(panel)
    assert "house" in refused.value.next_step


def test_grafanalibs_own_panels_get_the_policy_too() -> None:
    """Whoever knows grafanalib may use it: selectors, data source and current form come from the house."""
    target = core.Target(expr="sum(llm_requests_total)")
    panel = core.TimeSeries(title="t", targets=[target])
    found = next(policy.panels(_board(panel)))
    assert found["targets"][0]["expr"].count('=~"$') == 4
    assert found["datasource"] == policy.PROMETHEUS
    assert "editable" not in found


@pytest.mark.parametrize(
    ("query", "narrowed"),
    [
        ("up", "up"),
        ("my_llm_requests_total", "my_llm_requests_total"),
        ("rag_retrieved_documents_sum", 'rag_retrieved_documents_sum{service_name=~"$service"}'),
        ('llm_evaluations_total{error_type=""}', 'llm_evaluations_total{service_name=~"$service", error_type=""}'),
        ("rag_retrieved_documents", "rag_retrieved_documents"),  # a histogram has no series of its bare name
        ('up{a="llm_requests_total"}', 'up{a="llm_requests_total"}'),
    ],
)
def test_promql_is_narrowed_where_the_catalogue_has_the_label(query: str, narrowed: str) -> None:
    """Only whole metric names outside of strings get the variables' selectors."""
    assert scope.promql(query, scope.VARIABLES[:1]) == narrowed


@pytest.mark.parametrize(
    ("query", "narrowed"),
    [
        ("{}", "{ S }"),
        ("{ a = 1 || b = 2 }", "{ S && (a = 1 || b = 2) }"),
        ('{ name = "}{" } | select(a)', '{ S && (name = "}{") } | select(a)'),
        ("{ duration > ${slow}ms }", "{ S && (duration > ${slow}ms) }"),
        ("{ a } >> { b }", "{ S && (a) } >> { S && (b) }"),
    ],
)
def test_traceql_is_narrowed_in_each_filter(query: str, narrowed: str) -> None:
    """The author's condition keeps its meaning beside ours, whatever its operators."""
    condition = '("$service" = ".*" || resource.service.name =~ "$service")'
    assert scope.traceql(query, scope.VARIABLES[:1]).replace(condition, "S") == narrowed


def test_provider_and_model_narrow_inference_spans_only() -> None:
    """A retrieval has no model: choosing one must not hide it."""
    assert "$model" not in scope.traceql('{ span.gen_ai.operation.name = "retrieval" }')
    assert "$model" in scope.traceql("{ span.stackctl.accounted = true }")


def test_panels_of_one_height_share_the_width() -> None:
    """Nobody types coordinates: equal shares, told widths kept, a new line when a line is full."""

    def panel(height: int, width: int | None = None) -> dict:
        return {"gridPos": {"h": height, "w": width}}

    placed, bottom = layout.placed([panel(4), panel(4), panel(4), panel(8, 16), panel(8), panel(9)], 1)
    assert [(p["gridPos"]["x"], p["gridPos"]["y"], p["gridPos"]["w"]) for p in placed] == [
        *((0, 1, 8), (8, 1, 8), (16, 1, 8)),
        *((0, 5, 16), (16, 5, 8)),
        (0, 13, 24),
    ]
    assert bottom == 22
    seven, _ = layout.placed([panel(4)] * 7, 0)
    assert [p["gridPos"]["w"] for p in seven] == [4, 4, 4, 4, 4, 4, 24]


def test_a_collapsed_row_holds_its_panels() -> None:
    """A collapsed row takes one line, its panels live inside it and have ids of their own."""
    text = house.text("Note", "A note.", "Read **this**.")
    board = _board(text, collapsed=True)
    assert [panel["type"] for panel in board["panels"]] == ["row"]
    assert [panel["title"] for panel in board["panels"][0]["panels"]] == ["Note"]
    assert board["panels"][0]["id"] != board["panels"][0]["panels"][0]["id"]


def test_a_low_limit_colours_the_other_way_round() -> None:
    """Where little is bad, red stands below and green above."""
    assert [step["color"] for step in limits.Limit(15, 6, "").steps()] == ["red", "orange", "green"]
    assert [step["color"] for step in limits.Limit(1, 3, "").steps()] == ["green", "orange", "red"]


def test_a_trace_link_keeps_grafanas_macros_and_encodes_the_rest() -> None:
    """The address survives a browser: JSON percent-encoded, `${...}` as Grafana wants it."""
    url = links.explore('{ resource.service.name =~ "$service" }')
    assert "${service:pipe}" in url
    assert not set(url) & set(' "<>')
    pane = json.loads(unquote(url.partition("&panes=")[2]))["stackctl"]
    assert pane["queries"][0]["query"] == '{ resource.service.name =~ "${service:pipe}" }'


def test_own_definitions_stand_beside_the_shipped_ones(tmp_path: Path) -> None:
    """`--definitions DIR` adds boards; a second board of one title is refused, since Grafana would freeze."""
    (tmp_path / "mine.dashboard.py").write_text(OWN.format(title="Mine"))
    assert "mine" in [board.uid for board in render.boards(tmp_path)]
    (tmp_path / "mine.dashboard.py").write_text(OWN.format(title="Home"))
    with pytest.raises(SettingsInvalid, match="'Home'"):
        render.boards(tmp_path)


@pytest.mark.parametrize(
    ("source", "said"), [("1 / 0", "ZeroDivisionError"), ("x = 1", "`dashboard`"), ("(", "SyntaxError")]
)
def test_a_broken_definition_is_one_message(tmp_path: Path, source: str, said: str) -> None:
    """Whatever a user's file does, the message names the file and the reason."""
    (tmp_path / "bad.dashboard.py").write_text(source)
    with pytest.raises(SettingsInvalid, match=said) as refused:
        render.boards(tmp_path)
    assert "bad.dashboard.py" in refused.value.message


def test_a_directory_without_definitions_is_not_found(tmp_path: Path) -> None:
    """A wrong path is an error, never an empty list."""
    with pytest.raises(NotFound):
        render.boards(tmp_path)


def test_render_removes_what_no_definition_gives_and_leaves_the_rest(tmp_path: Path) -> None:
    """A deleted board disappears from the folder; a file that is not ours stays."""
    boards = render.boards()
    render.write(boards, tmp_path)
    (tmp_path / "theirs.json").write_text('{"tags": ["mine"]}')
    assert render.differing(boards[1:], tmp_path) == [boards[0].file_name]
    assert render.write(boards[1:], tmp_path) == [boards[0].file_name]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        ["theirs.json", *(board.file_name for board in boards[1:])]
    )


def test_an_unknown_variable_is_named() -> None:
    """A query with a variable that its board lacks is said, not sent."""
    with pytest.raises(SettingsInvalid, match=r"\$nobody"):
        queries.substituted('x{a="$nobody"}', {})
