"""Mistral's own client, which sends spans by itself where it is told to: the conventions' keys.

Seen of mistralai 3.7.0 (`mistralai/extra/observability/otel.py`). It says of no call that it is a stream, but its path
does; the first token is not told. A stream that was refused has no status, error or HTTP status, where every answer has
the latter. Calls of its Conversations API have their usage on the span of the agent, none on those of its turns.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import All, Const, Dialect, Equals, Extract, Field, Has, Matches, Not, Row, SpanAttr

_SCOPE: Final = r"^mistralai_sdk_tracer$"
_URL: Final = SpanAttr("http.url")
_OPERATION: Final = SpanAttr(semconv.OPERATION)
_ADDRESS: Final = SpanAttr(semconv.SERVER_ADDRESS)
_REFUSED: Final = All((Not(Has(SpanAttr("http.response.status_code"))), Not(Equals(Field("status"), (2,)))))

DIALECT: Final = Dialect(
    name="Mistral's client",
    rows=(
        Row(semconv.STREAM, _URL, Const(True), Matches(_URL, "#stream$"), _SCOPE),
        Row(semconv.SERVER_ADDRESS, _ADDRESS, Extract(r"^([^:]+):[0-9]+$"), scope=_SCOPE, why="it repeats the port"),
        Row(semconv.ERROR_TYPE, _OPERATION, Const("_OTHER"), _REFUSED, _SCOPE),
    ),
)
