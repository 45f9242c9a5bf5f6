"""The rendered boards against the TypeScript types that Grafana publishes for the very version we pin."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from stackctl.boards import render
from stackctl.stack import COMPONENTS
from tests import absent

TYPES = Path(__file__).with_name("types")
NO_NETWORK = re.compile(r"ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|ENETUNREACH|ECONNRESET")
KINDS = {
    "timeseries": "TimeSeries",
    "stat": "Stat",
    "gauge": "Gauge",
    "bargauge": "BarGauge",
    "table": "Table",
    "piechart": "PieChart",
    "heatmap": "Heatmap",
    "text": "Text",
    "row": "Row",
}
# Each line has one word that Grafana does not know; a compiler that finds none of them would prove nothing.
WRONG = """import type * as grafana from "./grafana.js";
export const a: grafana.Board = { schemaVersion: "42" };
export const b: grafana.Stat["options"]["colorMode"] = "colourful";
export const c: grafana.TimeSeries["fieldConfig"]["defaults"]["color"] = { mode: "rainbow" };
export const d: grafana.Table["options"] = { cellHeight: "sm", frameIndex: 0, showHeader: true, fontSize: "100%" };
export const e: grafana.Heatmap["options"]["legend"] = { shown: true };
"""


def _source(board: dict[str, Any]) -> str:
    """Return a module that compiles where the board is what the types say: one constant per panel."""
    frame = {key: value for key, value in board.items() if key != "panels"}
    panels = [inner for panel in board["panels"] for inner in (panel, *panel.get("panels", ()))]
    return "\n".join(
        (
            'import type * as grafana from "./grafana.js";',
            f"export const board: grafana.Board = {json.dumps(frame)};",
            *(f"export const p{one['id']}: grafana.{KINDS[one['type']]} = {json.dumps(one)};" for one in panels),
            "",
        )
    )


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A TypeScript project with Grafana's types installed; skipped, saying why, where npm or its registry is not."""
    if shutil.which("npm") is None:
        absent.skip("npm")
    for name in ("package.json", "tsconfig.json", "grafana.ts"):
        shutil.copy(TYPES / name, tmp_path)
    command = ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode and NO_NETWORK.search(done.stderr):
        absent.skip("npm registry")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_types_are_those_of_the_grafana_that_runs() -> None:
    """The types' version is the pinned image's: an upgrade of one is an upgrade of both."""
    pinned = json.loads((TYPES / "package.json").read_text())["dependencies"]["@grafana/schema"]
    assert pinned == next(one.tag for one in COMPONENTS if one.name == "grafana")


def test_boards_are_what_grafanas_own_types_say(project: Path) -> None:
    """Every key and word of every board and panel is one that Grafana 13 knows; wrong ones are found."""
    for board in render.boards():
        (project / f"{board.uid}.ts").write_text(_source(board.json))
    (project / "wrong.ts").write_text(WRONG)
    compiler = ["node", "node_modules/typescript/bin/tsc", "-p", ".", "--pretty", "false"]
    done = subprocess.run(compiler, cwd=project, capture_output=True, text=True, timeout=120, check=False)
    errors = [line for line in done.stdout.splitlines() if re.match(r"\S+\.ts\(", line)]
    assert [line for line in errors if not line.startswith("wrong.ts(")] == []
    assert [int(line.split("(")[1].split(",")[0]) for line in errors] == [2, 3, 4, 5, 6]
