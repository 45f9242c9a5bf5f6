"""A span store as large as wanted, made in minutes: rows that the real pipeline stored, with fresh ids and times.

Columns, types and values are those of `stackctl.bench.requests` after decoding, pricing and redaction. Ids, and every
text that is one, are new in each row, since nothing else makes look-ups and filters as hard as they are.
"""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa

from stackctl.bench.requests import SPANS_PER_REQUEST, SPANS_PER_TRACE, RequestSource
from stackctl.embedded.columns import Pipeline
from stackctl.embedded.otlp import decode
from stackctl.embedded.store.layout import SPANS, Layout, Sealed
from stackctl.embedded.store.seal import Part, place_parts
from stackctl.stack import EngineConfig

POOL_REQUESTS: Final = 128
POOL_ROWS: Final = POOL_REQUESTS * SPANS_PER_REQUEST  # some row groups of the store
_TRACES: Final = POOL_ROWS // SPANS_PER_TRACE
# What compaction leaves: some hundred thousand rows in a file.
_GROUPS_PER_SEGMENT: Final = 6
_FRAMES_PER_SEGMENT: Final = 1000
RARE_KEY: Final = "bench.rare"  # stands on one span of each segment
_CHILD_DELAY_NS: Final = 20_000_000
_HEX: Final = np.frombuffer(b"".join(b"%02x" % n for n in range(256)), np.uint16)

Rng = np.random.Generator
Numbers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Sample:
    """One stored span to look for.

    Attributes:
        tid_hi: half of its trace id as the store has it, as is `tid_lo`.
        rare: it has RARE_KEY, with its response id as value.
    """

    tid_hi: int
    tid_lo: int
    response_id: str
    start_ns: int
    rare: bool


@dataclass(frozen=True)
class Corpus:
    """What was written.

    Attributes:
        spans: how many.
        end_ns: unix nanoseconds at which the last of them starts.
        samples: a span of each row group.
        series_end_ms: unix milliseconds at which the series beside them end; 0 for none.
    """

    spans: int
    end_ns: int
    samples: tuple[Sample, ...]
    series_end_ms: int = 0

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        path.write_bytes(orjson.dumps(asdict(self)))

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote."""
        raw = orjson.loads(path.read_bytes())
        samples = tuple(Sample(**sample) for sample in raw["samples"])
        return cls(raw["spans"], raw["end_ns"], samples, raw["series_end_ms"])


class SpanPool:
    """Stored rows to make more of.

    Args:
        seed: two pools of one seed give the same spans.
    """

    def __init__(self, seed: int) -> None:
        source = RequestSource(seed)
        bodies = [source.make(number) for number in range(POOL_REQUESTS)]
        table = Pipeline(EngineConfig("")).process(decode.spans(bodies, 0)).combine_chunks()
        self._id_columns = {
            name: len(table[name][0].as_py())
            for name in table.column_names
            if name.startswith("s:") and name.endswith("id:s") and table[name].null_count == 0
        }
        self._table = table.append_column(f"s:{RARE_KEY}:s", pa.nulls(POOL_ROWS, pa.string()))

    @property
    def schema(self) -> pa.Schema:
        """Columns of every table it makes."""
        return self._table.schema

    def rows(self, rng: Rng, start_ns: int, end_ns: int, rare: bool) -> tuple[pa.Table, Sample]:
        """Return POOL_ROWS fresh spans that start within a time range, in order of their traces, and one of them.

        Args:
            rare: one span has RARE_KEY.
        """
        table = self._shifted(int(rng.integers(_TRACES)) * SPANS_PER_TRACE)
        starts = np.repeat(np.linspace(start_ns, end_ns, _TRACES, endpoint=False).astype(np.int64), SPANS_PER_TRACE)
        starts += np.tile(np.arange(SPANS_PER_TRACE, dtype=np.int64), _TRACES) * _CHILD_DELAY_NS
        high, low = (np.repeat(_numbers(rng, _TRACES), SPANS_PER_TRACE) for _ in range(2))
        ids = _numbers(rng, POOL_ROWS)
        parents = np.repeat(ids[::SPANS_PER_TRACE], SPANS_PER_TRACE)
        parents[::SPANS_PER_TRACE] = 0
        arrivals = (starts + table["dur_ns"].to_numpy()) // 1_000_000
        fresh: dict[str, Any] = {
            "tid_hi": high,
            "tid_lo": low,
            "span_id": ids,
            "parent_id": parents,
            "start_ns": starts,
            "arrival_ms": arrivals,
            **{name: _hex_texts(rng, size) for name, size in self._id_columns.items()},
        }
        chosen = int(rng.integers(POOL_ROWS))
        response = fresh["s:gen_ai.response.id:s"][chosen].as_py()
        if rare:
            fresh[f"s:{RARE_KEY}:s"] = pa.array([response if row == chosen else None for row in range(POOL_ROWS)])
        for name, values in fresh.items():
            table = table.set_column(table.column_names.index(name), name, pa.array(values))
        return table, Sample(int(high[chosen]), int(low[chosen]), response, int(starts[chosen]), rare)

    def _shifted(self, rows: int) -> pa.Table:
        """The pool from another row on, so that no two tables have their values in the same rows."""
        return pa.concat_tables([self._table.slice(rows), self._table.slice(0, rows)]).combine_chunks()


def write_corpus(data_dir: Path, spans: int, seed: int, tell: Callable[[str], None], seconds: int = 86_400) -> Corpus:
    """Fill an empty store with sealed segments, as compaction leaves them.

    Args:
        spans: at least so many; whole row groups are written.
        tell: called with what is being done.
        seconds: the time that the spans are spread over; it ends now.
    """
    layout = Layout.below(data_dir)
    layout.create()
    pool, rng = SpanPool(seed), np.random.default_rng(seed)
    groups = max(1, -(-spans // POOL_ROWS))
    end_ns = time.time_ns() - 60 * 10**9
    edges = np.linspace(end_ns - seconds * 10**9, end_ns, groups + 1).astype(np.int64).tolist()
    samples: list[Sample] = []

    def made(group: int) -> pa.Table:
        table, sample = pool.rows(rng, edges[group], edges[group + 1], group % _GROUPS_PER_SEGMENT == 0)
        samples.append(sample)
        return table

    for number, first in enumerate(range(0, groups, _GROUPS_PER_SEGMENT)):
        members = range(first, min(first + _GROUPS_PER_SEGMENT, groups))
        tell(f"writing spans: {members.stop * POOL_ROWS:,} of {groups * POOL_ROWS:,}")
        parts = [Part(lambda: pool.schema, POOL_ROWS, partial(made, group)) for group in members]
        place_parts(layout, _sealed(number, edges[members.stop]), parts)
    return Corpus(groups * POOL_ROWS, end_ns, tuple(samples))


def _sealed(number: int, newest_ns: int) -> Sealed:
    first = number * _FRAMES_PER_SEGMENT + 1
    return Sealed(first, first + _FRAMES_PER_SEGMENT - 1, newest_ns // 1_000_000, SPANS)


def _numbers(rng: Rng, count: int) -> Numbers:
    return rng.integers(-(2**63), 2**63 - 1, count, dtype=np.int64)


def _hex_texts(rng: Rng, size: int) -> pa.StringArray:
    """POOL_ROWS random texts of hexadecimal digits."""
    digits = _HEX[np.frombuffer(rng.bytes(POOL_ROWS * size // 2), np.uint8)]
    offsets = np.arange(POOL_ROWS + 1, dtype=np.int32) * size
    return pa.StringArray.from_buffers(POOL_ROWS, pa.py_buffer(offsets.data), pa.py_buffer(digits.data))
