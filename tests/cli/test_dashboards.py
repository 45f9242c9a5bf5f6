"""`stackctl dashboards`: render, list, push, and the proof against a live stack."""

import json
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from stackctl import semconv
from stackctl.boards import policy, queries, render, scope
from stackctl.boards import verify as proof
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.demo.scenarios import SCENARIOS
from tests.conftest import Finished, LiveStack, run_stackctl

Command = Callable[..., Finished]


class _Grafana(BaseHTTPRequestHandler):
    """Grafana's side of one HTTP call: keeps boards of whoever has the token."""

    boards: list[dict[str, Any]]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        allowed = self.headers["Authorization"] == "Bearer secret" and self.path == "/api/dashboards/db"
        if allowed:
            type(self).boards.append(body)
        answer = json.dumps({"url": f"/d/{body['dashboard']['uid']}/x"} if allowed else {"message": "no"}).encode()
        self.send_response(200 if allowed else 401)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def grafana() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """The URL of a server that takes boards, and the list of those it took."""
    _Grafana.boards = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Grafana) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", _Grafana.boards
        server.shutdown()


def test_render_writes_and_check_compares(stackctl_cli: Command, tmp_path: Path) -> None:
    """`render --check` is silent while the files are the definitions', and names the board that is not."""
    out = tmp_path / "boards"
    assert stackctl_cli("dashboards", "render", "--out", out).code == 0
    assert stackctl_cli("dashboards", "render", "--out", out, "--check").code == 0
    (out / "cost.json").write_text("{}")
    changed = stackctl_cli("dashboards", "render", "--out", out, "--check", "--json")
    assert changed.code == 1
    assert changed.json()["changed"] == ["cost.json"]
    assert "cost.json" in changed.stderr
    assert (out / "cost.json").read_text() == "{}"


def test_a_changed_definition_fails_the_check(stackctl_cli: Command, tmp_path: Path) -> None:
    """A definition that changed without its JSON is exit 1, naming the board."""
    definition = tmp_path / "mine.dashboard.py"
    text = 'from stackctl.boards import house\ndashboard = house.Board(__file__, "{}", "Mine?", [])\n'
    definition.write_text(text.format("Mine"))
    arguments = ("dashboards", "render", "--out", tmp_path / "out", "--definitions", tmp_path)
    assert stackctl_cli(*arguments).code == 0
    definition.write_text(text.format("Mine too"))
    checked = stackctl_cli(*arguments, "--check")
    assert checked.code == 1
    assert "mine.json" in checked.stderr


def test_portable_boards_need_no_feature_of_prometheus(stackctl_cli: Command, tmp_path: Path) -> None:
    """`--portable` writes plain `increase(`."""
    assert stackctl_cli("dashboards", "render", "--out", tmp_path / "out", "--portable").code == 0
    texts = [path.read_text() for path in (tmp_path / "out").iterdir()]
    assert len(texts) == 7
    assert not any("anchored" in text for text in texts)
    assert any("[$__range])" in text for text in texts)


def test_list_says_which_question_each_board_answers(stackctl_cli: Command) -> None:
    """The list has every board, its question, and how much it asks."""
    boards = stackctl_cli("dashboards", "list", "--json").json()["boards"]
    assert [board["uid"] for board in boards] == [board.uid for board in render.boards()]
    assert all(board["description"].endswith("?") and board["panels"] and board["queries"] for board in boards)


def test_push_creates_or_replaces_the_boards(stackctl_cli: Command, tmp_path: Path, grafana) -> None:
    """Every board arrives, may replace an older one, and its address is printed."""
    url, taken = grafana
    (tmp_path / "token").write_text("secret\n")
    pushed = stackctl_cli("dashboards", "push", "--url", url, "--token-file", tmp_path / "token")
    assert pushed.code == 0, pushed.stderr
    assert [body["dashboard"] for body in taken] == [board.json for board in render.boards()]
    assert all(body["overwrite"] for body in taken)
    assert pushed.stdout.splitlines() == [f"{url}/d/{board.uid}/x" for board in render.boards()]


