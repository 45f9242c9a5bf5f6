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

    def __init__(self, decode: Callable[[list[bytes]], Sequence[T]]) -> None:
        self._decode = decode
        self._known: dict[bytes, T] = {}

    def of(self, distinct: list[bytes]) -> Sequence[T]:
        """What each of some messages holds; where they are many or long, none of them is remembered."""
        known = self._known
        found = [known[raw] for raw in distinct if raw in known]
        if len(found) == len(distinct):
            return found
        read = self._decode(distinct)
        if few(distinct):
            if len(known) + len(distinct) > _REMEMBERED:
                known.clear()
            known.update(zip(distinct, read, strict=True))
        return read


def few(distinct: Sequence[bytes]) -> bool:
    """Whether messages are so few and short that they may be remembered."""
    return len(distinct) <= _REMEMBERED and max(map(len, distinct), default=0) <= _LONGEST
