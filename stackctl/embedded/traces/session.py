"""Questions to one snapshot of the store: SQL over the sealed segments and the hot pieces that may have an answer."""

import logging
import re
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import duckdb
import pyarrow as pa

from stackctl.embedded.traces.alarms import Alarms
from stackctl.embedded.traces.asking import Asking
from stackctl.embedded.traces.hot import SERVICE, HotPiece, HotTable
from stackctl.embedded.traces.needles import Needle
from stackctl.embedded.traces.pages import Unfamiliar
from stackctl.embedded.traces.partials import Partials
from stackctl.embedded.traces.pruning import looked_for, may_match
from stackctl.embedded.traces.schema import CORE, JUDGED, REST_COLUMN, Schema, identifier, sql_type
from stackctl.embedded.traces.segments import Part, Segment, Window
from stackctl.errors import QueryUnsupported, UpstreamFailed
from stackctl.stack import PROBE_SERVICE
from stackctl.traceql import ast

log = logging.getLogger("stackctl.query")

MEMORY_LIMIT: Final = "512MB"  # the largest questions over ten million spans need half of it
EVERYTHING: Final = Window()
NOT_PROBE: Final = f"{identifier(SERVICE)} IS DISTINCT FROM '{PROBE_SERVICE}'"

_PARAMETER: Final = re.compile(r"\$(p\d+|needle)\b")
# How DuckDB tells of a file that is gone or damaged.
_UNREADABLE: Final = re.compile(r"Failed to read file|[Cc]annot open file|No files found|No magic bytes")
_HOT_NAME: Final = re.compile(r"\bhot_(\d+)\b")
# What conditions on time and service read.
_CONDITIONED: Final = ("start_ns", "dur_ns", SERVICE)
_SPAN_KEYS: Final = frozenset({"tid_hi", "tid_lo", "span_id", "start_ns"})  # read whatever is known
# More traces than these stand in nearly every segment anyway.
_PROBED_TRACES: Final = 50
# What is read page by page: a row group more costs a few milliseconds, and a statement's planning is paid once.
_PAGED_TRACES: Final = 4
_PAGED_GROUPS: Final = 6
_FEW_PARTS: Final = 3
TraceKey = tuple[int, int]
_Asked = tuple[Window, ast.Expression | None]
T = TypeVar("T")


@dataclass(frozen=True)
class _Matching:
    """What may hold an answer, of so many segments and pieces that are in a window."""

    segments: Sequence[Segment]
    needles: Sequence[Needle]
    pieces: Sequence[HotPiece]
    touched: int


