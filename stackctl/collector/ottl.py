"""Sources, conditions and conversions of the rows as OTTL, the Collector's transformation language.

Each operation of `stackctl.genai.rows` is one match arm here, as it is one in `stackctl.embedded.columns`; a test holds
the two together. Language: https://github.com/open-telemetry/opentelemetry-collector-contrib/tree/main/pkg/ottl.

Where a value cannot be read (text that is no JSON, a time that is none) the function fails, the statement is left out
and the key stays without a value: `error_mode: silent`, since an error that is logged could quote the value.
"""

import json
from dataclasses import dataclass
from typing import Final

from stackctl.genai import rows
from stackctl.genai.rows import Convert, Row, Scalar, Source, ValueType, When

# What was read from a span's events before the rows run: the redaction drops these keys as it does all unknown ones.
LIFTED: Final = "stackctl.lifted."

WHOLE: Final = r"^-?[0-9]{1,18}$"
# What Int() reads only as a float, and few digits enough to be an exact one.
WHOLE_WITH_POINT: Final = r"^-?[0-9]{1,15}\.0+$"
NUMBER: Final = r"^-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
# Beyond it a float64 is no exact whole number.
_EXACT: Final = "9007199254740992.0"
TRUTH: Final = "^(?i)(true|false)$"

_FIELDS: Final = {
    "name": "span.name",
    "scope": "scope.name",
    "kind": "span.kind",
    "status": "span.status.code",
    "status_msg": "span.status.message",
}
_TYPE_CHECK: Final = {"s": "IsString", "i": "IsInt", "d": "IsDouble", "b": "IsBool"}


@dataclass(frozen=True)
class Line:
    """One statement, and what is said above it in the file; an empty statement is a remark alone."""

    statement: str
    why: str = ""


# --- words ------------------------------------------------------------------------------------------------------------
def text(value: str) -> str:
    """Return a string literal."""
    return json.dumps(value, ensure_ascii=False)


def literal(value: Scalar) -> str:
    """Return a literal of the value's type."""
    match value:
        case bool():
            return "true" if value else "false"
        case str():
            return text(value)
        case int():
            return str(value)
        case float():
            number = repr(value)
            return number if "." in number else number.replace("e", ".0e") if "e" in number else f"{number}.0"


def span(key: str) -> str:
    """Return the path of a span attribute."""
    return f"span.attributes[{text(key)}]"


def cached(name: str) -> str:
    """Return the path of a value that lives while one group of statements runs over one span."""
    return f"span.cache[{text(name)}]"


def every(*conditions: str) -> str:
    """Return what holds where each condition does; "" for none."""
    return " and ".join(condition for condition in conditions if condition)


def either(*conditions: str) -> str:
    """Return what holds where one of the conditions does."""
    return conditions[0] if len(conditions) == 1 else f"({' or '.join(conditions)})"


def put(target: str, value: str, *conditions: str) -> str:
    """Return the statement that sets a path where the conditions hold."""
    where = every(*conditions)
    return f"set({target}, {value})" + (f" where {where}" if where else "")


def is_type(path: str, kind: ValueType) -> str:
    """Return the test for a value of one type."""
    return f"{_TYPE_CHECK[kind]}({path})"


# --- sources and conditions -------------------------------------------------------------------------------------------
def path(source: Source) -> str:
    """Return where a source's value lies.

    Raises:
        ValueError: it lies nowhere: `Duration` and `One` are values of metrics.
    """
    match source:
        case rows.SpanAttr(key):
            return span(key)
        case rows.ResourceAttr(key):
            return f"resource.attributes[{text(key)}]"
        case rows.Field(name):
            return _FIELDS[name]
        case rows.EventTime(event):
            return span(f"{LIFTED}time.{event}")
        case rows.EventAttr(event, key):
            return span(f"{LIFTED}{key}.{event}")
        case rows.Duration() | rows.One():
            raise ValueError(f"{source} is no value of a span that a rule reads")


