"""A store of made-up spans for the tests of the store, and what a reader sees of it."""

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stackctl.embedded.otlp.shape import CORE
from stackctl.embedded.store.digests import digest
from stackctl.embedded.store.frame import Frame
from stackctl.embedded.store.reader import SpanReader
from stackctl.embedded.store.writer import SealLimits, SpanStore

NOW_MS = 1_800_000_000_000


def spans(*ids: int, **columns: list[object]) -> pa.Table:
    """A span table with these span ids; attribute columns by `key=values` become `s:key:s`."""
    core = {name: pa.nulls(len(ids), type_) for name, type_ in zip(CORE.names, CORE.types, strict=True)}
    core |= {"tid_hi": pa.array([i * 7 for i in ids]), "span_id": pa.array(ids, pa.int64())}
    return pa.table(core | {f"s:{key}:s": pa.array(values, pa.string()) for key, values in columns.items()})


def frame(*ids: int, arrival_ms: int = NOW_MS, **columns: list[object]) -> Frame:
    """A frame of spans with these ids, its digest made of them."""
    return Frame(arrival_ms, (digest("trace", repr(ids).encode()),), spans(*ids, **columns), None, b"inc")


def found(data_dir: Path, reader: SpanReader | None = None) -> list[int]:
    """Span ids of a store, as a reader sees them: segments and hot frames."""
    snapshot = (reader or SpanReader(data_dir)).snapshot()
    tables = [pq.ParquetFile(path).read(["span_id"]) for path in snapshot.segments]
    tables += [snapshot.hot.select(["span_id"])] if snapshot.hot is not None else []
    return [one for table in tables for one in table.column("span_id").to_pylist()]


def open_store(data_dir: Path, rows: int = 1000, sync: Callable[[int], None] = os.fdatasync) -> SpanStore:
    """Open a store to write to; a log file is closed after so many rows."""
    return SpanStore(data_dir, SealLimits(rows=rows), clock_ms=lambda: NOW_MS, sync=sync)


def newest_log(store: SpanStore) -> Path:
    """The log file that a store writes to."""
    return store.layout.log_file(store.layout.logs()[-1])