@dataclass(frozen=True)
class Session:
    """Statements over one snapshot. Not for several threads at a time.

    Attributes:
        schema: the columns that some stored span has a value in.
        segments: the sealed spans.
        hot: the other spans.
        judged: sealed evaluations.
        judged_hot: the other evaluations.
        alarms: interrupt a statement that takes too long.
        partials: what was found in single segments before.
        asking: the filters of all segments.
    """

    cursor: duckdb.DuckDBPyConnection
    schema: Schema
    segments: tuple[Segment, ...]
    hot: tuple[HotPiece, ...]
    judged: tuple[Segment, ...]
    judged_hot: tuple[HotTable, ...]
    alarms: Alarms
    partials: Partials = field(default_factory=Partials)
    asking: Asking = field(default_factory=lambda: Asking(()))
    # Hot pieces and columns that statements name, by the number in their name; None once DuckDB has them.
    _named: list[tuple[Sequence[HotPiece | Needle], Sequence[str]] | None] = field(default_factory=list)
    _matched: dict[_Asked, _Matching] = field(default_factory=dict, init=False)

    def spans(
        self, columns: Iterable[str], window: Window = EVERYTHING, condition: ast.Expression | None = None
    ) -> str:
        """Return SQL of a relation of spans; the probe's are never among them.

        Args:
            columns: what it has; NULL where nothing is stored under a name.
            window: spans outside of it are left out.
            condition: of spans that do not meet it, any may be left out.
        """
        names = sorted(set(columns))
        matching = self._matching(window, condition)
        needles, found = matching.needles, matching.segments
        pieces: list[HotPiece | Needle] = [*matching.pieces, *needles]
        whole = [part for part in found if window.holds(part) and not part.has_probe]
        cut = [part for part in found if part not in whole]
        longest = max((part.longest_ns for part in cut), default=0)
        parts = [
            _from_files(whole, names),
            _from_files(cut, names, window.condition(longest), NOT_PROBE if _have(cut, SERVICE) else ""),
            self._from_hot(pieces, names, window.condition(None), NOT_PROBE if _have(pieces, SERVICE) else ""),
        ]
        return _union(parts, names)

    def spans_of(
        self, traces: Sequence[TraceKey], columns: Iterable[str] | None = None, window: Window = EVERYTHING
    ) -> list[dict[str, Any]]:
        """Return every span of some traces, the probe's too, in order of their start.

        Args:
            columns: what the rows have; every core column, and all that have a value in one of them, if None.
            window: where they are looked for.
        """
        highs = [key[0] for key in traces]
        found = [part for part in self.segments if window.touches(part)]
        names = sorted(CORE if columns is None else set(columns))
        rows = self._paged(found, highs, columns)
        if rows is None:
            rows = self._stated(found, traces, None if columns is None else names)
        rows += [row for piece in self.hot for row in piece.rows_of(highs, None if columns is None else names)]
        keys, absent = set(traces), dict.fromkeys(names)
        rows = [absent | row for row in rows if (row["tid_hi"], row["tid_lo"]) in keys]
        return sorted(rows, key=lambda row: (row["start_ns"], row["span_id"]))

    def _paged(
        self, segments: Sequence[Segment], highs: Sequence[int], columns: Iterable[str] | None
    ) -> list[dict[str, Any]] | None:
        """Return spans by the upper halves of their trace ids; None where a statement is faster, or knows better."""
        if len(highs) > _PAGED_TRACES:
            return None
        if len(highs) == 1:
            self.asking.ask("tid_hi", highs[0])
        where = [(part, groups) for part in segments if (groups := part.groups_with("tid_hi", highs))]
        if sum(len(groups) for _, groups in where) > _PAGED_GROUPS:
            return None
        wanted = None if columns is None else _SPAN_KEYS.union(columns)
        try:
            return [row for part, groups in where for row in part.rows_of(groups, highs, wanted)]
        except Unfamiliar as error:
            log.info("%s; asking DuckDB", error)
            return None

    def _stated(
        self, segments: Sequence[Segment], traces: Sequence[TraceKey], names: Sequence[str] | None
    ) -> list[dict[str, Any]]:
        """Return the spans of some traces as statements find them."""
        highs, lows = ([key[part] for key in traces] for part in (0, 1))
        found = segments
        if len(traces) <= _PROBED_TRACES:
            found = [part for part in found if part.may_hold("tid_hi", highs)]
        condition = f"tid_hi {_one_of(highs)} AND tid_lo {_one_of(lows)}"
        if names is None:
            return [row | parts[0].constants for parts in _alike(found) for row in self.rows(_whole(parts, condition))]
        return self.rows(_from_files(found, names, condition)) if found else []

    def rows_of_text(
        self, columns: Iterable[str], window: Window, condition: ast.Binary
    ) -> list[dict[str, Any]] | None:
        """Return the spans that have a text, without a statement; None where one is faster, or knows better.

        Args:
            columns: what the rows have; None where nothing is stored under a name.
            window: spans outside of it are left out, as are the probe's.
            condition: compares an attribute with a text.
        """
        found = self._matching(window, condition)
        if found.segments or found.pieces:
            return None
        names = sorted({*columns, *_CONDITIONED})
        absent: dict[str, Any] = dict.fromkeys(names)
        try:
            rows = [absent | row for needle in found.needles for row in needle.rows(names)]
        except Unfamiliar as error:
            log.info("%s; asking DuckDB", error)
            return None
        return [row for row in rows if row[SERVICE] != PROBE_SERVICE and window.has(row["start_ns"], row["dur_ns"])]

    def narrow(self) -> bool:
        """True where what `spans` gave reads few of the segments and pieces that are in its windows."""
        return all(
            len(one.segments) + len(one.needles) + len(one.pieces) <= min(_FEW_PARTS, one.touched - 1)
            for one in self._matched.values()
        )

    def tags(self) -> Schema:
        """Return the columns and keys with a value on a span that is not the probe's."""
        parts: list[Part] = [*self.segments, *self.hot]
        return joined(Schema(part.tags, part.rest_keys) for part in parts)

    def evaluations_of(self, trace: TraceKey) -> list[dict[str, Any]]:
        """Return the evaluations of a trace's spans in order of time: the columns of JUDGED."""
        keys = ("tid_hi", "tid_lo", *JUDGED)
        found = [part for part in self.judged if part.may_hold("tid_hi", [trace[0]])]
        condition = f"tid_hi = {int(trace[0])} AND tid_lo = {int(trace[1])}"
        rows = self.rows(_from_files(found, keys, condition)) if found else []
        rows += [dict.fromkeys(keys) | row for part in self.judged_hot for row in part.rows_of([trace[0]], keys)]
        return sorted((row for row in rows if row["tid_lo"] == trace[1]), key=lambda row: row["time_ns"] or 0)

    def rows(self, sql: str, parameters: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """Run one statement and return its rows.

        Args:
            parameters: values by name; those that the statement does not use are left out.

        Raises:
            UpstreamFailed: it took too long, or more memory than the engine may use.
            QueryUnsupported: it calculates what fits into no number, or nests deeper than DuckDB takes.
        """
        return self._run(sql, parameters, lambda sql, used: _rows(self.cursor.execute(sql, used)))

    def table(self, sql: str, parameters: dict[str, Any] | None = None) -> pa.Table:
        """Run one statement and return its rows as Arrow has them; the rest is as for `rows`."""
        found: pa.Table = self._run(
            sql, parameters, lambda sql, used: self.cursor.sql(sql, params=used).to_arrow_table()
        )
        return found

    def release(self) -> None:
        """Take back from DuckDB what it got for these statements."""
        for number, named in enumerate(self._named):
            if named is None:
                self.cursor.unregister(f"hot_{number}")

    def check_time(self, began: float) -> None:
        """Give up between statements that together take too long.

        Args:
            began: when they did, as `time.monotonic` tells it.

        Raises:
            UpstreamFailed: they took too long.
        """
        if time.monotonic() - began > self.alarms.seconds:
            raise self._late()

    def _run(self, sql: str, parameters: dict[str, Any] | None, run: Callable[[str, dict[str, Any]], T]) -> T:
        used = {name: parameters[name] for name in set(_PARAMETER.findall(sql))} if parameters else {}
        for number in _HOT_NAME.findall(sql):
            self._register(int(number))
        try:
            with self.alarms.set(self.cursor.interrupt):
                return run(sql, used)
        except duckdb.InterruptException as error:
            raise self._late() from error
        except duckdb.OutOfMemoryException as error:
            raise UpstreamFailed(
                f"the query needs more memory than {MEMORY_LIMIT}", next_step="ask for a shorter time range"
            ) from error
        except (duckdb.ParserException, duckdb.BinderException) as error:
            if "expression depth" not in str(error):
                raise
            raise QueryUnsupported("the query nests too deep", next_step="ask a shorter query") from error
        except duckdb.DataError as error:
            raise QueryUnsupported(
                f"the query calculates what fits into no number: {str(error).splitlines()[0]}",
                next_step="ask with smaller numbers",
            ) from error
        except (duckdb.IOException, duckdb.InvalidInputException) as error:
            if not _UNREADABLE.search(str(error)):
                raise
            raise UpstreamFailed(
                f"stored spans cannot be read: {str(error).splitlines()[0]}",
                next_step="ask again, they may have been deleted by age; else move the damaged file away",
            ) from error

    def _late(self) -> UpstreamFailed:
        return UpstreamFailed(
            f"the query took longer than {self.alarms.seconds:g} s", next_step="ask for a shorter time range"
        )

    def _matching(self, window: Window, condition: ast.Expression | None) -> _Matching:
        """Return what may hold a span of a window that meets a condition; one statement asks that repeatedly."""
        found = self._matched.get((window, condition))
        if found is None:
            for column, value in looked_for(condition):
                self.asking.ask(column, value)
            segments = [part for part in self.segments if window.touches(part)]
            pieces = [part for part in self.hot if window.touches(part)]
            matching = [(part, Needle.within(part, condition)) for part in segments if may_match(part, condition)]
            found = _Matching(
                [part for part, needle in matching if needle is None],
                [needle for _, needle in matching if needle is not None],
                [part for part in pieces if may_match(part, condition)],
                len(segments) + len(pieces),
            )
            self._matched[window, condition] = found
        return found

    def _from_hot(self, pieces: Sequence[HotPiece | Needle], names: Sequence[str], *conditions: str) -> str:
        """Return a SELECT of columns over hot pieces; DuckDB gets them with the statement that names them."""
        if not pieces:
            return ""
        there = {name for piece in pieces for name in piece.columns}
        wanted = sorted(there.intersection((*names, *_CONDITIONED)))
        self._named.append((pieces, wanted))
        return _select(f"hot_{len(self._named) - 1}", there, names, conditions)

    def _register(self, number: int) -> None:
        """Give DuckDB a relation of hot spans, its few columns only: it translates each before it reads any."""
        named = self._named[number] if number < len(self._named) else None
        if named is None:
            return
        tables = [self._part(piece, [n for n in named[1] if n in piece.columns]) for piece in named[0]]
        self.cursor.register(f"hot_{number}", pa.concat_tables(tables, promote_options="default"))
        self._named[number] = None

    def _part(self, piece: HotPiece | Needle, names: Sequence[str]) -> pa.Table:
        """Return some columns of what is in no file, or looked up in one."""
        if isinstance(piece, HotPiece):
            return piece.table(names)
        try:
            return piece.table(names)
        except Unfamiliar as error:
            log.info("%s; asking DuckDB", error)
            return self.table(_from_files([piece.segment], names, piece.condition()), {"needle": piece.text})


def _rows(result: Any) -> list[dict[str, Any]]:
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def joined(schemas: Iterable[Schema]) -> Schema:
    """Return what one of some schemas has."""
    found = list(schemas)
    return Schema(
        frozenset(CORE).union(*(schema.columns for schema in found)),
        {s: frozenset().union(*(schema.rest_keys.get(s, frozenset()) for schema in found)) for s in REST_COLUMN},
    )


def text(value: str) -> str:
    """Quote a string of our own (a path) where DuckDB takes no parameter."""
    return "'" + value.replace("'", "''") + "'"


def _from_files(segments: Sequence[Segment], names: Sequence[str], *conditions: str) -> str:
    """Return a SELECT of columns over segments; empty text for no segments."""
    if not segments:
        return ""
    there = {name for part in segments for name in part.names}
    everywhere = all(name in part.names for part in segments for name in names if name in there)
    paths = ", ".join(text(str(part.path)) for part in segments)
    files = f"read_parquet([{paths}]{'' if everywhere else ', union_by_name = true'})"
    return _select(files, there, names, conditions)


def _select(source: str, there: set[str], names: Sequence[str], conditions: Iterable[str]) -> str:
    columns = (identifier(n) if n in there else f"NULL::{sql_type(n)} AS {identifier(n)}" for n in names)
    where = " AND ".join(condition for condition in conditions if condition)
    return f"SELECT {', '.join(columns)} FROM {source}" + (f" WHERE {where}" if where else "")


def _union(parts: Iterable[str], names: Sequence[str]) -> str:
    found = [part for part in parts if part]
    if not found:
        found = ["SELECT " + ", ".join(f"NULL::{sql_type(n)} AS {identifier(n)}" for n in names) + " WHERE FALSE"]
    return f"({' UNION ALL '.join(found)})"


def _have(parts: Iterable[Segment | HotPiece | Needle], column: str) -> bool:
    return any(column in part.columns for part in parts)


def _alike(segments: Iterable[Segment]) -> Iterator[list[Segment]]:
    """Yield segments by their columns and what is known of these: one statement reads those that are alike."""
    groups: Mapping[Hashable, list[Segment]] = defaultdict(list)
    for part in segments:
        groups[part.names, frozenset(part.columns), frozenset(part.constants.items())].append(part)
    yield from groups.values()


def _whole(segments: Sequence[Segment], condition: str) -> str:
    """Return a SELECT of the columns with values, different ones, over segments that are alike."""
    known = segments[0].names.difference(segments[0].columns).union(segments[0].constants).difference(_SPAN_KEYS)
    left_out = ", ".join(identifier(name) for name in sorted(known))
    columns = f"* EXCLUDE ({left_out})" if left_out else "*"
    paths = ", ".join(text(str(part.path)) for part in segments)
    return f"SELECT {columns} FROM read_parquet([{paths}]) WHERE {condition}"


def _one_of(values: Sequence[int]) -> str:
    """Return SQL that compares with some numbers; with one as such, for which DuckDB asks bloom filters."""
    return f"= {int(values[0])}" if len(values) == 1 else f"IN ({', '.join(str(int(value)) for value in values)})"
