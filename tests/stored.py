"""Everything that a data directory holds, as text to search: bytes as they are, and what is packed in them unpacked."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stackctl.embedded.series import frame as series_frame
from stackctl.embedded.series.increments import Increments
from stackctl.embedded.store import frame as span_frame

_NOT_A_WORD = re.compile(r"[^a-z0-9]+")


def plain(text: str) -> str:
    """Return a text as words joined by underscores, so that a sentence is found in a metric's or a label's name too."""
    return _NOT_A_WORD.sub("_", text.lower())


def texts(directory: Path, files: str = "*") -> Iterator[tuple[str, str]]:
    """Yield the path of each file, from the directory on, and all of its text as `plain` has it."""
    for path in sorted(directory.rglob(files)):
        if path.is_file():
            raw = path.read_bytes()
            yield str(path.relative_to(directory)), plain(raw.decode("latin-1") + " ".join(_unpacked(path, raw)))


def hits(directory: Path, canaries: Sequence[str]) -> dict[str, list[str]]:
    """Return which files hold which canaries."""
    found = {path: [canary for canary in canaries if plain(canary) in text] for path, text in texts(directory)}
    return {path: hit for path, hit in found.items() if hit}


def _unpacked(path: Path, raw: bytes) -> Iterator[str]:
    """What compression hides: Parquet, the Arrow tables of the span log, the series of the sample log."""
    match path.suffix:
        case ".parquet":
            yield _table(pq.read_table(path))
        case ".log" if path.parent.name == "log":
            for frame in span_frame.scan(memoryview(raw)):
                assert isinstance(frame, span_frame.StoredFrame)
                yield from (_table(table) for table in (frame.spans(), frame.evaluations()) if table is not None)
                yield str(Increments.from_bytes(frame.increments)) if frame.increments else ""
        case ".samples":
            yield from (str(frame.families) + str(frame.exemplars) for frame, _ in series_frame.scan(raw))


def _table(table: pa.Table) -> str:
    return f"{table.schema} {table.to_pydict()}"