def has(source: Source) -> str:
    """Return the test that a source has a value; an empty text is none."""
    if isinstance(source, rows.Field):
        return "" if source.name in ("kind", "status") else f'{path(source)} != ""'
    return f'{path(source)} != nil and {path(source)} != ""'


def holds(when: When) -> str:
    """Return a condition; "" for the one that always holds."""
    match when:
        case rows.Has(source):
            return has(source) or "true"
        case rows.Equals(source, values):
            return either(*(f"{path(source)} == {literal(value)}" for value in values)) if values else "false"
        case rows.Matches(source, pattern):
            return every(is_type(path(source), "s"), f'{path(source)} != ""', matches(path(source), pattern))
        case rows.Not(of):
            return f"not ({holds(of) or 'true'})"
        case rows.All(parts):
            return every(*(_grouped(part) for part in parts))
        case rows.Any(parts):
            return either(*(_grouped(part) or "true" for part in parts)) if parts else "false"


def _grouped(when: When) -> str:
    inner = holds(when)
    return f"({inner})" if inner and not isinstance(when, rows.Not | rows.Any) else inner


def matches(value: str, pattern: str) -> str:
    """Return the test that a text holds a match of an RE2 pattern."""
    return f"IsMatch({value}, {text(pattern)})"


def of_scope(pattern: str) -> str:
    """Return the test for the name of the instrumentation scope; "" for every scope."""
    return matches("scope.name", pattern) if pattern else ""


# --- conversions ------------------------------------------------------------------------------------------------------
def fill(row: Row, scope: bool = True) -> list[Line]:
    """Return the statements that give a canonical key its value where it has none yet.

    Args:
        scope: whether the row's scope must be asked for; not where a whole group is of that scope.
    """
    source = path(row.source)
    guard = every(
        has(row.source) or "true",
        "" if row.rewrites else f"{span(row.key)} == nil",
        of_scope(row.scope) if scope else "",
        holds(row.when) if row.when != rows.ALWAYS else "",
    )
    statements = converted(row.convert, source, span(row.key), rows.KEY_TYPES[row.key], guard)
    return [Line(statement, row.why if at == 0 else "") for at, statement in enumerate(statements)]


def converted(how: Convert, source: str, target: str, to: ValueType, guard: str) -> list[str]:
    """Return the statements that set a target to a source's converted value. What cannot be converted sets nothing."""
    match how:
        case rows.Copy():
            return typed(target, source, to, guard)
        case rows.Scale(factor):
            number = f"(IsDouble({source}) or {matches(source, NUMBER)})"
            scaled = f"Double({source}) * {literal(factor)}"
            exact = f"{scaled} >= -{_EXACT} and {scaled} <= {_EXACT}" if to == "i" else ""
            return typed(target, scaled, to, every(guard, number, exact), known=True)
        case rows.Const(value):
            return [put(target, literal(value), guard)]
        case rows.MapValue(pairs, closed):
            return _mapped(pairs, closed, source, target, guard)
        case rows.JsonField(steps):
            member = json_cache(source)
            for step in steps:
                member += f"[{int(step)}]" if step.isdecimal() else f"[{text(step)}]"
            return typed(target, member, to, every(guard, f"{member} != nil"))
        case rows.JsonList():
            return _json_list(source, target, guard)
        case rows.IsoOffset():
            return _iso_offset(source, target, guard)
        case rows.EventOffset():
            return [
                put(target, f"Double({number} - span.start_time_unix_nano) / 1000000000.0", guard, known)
                for number, known in _whole(source)
            ]
        case rows.Less(part):
            less = f"Int({path(part)})"
            sane = f"IsInt({path(part)}) and {less} >= 0 and {less} <= "
            return [
                put(target, f"{number} - {less}", every(guard, f"{path(part)} != nil"), every(known, sane + number))
                for number, known in _whole(source)
            ]
        case rows.Extract(pattern):
            group = f'ExtractPatterns(String({source}), {text(_named(pattern))})["v"]'
            return typed(target, group, to, guard)


