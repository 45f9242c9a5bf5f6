"""The price book as its readers handle it: which one is in force, how old it is, what is near a name, what changed.

A book is a CSV file as `stackctl prices update` writes it. The user's own rows of `stackctl.toml` stand before it.
"""

import datetime
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from stackctl.errors import SettingsInvalid
from stackctl.genai.prices import COLUMNS, Price, PriceBook, Rates, shipped, spellings
from stackctl.stack import OwnPrice

# Providers change prices and add models within weeks: a book older than this is likely wrong about something.
OLD_DAYS: Final = 30
_SIMILAR: Final = 0.6  # difflib's own default: below it two names have little in common
_AHEAD_DAYS: Final = 1  # of a clock that is wrong or in another zone
_LONGEST: Final = 64 * 2**20  # characters of a book, two hundred times what the shipped one has
_LONGEST_LINE: Final = 10_000
_CELLS: Final = ("input", "cache_read", "cache_write", "output")


def read(path: Path) -> PriceBook:
    """Return the book of a file.

    Raises:
        SettingsInvalid: the file cannot be read or is no price book; the message names file and line.
    """
    write_one = f"write one: stackctl prices update {_free(path)}"
    try:
        with path.open(encoding="ascii") as file:
            text = file.read(_LONGEST + 1)
        if len(text) > _LONGEST:
            raise ValueError("it is too long")
        return PriceBook.parse(text)
    except OSError as error:
        raise SettingsInvalid(f"the price book {path} cannot be read: {error.strerror}", next_step=write_one) from error
    except UnicodeDecodeError as error:
        raise SettingsInvalid(f"{path} is no price book: it is not ASCII text", next_step=write_one) from error
    except ValueError as error:
        raise SettingsInvalid(f"{path} is no price book: {error}", next_step=write_one) from error


def _free(path: Path) -> Path:
    """Return where a book can be written: never over a file, which may be anything of the user's."""
    names = (path, *(path.parent / f"prices{number}.csv" for number in ("", *range(2, 100))))
    return next((name for name in names if name.name and not os.path.lexists(name)), Path("FILE"))


def is_book(path: Path) -> bool:
    """Whether a file is a price book, or the start of one: its first row names the columns.

    Raises:
        OSError: it cannot be read.
    """
    with path.open(encoding="ascii", errors="replace") as lines:
        read = iter(partial(lines.readline, _LONGEST_LINE), "")
        first = next((line for line in read if line.strip() and not line.startswith("#")), "")
    return first.rstrip() == ",".join(COLUMNS)


def in_force(book: Path | str | None, rows: Sequence[OwnPrice]) -> PriceBook:
    """Return the book that prices calls: the shipped one or that of a file, with the user's own rows before it.

    Raises:
        SettingsInvalid: the file is no price book.
    """
    found = shipped() if book is None else read(Path(book))
    return found.with_own(rows) if rows else found


def age_days(book: PriceBook, today: datetime.date) -> int | None:
    """Return how many days ago the book's prices were valid; None where it does not say, or says a day to come."""
    try:
        age = (today - datetime.date.fromisoformat(book.date)).days
    except ValueError:
        return None
    return None if age < -_AHEAD_DAYS else max(0, age)


def is_old(book: PriceBook, today: datetime.date) -> bool:
    """True when the book should be renewed, or hides its age."""
    age = age_days(book, today)
    return age is None or age > OLD_DAYS


def rows_of(book: PriceBook, model: str) -> list[Price]:
    """Return, for each provider, the row that prices a model, and the rows of routers that lead to it.

    Of rows that are aliases of one another the first stands for all.
    """
    found = {}
    for provider in sorted({provider for provider, _ in book.by_key}):
        if (price := book.find(provider, model)) is not None:
            found[price.provider, price.model] = price
    name, served = model.lower(), {provider for provider, _ in found}
    for price in book.by_key.values():
        if price.provider not in served and name in spellings(price.model):
            found[price.provider, price.model] = price
    shown: list[Price] = []
    for key in sorted(found):
        if not any(key in {(row.provider, name) for name in aliases(book, row)} for row in shown):
            shown.append(found[key])
    return shown


