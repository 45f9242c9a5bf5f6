"""The proof that boards work: every query of every panel and variable, run against the live stack."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from stackctl import promql, semconv
from stackctl.boards import queries, scope
from stackctl.boards.queries import Query
from stackctl.boards.render import Rendered
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.errors import StackctlError, StackNotRunning
from stackctl.reports import EmptyPanelReport, QueryProblemReport, VerifyReport

NO_DATA: Final = "no data"


@dataclass(frozen=True)
class EmptyWhenHealthy:
    """A panel that shows what a healthy stack has none of.

    Attributes:
        scenario: the demo scenario that fills it.
    """

    board: str
    panel: str
    scenario: str


EMPTY_WHEN_HEALTHY: Final = (
    EmptyWhenHealthy("quality", "Answers to look at", "hallucinations"),
    EmptyWhenHealthy("rag", "Slow retrievals", "slow"),
    EmptyWhenHealthy("traces", "Failed calls", "errors"),
    EmptyWhenHealthy("traces", "Slow first tokens", "slow"),
    EmptyWhenHealthy("traces", "Calls without a known cost", "unpriced"),
)


@dataclass(frozen=True)
class Window:
    """The time range asked about, seconds since the epoch."""

    start: float
    end: float

    @property
    def seconds(self) -> int:
        """Its length."""
        return round(self.end - self.start)


def verify(
    rendered: Sequence[Rendered],
    prometheus: PrometheusClient,
    tempo: TempoClient,
    window_seconds: int,
    clock: Callable[[], float] = time.time,
) -> VerifyReport:
    """Run every query of the boards over the window that ends now.

    A query is a problem when it fails, when it names a metric that does not exist, or when it finds nothing, unless its
    panel is one that a healthy stack leaves empty.

    Raises:
        StackNotRunning: a server does not answer at all.
    """
    end = clock()
    check = _Check(prometheus, tempo, Window(end - window_seconds, end))
    asked = [(query, check.problem(query, board)) for board in rendered for query in queries.of(board)]
    may_be_empty = {(row.board, row.panel): row.scenario for row in EMPTY_WHEN_HEALTHY}
    empty = [query for query, problem in asked if problem == NO_DATA and (query.board, query.panel) in may_be_empty]
    return VerifyReport(
        boards=len(rendered),
        panels=len({(query.board, query.panel) for query, _ in asked if query.language != "label_values"}),
        queries=len(asked),
        window_seconds=window_seconds,
        problems=tuple(
            QueryProblemReport(query.board, query.panel, query.text, problem)
            for query, problem in asked
            if problem is not None and query not in empty
        ),
        empty=tuple(
            EmptyPanelReport(query.board, query.panel, may_be_empty[query.board, query.panel]) for query in empty
        ),
    )


class _Check:
    """Runs queries against one pair of servers over one window."""

    def __init__(self, prometheus: PrometheusClient, tempo: TempoClient, window: Window) -> None:
        self._prometheus = prometheus
        self._tempo = tempo
        self._window = window
        self._answers: dict[tuple[str, bool], str | None] = {}  # boards share queries: each is asked once
        # A name of ours must come from the catalogue: what an older stack left behind on the server does not count.
        self._known = set(scope.SERIES) | {name for name in prometheus.metric_names() if not _is_ours(name)}

    def problem(self, query: Query, board: Rendered) -> str | None:
        """Return what is wrong with a query, None where it finds data."""
        try:
            text = queries.substituted(query.text, queries.values(board, self._window.seconds))
            if (text, query.instant) not in self._answers:
                self._answers[text, query.instant] = self._asked(query, text)
            return self._answers[text, query.instant]
        except StackNotRunning:
            raise
        except StackctlError as error:
            return error.message

    def _asked(self, query: Query, text: str) -> str | None:
        match query.language:
            case "promql":
                return self._promql(text, instant=query.instant)
            case "traceql":
                return self._traceql(text)
            case "label_values":
                return self._label_values(text)

    def _promql(self, text: str, *, instant: bool) -> str | None:
        unknown = sorted(promql.metric_names(text) - self._known)
        if unknown:
            return f"unknown metric {', '.join(unknown)}"
        return None if any(not math.isnan(value) for value in self._numbers(text, instant)) else NO_DATA

    def _numbers(self, text: str, instant: bool) -> Iterator[float]:
        if instant:
            yield from (sample.value for sample in self._prometheus.instant(text, self._window.end))
            return
        for line in self._prometheus.range(text, self._window.start, self._window.end, queries.SCRAPE_SECONDS):
            yield from (value for _, value in line.points)

    def _traceql(self, text: str) -> str | None:
        return None if self._tempo.search(text, self._window.start, self._window.end, limit=1) else NO_DATA

    def _label_values(self, text: str) -> str | None:
        metric, label = queries.label_values(text)
        if metric not in self._known:
            return f"unknown metric {metric}"
        form = {"match[]": metric, "start": f"{self._window.start:.3f}", "end": f"{self._window.end:.3f}"}
        return None if self._prometheus.get(f"/api/v1/label/{label}/values", form)["data"] else NO_DATA


_OUR_NAMES: Final = tuple(
    value for name, value in vars(semconv).items() if name.startswith(("LLM_", "RAG_")) and isinstance(value, str)
)


def _is_ours(name: str) -> bool:
    return name.startswith(_OUR_NAMES)