def typed(target: str, value: str, to: ValueType, guard: str = "", known: bool = False) -> list[str]:
    """Return the statements that set a target to a value in a type; what has no reading in it sets nothing.

    Args:
        known: whether the guard says already that the value is a number.
    """
    match to:
        case "s":
            return [put(target, f"String({value})", guard, readable(value) if value.endswith("]") else "")]
        case "i":
            readings = _whole(value)
            return [put(target, number, guard, fits) for number, fits in (readings[:1] if known else readings)]
        case "d":
            fits = "" if known else f"(IsDouble({value}) or {matches(value, NUMBER)})"
            return [put(target, f"Double({value})", guard, fits)]
        case "b":
            return [put(target, f"Bool(ToLowerCase(String({value})))", guard, matches(f"String({value})", TRUTH))]


def _whole(value: str) -> list[tuple[str, str]]:
    """Return how a value is read as a whole number, and the test for each way."""
    return [
        (f"Int({value})", f"(IsInt({value}) or {matches(value, WHOLE)})"),
        (f"Int(Double({value}))", matches(value, WHOLE_WITH_POINT)),
    ]


def readable(value: str) -> str:
    """Return the test that a value is anything but bytes, whose text would be an encoding of whatever they hold."""
    return either(*(f"{test}({value})" for test in ("IsString", "IsInt", "IsDouble", "IsBool", "IsList", "IsMap")))


def json_cache(source: str) -> str:
    """Return where the object lies that a source's JSON text was read into."""
    key = source.partition('"')[2].rpartition('"')[0]
    return cached(f"json of {key}")


def _mapped(pairs: tuple[tuple[str, str], ...], closed: bool, source: str, target: str, guard: str) -> list[str]:
    table = ", ".join(f"{text(old)}: {text(new)}" for old, new in pairs)
    found = f"{cached('map')}[String({source})]"
    statements = [
        put(cached("map"), f"{{{table}}}", guard),
        put(target, found, guard, f"{found} != nil"),
    ]
    return statements if closed else [*statements, put(target, f"String({source})", guard)]


def _json_list(source: str, target: str, guard: str) -> list[str]:
    value = f"String({source})"
    bare = matches(value, r'^\s*([\["{]|-?[0-9][0-9.eE+-]*\s*$|(true|false|null)\s*$)')
    words, python = cached("words"), matches(value, rows.PYTHON_LIST)
    return [
        put(words, value, guard, python),
        f'replace_pattern({words}, "\'", "\\"") where {every(guard, python)}',
        put(target, f"String(ParseJSON({words}))", guard, python),
        put(target, f"String(ParseJSON({value}))", guard, matches(value, r"^\s*\[")),
        put(target, f'Concat(["[", {value}, "]"], "")', guard, matches(value, r'^".+"$')),
        put(target, f'Concat(["[\\"", {value}, "\\"]"], "")', guard, f"not {bare}"),
    ]


def _iso_offset(source: str, target: str, guard: str) -> list[str]:
    moment = cached("time")
    since = f'Double(UnixNano(Time({moment}, "%Y-%m-%dT%H:%M:%S%j")) - span.start_time_unix_nano) / 1000000000.0'
    return [
        put(moment, f'Trim(String({source}), "\\"")', guard),
        f'replace_pattern({moment}, "^([0-9-]{{10}}) ", "${{1}}T") where {guard}',
        f'replace_pattern({moment}, "(Z|([0-9]{{2}}:[0-9]{{2}}:[0-9.]+))$", "${{2}}+00:00") where {guard}',
        put(target, since, guard),
    ]


def _named(pattern: str) -> str:
    """Return a pattern with its first group named, as ExtractPatterns asks for."""
    at = pattern.index("(")
    while pattern[at - 1] == "\\" or pattern[at + 1] == "?":
        at = pattern.index("(", at + 1)
    return f"{pattern[:at]}(?P<v>{pattern[at + 1 :]}"
