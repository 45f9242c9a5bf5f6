"""`stackctl traces` and `stackctl cost` as a person runs them, against real servers over a real store."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from span_store import Given, evaluation_request, served, trace_hex, write_store

from stackctl.cli import render
from stackctl.embedded.api.tempo import app
from stackctl.stack import EngineConfig
from tests.conftest import Finished, run_stackctl

CALL = {
    "gen_ai.operation.name": "chat",
    "gen_ai.request.model": "gpt-4o-mini",
    "gen_ai.response.model": "gpt-4o-mini-2024-07-18",
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 57,
    "gen_ai.usage.cache_read.input_tokens": 1024,
    "gen_ai.response.time_to_first_chunk": 0.25,
    "stackctl.accounted": True,
    "stackctl.cost.usd": 0.0001374,
    "stackctl.cost.status": "priced",
}
UNPRICED = {key: value for key, value in CALL.items() if "cost" not in key} | {
    "gen_ai.response.model": "llama-of-mine",
    "stackctl.cost.status": "unpriced",
}
SPANS = [
    Given(1, 1, 0, "answer", 0, 2000, resource={"service.name": "rag"}),
    Given(1, 2, 1, "retrieve", 5, 100, attributes={"stackctl.rag.retrieved_documents": 4}),
    Given(1, 3, 1, "chat gpt-4o-mini", 200, 1000, kind=3, attributes=CALL),
    Given(1, 4, 3, "execute_tool", 300, 50, status=2, message="no order [bold]17[/bold]"),
    Given(2, 1, 0, "chat llama-of-mine", 5000, 300, attributes=UNPRICED),
]
JUDGED = {
    "gen_ai.evaluation.name": "grounded",
    "gen_ai.evaluation.score.value": 0.92,
    "gen_ai.evaluation.score.label": "supported",
}
# Trace 3 is trace 1 again with another model: faster, one step less, one more, and nobody judged it.
OTHER_MODEL = CALL | {
    "gen_ai.request.model": "gpt-4.1",
    "gen_ai.response.model": "gpt-4.1-2025-04-14",
    "gen_ai.usage.output_tokens": 114,
    "stackctl.cost.usd": 0.0002748,
}
SPANS += [
    Given(3, 1, 0, "answer", 3000, 1000, resource={"service.name": "rag"}),
    Given(3, 2, 1, "rewrite", 3001, 3),
    Given(3, 3, 1, "retrieve", 3005, 100, attributes={"stackctl.rag.retrieved_documents": 4}),
    Given(3, 4, 1, "chat gpt-4.1", 3200, 600, kind=3, attributes=OTHER_MODEL),
    Given(3, 5, 1, "chat gpt-4.1", 3900, 50, kind=3, attributes=UNPRICED | {"gen_ai.request.model": "gpt-4.1"}),
]
SINCE = "20000d"  # the store's spans have a date of their own


@pytest.fixture(scope="module")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    data_dir = tmp_path_factory.mktemp("traces")
    write_store(data_dir, sealed=SPANS[:2], hot=SPANS[2:], evaluations=[evaluation_request(1, 3, JUDGED)])
    with served(app(EngineConfig(str(data_dir)))) as url:
        yield url


@pytest.fixture
def traces(tempo: str, tmp_path: Path) -> Callable[..., Finished]:
    """Run `stackctl traces ...` against the store's server."""
    return lambda *arguments, **env: run_stackctl("traces", *arguments, "--tempo", tempo, home=tmp_path, env=env)


def test_list_tells_what_each_trace_was(traces: Callable[..., Finished]) -> None:
    """`traces list` gives the newest first, with models, errors, and a cost that is unknown rather than 0."""
    rows = traces("list", "--since", SINCE, "--json").json()["traces"]
    assert [row["trace_id"] for row in rows] == [trace_hex(2), trace_hex(3), trace_hex(1)]
    assert rows[0]["spend"]["cost_usd"] is None
    assert rows[2]["spend"]["cost_usd"] == "0.0001374"
    assert (rows[2]["service"], rows[2]["name"], rows[2]["spans"], rows[2]["errors"]) == ("rag", "answer", 4, 1)
    assert rows[2]["models"] == ["gpt-4o-mini-2024-07-18"]
    text = traces("list", "--since", SINCE).stdout
    assert "unknown" in text
    assert "1 error" in text


