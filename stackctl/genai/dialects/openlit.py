"""OpenLIT 1.45: the conventions' keys with additions of its own.

`gen_ai.server.time_to_first_token` is set on calls that are not streams too, where it is the whole duration, so it
is read on streams only. Its cost ignores cached tokens. Where usage is absent its tokens are estimates, and nothing
in the span says so.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import Dialect, Equals, Row, SpanAttr

SCOPE: Final = r"^openlit\."

DIALECT: Final = Dialect(
    name="OpenLIT",
    rows=(
        Row(
            semconv.TIME_TO_FIRST_CHUNK,
            SpanAttr("gen_ai.server.time_to_first_token"),
            when=Equals(SpanAttr(semconv.STREAM), (True,)),
            scope=SCOPE,
        ),
        Row(semconv.SENT_COST_USD, SpanAttr("gen_ai.usage.cost"), scope=SCOPE),
        Row(semconv.USER_ID, SpanAttr("gen_ai.request.user"), scope=SCOPE),
    ),
)
