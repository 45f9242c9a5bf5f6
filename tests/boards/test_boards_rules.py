"""Recording and alert rules: what they name exists, their bounds are the boards', and they fire when they should."""

import re
import subprocess
from pathlib import Path

import pytest

from stackctl import files
from stackctl.boards import limits, policy, render, scope

RULES = files.shipped("provisioning") / "prometheus" / "rules" / "stackctl.yml"
TEXT = RULES.read_text()
BOUNDS = {
    "LlmFirstTokenSlow": limits.FIRST_TOKEN.bad,
    "LlmCallsFail": limits.ERROR_SHARE.bad,
    "LlmCostUnknown": limits.UNCOSTED_SHARE.bad,
    "LlmAnswersHallucinated": limits.HALLUCINATION_SHARE.bad,
}
MINUTES = 100
# Alert -> the series that make it fire: counter names with labels and their rise a minute, for `bad` and for `good`.
CASES = {
    "LlmFirstTokenSlow": (
        {'llm_time_to_first_token_seconds_bucket{le="1"}': 0, 'llm_time_to_first_token_seconds_bucket{le="6"}': 10}
        | {'llm_time_to_first_token_seconds_bucket{le="+Inf"}': 10, "llm_time_to_first_token_seconds_count": 10},
        {'llm_time_to_first_token_seconds_bucket{le="1"}': 10, 'llm_time_to_first_token_seconds_bucket{le="6"}': 10}
        | {'llm_time_to_first_token_seconds_bucket{le="+Inf"}': 10, "llm_time_to_first_token_seconds_count": 10},
    ),
    "LlmCallsFail": (
        {"llm_requests_total": 10, 'llm_requests_total{error_type="timeout"}': 2},
        {"llm_requests_total": 1000, 'llm_requests_total{error_type="timeout"}': 2},
    ),
    "LlmCostUnknown": (
        {'llm_cost_requests_total{cost_status="priced"}': 10, 'llm_cost_requests_total{cost_status="unpriced"}': 10},
        {'llm_cost_requests_total{cost_status="priced"}': 1000, 'llm_cost_requests_total{cost_status="unpriced"}': 1},
    ),
    "LlmAnswersHallucinated": (
        {
            'llm_evaluations_total{gen_ai_evaluation_score_label="hallucinated"}': 5,
            'llm_evaluations_total{gen_ai_evaluation_score_label="grounded"}': 5,
        },
        {
            'llm_evaluations_total{gen_ai_evaluation_score_label="hallucinated"}': 1,
            'llm_evaluations_total{gen_ai_evaluation_score_label="grounded"}': 50,
            'llm_evaluations_total{gen_ai_evaluation_score_label="irrelevant"}': 50,
        },
    ),
}


def test_rules_name_metrics_of_the_catalogue_and_records_of_their_own() -> None:
    """No rule waits for a series that nobody writes."""
    records = set(re.findall(r"- record: (\S+)", TEXT))
    used = set(re.findall(r"\b((?:llm|rag)_\w+)[\[{]", TEXT))
    assert used <= set(scope.SERIES)
    assert set(re.findall(r"\b(service:\w+:\w+)", TEXT)) == records


@pytest.mark.parametrize("alert", BOUNDS)
def test_alerts_fire_at_the_bounds_that_the_boards_paint_red(alert: str) -> None:
    """One number, one home: what is red on a board is what wakes somebody."""
    rule = TEXT.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
    assert f"> {BOUNDS[alert]:g}\n" in rule
    board = re.search(r"dashboard: /d/(\w+)", rule)
    assert board is not None
    assert board[1] in {one.uid for one in render.boards()}


def test_data_sources_have_the_uids_that_boards_ask() -> None:
    """A board finds its data source by uid, an exemplar its trace."""
    text = (files.shipped("provisioning") / "grafana" / "datasources" / "stackctl.yaml").read_text()
    assert set(re.findall(r"^    uid: (\w+)$", text, re.M)) == {policy.PROMETHEUS["uid"], policy.TEMPO["uid"]}
    assert set(re.findall(r"datasourceUid: (\w+)$", text, re.M)) <= {policy.PROMETHEUS["uid"], policy.TEMPO["uid"]}
    assert set(re.findall(r"\b(llm_\w+)\{", text)) <= set(scope.SERIES)


@pytest.mark.realstack
def test_promtool_finds_nothing_to_say(realstack: Path) -> None:
    """The rules load in a real Prometheus, without a lint finding."""
    command = [realstack / "promtool", "check", "rules", "--lint=all", "--lint-fatal", RULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.realstack
@pytest.mark.parametrize("alert", CASES)
@pytest.mark.parametrize("bad", [True, False], ids=["fires", "stays silent"])
def test_alerts_fire_when_they_should(realstack: Path, tmp_path: Path, alert: str, *, bad: bool) -> None:
    """Each alert fires on what it is for, and on nothing else; so do all others stay silent on it."""
    case = CASES[alert][0 if bad else 1]
    series = "".join(
        f"      - {{series: '{_of_a_service(name)}', values: '0+{rise}x{MINUTES}'}}\n" for name, rise in case.items()
    )
    expected = "".join(
        f"      - {{eval_time: {MINUTES}m, alertname: {name}, exp_alerts: []}}\n"
        for name in CASES
        if name != alert or not bad
    )
    fires = f"count(ALERTS{{alertname='{alert}', alertstate='firing'}})"
    sample = "[{labels: '{}', value: 1}]" if bad else "[]"
    (tmp_path / "test.yml").write_text(
        f"rule_files: [{RULES}]\nevaluation_interval: 1m\ntests:\n  - interval: 1m\n    input_series:\n{series}"
        f'    promql_expr_test:\n      - {{expr: "{fires}", eval_time: {MINUTES}m, exp_samples: {sample}}}\n'
        f"    alert_rule_test:\n{expected}"
    )
    command = [realstack / "promtool", "test", "rules", tmp_path / "test.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _of_a_service(name: str) -> str:
    metric, _, labels = name.rstrip("}").partition("{")
    return f'{metric}{{service_name="shop"{", " + labels if labels else ""}}}'
