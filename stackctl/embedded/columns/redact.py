"""Redact as columns: what `stackctl.genai.content` lets through, and nothing else.

Runs last, on the table that is about to be stored, so that normalising may read what is then dropped.
"""

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

from stackctl import semconv
from stackctl.embedded.arrays import Coded, spread
from stackctl.genai import content
from stackctl.genai.content import Form
from stackctl.genai.derived import DERIVED_TYPES
from stackctl.genai.rows import KEY_TYPES
from stackctl.remembering import Memory

from .arrow import EMPTY, Column, pc
from .batch import Batch
from .kinds import NOTHING, combined
from .looks import Look
from .texts import each_distinct, mask_text, unclean

# Distinct key names whose drops are counted apart; senders choose keys, so the rest share one name.
_COUNTED_KEYS: Final = 1000
_OTHER_KEYS: Final = "other keys"
# What is no attribute is counted under a name of its own.
_NAME, _MESSAGE, _EVENT = "span.name", "status.message", "span.event"
_ATTRIBUTE_PREFIXES: Final = ("s:", "r:")
# Distinct texts of a column that are so few that each is cleaned, rather than the bytes of all looked through.
_FEW: Final = 16
# Characters of sets of columns that are remembered, whose keys senders choose; a set counts for some itself.
_REMEMBERED: Final = 1024**2
_EACH: Final = 4096


# Names, keys and distinct texts of columns.
_Few = tuple[tuple[str, str, tuple[str | None, ...]], ...]


class _Sorted(NamedTuple):
    """Columns of attributes by name and key: those that must not be stored, and those of texts that may be."""

    denied: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]


