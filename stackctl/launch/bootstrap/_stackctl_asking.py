"""`stackctl run --ask-usage`: servers are asked for the tokens of the openai client's streams.

Stands alone as `_stackctl_streams.py` does, whose inner layer it is: it adds `stream_options.include_usage` to requests
that do not have it, so that the instrumentation sees the usage. A server that refuses is asked again without, unseen by
the instrumentation, and not asked a second time about that model.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

if False:  # for the type checker; costs an application nothing
    from collections.abc import Callable
    from typing import Any

_streams = import_module("_stackctl_streams")

# Statuses of servers that do not know a field. Not those that a request without it would get as well (401, 403, 429 and
# the like): asking again there does harm.
_REFUSALS = (400, 404, 406, 415, 422, 500, 501)
# Base URL and model, since routers lead each model elsewhere: who did not take the field, and who has taken it.
_refusing: set[tuple[str, str]] = set()
_taking: set[tuple[str, str]] = set()


def ask_inside() -> None:
    """Lay the inner layer around the client; the instrumentation must come after it."""
    _streams.wrap_clients(_ask, _ask_async, only_asked=True)


def _with_usage(kwargs: Mapping[str, Any], server: tuple[str, str]) -> dict[str, Any] | None:
    """Return a request's arguments with the wish for usage; None where it must stay as it is."""
    call, extra = _streams.under_way.get(), kwargs.get("extra_body")
    # The client lays the keys of extra_body over those of the other arguments.
    place = extra if isinstance(extra, Mapping) and "stream_options" in extra else kwargs
    options = place.get("stream_options")
    given = options if isinstance(options, dict) else {}
    if call is None or server in _refusing or "include_usage" in given:
        return None
    if options is not None and not given and type(options).__name__ not in ("Omit", "NotGiven", "dict"):
        return None
    asking = {**place, "stream_options": {**given, "include_usage": True}}
    return asking if place is kwargs else {**kwargs, "extra_body": asking}


def _named(error: BaseException) -> bool:
    """Tell whether a server's error speaks of the wish itself."""
    return any(word in f"{error} {getattr(error, 'body', '')}" for word in ("stream_options", "include_usage"))


def _may_refuse(error: BaseException, server: tuple[str, str]) -> bool:
    """Tell whether a server may have refused the wish, with or without a word of it."""
    return getattr(error, "status_code", None) in _REFUSALS and (_named(error) or server not in _taking)


def _server(instance: Any, kwargs: Mapping[str, Any]) -> tuple[str, str]:
    return str(getattr(getattr(instance, "_client", None), "base_url", "")), str(kwargs.get("model"))


def _ask(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    server = _server(instance, kwargs)
    asking = _with_usage(kwargs, server)
    if asking is None:
        return wrapped(*args, **kwargs)
    try:
        result = wrapped(*args, **asking)
    except Exception as error:  # of any HTTP library; all but one kind go on as they came
        if not _may_refuse(error, server):
            raise
        refusal = error
    else:
        _mark_asked(server)
        return result
    try:
        result = wrapped(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - one of the two goes on
        raise _of_two(refusal, error, server) from None
    _refusing.add(server)
    return result


async def _ask_async(wrapped: Callable[..., Any], instance: Any, args: Any, kwargs: Any) -> Any:
    server = _server(instance, kwargs)
    asking = _with_usage(kwargs, server)
    if asking is None:
        return await wrapped(*args, **kwargs)
    try:
        result = await wrapped(*args, **asking)
    except Exception as error:  # as above
        if not _may_refuse(error, server):
            raise
        refusal = error
    else:
        _mark_asked(server)
        return result
    try:
        result = await wrapped(*args, **kwargs)
    except Exception as error:  # noqa: BLE001 - one of the two goes on
        raise _of_two(refusal, error, server) from None
    _refusing.add(server)
    return result


def _of_two(first: Exception, second: Exception, server: tuple[str, str]) -> Exception:
    """Return which error of a request with the wish and of the same without it is the application's.

    The first, unless it speaks of a field that the application did not send.
    """
    if not _named(first):
        return first
    _refusing.add(server)
    return second


def _mark_asked(server: tuple[str, str]) -> None:
    _taking.add(server)
    call = _streams.under_way.get()
    if call is not None:
        call.asked = True
