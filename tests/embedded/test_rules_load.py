"""Rule files and alert texts: read strictly, refused with their place, filled in as Go would."""

import math
from pathlib import Path

import pytest

from stackctl.embedded.rules.load import AlertingRule, RecordingRule, load, load_file
from stackctl.embedded.rules.spelling import canonical
from stackctl.embedded.rules.template import Template
from stackctl.errors import QueryUnsupported, SettingsInvalid
from stackctl.files import shipped

ALERT = "groups: [{name: g, rules: [{alert: A, expr: up == 0, %s}]}]"


def written(directory: Path, text: str) -> Path:
    path = directory / "some.yml"
    path.write_text(text)
    return path


def test_the_shipped_rules_are_understood() -> None:
    """Every rule that the docker runtime's Prometheus gets is one that this engine evaluates."""
    groups = load(shipped("provisioning") / "prometheus" / "rules")
    assert [group.name for group in groups] == ["stackctl-recording", "stackctl-alerts"]
    assert [group.interval_ms for group in groups] == [30_000, 15_000]
    assert {type(rule) for rule in groups[0].rules} == {RecordingRule}
    slow = groups[1].rules[0]
    assert isinstance(slow, AlertingRule)
    assert (slow.name, slow.hold_ms, slow.labels["severity"].text) == ("LlmFirstTokenSlow", 600_000, "warning")
    assert slow.annotations["summary"].render({"service_name": "shop"}, 75) == "shop: first tokens take 1m 15s (p95)"


def test_all_that_a_group_may_say_is_read(tmp_path: Path) -> None:
    """Interval, offset, limit and labels of a group, and both durations of an alert."""
    path = written(
        tmp_path,
        """
        groups:
          - name: g
            interval: 1m30s
            query_offset: 500ms
            limit: 7
            labels: {team: a, tier: "1"}
            rules:
              - {record: "a:b", expr: 1, labels: {team: b}}
              - {alert: A, expr: up, for: 1d, keep_firing_for: 2w}
        """,
    )
    (group,) = load_file(path)
    assert (group.interval_ms, group.query_offset_ms, group.limit, group.file) == (90_000, 500, 7, str(path))
    recording, alerting = group.rules
    assert isinstance(recording, RecordingRule)
    assert isinstance(alerting, AlertingRule)
    assert (recording.expr, recording.labels) == ("1", {"team": "b", "tier": "1"})
    assert (alerting.hold_ms, alerting.keep_ms) == (86_400_000, 14 * 86_400_000)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("groups: [", "no YAML"),
        ("groups: 5", "list"),
        ("rules: []", "'rules'"),
        ("groups: []\ngroups: []", "'groups' stands there twice"),
        ("groups: [{rules: []}]", "name must be a text"),
        ("groups: [{name: g, rulez: []}]", "'rulez'"),
        ("groups: [{name: g}, {name: g}]", "'g' stands there twice"),
        ("groups: [{name: g, interval: fast}]", "interval"),
        ("groups: [{name: g, limit: -1}]", "limit"),
        ("groups: [{name: g, rules: [{expr: up}]}]", "record or alert"),
        ("groups: [{name: g, rules: [{record: a, alert: b, expr: up}]}]", "record or alert"),
        ("groups: [{name: g, rules: [{record: a-b, expr: up}]}]", "no metric name"),
        ("groups: [{name: g, rules: [{record: a}]}]", "expr must be a text"),
        ("groups: [{name: g, rules: [{record: a, expr: 'sum('}]}]", "record a, expr"),
        ("groups: [{name: g, rules: [{record: a, expr: up, for: 5m}]}]", "'for'"),
        ("groups: [{name: g, rules: [{record: a, expr: up, labels: {__name__: x}}]}]", "__name__"),
        (ALERT % "for: 5 minutes", "for"),
        (ALERT % "labels: {a-b: c}", "'a-b'"),
        (ALERT % "annotations: {s: [1]}", "s must be a text"),
        (ALERT % "annotations: {s: '{{ query \"up\" }}'}", "alert A, s: unsupported"),
        (ALERT % "annotations: {s: '{{ $value | printf \"%.2f\" }}'}", 'the function printf "%.2f"'),
        (ALERT % "annotations: {s: '{{ if $value }}'}", "if $value"),
        (ALERT % "annotations: {s: '{{- $value }}'}", "trim markers"),
        (ALERT % "annotations: {s: '{{ $value'}", "not closed"),
        (ALERT % "annotations: {s: '{{ $externalLabels.a }}'}", "$externalLabels.a"),
    ],
)
def test_what_is_no_rule_file_is_refused_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    """A misspelt key or an unknown template function is an error at the start, never a rule that does nothing."""
    with pytest.raises(SettingsInvalid) as caught:
        load_file(written(tmp_path, text))
    assert said in caught.value.message
    assert "some.yml" in caught.value.message


