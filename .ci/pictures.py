"""Make the README's pictures from the running product: each is what one command printed on a terminal, as SVG.

    python .ci/pictures.py            # starts a stack of its own, writes .pictures/*.svg, stops it

A pseudo-terminal is used, so that colours and widths are those a person sees. Frames of a progress bar overwrite each
other on a terminal; what stays on the screen at the end is what the picture shows.
"""

import os
import pty
import re
import subprocess
import sys
import tempfile
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

WIDTH = 112
PICTURES = Path(__file__).resolve().parent.parent / ".pictures"
STACKCTL = Path(sys.executable).with_name("stackctl")


def typed(*arguments: str, data_dir: str) -> str:
    """Run one command on a pseudo-terminal and return what it wrote, escape sequences included."""
    leader, follower = pty.openpty()
    size = {"COLUMNS": str(WIDTH), "LINES": "60", "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    process = subprocess.Popen(
        [str(STACKCTL), "--data-dir", data_dir, *arguments],
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, **size},
    )
    os.close(follower)
    written = bytearray()
    while True:
        try:
            chunk = os.read(leader, 65536)
        except OSError:  # the pseudo-terminal's end on Linux, once the process is gone
            break
        if not chunk:
            break
        written += chunk
    if process.wait() != 0:
        raise SystemExit(f"{' '.join(arguments)} ended with {process.returncode}:\n{written.decode()}")
    return written.decode()


def screen(written: str) -> list[str]:
    """Return the lines that stay on the screen: applies carriage returns, cursor-up and erase-line."""
    lines = [""]
    row = 0
    for token in re.split(r"(\r\n|\n|\r|\x1b\[\d*A|\x1b\[2?K|\x1b\[\?25[lh])", written):
        if token in ("\n", "\r\n"):
            row += 1
            if row == len(lines):
                lines.append("")
        elif up := re.fullmatch(r"\x1b\[(\d*)A", token):
            row = max(0, row - int(up[1] or 1))
        elif re.fullmatch(r"\x1b\[2?K", token):
            lines[row] = ""
        elif token == "\r":
            continue
        elif not token.startswith("\x1b[?25"):
            lines[row] += token
    return lines


def draw(name: str, command: str, written: str, data_dir: str) -> None:
    """Write one picture."""
    console = Console(record=True, width=WIDTH, file=StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
    shown = "\n".join(screen(written)).replace(data_dir, "~/.local/share/stackctl").strip("\n")
    console.print(Text.from_ansi(shown), highlight=False)
    PICTURES.mkdir(exist_ok=True)
    (PICTURES / f"{name}.svg").write_text(console.export_svg(title="stackctl", unique_id=name))


def main() -> None:
    """Start a stack with the demo, show a trace, stop it."""
    with tempfile.TemporaryDirectory() as data_dir:
        try:
            up = typed("up", "--runtime", "embedded", "--demo", data_dir=data_dir)
            draw("up", "stackctl up --demo", up, data_dir)
            draw("trace", "stackctl traces show", typed("traces", "show", data_dir=data_dir), data_dir)
        finally:
            typed("down", "--delete-data", data_dir=data_dir)


if __name__ == "__main__":
    main()
