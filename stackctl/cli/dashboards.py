"""Boards: `dashboards render`, `list`, `verify`, `push`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stackctl.cli.context import DataDirFlag, JsonFlag, Options, emit, options, say
from stackctl.cli.traces import window_seconds

if TYPE_CHECKING:
    from stackctl.reports import BoardsReport, PushReport, RenderReport, VerifyReport

DefinitionsFlag = Annotated[
    Path | None, typer.Option("--definitions", help="A directory with *.dashboard.py files of your own, beside ours.")
]
PortableFlag = Annotated[
    bool, typer.Option("--portable", help="Plain increase(), for a Prometheus without extended range selectors.")
]


def register(root: typer.Typer) -> None:
    """Add the commands of this group."""
    group = typer.Typer(help="Boards from grafanalib definitions.", no_args_is_help=True)
    for name, command in (("render", render), ("list", list_), ("verify", verify), ("push", push)):
        group.command(name)(command)
    root.add_typer(group, name="dashboards")


def render(
    ctx: typer.Context,
    out: Annotated[Path | None, typer.Option("--out", help="Directory for the JSON files.")] = None,
    check: Annotated[
        bool, typer.Option("--check", help="Write nothing; exit 1 naming the boards that differ.")
    ] = False,
    portable: PortableFlag = False,
    definitions: DefinitionsFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Render the boards to the JSON that Grafana is provisioned with."""
    opts = options(ctx, data_dir, json)
    from stackctl.boards import render as rendering
    from stackctl.reports import RenderReport

    directory = out or (rendering.committed() if check else rendering.default_directory())
    boards = rendering.boards(definitions, portable=portable)
    changed = rendering.differing(boards, directory) if check else rendering.write(boards, directory)
    emit(RenderReport(str(directory), tuple(one.uid for one in boards), tuple(changed)), opts, _show_rendered)
    if check and changed:
        say(f"{directory} differs in {', '.join(changed)}\n  next: stackctl dashboards render")
        raise typer.Exit(1)


def list_(
    ctx: typer.Context, definitions: DefinitionsFlag = None, json: JsonFlag = False, data_dir: DataDirFlag = None
) -> None:
    """List the boards and the question that each answers."""
    opts = options(ctx, data_dir, json)
    from stackctl.boards import queries
    from stackctl.boards.policy import panels
    from stackctl.boards.render import boards
    from stackctl.reports import BoardReport, BoardsReport

    rows = tuple(
        BoardReport(
            one.uid,
            one.json["title"],
            one.json["description"],
            len(list(panels(one.json))),
            len(list(queries.of(one))),
        )
        for one in boards(definitions)
    )
    emit(BoardsReport(rows), opts, _show_list)


def verify(
    ctx: typer.Context,
    window: Annotated[str, typer.Option(help="How far back from now data must lie, e.g. 15m.")] = "1h",
    prometheus: Annotated[str | None, typer.Option(help="URL of another Prometheus than the stack's.")] = None,
    tempo: Annotated[str | None, typer.Option(help="URL of another Tempo than the stack's.")] = None,
    portable: PortableFlag = False,
    definitions: DefinitionsFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Run every query of every panel against the live stack; exit 1 naming those that fail or find nothing."""
    opts = options(ctx, data_dir, json)
    from stackctl.boards import render as rendering
    from stackctl.boards.verify import verify as run
    from stackctl.clients import PrometheusClient, TempoClient

    boards = rendering.boards(definitions, portable=portable)
    seconds = int(window_seconds("--window", window))
    with (
        PrometheusClient(*_server(opts, "prometheus", prometheus)) as metrics,
        TempoClient(*_server(opts, "tempo", tempo)) as traces,
    ):
        report = run(boards, metrics, traces, seconds)
    emit(report, opts, _show_verified)
    if report.problems:
        raise typer.Exit(1)


def push(
    ctx: typer.Context,
    url: Annotated[str, typer.Option(help="Base URL of the Grafana.")],
    token_file: Annotated[Path, typer.Option(help="File with a service account's token, role Editor.")],
    portable: PortableFlag = False,
    definitions: DefinitionsFlag = None,
    json: JsonFlag = False,
    data_dir: DataDirFlag = None,
) -> None:
    """Create or replace the boards in a Grafana that you have."""
    opts = options(ctx, data_dir, json)
    from stackctl.boards import push as pushing
    from stackctl.boards.render import boards
    from stackctl.reports import PushReport

    links = pushing.push(boards(definitions, portable=portable), url, pushing.token(token_file))
    emit(PushReport(tuple(links)), opts, _show_pushed)


def _server(opts: Options, endpoint: str, url: str | None) -> tuple[str, str | None]:
    """Return URL and bearer token of a server: the one named, which gets no token of ours, else the stack's."""
    if url:
        return url, None
    from stackctl.runtime.state import find

    running = find(opts.data_dir)
    return running.url(endpoint), running.token()


def _show_rendered(report: "RenderReport") -> None:
    sys.stdout.writelines(f"{report.directory}/{name}\n" for name in report.changed)
    say(f"{len(report.boards)} boards, {len(report.changed)} of them changed, in {report.directory}")


def _show_list(report: "BoardsReport") -> None:
    width = max(len(board.uid) for board in report.boards)
    sys.stdout.writelines(
        f"{board.uid:{width}}  {board.panels:2} panels  {board.description}\n" for board in report.boards
    )


def _show_verified(report: "VerifyReport") -> None:
    out = sys.stdout
    for problem in report.problems:
        out.write(f"FAIL  {problem.board} / {problem.panel}: {problem.problem}\n      {problem.query}\n")
    for empty in report.empty:
        out.write(f"empty {empty.board} / {empty.panel}: stackctl demo --scenario {empty.scenario} fills it\n")
    bad = len({(problem.board, problem.panel) for problem in report.problems})
    out.write(
        f"{report.queries} queries of {report.panels} panels on {report.boards} boards:"
        f" {bad} panels with problems, {len(report.empty)} empty because all is well\n"
    )


def _show_pushed(report: "PushReport") -> None:
    sys.stdout.writelines(f"{link}\n" for link in report.links)
