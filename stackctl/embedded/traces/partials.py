"""What was found in single segments, kept: segments never change, so that a question asked again reads only the rest.

A dashboard asks the same over the last day every few seconds.
"""

import threading
from collections import OrderedDict
from collections.abc import Container, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 128 * 1024**2  # a quantile over ten million spans keeps 41 MB


@dataclass(frozen=True)
class Partial:
    """What one question found in one segment.

    Attributes:
        found: it; not to be changed.
        size: bytes that it holds, about.
    """

    found: Any
    size: int


class Partials:
    """Partial answers by segment and question. Safe from several threads.

    Args:
        most_bytes: that they may hold together. The question that was asked the longest ago goes first; one that does
            not fit alone keeps what does, since it will ask for all of it again.
    """

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._questions: OrderedDict[Hashable, dict[Path, Partial]] = OrderedDict()
        self._bytes = 0

    def get(self, question: Hashable, segment: Path) -> Partial | None:
        """Return what a question found in a segment, None where that is not kept."""
        with self._lock:
            found = self._questions.get(question)
            if found is None:
                return None
            self._questions.move_to_end(question)
            return found.get(segment)

    def put(self, question: Hashable, segment: Path, partial: Partial) -> None:
        """Keep what a question found in a segment, if there is room."""
        with self._lock:
            self._questions.setdefault(question, {})
            self._questions.move_to_end(question)
            while self._bytes + partial.size > self._most_bytes and len(self._questions) > 1:
                _, oldest = self._questions.popitem(last=False)
                self._bytes -= sum(one.size for one in oldest.values())
            if self._bytes + partial.size <= self._most_bytes and segment not in self._questions[question]:
                self._questions[question][segment] = partial
                self._bytes += partial.size

    def only(self, segments: Container[Path]) -> None:
        """Forget the segments that are gone."""
        with self._lock:
            for found in self._questions.values():
                for path in [path for path in found if path not in segments]:
                    self._bytes -= found.pop(path).size
            for question in [question for question, found in self._questions.items() if not found]:
                del self._questions[question]
