"""`/api/v1/rules` and `/api/v1/alerts`: the real Prometheus' answers, filters and pages; the process's own rules."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from rule_runs import Run
from starlette.testclient import TestClient

from stackctl.embedded.api.prometheus import PrometheusApi
from tests.realstack import RealPrometheus, prometheus

PLACES = ("a", "b")
RULES = """
groups:
  - name: first
    interval: 1s
    limit: 5
    rules:
      - {record: "place:heat:sum", expr: "sum  by(place)( heat{place=~'a|b', zone!=''} )", labels: {unit: K}}
      - {record: "bad", expr: "'text'"}
      - {record: "share", expr: "heat / on(place) group_left() place:heat:sum > bool 0.5 * -1"}
  - name: then
    interval: 1s
    rules:
      - {alert: Now, expr: "heat > 1", labels: {level: "{{ $labels.zone }}"}, annotations: {s: "{{ $value }} in {{ $labels.place }}"}}
      - {alert: Waits, expr: "heat", for: 1h30m, labels: {level: page}}
      - {alert: Keeps, expr: "(heat > 1) unless on() vector(time()) > UNTIL", keep_firing_for: 1h}
      - {alert: Quiet, expr: "heat > 1e3 and heat offset 5m", annotations: {d: why}}
"""  # noqa: E501
ASKED = (
    "rules",
    "alerts",
    "rules?type=alert",
    "rules?type=record",
    "rules?type=Alert",
    "rules?rule_name[]=Now&rule_name[]=bad",
    "rules?rule_group[]=then",
    "rules?rule_group[]=none",
    "rules?file[]=nowhere.yml",
    'rules?match[]={level="page"}',
    'rules?match[]={unit=~".%2B"}&match[]={level="page"}',
    "rules?exclude_alerts=true",
    "rules?exclude_alerts=0",
    "rules?group_limit=1",
    "rules?group_limit=2",
)
REFUSED = (
    "rules?type=all",
    "rules?exclude_alerts=maybe",
    "rules?match[]={",
    "rules?group_limit=0",
    "rules?group_limit=x",
    "rules?group_next_token=abc",
    "rules?group_limit=1&group_next_token=abc",
)
TIMES = frozenset({"evaluationTime", "lastEvaluation", "activeAt", "keepFiringSince"})


def without_times(answer: Any) -> Any:
    """The answer with each time replaced by the type of its text, and alerts in one order."""
    if isinstance(answer, dict):
        return {key: type(value) if key in TIMES else without_times(value) for key, value in answer.items()}
    if isinstance(answer, list):
        return sorted((without_times(one) for one in answer), key=lambda one: str(sorted(one.items(), key=str)))
    return answer


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Three evaluations, a second apart, ending half a minute ago; `Keeps` has no answer at the last one."""
    now = int(time.time()) * 1000
    run = Run(tmp_path_factory.mktemp("ours"), RULES.replace("UNTIL", str(now / 1000 + 4)), now - 30_000)
    for place, value in zip(PLACES, (2.5, 1.0), strict=True):
        run.feed("heat", value, {"place": place, "zone": f"of {place}"})
    run.step(1)
    run.step(1)
    run.now = now + 5000
    run.evaluate()
    yield run
    run.close()


@pytest.fixture(scope="module")
def api(run: Run) -> TestClient:
    """The application outside of its lifespan: nothing is evaluated in the background."""
    return TestClient(PrometheusApi(run.reader, lambda: run.now, run.rules).app(), base_url="http://127.0.0.1")


@pytest.fixture(scope="module")
def real(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealPrometheus]:
    """The real one over the same sample and the same file, once each alert is in its state."""
    at = run.now / 1000 - 40
    samples = "".join(
        f'heat{{place="{place}",zone="of {place}"}} {value} {at}\n'
        for place, value in zip(PLACES, (2.5, 1.0), strict=True)
    )
    settings = f"global: {{evaluation_interval: 1s}}\nrule_files: ['{run.file}']\n"
    with prometheus(tmp_path_factory.mktemp("real"), samples + "# EOF\n", settings=settings) as running:
        deadline = time.monotonic() + 30
        while "keepFiringSince" not in running.http.get(f"{running.url}/api/v1/rules").text:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        yield running


@pytest.mark.realstack
@pytest.mark.parametrize("asked", ASKED)
def test_answers_are_those_of_the_real_prometheus(api: TestClient, real: RealPrometheus, asked: str) -> None:
    """Same rules, same samples, the same JSON but for times: Grafana's alert list cannot tell which one answers."""
    theirs = real.http.get(f"{real.url}/api/v1/{asked}")
    ours = api.get(f"/api/v1/{asked}")
    assert ours.status_code == theirs.status_code == 200, ours.text
    assert without_times(ours.json()) == without_times(theirs.json())


@pytest.mark.realstack
@pytest.mark.parametrize("asked", REFUSED)
def test_refusals_are_those_of_the_real_prometheus(api: TestClient, real: RealPrometheus, asked: str) -> None:
    """The same status, type and words."""
    theirs = real.http.get(f"{real.url}/api/v1/{asked}")
    ours = api.get(f"/api/v1/{asked}")
    assert ours.status_code == theirs.status_code == 400
    if "match" not in asked:  # a selector's parse error has words of its own
        assert ours.json() == theirs.json()


def test_pages_of_groups_join_to_all_of_them(api: TestClient) -> None:
    """The token of a page begins the next one."""
    whole = api.get("/api/v1/rules").json()["data"]["groups"]
    first = api.get("/api/v1/rules?group_limit=1").json()["data"]
    rest = api.get(f"/api/v1/rules?group_limit=1&group_next_token={first['groupNextToken']}").json()["data"]
    assert "groupNextToken" not in rest
    assert first["groups"] + rest["groups"] == whole
    assert [group["name"] for group in whole] == ["first", "then"]


def test_times_are_rfc_3339(api: TestClient, run: Run) -> None:
    """An alert says since when, in the form that Go and Grafana read."""
    (alert,) = [one for one in api.get("/api/v1/alerts").json()["data"]["alerts"] if "keepFiringSince" in one]
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(run.now / 1000))
    assert alert["keepFiringSince"] == at
    assert alert["activeAt"] < at
    assert alert["value"] == "2.5e+00"
    assert api.get("/api/v1/rules").json()["data"]["groups"][0]["lastEvaluation"] == at
