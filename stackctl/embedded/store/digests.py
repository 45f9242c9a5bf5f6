"""Which requests were stored lately, so that a sender who got no answer and sends again is not counted twice."""

from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import xxhash

from stackctl.embedded.store.frame import DIGEST_BYTES

# OTLP senders give up well within this (the Collector's default is 5 minutes).
WINDOW_MS: Final = 10 * 60 * 1000
# Bounds memory (about 40 MB) where senders do not batch.
MAX_DIGESTS: Final = 300_000


def digest(signal: str, body: bytes) -> bytes:
    """Identity of a request: its signal and its uncompressed body.

    XXH3 with 128 bits: two requests collide by chance once in 10^38. Whoever made two collide on purpose would hide
    only the second of his own: to hide another's he would have to know its ids, and could send the very same bytes.
    """
    found = xxhash.xxh3_128(signal.encode())
    found.update(body)
    return found.digest()


class DigestWindow:
    """Digests of the requests stored within the last `WINDOW_MS`, at most `MAX_DIGESTS`."""

    def __init__(self) -> None:
        self._arrivals: OrderedDict[bytes, int] = OrderedDict()

    def __contains__(self, found: bytes) -> bool:
        return found in self._arrivals

    def __len__(self) -> int:
        return len(self._arrivals)

    def add(self, digests: Iterable[bytes], arrival_ms: int) -> None:
        """Remember requests and forget those that are too old or too many."""
        for one in digests:
            self._arrivals[one] = arrival_ms
        while self._arrivals:
            oldest = next(iter(self._arrivals))
            if self._arrivals[oldest] > arrival_ms - WINDOW_MS and len(self._arrivals) <= MAX_DIGESTS:
                break
            del self._arrivals[oldest]


def write_digests(path: Path, entries: Iterable[tuple[bytes, int]]) -> None:
    """Write digests and arrival times (unix ms), 24 bytes each."""
    path.write_bytes(b"".join(one + arrival_ms.to_bytes(8, "little") for one, arrival_ms in entries))


def read_digests(path: Path) -> list[tuple[bytes, int]]:
    """Read what `write_digests` wrote."""
    raw, size = path.read_bytes(), DIGEST_BYTES + 8
    starts = range(0, len(raw) - size + 1, size)
    return [
        (raw[at : at + DIGEST_BYTES], int.from_bytes(raw[at + DIGEST_BYTES : at + size], "little")) for at in starts
    ]
