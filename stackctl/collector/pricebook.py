"""The price book as a file that the Collector finds a row in without reading all of it.

OTTL has no table, but it has `Index` over a text. Over thousands of rows that costs too much for each span, so the rows
stand in 256 sections by the first byte of SHA-256 of the model's name, and the file begins with where each section
lies: 256 lines of equal width. A lookup is a hash, a line of that index, and a search in a section of some 15 rows.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from stackctl.genai.pricebook import cells
from stackctl.genai.prices import Price, PriceBook
from stackctl.stack import PRICE_CELL

# The model stands first: whether any provider has it is asked as well as what one of them takes for it.
COLUMNS: Final = ("model", "provider", "input", "cache_read", "cache_write", "output", "tiers", "context_window")
SECTIONS: Final = 256
EXTRA: Final = "="  # before a name of `models.extra`, which is no model that has a price
_OFFSET_DIGITS: Final = 8
# "# a7 00012345 00000678" and a line feed.
INDEX_WIDTH: Final = 2 + 2 + 1 + _OFFSET_DIGITS + 1 + _OFFSET_DIGITS + 1
OFFSET_AT: Final = 5
LENGTH_AT: Final = OFFSET_AT + _OFFSET_DIGITS + 1
DIGITS: Final = _OFFSET_DIGITS

_REMARKS: Final = (
    "USD per million tokens; a tier is start:input:cache_read:cache_write:output, above so many input tokens.",
    "Rows are found by the index above: change prices in stackctl.toml and render this file anew, not by hand.",
)


def section(model: str) -> int:
    """Return the section of a model's name, as `Substring(SHA256(name), 0, 2)` says it in hexadecimal."""
    return hashlib.sha256(model.encode()).digest()[0]


def row(price: Price) -> str:
    """Return a price as a row; names as they are looked up, in lower case."""
    numbers = cells(price)
    return ",".join((price.model.lower(), price.provider, *(numbers[column] for column in COLUMNS[2:])))


def csv(book: PriceBook, extra_models: Iterable[str] = ()) -> str:
    """Return the whole file.

    Args:
        extra_models: names without a price that may stand on metrics, as they are written; rows of a name alone. One
            of other characters than a name's may stand nowhere, so it is left out.
    """
    sections: list[list[str]] = [[] for _ in range(SECTIONS)]
    for price in sorted(book.by_key.values(), key=lambda one: (one.model, one.provider)):
        sections[section(price.model.lower())].append(row(price))
    for model in extra_models:
        if PRICE_CELL.fullmatch(model):
            sections[section(model)].append(f"{EXTRA}{model}{',' * (len(COLUMNS) - 1)}")
    head = "".join(f"# {line}\n" for line in _remarks(book)) + ",".join(COLUMNS)
    index, body = [], ""
    start = INDEX_WIDTH * SECTIONS + len(head)
    for number, rows in enumerate(sections):
        # A section begins with the line feed before its first row, so that every row in it begins with one.
        joined = "".join(f"\n{one}" for one in rows) + "\n"
        index.append(f"# {number:02x} {start + len(body):0{_OFFSET_DIGITS}} {len(joined):0{_OFFSET_DIGITS}}\n")
        body += joined[:-1]
    return "".join(index) + head + body + "\n"


def _remarks(book: PriceBook) -> Iterable[str]:
    yield from (f"{name}: {value}" for name, value in (("source", book.source), ("date", book.date)) if value)
    yield from _REMARKS
