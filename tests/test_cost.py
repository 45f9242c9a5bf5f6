"""The cost report over real query servers: sums, coverage, cuts from metrics and from spans, and what is refused."""

import io
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from span_store import BASE_NS, Given, served, write_store
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stackctl import cost, semconv
from stackctl.cli import render_cost
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.embedded.api.prometheus import PrometheusApi
from stackctl.embedded.api.tempo import app as tempo_app
from stackctl.embedded.series.reader import Chosen, any_number
from stackctl.errors import Misuse, QueryUnsupported
from stackctl.promql import Matcher, Series
from stackctl.reports import CostReport
from stackctl.stack import EngineConfig

NOW = BASE_NS // 10**9 + 600


@dataclass(frozen=True)
class Counters:
    """Counters by labels, each 0 at first and then its value: what the query API reads from."""

    values: Mapping[tuple[tuple[str, str], ...], float]

    def select(
        self, matchers: Sequence[Matcher], start_ms: int, end_ms: int, chosen: Chosen = any_number
    ) -> list[Series]:
        name = next(matcher.value for matcher in matchers if matcher.name == "__name__")
        times = np.array([(NOW - 300) * 1000, (NOW - 60) * 1000], dtype=np.int64)
        found = [
            Series(dict(labels), times, np.array([0.0, value]))
            for labels, value in self.values.items()
            if ("__name__", name) in labels
        ]
        chosen(len(found))
        return found

    def touch_wanted(self) -> None:
        """Nothing is waited for: the counters stand still."""


def counter(name: str, value: float, **labels: str) -> tuple[tuple[tuple[str, str], ...], float]:
    return (("__name__", name), *labels.items()), value


def calls(model: str, service: str, status: str, count: int, usd: float = 0, tokens: int = 0) -> list:
    """The counters of some calls of one model."""
    own = {semconv.LABEL_REQUEST_MODEL: model, semconv.LABEL_SERVICE: service}
    rows = [counter(semconv.LLM_COST_REQUESTS, count, **own, cost_status=status)]
    if tokens:
        rows.append(counter(semconv.LLM_TOKENS, tokens, **own, gen_ai_token_type="input"))
        rows.append(counter(semconv.LLM_TOKENS, tokens / 10, **own, gen_ai_token_type="output"))
    if usd:
        rows.append(counter(semconv.LLM_COST, usd * 0.7, **own, gen_ai_token_type="input"))
        rows.append(counter(semconv.LLM_COST, usd * 0.3, **own, gen_ai_token_type="output"))
    return rows


SHOP = dict(
    [
        *calls("small", "shop", "priced", 7, 0.0007, 700),
        *calls("large", "shop", "priced", 2, 0.03, 100),
        *calls("large", "desk", "no_usage", 1),
        *calls("ours", "desk", "unpriced", 4, 0, 40),
    ]
)


