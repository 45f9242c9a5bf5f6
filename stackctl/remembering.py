"""Functions that remember their answers, for short texts only.

Senders choose the texts: thousands of a megabyte each, remembered, would fill any memory and never be asked for again.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, ParamSpec, TypeVar, cast

LONGEST: Final = 256
P = ParamSpec("P")
T = TypeVar("T")


def remembers(most: int, longest: int = LONGEST) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Return a decorator for a function that depends on nothing but its arguments.

    Args:
        most: answers that are remembered; those not asked for longest go.
        longest: characters; where a text among the arguments has more, the function is called each time.
    """

    def decorate(answer: Callable[P, T]) -> Callable[P, T]:
        known = cast(Callable[P, T], lru_cache(maxsize=most)(answer))

        @wraps(answer)
        def remembered(*args: P.args, **kwargs: P.kwargs) -> T:
            for one in args:
                if isinstance(one, str) and len(one) > longest:
                    return answer(*args, **kwargs)
            return known(*args, **kwargs)

        return remembered

    return decorate
