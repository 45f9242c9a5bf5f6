"""What was decoded lately, by its bytes: an application sends the same few resources, scopes and lists for ever."""

from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

# Messages remembered, and the bytes that one may have; senders choose them, so the memory is emptied when full.
_REMEMBERED: Final = 512
_LONGEST: Final = 8 * 1024
T = TypeVar("T")


class Remembered(Generic[T]):
    """What messages hold.

    Args:
        decode: reads those that were not seen lately.
    """

    def __init__(self, decode: Callable[[list[bytes]], list[T]]) -> None:
        self._decode = decode
        self._known: dict[bytes, T] = {}

    def of(self, distinct: list[bytes]) -> list[T]:
        """What each of some messages holds; of many or long ones that are new, none is remembered."""
        found = {raw: self._known[raw] for raw in distinct if raw in self._known}
        if len(found) < len(distinct):
            unseen = [raw for raw in distinct if raw not in found]
            read = dict(zip(unseen, self._decode(unseen), strict=True))
            if few(unseen):
                if len(self._known) + len(read) > _REMEMBERED:
                    self._known.clear()
                self._known |= read
            found |= read
        return [found[raw] for raw in distinct]


def few(distinct: Sequence[bytes]) -> bool:
    """Whether messages are so few and short that they may be remembered."""
    return len(distinct) <= _REMEMBERED and max(map(len, distinct), default=0) <= _LONGEST