def test_list_takes_traceql(traces: Callable[..., Finished]) -> None:
    """`--q` narrows the list by TraceQL."""
    found = traces("list", "--q", "{ status = error }", "--since", SINCE, "--json").json()["traces"]
    assert [row["trace_id"] for row in found] == [trace_hex(1)]


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_show_writes_what_the_terminal_can_show(traces: Callable[..., Finished], encoding: str) -> None:
    """A terminal without the characters of the tree gets question marks for them, and everything else."""
    shown = traces("show", trace_hex(1), PYTHONIOENCODING=encoding)
    assert (shown.code, shown.stderr) == (0, "")
    assert ("?? retrieve" if encoding != "utf-8" else "├─ retrieve") in shown.stdout
    assert "first token 250 ms" in shown.stdout


def test_show_draws_the_waterfall(traces: Callable[..., Finished]) -> None:
    """`traces show ID` draws every span below its parent, with tokens, cost, first token, judgement and error."""
    text = traces("show", trace_hex(1)).stdout
    lines = text.splitlines()
    tree = ["answer", "├─ retrieve", "└─ chat gpt-4o-mini", "   └─ execute_tool"]
    assert [line[: len(tree[2])].rstrip() for line in lines if "█" in line] == tree
    for fact in (
        "1,200 tokens in (1,024 cached)",
        "57 out",
        "$0.000137",
        "first token 250 ms",
        "judged grounded 0.92 supported",
        "4 documents",
        "error: no order [bold]17[/bold]",
    ):
        assert fact in text, fact
    chat = next(line for line in lines if "chat gpt-4o-mini" in line)
    assert chat.count("░") == pytest.approx(chat.count("█") / 3, abs=1)  # a quarter of the call was waiting


@pytest.mark.parametrize("width", [60, 80, 100, 120, 160])
def test_tables_keep_ids_costs_and_status_whole(traces: Callable[..., Finished], width: int) -> None:
    """However narrow the terminal, no id, cost or status is cut, and no line is longer than it."""
    listed, shown, compared = (
        traces(*question, COLUMNS=str(width)).stdout
        for question in (("list", "--since", SINCE), ("show", trace_hex(1)), ("diff", trace_hex(1), trace_hex(3)))
    )
    for whole in (trace_hex(1), trace_hex(2), "$0.000137", "1 error", "unknown"):
        assert whole in listed, listed
    assert {"answer", "gpt-4o-mini-2024-07-18"} <= set(listed.split()) or width < 120
    assert trace_hex(1) in shown
    assert "$0.000137" in shown
    assert "$0.000275" in compared
    assert max(len(line) for line in (listed + shown + compared).splitlines()) <= width


def test_diff_pairs_spans_by_path(traces: Callable[..., Finished]) -> None:
    """`traces diff` pairs spans by name and order below their parent, whatever the model, and tells what changed."""
    report = traces("diff", trace_hex(1), trace_hex(3), "--json").json()
    pairs = [
        (pair["depth"], pair["name"], *(pair[s] and pair[s]["span_id"][-1] for s in "ab")) for pair in report["spans"]
    ]
    assert pairs == [
        (0, "answer", "1", "1"),
        (1, "rewrite", None, "2"),
        (1, "retrieve", "2", "3"),
        (1, "chat gpt-4o-mini", "3", "4"),
        (2, "execute_tool", "4", None),
        (1, "chat gpt-4.1", None, "5"),
    ]
    assert report["spans"][2]["changed"] == []
    assert set(report["spans"][3]["changed"]) == {
        "name",
        "duration_ms",
        "model",
        "output_tokens",
        "cost_usd",
        "evaluations",
    }
    assert (report["a"]["spend"]["cost_usd"], report["b"]["spend"]["cost_usd"]) == ("0.0001374", "0.0002748")


def test_diff_shows_two_columns(traces: Callable[..., Finished]) -> None:
    """`traces diff` writes both values of each fact side by side, the change, what is only in one, and the sums."""
    text = traces("diff", trace_hex(1), trace_hex(3)).stdout
    lines = [" ".join(line.replace("│", " ").split()) for line in text.splitlines()]
    for line in (
        "answer 2.00 s 1.00 s -50%",
        "├─ rewrite - 3.0 ms only in B",
        "├─ chat gpt-4o-mini 1.00 s 600 ms -40%",
        "model gpt-4o-mini-2024-07-18 gpt-4.1-2025-04-14",
        "tokens in 1,200 1,200 =",
        "tokens out 57 114 +100%",
        "cost $0.000137 $0.000275 +100%",
        "first token 250 ms 250 ms =",
        "grounded 0.92 supported -",
        "└─ execute_tool 50 ms - only in A",
        "status error: no order [bold]17[/bold] -",
        "spans 4 5 +25%",
        "errors 1 0 -100%",
        "cost $0.000137 $0.000275+",
        "+: calls without usage or without a price are not in the sum",
    ):
        assert line in lines, text
    same = traces("diff", trace_hex(1), trace_hex(1)).stdout
    assert "%" not in same
    assert "only in" not in same


