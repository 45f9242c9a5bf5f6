"""Rule files: https://prometheus.io/docs/prometheus/latest/configuration/recording_rules/, read strictly.

A key twice, a key that nobody knows, a query that does not parse or that this engine does not have, and a template that
it cannot fill are refused with file, group and rule, before anything is evaluated.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from stackctl.errors import QueryInvalid, QueryUnsupported, SettingsInvalid
from stackctl.promql.parse import parse

from .template import Template

DEFAULT_INTERVAL_MS: Final = 15_000
"""As `global.evaluation_interval` of the docker runtime's Prometheus."""

_UNITS_MS: Final = {
    "y": 31_536_000_000,
    "w": 604_800_000,
    "d": 86_400_000,
    "h": 3_600_000,
    "m": 60_000,
    "s": 1000,
    "ms": 1,
}
_DURATION: Final = re.compile("".join(rf"(?:(\d+){unit})?" for unit in _UNITS_MS), re.ASCII)
_METRIC: Final = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*", re.ASCII)
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)
_GROUP_KEYS: Final = ("name", "interval", "query_offset", "limit", "labels", "rules")
_RECORDING_KEYS: Final = ("record", "expr", "labels")
_ALERTING_KEYS: Final = ("alert", "expr", "for", "keep_firing_for", "labels", "annotations")


@dataclass(frozen=True)
class RecordingRule:
    """What keeps a query's answer as a series.

    Attributes:
        name: metric name of the result.
        expr: PromQL as the file has it.
        labels: set on the result; an empty value takes the label away.
    """

    name: str
    expr: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class AlertingRule:
    """What is wrong for as long as a query has an answer.

    Attributes:
        name: of the alert.
        expr: PromQL as the file has it.
        hold_ms: how long it is pending before it fires.
        keep_ms: how long it fires after the query's answer went away.
        labels, annotations: templates, filled for each series of the answer.
    """

    name: str
    expr: str
    hold_ms: int = 0
    keep_ms: int = 0
    labels: Mapping[str, Template] = field(default_factory=dict)
    annotations: Mapping[str, Template] = field(default_factory=dict)


Rule: TypeAlias = RecordingRule | AlertingRule


@dataclass(frozen=True)
class RuleGroup:
    """Rules that are evaluated one after the other, at one moment.

    Attributes:
        file: path of its file.
        query_offset_ms: how far in the past the queries look.
        limit: most series or alerts of one rule; 0 for any number.
    """

    name: str
    file: str
    rules: Sequence[Rule]
    interval_ms: int = DEFAULT_INTERVAL_MS
    query_offset_ms: int = 0
    limit: int = 0


def load(directory: Path) -> tuple[RuleGroup, ...]:
    """Read all rule files (`*.yml`) of a directory, in the order of their names.

    Raises:
        SettingsInvalid: a file is not what Prometheus would take; says where and what.
        QueryUnsupported: a rule needs what this engine does not have.
    """
    groups: list[RuleGroup] = []
    for path in sorted(directory.glob("*.yml")):
        groups += load_file(path)
    return tuple(groups)


def load_file(path: Path) -> list[RuleGroup]:
    """Read one rule file. Raises as `load` does."""
    try:
        document = yaml.load(path.read_bytes(), Loader=_StrictLoader)
    except yaml.YAMLError as error:
        raise _wrong(path.name, f"no YAML: {' '.join(str(error).split())}") from error
    content = _mapping(path.name, document or {}, ("groups",))
    groups = [_group(path, one) for one in _list(path.name, content.get("groups"))]
    names = [group.name for group in groups]
    for name in names:
        if names.count(name) > 1:
            raise _wrong(path.name, f"the group {name!r} stands there twice")
    return groups


