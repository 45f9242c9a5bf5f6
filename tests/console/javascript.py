"""Calling the console's own modules outside a browser, in the Node that Playwright brings along."""

import json
import subprocess
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parents[2] / "stackctl" / "console" / "web" / "src"


def node() -> str:
    """Return the path of Playwright's Node."""
    from playwright._impl._driver import compute_driver_executable

    return str(compute_driver_executable()[0])


def run(program: str, given: Any) -> Any:
    """Run the body of a module and return what it assigns to `result`, as JSON.

    Args:
        program: imports as `await use("format/units.js")`; reads `given`.
    """
    script = (
        f"const use = (name) => import({json.dumps(SOURCES.as_uri())} + '/' + name);"
        "let text = ''; for await (const part of process.stdin) text += part;"
        "const given = JSON.parse(text); let result;"
        f"{program}\n; process.stdout.write(JSON.stringify(result));"
    )
    done = subprocess.run(
        [node(), "--no-warnings", "--input-type=module", "--eval", script],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
