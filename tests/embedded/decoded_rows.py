"""What a decoder makes of a request, as rows that tests compare."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from stackctl.embedded.otlp import wide

CAPTURES = sorted((Path(__file__).parents[1] / "captures").glob("*/*.traces.pb"))
JSON_COLUMNS = ("events", "links", "rest", "rrest")


def rows(table: pa.Table) -> list[dict[str, Any]]:
    """A table as rows without nulls, its JSON texts parsed."""
    found = [{key: value for key, value in row.items() if value is not None} for row in table.to_pylist()]
    return [{k: orjson.loads(v) if k in JSON_COLUMNS else v for k, v in row.items()} for row in found]


def flat(flatten: Callable[[list[bytes], int], wide.Flat], request: bytes) -> list[dict[str, Any]]:
    """The rows that one decoder makes of a request."""
    return rows(flatten([request], 1).arrays.table())