class _StrictLoader(yaml.SafeLoader):
    """YAML without keys that stand twice, of which the first would be lost without a word."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Read a mapping.

        Raises:
            yaml.constructor.ConstructorError: a key stands twice.
        """
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for at, key in enumerate(keys):
            if key in keys[:at]:
                mark = node.value[at][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands there twice", mark)
        return super().construct_mapping(node, deep)


# --- groups and rules -------------------------------------------------------------------------------------------------
def _group(path: Path, raw: Any) -> RuleGroup:
    content = _mapping(path.name, raw, _GROUP_KEYS)
    name = _text(path.name, content, "name")
    if not name:
        raise _wrong(path.name, "a group has no name")
    where = f"{path.name}, group {name}"
    limit = content.get("limit", 0)
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 0:
        raise _wrong(where, f"limit must be a number, not {limit!r}")
    shared = _labels(where, content.get("labels"))
    return RuleGroup(
        name,
        str(path),
        tuple(_rule(where, one, shared) for one in _list(where, content.get("rules"))),
        _duration_ms(where, content, "interval") or DEFAULT_INTERVAL_MS,
        _duration_ms(where, content, "query_offset"),
        limit,
    )


def _rule(where: str, raw: Any, shared: Mapping[str, str]) -> Rule:
    if not isinstance(raw, dict) or ("record" in raw) == ("alert" in raw):
        raise _wrong(where, "a rule has either record or alert")
    read = _recording if "record" in raw else _alerting
    kind = "record" if "record" in raw else "alert"
    return read(f"{where}, {kind} {raw[kind]}", raw, shared)


def _recording(where: str, raw: Any, shared: Mapping[str, str]) -> RecordingRule:
    content = _mapping(where, raw, _RECORDING_KEYS)
    name = _text(where, content, "record")
    if not _METRIC.fullmatch(name):
        raise _wrong(where, "no metric name")
    return RecordingRule(name, _query(where, content), {**shared, **_labels(where, content.get("labels"))})


def _alerting(where: str, raw: Any, shared: Mapping[str, str]) -> AlertingRule:
    content = _mapping(where, raw, _ALERTING_KEYS)
    name = _text(where, content, "alert")
    if not name:
        raise _wrong(where, "the alert has no name")
    labels = {**shared, **_labels(where, content.get("labels"))}
    annotations = _labels(where, content.get("annotations"))
    return AlertingRule(
        name,
        _query(where, content),
        _duration_ms(where, content, "for"),
        _duration_ms(where, content, "keep_firing_for"),
        _templates(where, labels),
        _templates(where, annotations),
    )


def _query(where: str, content: Mapping[str, Any]) -> str:
    text = _text(where, content, "expr")
    try:
        parse(text)
    except QueryInvalid as error:
        raise _wrong(f"{where}, expr", error.message) from error
    except QueryUnsupported as error:
        raise QueryUnsupported(f"{where}, expr: {error.message}", next_step=error.next_step) from error
    return text


def _templates(where: str, texts: Mapping[str, str]) -> dict[str, Template]:
    found = {}
    for name, text in texts.items():
        try:
            found[name] = Template.parse(text)
        except SettingsInvalid as error:
            raise SettingsInvalid(f"{where}, {name}: {error.message}", next_step=error.next_step) from error
    return found


# --- values -----------------------------------------------------------------------------------------------------------
def _mapping(where: str, raw: Any, known: Sequence[str]) -> Mapping[str, Any]:
    if not isinstance(raw, dict):
        raise _wrong(where, f"expected {', '.join(known)}, not {raw!r}")
    for key in raw:
        if key not in known:
            raise _wrong(where, f"there is no key {key!r}, only {', '.join(known)}")
    return raw


def _list(where: str, raw: Any) -> list[Any]:
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise _wrong(where, f"expected a list, not {raw!r}")
    return raw


def _text(where: str, content: Mapping[str, Any], key: str) -> str:
    """A text; YAML makes numbers of some queries."""
    found = content.get(key)
    if not isinstance(found, str | int | float) or isinstance(found, bool):
        raise _wrong(where, f"{key} must be a text, not {found!r}")
    return str(found)


def _labels(where: str, raw: Any) -> dict[str, str]:
    found = {}
    for name, value in ({} if raw is None else _any_mapping(where, raw)).items():
        if not isinstance(name, str) or not _LABEL.fullmatch(name) or name == "__name__":
            raise _wrong(where, f"{name!r} is no name of a label or annotation")
        found[name] = _text(where, {name: value}, name)
    return found


def _any_mapping(where: str, raw: Any) -> dict[Any, Any]:
    if not isinstance(raw, dict):
        raise _wrong(where, f"expected names and texts, not {raw!r}")
    return raw


def _duration_ms(where: str, content: Mapping[str, Any], key: str) -> int:
    text = _text(where, content, key) if key in content else "0s"
    found = _DURATION.fullmatch(text)
    if not found or not text:
        if text == "0":
            return 0
        raise _wrong(where, f"{key} must be a duration such as 5m, not {text!r}")
    return sum(int(count) * unit for count, unit in zip(found.groups(), _UNITS_MS.values(), strict=True) if count)


def _wrong(where: str, what: str) -> SettingsInvalid:
    return SettingsInvalid(f"rule file {where}: {what}", next_step="Mend the file; promtool check rules explains it.")
