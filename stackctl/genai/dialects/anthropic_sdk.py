"""Anthropic's own client, which sends spans by itself since 2.x: the conventions' newest keys, the input whole.

Seen of anthropic 2.14.0 (`anthropic/_tracing.py`). Its finish reason has a key of its own, and only a whole answer has
one; of a stream that broke it gives the usage of the first event, without output. Beside an instrumentation of the
client or of LangChain a call has two spans of two scopes, mostly side by side: `accounting.exclude_scopes` mutes one,
and so does ANTHROPIC_OPEN_TELEMETRY=false in the application.
"""

from typing import Final

from stackctl import semconv
from stackctl.genai.rows import Dialect, JsonList, Row, SpanAttr

SCOPE: Final = r"^com\.anthropic\.sdk\."

DIALECT: Final = Dialect(
    name="Anthropic's client",
    rows=(Row(semconv.FINISH_REASONS, SpanAttr("anthropic.message.stop_reason"), JsonList(), scope=SCOPE),),
    content=(r"anthropic\.tool_result\.content",),
)
