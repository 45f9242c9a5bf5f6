"""Write the files of the default settings: `python -m stackctl.collector [DIRECTORY]`, a checkout's compose/otelcol."""

import sys
from pathlib import Path

from stackctl.collector.render import CollectorSettings, files
from stackctl.files import shipped


def main(arguments: list[str]) -> int:
    """Write the files; return the exit code."""
    directory = Path(arguments[0]) if arguments else shipped("compose") / "otelcol"
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in files(CollectorSettings()).items():
        (directory / name).write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