@pytest.mark.parametrize(("token", "code", "said"), [("wrong", 1, "refuses the token"), ("", 2, "is empty")])
def test_push_says_what_is_wrong(
    stackctl_cli: Command, tmp_path: Path, grafana, token: str, code: int, said: str
) -> None:
    """A refused token and an empty file are one message with a next step."""
    (tmp_path / "token").write_text(token)
    pushed = stackctl_cli("dashboards", "push", "--url", grafana[0], "--token-file", tmp_path / "token")
    assert pushed.code == code
    assert said in pushed.stderr
    assert "next:" in pushed.stderr


def test_verify_without_a_stack_says_so(stackctl_cli: Command, tmp_path: Path) -> None:
    """No stack is exit 3 with the command that starts one; a window that is none is exit 2."""
    assert stackctl_cli("dashboards", "verify", "--data-dir", tmp_path / "none").code == 3
    assert stackctl_cli("dashboards", "verify", "--window", "soon").code == 2


def test_panels_that_may_be_empty_exist_and_have_a_scenario() -> None:
    """At most five panels may be empty on a healthy stack, each is a real one, and a demo scenario fills it."""
    panels = {(board.uid, panel["title"]) for board in render.boards() for panel in policy.panels(board.json)}
    assert len(proof.EMPTY_WHEN_HEALTHY) <= 5
    for row in proof.EMPTY_WHEN_HEALTHY:
        assert (row.board, row.panel) in panels
        assert row.scenario in SCENARIOS


@pytest.fixture(scope="module")
def busy(stack: LiveStack, tmp_path_factory: pytest.TempPathFactory) -> LiveStack:
    """The stack after a demo."""
    home = tmp_path_factory.mktemp("busy")
    done = run_stackctl("demo", "--requests", "40", "--seed", "3", "--data-dir", stack.data_dir, home=home)
    assert done.code == 0, done.stderr
    return stack


def test_every_query_of_every_board_finds_data_after_the_demo(busy: LiveStack, stackctl_cli: Command) -> None:
    """After one demo no panel is empty but those that a healthy stack leaves so, and no query fails."""
    verified = stackctl_cli("dashboards", "verify", "--json", "--data-dir", busy.data_dir)
    report = verified.json()
    assert report["problems"] == []
    assert verified.code == 0
    assert report["queries"] == sum(len(list(queries.of(board))) for board in render.boards())


def test_a_metric_without_its_row_fails_by_name(busy: LiveStack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Delete a metric's row and verify names the panels, even where an older stack left its series behind."""
    boards, prefix = [board for board in render.boards() if board.uid == "rag"], semconv.RAG_RETRIEVED_DOCUMENTS
    monkeypatch.setattr(scope, "SERIES", {k: v for k, v in scope.SERIES.items() if not k.startswith(prefix)})
    with PrometheusClient(busy.endpoints["prometheus"]) as prometheus, TempoClient(busy.endpoints["tempo"]) as tempo:
        failed = {row.panel: row.problem for row in proof.verify(boards, prometheus, tempo, 3600).problems}
    assert set(failed) == {
        "Documents a retrieval",
        "Retrievals without a document",
        "Documents and hallucinations",
        "Documents, all retrievals",
    }
    assert all(problem.startswith(f"unknown metric {prefix}") for problem in failed.values())


def test_a_window_without_data_fails_every_panel(busy: LiveStack) -> None:
    """Data of another time is no data: each panel is named, those that may be empty are not."""
    with PrometheusClient(busy.endpoints["prometheus"]) as prometheus, TempoClient(busy.endpoints["tempo"]) as tempo:
        report = proof.verify(render.boards(), prometheus, tempo, 3600, clock=lambda: 1_000_000_000.0)
    assert len({(row.board, row.panel) for row in report.problems if row.panel[0] != "$"}) + len(report.empty) == (
        report.panels
    )
    assert {row.problem for row in report.problems} == {proof.NO_DATA}