class Redactor:
    """Drops, masks and caps in place what must not be stored, and counts what it dropped by key.

    Args:
        allow_keys: the user's patterns for an application's own keys.
        capture_content: keep keys that carry content; secrets are masked all the same.
    """

    def __init__(self, allow_keys: tuple[str, ...], capture_content: bool) -> None:
        self._allow = allow_keys
        self._capture = capture_content
        self.dropped: Counter[str] = Counter()
        self._known: Memory[frozenset[str], _Sorted] = Memory(_REMEMBERED)
        self._settled: Memory[_Few, tuple[tuple[str, str], ...]] = Memory(_REMEMBERED)

    def redact(self, batch: Batch) -> None:
        """Redact the spans of a batch: attributes, name, status, scope, events, links."""
        self._attributes(batch)
        for column in ("rest", "rrest"):
            self._rest(batch, column)
        self._names(batch)
        self._status(batch)
        _change(batch, "scope", content.scope_name)
        _change(batch, "scope_version", content.scope_version)
        self._rewrite(batch, "events", self._event)
        self._rewrite(batch, "links", _bare_link)

    def redact_evaluations(self, batch: Batch) -> None:
        """Redact evaluation records: names and labels must look like names, the rest like identifiers."""
        self._attributes(batch)
        for column, key in _EVALUATION_KEYS:
            _change(batch, column, partial(content.clean, key))

    def keeps(self, key: str) -> bool:
        """Whether an attribute of this key may be stored."""
        return content.keep_key(key, self._allow, self._capture)

    def count(self, key: str, how_many: int = 1) -> None:
        """Count a dropped attribute under its key, so that doctor can say which setting would keep it."""
        if not how_many:
            return
        known = key in self.dropped or (len(self.dropped) < _COUNTED_KEYS and content.is_plain_key(key))
        self.dropped[key if known else _OTHER_KEYS] += how_many

    def _attributes(self, batch: Batch) -> None:
        columns = self._sorted(frozenset(batch.columns))
        for name, key in columns.denied:
            self.count(key, batch.rows - batch.columns[name].null_count)
            batch.drop(name)
        various: dict[str, tuple[str, Look]] = {}
        few: list[tuple[str, str, tuple[str | None, ...]]] = []
        for name, key in columns.texts:
            column = batch.columns[name]
            coded = batch.alike(column)
            if coded is None or len(coded.values) > _FEW:
                various[name] = (key, batch.look(column))
            else:
                few.append((name, key, tuple(coded.values)))
        for name, key in (*self._dirty(tuple(few)), *((name, various[name][0]) for name in unclean(various))):
            self._clean(batch, name, key)

    def _dirty(self, few: _Few) -> tuple[tuple[str, str], ...]:
        """Return names and keys of the columns of few texts that need cleaning; remembered, as the columns are."""
        known = self._settled.get(few)
        if known is None:
            known = tuple(
                (name, key)
                for name, key, texts in few
                if any(text is not None and content.clean(key, text) != text for text in texts)
            )
            takes = sum(len(name) + sum(len(text) for text in texts if text is not None) for name, _, texts in few)
            self._settled.put(few, known, _EACH + takes)
        return known

    def _sorted(self, names: frozenset[str]) -> "_Sorted":
        """Return what is to be done with columns; remembered, since services send the same keys for ever."""
        known = self._known.get(names)
        if known is None:
            attributes = [(name, name[2:-2]) for name in sorted(names) if name.startswith(_ATTRIBUTE_PREFIXES)]
            known = _Sorted(
                tuple((name, key) for name, key in attributes if not self.keeps(key)),
                tuple((name, key) for name, key in attributes if self.keeps(key) and name.endswith(":s")),
            )
            self._known.put(names, known, _EACH + sum(map(len, names)))
        return known

    def _clean(self, batch: Batch, name: str, key: str) -> None:
        if self._capture and content.is_content(key):
            lengths = pc.utf8_length(batch.columns[name])
            if pc.max(lengths).as_py() > content.CONTENT_CAP:
                batch.put(f"{name[:2]}{semconv.CONTENT_LENGTH_PREFIX}{key}:i", lengths.cast(pa.int64()))
        _change(batch, name, partial(content.clean, key))

    def _rest(self, batch: Batch, name: str) -> None:
        rest = batch.rest(name)
        if rest is not None:
            batch.put_texts(name, rest.keep(self._chosen, self._count_unplaced))

    def _chosen(self, key: str, value: Any) -> Any:
        """What stays of an attribute without a column; a canonical one has found its column already."""
        if key in KEY_TYPES or key in DERIVED_TYPES or not self.keeps(key):
            return None
        if content.form_of(key) is Form.WORDS:
            return value if content.clean(key, _json(value)) != content.MASKED else None
        return _cleaned_value(key, value)

    def _count_unplaced(self, key: str, how_many: int) -> None:
        if key not in KEY_TYPES:
            self.count(key, how_many)

    def _names(self, batch: Batch) -> None:
        """Rebuild the names of calls from their vetted parts; keep other names only where they look like code's."""
        names = batch.columns["name"]
        if self._capture:
            batch.put("name", mask_text(names, batch.look(names)))
            return
        rebuilt = _call_names(batch)
        if rebuilt is None or rebuilt.null_count:
            kept = each_distinct(names, content.span_name)
            named = kept if rebuilt is None else pc.coalesce(rebuilt, kept)
            unnamed = pc.sum(pc.equal(named, _UNNAMED)).as_py()
            if unnamed:
                self.count(_NAME, unnamed)
        else:
            named = rebuilt
        batch.put("name", named)

    def _status(self, batch: Batch) -> None:
        column = batch.columns.get("status_msg")
        if column is None or column.null_count == batch.rows:
            return
        if self._capture:
            batch.put("status_msg", mask_text(column, batch.look(column)))
            return
        if batch.look(column).longest:
            self.count(_MESSAGE, pc.sum(pc.not_equal(column, EMPTY)).as_py() or 0)
        batch.put("status_msg", pa.nulls(batch.rows, pa.string()))

    def _rewrite(self, batch: Batch, name: str, one: Callable[[Any], Any]) -> None:
        """Pass each element of a column of JSON arrays through `one`; None drops it."""
        column = batch.columns.get(name)
        if column is None or column.null_count == batch.rows:
            return
        texts: list[str | None] = [None] * batch.rows
        places = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
        for row, text in zip(places.tolist(), column.drop_null().to_pylist(), strict=True):
            left = [kept for kept in map(one, orjson.loads(text)) if kept is not None]
            texts[row] = _json(left) if left else None
        batch.put(name, pa.array(texts, pa.string()))

    def _event(self, event: dict[str, Any]) -> dict[str, Any] | None:
        """Keep an event of the allowed names with the allowed attributes; with capture, any event of kept keys."""
        name = str(event.get("name", ""))
        attributes = event.get("attributes") or {}
        allowed = attributes.keys() if self._capture else content.EVENTS.get(name)
        if allowed is None:
            self.count(_EVENT)
            return None
        kept = {key: value for key, value in attributes.items() if key in allowed and self.keeps(key)}
        for key in attributes.keys() - kept.keys():
            self.count(key)
        cleaned = {key: _cleaned_value(key, value) for key, value in kept.items()}
        return {"name": content.mask(name), "time_ns": event.get("time_ns"), "attributes": cleaned}


