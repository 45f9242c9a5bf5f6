"""Which columns the stored spans have, and how SQL spells them.

The columns are those of the SpanTable: core columns, and one column for each attribute key and type, named
`s:<key>:<t>` (span) or `r:<key>:<t>` (resource) with t one of s, i, d, b. The rest of the attributes (arrays, maps,
keys beyond the column cap) stands as one JSON object in `rest` and `rrest`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from stackctl import semconv

# SQL types of the core columns that queries read.
CORE: Final[Mapping[str, str]] = {
    "tid_hi": "BIGINT",
    "tid_lo": "BIGINT",
    "span_id": "BIGINT",
    "parent_id": "BIGINT",
    "start_ns": "BIGINT",
    "dur_ns": "BIGINT",
    "name": "VARCHAR",
    "kind": "TINYINT",
    "status": "TINYINT",
    "status_msg": "VARCHAR",
    "scope": "VARCHAR",
    "scope_version": "VARCHAR",
    "events": "VARCHAR",
    "links": "VARCHAR",
    "rest": "VARCHAR",
    "rrest": "VARCHAR",
}
UNREAD: Final = frozenset({"arrival_ms"})
"""What is stored of every span for retention, and in no answer."""
# SQL types of the columns of evaluations that queries read.
JUDGED: Final[Mapping[str, str]] = {
    "span_id": "BIGINT",
    "time_ns": "BIGINT",
    "name": "VARCHAR",
    "score": "DOUBLE",
    "label": "VARCHAR",
    "error_type": "VARCHAR",
    "response_id": "VARCHAR",
}
SCOPE_PREFIX: Final = {"span": "s", "resource": "r"}
REST_COLUMN: Final = {"span": "rest", "resource": "rrest"}
# Arrays that are stored as JSON text in their string column, since every dialect sends them and queries ask for them.
JSON_TEXT_ARRAYS: Final = frozenset({semconv.FINISH_REASONS})

_ATTRIBUTE_TYPE: Final = {"s": "VARCHAR", "i": "BIGINT", "d": "DOUBLE", "b": "BOOLEAN"}
_ATTRIBUTE_COLUMN = re.compile(r"([sr]):(.+):([sidb])", re.S)


@dataclass(frozen=True)
class AttributeColumn:
    """A column that holds one attribute in one type.

    Attributes:
        scope: `span` or `resource`.
        kind: `s`, `i`, `d` or `b`: string, 64-bit integer, double, bool.
    """

    name: str
    scope: str
    key: str
    kind: str


@dataclass(frozen=True)
class Schema:
    """The columns and keys that at least one stored span has.

    Attributes:
        columns: names of all columns.
        rest_keys: for `span` and `resource`, the keys inside the JSON of `rest` and `rrest`.
    """

    columns: frozenset[str]
    rest_keys: Mapping[str, frozenset[str]] = field(default_factory=dict)

    def in_rest(self, scope: str, key: str) -> bool:
        """True when some span has the attribute in its JSON remainder."""
        return key in self.rest_keys.get(scope, frozenset())

    def attributes(self) -> Iterator[AttributeColumn]:
        """Yield every attribute column, sorted by name."""
        for name in sorted(self.columns):
            found = _ATTRIBUTE_COLUMN.fullmatch(name)
            if found:
                yield AttributeColumn(name, "span" if found[1] == "s" else "resource", found[2], found[3])


def sql_type(column: str) -> str:
    """Return the SQL type of a column."""
    if column in CORE:
        return CORE[column]
    return _ATTRIBUTE_TYPE[column[-1]] if _ATTRIBUTE_COLUMN.fullmatch(column) else JUDGED[column]


def identifier(name: str) -> str:
    """Quote a name as SQL does, so that no key an application chose is ever read as SQL."""
    return '"' + name.replace('"', '""') + '"'
