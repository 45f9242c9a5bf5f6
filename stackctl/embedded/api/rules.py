"""`/api/v1/rules` and `/api/v1/alerts` as Prometheus answers them (web/api/v1/api.go): filters, pages, JSON."""

import datetime
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from stackctl.embedded.rules.alerts import Alert, worst
from stackctl.embedded.rules.group import Group, RuleState
from stackctl.embedded.rules.load import AlertingRule, RecordingRule
from stackctl.embedded.series.index import judge
from stackctl.promql import Labels, Matcher

from .parameters import Parameters, invalid
from .promjson import Json, go_exponent, ordered, seconds

_TYPES: Final = ("", "alert", "record")
# What Go's strconv.ParseBool takes.
_TRUE: Final = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "FALSE", "false", "False"})
_NEVER: Final = "0001-01-01T00:00:00Z"
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


@dataclass(frozen=True)
class _Wanted:
    """Which rules a request asks for."""

    kind: str
    names: frozenset[str]
    groups: frozenset[str]
    files: frozenset[str]
    matchers: Sequence[Sequence[Matcher]]
    with_alerts: bool

    @classmethod
    def read(cls, parameters: Parameters) -> "_Wanted":
        kind = parameters.text("type").lower()
        if kind not in _TYPES:
            raise invalid("type", f'not supported value "{kind}"')
        return cls(
            kind,
            frozenset(parameters.values.get("rule_name[]", ())),
            frozenset(parameters.values.get("rule_group[]", ())),
            frozenset(parameters.values.get("file[]", ())),
            parameters.matchers(required=False),
            not _excludes_alerts(parameters.text("exclude_alerts")),
        )

    def group(self, group: Group) -> bool:
        return _chosen(self.groups, group.group.name) and _chosen(self.files, group.group.file)

    def rule(self, state: RuleState) -> bool:
        rule = state.rule
        kind = "alert" if isinstance(rule, AlertingRule) else "record"
        return self.kind in ("", kind) and _chosen(self.names, rule.name) and self._matched(_labels(state))

    def _matched(self, labels: Labels) -> bool:
        if not self.matchers:
            return True
        return any(all(judge(one)(labels.get(one.name, "")) for one in few) for few in self.matchers)


def _chosen(wanted: frozenset[str], name: str) -> bool:
    return not wanted or name in wanted


def _excludes_alerts(text: str) -> bool:
    if text and text not in _TRUE | _FALSE:
        reason = f'error converting exclude_alerts: strconv.ParseBool: parsing "{text}": invalid syntax'
        raise invalid("exclude_alerts", reason)
    return text in _TRUE


def rules_json(groups: Sequence[Group], parameters: Parameters) -> Json:
    """Return the `data` of `/api/v1/rules`.

    Raises:
        QueryInvalid: a parameter is none.
    """
    wanted = _Wanted.read(parameters)
    most, token = _page(parameters)
    if token and token not in map(_token, groups):
        raise invalid("group_next_token", f"invalid group_next_token '{token}'. were rule groups changed?")
    found: list[Json] = []
    reached = not token
    for group in groups:
        reached = reached or _token(group) == token
        if not reached or not wanted.group(group):
            continue
        rules = [_rule(state, wanted.with_alerts) for state in group.rules if wanted.rule(state)]
        if not rules:
            continue
        if most and len(found) == most:
            return {"groups": found, "groupNextToken": _token(group)}
        found.append(_group(group, rules))
    return {"groups": found}


def alerts_json(groups: Sequence[Group]) -> Json:
    """Return the `data` of `/api/v1/alerts`."""
    states = (state for group in groups for state in group.rules if state.alerts is not None)
    return {"alerts": [_alert(one) for state in states for one in _active(state)]}


def _page(parameters: Parameters) -> tuple[int, str]:
    """How many groups are wanted and with which to begin."""
    text, token = parameters.text("group_limit"), parameters.text("group_next_token")
    if token and not text:
        raise invalid("group_next_token", "group_limit needs to be present in order to paginate over the groups")
    if not text:
        return 0, token
    try:
        most = int(text)
    except ValueError as error:
        reason = f'group_limit needs to be a valid number: strconv.ParseInt: parsing "{text}": invalid syntax'
        raise invalid("group_limit", reason) from error
    if most <= 0:
        raise invalid("group_limit", "group_limit needs to be greater than 0")
    return most, token


def _token(group: Group) -> str:
    """What names a group in a page's `groupNextToken`."""
    return hashlib.sha256(f"{group.group.file};{group.group.name}".encode()).hexdigest()


# --- shapes -----------------------------------------------------------------------------------------------------------
def _group(group: Group, rules: Sequence[Json]) -> Json:
    return {
        "name": group.group.name,
        "file": group.group.file,
        "rules": rules,
        "interval": seconds(group.group.interval_ms),
        "limit": group.group.limit,
        "evaluationTime": group.seconds,
        "lastEvaluation": _moment(group.evaluated_ns),
    }


def _rule(state: RuleState, with_alerts: bool) -> Json:
    shared = {"health": state.health, "evaluationTime": state.seconds, "lastEvaluation": _moment(state.evaluated_ns)}
    if state.last_error:
        shared["lastError"] = state.last_error
    rule = state.rule
    if isinstance(rule, RecordingRule):
        return {"name": rule.name, "query": state.query, "labels": _labels(state), **shared, "type": "recording"}
    active = _active(state)
    return {
        "state": worst(active),
        "name": rule.name,
        "query": state.query,
        "duration": seconds(rule.hold_ms),
        "keepFiringFor": seconds(rule.keep_ms),
        "labels": _labels(state),
        "annotations": ordered({name: text.text for name, text in rule.annotations.items()}),
        "alerts": [_alert(one) for one in active] if with_alerts else None,
        **shared,
        "type": "alerting",
    }


def _active(state: RuleState) -> list[Alert]:
    return [] if state.alerts is None else state.alerts.active()


def _labels(state: RuleState) -> dict[str, str]:
    """A rule's own labels as its file has them."""
    rule = state.rule
    if isinstance(rule, RecordingRule):
        return ordered(rule.labels)
    return ordered({name: text.text for name, text in rule.labels.items()})


def _alert(alert: Alert) -> Json:
    kept = {} if alert.keep_since_ms is None else {"keepFiringSince": _moment(alert.keep_since_ms * 1_000_000)}
    return {
        "labels": ordered(alert.labels),
        "annotations": ordered(alert.annotations),
        "state": alert.state,
        "activeAt": _moment(alert.active_ms * 1_000_000),
        **kept,
        "value": go_exponent(alert.value),
    }


def _moment(at_ns: int | None) -> str:
    """A time as Go writes it in JSON: RFC 3339 with as many digits as there are."""
    if at_ns is None:
        return _NEVER
    whole, rest = divmod(at_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{_EPOCH + datetime.timedelta(seconds=whole):%Y-%m-%dT%H:%M:%S}{fraction}Z"