def test_show_as_json_keeps_the_tree(traces: Callable[..., Finished]) -> None:
    """`--json` gives the spans in the order of the tree, with depth, offset and exact cost."""
    report = traces("show", trace_hex(1), "--json").json()
    assert [(span["name"], span["depth"], span["offset_ms"]) for span in report["spans"]] == [
        ("answer", 0, 0.0),
        ("retrieve", 1, 5.0),
        ("chat gpt-4o-mini", 1, 200.0),
        ("execute_tool", 2, 300.0),
    ]
    chat = report["spans"][2]
    assert (chat["cost_usd"], chat["first_token_ms"], chat["evaluations"][0]["score"]) == ("0.0001374", 250.0, 0.92)


def test_show_without_id_takes_the_newest(traces: Callable[..., Finished]) -> None:
    """`traces show` alone shows the newest trace."""
    assert traces("show", "--json").json()["trace_id"] == trace_hex(2)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("show", "77"), 1, "no trace 00000000000000000000000000000077"),
        (("show", "not-an-id"), 2, "is no trace id"),
        (("list", "--q", "{ .a = }", "--since", SINCE), 2, "  { .a = }\n         ^"),
        (("list", "--q", "{ instrumentation.a = 1 }", "--since", SINCE), 2, "not supported"),
        (("diff", trace_hex(1), "77"), 1, "no trace 00000000000000000000000000000077"),
        (("list", "--since", "soon"), 2, "--since cannot be 'soon'"),
    ],
)
def test_wrong_questions(traces: Callable[..., Finished], arguments: tuple[str, ...], code: int, said: str) -> None:
    """What cannot be answered ends with its exit code, one message and a next step; a syntax error with a caret."""
    done = traces(*arguments)
    assert done.code == code
    assert said in done.stderr
    assert done.stderr.count("next:") == 1
    assert "Traceback" not in done.stderr
    assert not done.stdout


def test_nobody_listens(tmp_path: Path) -> None:
    """A server that is not there is exit 3 with the command that starts one."""
    done = run_stackctl("traces", "list", "--tempo", "http://127.0.0.1:9", home=tmp_path)
    assert done.code == 3
    assert "stackctl up" in done.stderr


def test_lines_lead_from_each_span_to_those_below() -> None:
    """A line goes on as long as a later span hangs on it, however deep the spans between lie."""
    depths = [0, 1, 2, 3, 1, 2, 0, 1]
    drawn = [f"{lead}{number}" for number, (lead, _) in enumerate(render.tree([Depth(depth) for depth in depths]))]
    assert drawn == ["0", "├─ 1", "│  └─ 2", "│     └─ 3", "└─ 4", "   └─ 5", "6", "└─ 7"]
    below = [below for _, below in render.tree([Depth(depth) for depth in depths])]
    assert below == ["│", "│  │", "│     │", "│         ", "   │", "       ", "│", "    "]


@dataclass(frozen=True)
class Depth:
    """A span as a tree sees it."""

    depth: int


def test_a_span_that_ends_too_early_says_by_how_much(tmp_path: Path) -> None:
    """A clock that was set back: the span's length has a sign in its own unit, and the trace has none."""
    write_store(tmp_path, hot=[Given(1, 2, 0, "late", 5000, -3000)])
    with served(app(EngineConfig(str(tmp_path)))) as url:
        shown = run_stackctl("traces", "show", trace_hex(1), "--tempo", url, home=tmp_path)
        assert "-3.00 s" in shown.stdout
        listed = run_stackctl("traces", "list", "--tempo", url, "--since", SINCE, home=tmp_path)
        assert "0 us" in listed.stdout
        assert "-3" not in listed.stdout
        report = run_stackctl("traces", "show", trace_hex(1), "--tempo", url, "--json", home=tmp_path).json()
        assert (report["duration_ms"], report["spans"][0]["duration_ms"]) == (0, -3000)
