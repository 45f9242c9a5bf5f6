"""Anthropic's own clients, which trace by themselves since the Python client 2 and the TypeScript one 1.

The conventions' keys but for the finish reason, under scope `com.anthropic.sdk.<language>[.<platform>]`, on as soon as
the application has a tracer provider (ANTHROPIC_OPEN_TELEMETRY=false turns it off). A call that was answered has status
OK; a stream that was closed early none, and the input of its first event for usage. Beside an instrumentor of the
client or of LangChain a call has two spans of two scopes, mostly side by side, and nothing in either says so:
`accounting.exclude_scopes` mutes one. A count of tokens and the tool runner have other operations.
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
