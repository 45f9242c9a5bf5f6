"""Client of the Prometheus HTTP API: https://prometheus.io/docs/prometheus/latest/querying/api/."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from stackctl.clients.wire import TIMEOUT_SECONDS, Wire
from stackctl.errors import NotFound, QueryUnsupported

_SETTLE_SECONDS = 0.5  # twice what the engine takes to notice


@dataclass(frozen=True)
class Sample:
    """One series' value at one time.

    Attributes:
        time: seconds since the epoch.
    """

    labels: dict[str, str]
    value: float
    time: float


@dataclass(frozen=True)
class Line:
    """One series over a range.

    Attributes:
        points: (seconds since the epoch, value), in order of time.
    """

    labels: dict[str, str]
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Exemplar:
    """One measured value with its own labels (the trace id among them), and the series it belongs to.

    Attributes:
        time: seconds since the epoch.
    """

    series: dict[str, str]
    labels: dict[str, str]
    value: float
    time: float


class PrometheusClient(Wire):
    """Queries against one Prometheus endpoint. Errors: see `Wire.get`.

    Args:
        url: base URL, such as http://127.0.0.1:9090.
        token: bearer token, where the endpoint wants one.
        timeout: seconds for one request.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        super().__init__("Prometheus", url, token, timeout)

    def settle(self) -> None:
        """Let stackctl's own engine write what it counted since its last samples: it does so when somebody asks.

        A real Prometheus has what it scraped last, and is not waited for.
        """
        with suppress(NotFound):  # not every server that answers as Prometheus tells what it is
            if self.get("/api/v1/status/buildinfo")["data"].get("application") == "stackctl":
                self.instant("vector(0)")
                time.sleep(_SETTLE_SECONDS)

    def instant(self, query: str, at: float | None = None) -> list[Sample]:
        """Evaluate a query at one time.

        Args:
            at: seconds since the epoch; now if None.

        Raises:
            QueryUnsupported: the result is a string or a range of samples, not numbers at one time.
        """
        form = {"query": query} | ({} if at is None else {"time": _seconds(at)})
        data = self.post("/api/v1/query", form, query)["data"]
        match data["resultType"]:
            case "vector":
                return [
                    Sample(row["metric"], float(row["value"][1]), row["value"][0]) for row in _floats(data, "value")
                ]
            case "scalar":
                time, value = data["result"]
                return [Sample({}, float(value), time)]
            case kind:
                raise QueryUnsupported(
                    f"the query's result is a {kind}, not one value per series",
                    next_step="ask for a vector or a scalar",
                )

    def range(self, query: str, start: float, end: float, step: float) -> list[Line]:
        """Evaluate a query at every step from start to end (seconds since the epoch, both inclusive)."""
        form = {"query": query, "start": _seconds(start), "end": _seconds(end), "step": _seconds(step)}
        data = self.post("/api/v1/query_range", form, query)["data"]
        return [
            Line(row["metric"], tuple((time, float(value)) for time, value in row["values"]))
            for row in _floats(data, "values")
        ]

    def metric_names(self) -> list[str]:
        """Return the name of every metric that has a series."""
        names: list[str] = self.get("/api/v1/label/__name__/values")["data"]
        return names

    def exemplars(self, query: str, start: float, end: float) -> list[Exemplar]:
        """Return the exemplars of the query's series between two times (seconds since the epoch)."""
        form = {"query": query, "start": _seconds(start), "end": _seconds(end)}
        data = self.post("/api/v1/query_exemplars", form, query)["data"] or []
        return [
            Exemplar(series["seriesLabels"], row["labels"], float(row["value"]), row["timestamp"])
            for series in data
            for row in series["exemplars"]
        ]

    def ready(self) -> bool:
        """True when the server says that it is ready to answer queries."""
        return self.answers("/-/ready")


def _seconds(value: float) -> str:
    return f"{value:.3f}"


def _floats(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the result's series, all of which must be of floats.

    Raises:
        QueryUnsupported: a series of native histograms, which none of our reports reads.
    """
    rows: list[dict[str, Any]] = data["result"]
    if any(key not in row for row in rows):
        raise QueryUnsupported(
            "the query's result has native histograms", next_step="take a number out of it: histogram_quantile(...)"
        )
    return rows
