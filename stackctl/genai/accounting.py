"""Which spans are the leaf inference calls that count, as one condition.

Exactly the calls to a model count. Agents, workflows, tools, retrievals and `fetch_response` (a read of a stored
answer) have other operations; the wrappers that borrow an inference operation are named by their dialects. A call
that failed is a call.
"""

from collections.abc import Iterable

from stackctl import semconv
from stackctl.genai.rows import All, Any, Dialect, Equals, Field, Not, SpanAttr, When


def counts(dialects: Iterable[Dialect], exclude_scopes: Iterable[str] = ()) -> When:
    """Return the condition that holds for exactly the spans that are accounted.

    Args:
        dialects: their wrappers are left out.
        exclude_scopes: names of instrumentation scopes that the user has muted.
    """
    wrappers = tuple(wrapper.when for dialect in dialects for wrapper in dialect.wrappers)
    muted = tuple(exclude_scopes)
    left_out: tuple[When, ...] = (
        # `stackctl run` marks an inference span inside another: two instrumentors over one call.
        Equals(SpanAttr(semconv.NESTED), (True,)),
        *((Equals(Field("scope"), muted),) if muted else ()),
        *wrappers,
    )
    return All((Equals(SpanAttr(semconv.OPERATION), semconv.INFERENCE_OPERATIONS), Not(Any(left_out))))
