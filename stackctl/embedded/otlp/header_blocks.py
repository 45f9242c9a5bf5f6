"""HPACK (RFC 7541) as a receiver needs it: blocks in, header lists out, the same block decoded once."""

from collections.abc import Callable
from typing import Final, Generic, TypeVar

from hpack import Decoder, Encoder, HPACKError, NeverIndexedHeaderTuple, OversizedHeaderListError

from stackctl.embedded.otlp.http2 import BrokenConnection, Code

Headers = list[tuple[bytes, bytes]]
T = TypeVar("T")

# Both of a block as it comes and of what it says, each name and value with 32 bytes more (RFC 9113, 6.5.2). gRPC's own
# limit of metadata is 8 KiB.
MAX_HEADER_BYTES: Final = 16 * 1024
# A sender repeats one or two blocks; whoever never does shall not fill the memory.
_KEPT_BLOCKS: Final = 16
_MOST_RESIZES: Final = 2  # of the table, in one block (RFC 7541, 4.2)


class HeaderBlocks(Generic[T]):
    """Decodes the header blocks of one connection, and keeps what was made of them.

    A block means the same as before as long as the dynamic table is the same: what blocks said is forgotten whenever
    one of them changed the table.

    Args:
        understand: what is made of a header list; depends on nothing else.
    """

    def __init__(self, understand: Callable[[Headers], T]) -> None:
        self._understand = understand
        self._decoder = Decoder(max_header_list_size=MAX_HEADER_BYTES)
        self._kept: dict[bytes, T] = {}

    def read(self, block: bytes) -> T:
        """Take the next block of the connection.

        Raises:
            BrokenConnection: it is no HPACK, or says too much; the table is useless then.
        """
        known = self._kept.get(block)
        if known is not None:
            return known
        if _resizes(block) > _MOST_RESIZES:
            raise BrokenConnection(Code.COMPRESSION_ERROR, "a header block that resizes its table all the time")
        newest, sizes = self._table()
        try:
            headers = [(name, value) for name, value in self._decoder.decode(block, raw=True)]
        except OversizedHeaderListError as error:
            raise BrokenConnection(Code.ENHANCE_YOUR_CALM, "a header list that is too long") from error
        except HPACKError as error:
            raise BrokenConnection(Code.COMPRESSION_ERROR, "a header block that cannot be decoded") from error
        meaning = self._understand(headers)
        newest_now, sizes_now = self._table()
        changed = newest_now is not newest or sizes_now != sizes
        if changed or len(self._kept) >= _KEPT_BLOCKS:
            self._kept.clear()
        if not changed:
            self._kept[block] = meaning
        return meaning

    def _table(self) -> tuple[object, tuple[int, int]]:
        """The dynamic table's newest entry, and its count and limit.

        A new entry is an object of its own at the front, or (too large) empties the table; an eviction shortens it.
        """
        table = self._decoder.header_table
        entries = table.dynamic_entries
        return (entries[0] if entries else None), (len(entries), table.maxsize)


def _resizes(block: bytes) -> int:
    """How many updates of the table's size a block begins with."""
    count = at = 0
    while at < len(block) and block[at] & 0xE0 == 0x20:
        count += 1
        more = block[at] & 0x1F == 0x1F
        at += 1
        while more and at < len(block):
            more = bool(block[at] & 0x80)
            at += 1
    return count


def header_block(headers: Headers) -> bytes:
    """A block that means the same on every connection: it leaves the dynamic table alone."""
    return Encoder().encode([NeverIndexedHeaderTuple(*header) for header in headers], huffman=False)