def kept_by(key: str) -> str | None:
    """Return the setting that would keep what redaction counted under this key; None where no setting does."""
    if key == _OTHER_KEYS:
        return None
    return "capture_content" if key in (_NAME, _MESSAGE, _EVENT) or content.is_content(key) else "content.allow_keys"


# Columns of the evaluation table and the attributes whose form they must have.
_EVALUATION_KEYS: Final = (
    ("name", semconv.EVALUATION_NAME),
    ("label", semconv.EVALUATION_LABEL),
    ("error_type", semconv.ERROR_TYPE),
    ("response_id", semconv.RESPONSE_ID),
)
_UNNAMED: Final = pa.scalar(content.UNNAMED, pa.string())


# The attributes that make a call's name, by the conventions: behind the operation stands the first that a span has.
_NAMING: Final = (semconv.OPERATION, content.CALL_NAME_PART, *content.NAME_PARTS)


def _call_names(batch: Batch) -> Column | None:
    """Names of spans with an operation, built as the conventions do of attributes already cleaned; null for others."""
    columns = [batch.span(key, "s") for key in _NAMING]
    if columns[0] is None:
        return None
    kinds = combined([NOTHING if column is None else batch.coded(column) for column in columns], batch.rows)
    return spread(Coded(kinds.codes, [_call_name(*kind) for kind in kinds.values]))


def _call_name(operation: str | None, of_call: str | None, *behind: str | None) -> str | None:
    if operation in semconv.INFERENCE_OPERATIONS:
        behind = (of_call, *behind)
    part = next((part for part in behind if part is not None), None)
    return operation if operation is None or part is None else f"{operation} {part}"


def _change(batch: Batch, name: str, change: Callable[[str], str | None]) -> None:
    """Apply a function to each distinct text of a column."""
    column = batch.columns.get(name)
    if column is None or column.null_count == batch.rows:
        return
    coded = batch.coded(column)
    changed = [None if text is None else change(text) for text in coded.values]
    if changed != coded.values:
        batch.put_texts(name, Coded(coded.codes, changed))


def _cleaned_value(key: str, value: Any) -> Any:
    """Clean every text within a value."""
    match value:
        case str():
            return content.clean(key, value)
        case list():
            return [_cleaned_value(key, item) for item in value]
        case dict():
            return {name: _cleaned_value(key, item) for name, item in value.items() if _keeps_member(key, name)}
        case _:
            return value


def _keeps_member(key: str, name: str) -> bool:
    """Whether a member of a map may be stored: a name that holds no text, unless the map is captured content."""
    return content.is_content(key) or (content.is_plain_key(name) and content.clean(key, name) == name)


def _bare_link(link: dict[str, Any]) -> dict[str, Any]:
    """A link keeps whom it points to."""
    return {"trace_id": link.get("trace_id"), "span_id": link.get("span_id"), "attributes": {}}


def _json(value: Any) -> str:
    return orjson.dumps(value).decode()