def without_anchored(inner: ASGIApp) -> ASGIApp:
    """A Prometheus that does not know `anchored`, as one without the feature flag."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()  # these forms come in one piece
        if b"anchored" in message["body"]:
            refusal = b'{"status":"error","errorType":"bad_data","error":"1:2: parse error"}'
            await Response(refusal, 400)(scope, receive, send)
            return

        async def replayed() -> Message:
            return message

        await inner(scope, replayed, send)

    return app


@contextmanager
def prometheus(values: Mapping, wrap=lambda app: app) -> Iterator[PrometheusClient]:
    with served(wrap(PrometheusApi(Counters(values)).app())) as url, PrometheusClient(url) as client:
        yield client


def test_by_model_with_coverage() -> None:
    """Costs by model add up to the total, most expensive first, and calls without a price are counted beside them."""
    with prometheus(SHOP) as client:
        report = cost.cost(client, None, ["model"], 3600, NOW)
    assert [(group.labels["model"], group.cost_usd, group.calls) for group in report.groups] == [
        ("large", Decimal("0.03"), 3),
        ("small", Decimal("0.0007"), 7),
        ("ours", None, 4),
    ]
    total = report.total
    assert (total.calls, total.priced, total.unpriced, total.no_usage) == (14, 9, 4, 1)
    assert (total.cost_usd, total.input_tokens, total.output_tokens) == (Decimal("0.0307"), 840, 84)
    assert report.source == "metrics (exact)"


def test_by_several_labels_and_by_none() -> None:
    """Several dimensions make one group for each combination; none gives the total alone."""
    with prometheus(SHOP) as client:
        two = cost.cost(client, None, ["service", "model"], 3600, NOW)
        assert {(g.labels["service"], g.labels["model"]): g.calls for g in two.groups} == {
            ("shop", "small"): 7,
            ("shop", "large"): 2,
            ("desk", "large"): 1,
            ("desk", "ours"): 4,
        }
        alone = cost.cost(client, None, [], 3600, NOW)
    assert alone.groups == ()
    assert alone.total == two.total


def test_nothing_priced_is_unknown_not_nothing() -> None:
    """Without a priced call the cost is unknown, with and without calls."""
    for values in ({}, dict(calls("ours", "desk", "unpriced", 4))):
        with prometheus(values) as client:
            assert cost.cost(client, None, ["model"], 3600, NOW).total.cost_usd is None


def test_a_prometheus_without_the_flag_is_said() -> None:
    """Where `anchored` is unknown plain `increase` is used, and the source says that it extrapolates."""
    with prometheus(SHOP, without_anchored) as client:
        report = cost.cost(client, None, ["model"], 3600, NOW)
    assert "extrapolated" in report.source
    assert report.total.calls >= 14


def test_unknown_dimensions_are_refused() -> None:
    """A word that names no dimension is wrong usage, and the next step lists those that there are."""
    with pytest.raises(Misuse) as caught:
        cost.dimensions(["model", "moon"])
    assert "'moon'" in caught.value.message
    assert "conversation" in caught.value.next_step


def span(number: int, user: str | None, usd: float | None) -> Given:
    attributes = {semconv.ACCOUNTED: True, semconv.INPUT_TOKENS: 100, semconv.OUTPUT_TOKENS: 10}
    status = (
        {semconv.COST_STATUS: "no_usage"} if usd is None else {semconv.COST_STATUS: "priced", semconv.COST_USD: usd}
    )
    who = {} if user is None else {semconv.USER_ID: user}
    return Given(number, number, 0, "chat", number, attributes=attributes | status | who)


@pytest.fixture
def tempo(tmp_path: Path) -> Iterator[TempoClient]:
    spans = [span(1, "ann", 0.1), span(2, "ann", 0.2), span(3, "bob", None), span(4, None, 0.4)]
    write_store(tmp_path, hot=[*spans, Given(5, 5, 0, "not a call", 5, attributes={semconv.USER_ID: "ann"})])
    with ExitStack() as stack:
        yield stack.enter_context(TempoClient(stack.enter_context(served(tempo_app(EngineConfig(str(tmp_path)))))))


def test_by_user_from_stored_spans(tempo: TempoClient) -> None:
    """What metrics do not know is added up from the accounted spans, exactly, and the source says so."""
    counted = dict([*calls("m", "s", "priced", 3, 0.7), *calls("m", "s", "no_usage", 1)])
    with prometheus(counted) as client:
        report = cost.cost(client, tempo, ["user"], 3600, NOW)
    assert [(group.labels["user"], group.cost_usd, group.calls) for group in report.groups] == [
        ("", Decimal("0.4"), 1),
        ("ann", Decimal("0.3"), 2),
        ("bob", None, 1),
    ]
    assert report.total.cost_usd == Decimal("0.7")
    assert report.source == "stored spans"


def test_calls_that_are_not_stored_are_told(tempo: TempoClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few counted calls may be missing at the edges of a window: they are told beside the sum, not passed over."""
    with prometheus(dict(calls("m", "s", "priced", 6, 0.7))) as client:
        report = cost.cost(client, tempo, ["user"], 3600, NOW)
        whole = cost.cost(client, tempo, ["model"], 3600, NOW)
    assert (report.total.calls, report.not_stored, whole.not_stored) == (4, 2, 0)
    assert "in no sum: 2 more that metrics counted" in written(report, monkeypatch, 160)
    assert "in no sum" not in written(whole, monkeypatch, 160)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
def test_names_and_money_stay_whole_where_the_terminal_is_narrow(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts are left out instead; nothing is wider than the terminal."""
    spend = dict(calls("gpt-4o-mini-2024", "checkout", "priced", 123_456, 1.316642)) | dict(
        calls("claude-sonnet-4-5", "search", "unpriced", 7)
    )
    with prometheus(spend) as client:
        text = written(cost.cost(client, None, ["model", "service"], 3600, NOW), monkeypatch, width)
    assert "1.316642" in text
    assert all(part in text.replace("\n", "") for part in ("claude", "gpt-4o", "search")), text
    assert max(map(len, text.splitlines()[:8])) <= width
    assert "…" not in text
    assert ("tokens out" in text) == (width >= 160)
    assert "7 unpriced" in " ".join(text.split())


def written(report: CostReport, monkeypatch: pytest.MonkeyPatch, width: int) -> str:
    out = io.StringIO()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setattr("sys.stdout", out)
    render_cost.cost(report)
    return out.getvalue()


def test_a_cut_from_spans_that_are_not_all_stored_is_refused(tempo: TempoClient) -> None:
    """Where more calls were counted than are stored (sampling, retention) the cut is refused with both numbers."""
    with prometheus(dict(calls("m", "s", "priced", 40, 4.0))) as client, pytest.raises(QueryUnsupported) as caught:
        cost.cost(client, tempo, ["user"], 3600, NOW)
    assert "only 4 of 40 counted calls" in caught.value.message
