"""Client of the Tempo HTTP API: https://grafana.com/docs/tempo/latest/api_docs/."""

import re
from typing import Any

from stackctl.clients import traces
from stackctl.clients.traces import Trace, TraceSummary
from stackctl.clients.wire import TIMEOUT_SECONDS, Wire
from stackctl.errors import Misuse, NotFound

_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")


class TempoClient(Wire):
    """Queries against one Tempo endpoint. Errors: see `Wire.get`.

    Args:
        url: base URL, such as http://127.0.0.1:3200.
        token: bearer token, where the endpoint wants one.
        timeout: seconds for one request.
    """

    def __init__(self, url: str, token: str | None = None, timeout: float = TIMEOUT_SECONDS) -> None:
        super().__init__("Tempo", url, token, timeout)

    def trace(self, trace_id: str) -> Trace:
        """Return every stored span of a trace.

        Args:
            trace_id: up to 32 hex digits; shorter ids are padded with zeros on the left, as Tempo does.

        Raises:
            Misuse: the id is not hexadecimal.
            NotFound: no span of that trace is stored.
        """
        if not _TRACE_ID.fullmatch(trace_id):
            raise Misuse(
                f"{trace_id!r} is no trace id: up to 32 hexadecimal digits",
                next_step="list traces: stackctl traces list",
            )
        padded = trace_id.lower().zfill(32)
        missing = NotFound(f"no trace {padded} is stored", next_step="list what there is: stackctl traces list")
        try:
            found = traces.trace(self.get(f"/api/traces/{padded}"))
        except NotFound as error:
            raise missing from error
        if found is None:
            raise missing
        return found

    def search(
        self,
        q: str | None = None,
        start: float | None = None,
        end: float | None = None,
        limit: int = 20,
        spans_per_spanset: int = 3,
    ) -> list[TraceSummary]:
        """Return the newest traces that a TraceQL query matches.

        Args:
            q: TraceQL; every trace if None.
            start: seconds since the epoch, as `end`; the server's own range if None.
            limit: at most so many traces.
            spans_per_spanset: at most so many matched spans of each.
        """
        # `{ true }` would do for every server; `{}` is what Grafana sends.
        text = q if q is not None else "{}"
        params = {"q": text, "limit": str(limit), "spss": str(spans_per_spanset)}
        if start is not None:
            params["start"] = str(int(start))
        if end is not None:
            params["end"] = str(-int(-end // 1))  # up: what happened within this second is meant too
        answer = self.get("/api/search", params, query=text)
        return [traces.summary(row) for row in answer.get("traces") or ()]

    def tag_values(self, tag: str) -> list[Any]:
        """Return the values that an attribute has, by its scoped name (`span.gen_ai.request.model`)."""
        answer = self.get(f"/api/v2/search/tag/{tag}/values")
        return [row["value"] for row in answer.get("tagValues") or ()]

    def ready(self) -> bool:
        """True when the server says that it is ready to answer queries."""
        return self.answers("/ready")