def test_a_query_beyond_this_engine_is_refused_by_name(tmp_path: Path) -> None:
    """Valid PromQL that is not built is told apart from a mistake."""
    with pytest.raises(QueryUnsupported, match="record a, expr: unsupported"):
        load_file(written(tmp_path, "groups: [{name: g, rules: [{record: a, expr: 'a </ b'}]}]"))


@pytest.mark.parametrize(
    ("text", "value", "filled"),
    [
        ("{{ $labels.job }}/{{$labels.none}}: {{ .Labels.job }}", 0, "shop/: shop"),
        ("{{ $value }} {{ .Value }}", 0.25, "0.25 0.25"),
        ("{{ $value }}", 1e20, "100000000000000000000"),
        ("{{ $value }}", 1e21, "1e+21"),
        ("{{ $value }}", 1e-5, "1e-05"),
        ("{{ $value }}", 12, "12"),
        ("{{ $value }}", math.inf, "+Inf"),
        ("{{ $value | humanize }}", 123456, "123.5k"),
        ("{{ $value | humanize }}", 0.00123, "1.23m"),
        ("{{ $value | humanize1024 }}", 2048, "2ki"),
        ("{{ $value | humanizeDuration }}", 0.0123, "12.3ms"),
        ("{{ $value | humanizeDuration }}", 3.5, "3.5s"),
        ("{{ $value | humanizeDuration }}", 90061, "1d 1h 1m 1s"),
        ("{{ $value | humanizePercentage }}", 0.1234567, "12.35%"),
        ("{{ $value | humanizeTimestamp }}", 1435065584.128, "2015-06-23 13:19:44.128 +0000 UTC"),
        ("{{ $labels.number | humanize }}", 0, "1.5k"),
        (
            "{{ $labels.job | humanize }}",
            0,
            '<error expanding template: strconv.ParseFloat: parsing "shop": invalid syntax>',
        ),
        ("no braces } here {", 0, "no braces } here {"),
    ],
)
def test_templates_are_filled_as_go_does(text: str, value: float, filled: str) -> None:
    """Numbers and functions look as Prometheus writes them; what cannot be formatted is said in the text."""
    assert Template.parse(text).render({"job": "shop", "number": "1500"}, value) == filled


@pytest.mark.parametrize(
    ("written", "spelt"),
    [
        (
            'sum  by(a)(rate(x{b="c  d",\n e=~"f"}[5m])or 0*-y)\n  # why\n/ on(a) group_left(b) z offset 5m',
            'sum by (a) (rate(x{b="c  d",e=~"f"}[5m]) or 0 * -y) / on (a) group_left (b) z offset 5m',
        ),
        ("x{a='b\\'\"c'} > 1e3", 'x{a="b\'\\"c"} > 1000'),
        ("x{a=`b\\d`} ^ .5", 'x{a="b\\\\d"} ^ 0.5'),
        ("-(a) + {b='c'}", '-(a) + {b="c"}'),
        ("max_over_time( x[ 1h : 5m ] @ end() )", "max_over_time(x[1h:5m] @ end())"),
    ],
)
def test_queries_are_spelt_as_prometheus_does(written: str, spelt: str) -> None:
    """The API shows a rule's query in one line, whatever the file's line breaks and quotes."""
    assert canonical(written) == spelt
