"""Functions that remember their answers, for short texts only, and a memory for what is worked out of more than texts.

Senders choose the texts: thousands of a megabyte each, remembered, would fill any memory and never be asked for again.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, Generic, ParamSpec, TypeVar, cast

LONGEST: Final = 256
P = ParamSpec("P")
T = TypeVar("T")
K = TypeVar("K")
V = TypeVar("V")


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


class Memory(Generic[K, V]):
    """What was worked out for keys that senders choose: emptied when full, and nothing takes much of it alone.

    Args:
        room: how much everything in it may take together, in the unit of what is said with each.
    """

    def __init__(self, room: int) -> None:
        self._room, self._taken = room, 0
        self._known: dict[K, V] = {}

    def get(self, key: K) -> V | None:
        """Return what was put there, or None."""
        return self._known.get(key)

    def put(self, key: K, value: V, takes: int) -> None:
        """Remember something, unless it takes more than a sixteenth of the room."""
        if takes > self._room // 16:
            return
        if self._taken + takes > self._room:
            self._known.clear()
            self._taken = 0
        self._known[key] = value
        self._taken += takes