def aliases(book: PriceBook, price: Price) -> tuple[str, ...]:
    """Return further names in the book for the same model at the same provider.

    Names are the same when they have the same parts in any order, without dates, and cost the same.
    """
    wanted = _parts(price.model)
    return tuple(
        sorted(
            other.model
            for other in book.by_key.values()
            if other.provider == price.provider
            and other.model != price.model
            and (other.rates, other.tiers) == (price.rates, price.tiers)
            and _parts(other.model) == wanted
        )
    )


def _parts(model: str) -> list[str]:
    return sorted(re.findall(r"[a-z]+|[0-9]+", spellings(model)[-1]))


def nearest(book: PriceBook, model: str, provider: str | None = None, count: int = 3) -> tuple[Price, ...]:
    """Return the rows whose names are most like an unknown one, the nearest first; none where nothing is near.

    Args:
        provider: whose rows are looked at; every provider's, a row for each name, if None or if it has none.
    """
    rows = [price for price in book.by_key.values() if provider in (None, price.provider)]
    if not rows:
        rows = list(book.by_key.values())
    by_name: dict[str, Price] = {}
    for price in rows:
        by_name.setdefault(price.model.lower(), price)
    names = list(dict.fromkeys(spelling for spelling in reversed(spellings(model)) if spelling))
    close: dict[str, None] = {}
    for name in names:
        close |= dict.fromkeys(difflib.get_close_matches(name, by_name, n=count, cutoff=_SIMILAR))
    return tuple(by_name[name] for name in list(close)[:count])


@dataclass(frozen=True)
class Change:
    """A row that is in both books with other numbers: cell name to the text before and after."""

    provider: str
    model: str
    cells: dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Difference:
    """What one book has and another has not, by provider and model."""

    added: tuple[Price, ...]
    removed: tuple[Price, ...]
    changed: tuple[Change, ...]


def difference(old: PriceBook, new: PriceBook) -> Difference:
    """Return what leads from one book to another."""
    before, after = old.by_key, new.by_key
    changes = (_change(before[key], after[key]) for key in sorted(before.keys() & after.keys()))
    return Difference(
        added=tuple(after[key] for key in sorted(after.keys() - before.keys())),
        removed=tuple(before[key] for key in sorted(before.keys() - after.keys())),
        changed=tuple(change for change in changes if change.cells),
    )


def cells(price: Price) -> dict[str, str]:
    """Return a row's numbers as text, empty where there is none."""
    window = "" if price.context_window is None else str(price.context_window)
    return {**dict(_texts(price.rates)), "tiers": _tiers(price), "context_window": window}


def _change(old: Price, new: Price) -> Change:
    before, after = cells(old), cells(new)
    differing = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    return Change(new.provider, new.model, differing)


def _texts(rates: Rates) -> Iterator[tuple[str, str]]:
    for name in _CELLS:
        value = getattr(rates, name)
        yield name, "" if value is None else format(value.normalize(), "f")


def _tiers(price: Price) -> str:
    tiers = (":".join((str(start), *(text for _, text in _texts(rates)))) for start, rates in price.tiers)
    return "+".join(tiers)


def toml_lines(provider: str, model: str, like: Price | None) -> tuple[str, ...]:
    """Return the lines of `stackctl.toml` that price a model: a known row's numbers, else numbers to fill in.

    Args:
        like: the nearest known row.
    """
    # Numbers to fill in are no numbers yet: a zero left standing would make calls free.
    numbers = dict(_texts(like.rates)) if like else {"input": "?", "output": "?"}
    filled = [f'{name} = "{text}"' for name, text in numbers.items() if text]
    window = [f"window = {like.context_window}"] if like and like.context_window else []
    remark = f"those of {like.provider} {like.model}: check them" if like else "fill them in"
    head = ("[[prices.rows]]", f'provider = "{provider}"', f'model = "{model}"')
    return (*head, f"# USD per million tokens, {remark}", *filled, *window)


def host_lines(hosts: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Return the lines of `stackctl.toml` that say whose prices some server addresses bill."""
    # The same header twice is no TOML.
    return (
        "[prices.hosts]  # where you have it already, put the lines below it there",
        *(f'"{host}" = "{provider}"' for host, provider in hosts),
    )
