"""The price book's readers: which book is in force, its age, near names, differences, and lines that price a model."""

import datetime
from decimal import Decimal
from pathlib import Path

import pytest

from stackctl.errors import SettingsInvalid
from stackctl.genai import pricebook
from stackctl.genai.prices import COLUMNS, PriceBook, shipped
from stackctl.settings import load
from stackctl.stack import OwnPrice

HEAD = "# source: hand 1\n# date: 2026-10-01\n" + ",".join(COLUMNS) + "\n"
BOOK = PriceBook.parse(
    HEAD
    + "openai,gpt-4o,2.5,1.25,,10,,128000\nopenai,gpt-4o-2024-05-13,5,,,15,,128000\n"
    + "azure,gpt-4o,2.5,1.25,,10,,128000\ngoogle,gemini-2.5-pro,1.25,0.3,,10,200000:2.5:0.6::15,1000000\n"
    + "anthropic,claude-3-5-haiku,0.8,0.08,1,4,,200000\nanthropic,claude-3.5-haiku,0.8,0.08,1,4,,200000\n"
    + "openrouter,openai/gpt-4o,2.5,,,10,,\n"
)


def test_own_rows_win_over_the_book_in_every_spelling() -> None:
    """A user's price for gpt-4o also holds for its dated snapshots, though the book prices one of them by itself."""
    own = BOOK.with_own([OwnPrice("openai", "GPT-4o", "0.1", output="0.2", window=1000)])
    for model in ("gpt-4o", "gpt-4o-2024-05-13", "openai/gpt-4o", "gpt-4o-2031-01-01"):
        price = own.find("openai", model)
        assert price is not None
        assert (price.rates.input, price.rates.cache_read, price.context_window) == (Decimal("0.1"), None, 1000)
    assert own.find("azure", "gpt-4o") == BOOK.find("azure", "gpt-4o")
    assert own.find("openai", "unknown", "gpt-4o") == own.find("openai", "gpt-4o")
    assert own.knows("gpt-4o")


def test_a_file_is_used_instead_of_the_shipped_book(tmp_path: Path) -> None:
    """With a book of the user's own the shipped rows are gone; without one they are all there."""
    file = tmp_path / "prices.csv"
    file.write_text(HEAD + "openai,mine,1,,,2,,\n")
    book = pricebook.in_force(file, ())
    assert list(book.by_key) == [("openai", "mine")]
    assert (book.source, book.date) == ("hand 1", "2026-10-01")
    assert pricebook.in_force(None, ()) is shipped()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "its first row is not provider,model"),
        ("provider,model\n", "its first row is not provider,model"),
        (HEAD + "openai,gpt,1\n", "line 4 is no row of 8 cells"),
        (HEAD + "openai,gpt,one,,,2,,\n", "line 4 holds no price of openai gpt"),
        (HEAD + "openai,gpt,,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,-1,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,NaN,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,100:3,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,,many\n", "line 4 holds no price"),
        (HEAD + "openai,${env:HOME},1,,,2,,\n", "line 4 is no row"),
        (HEAD + "openai,gpt,1e400,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1e999999,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1000000000,,,2,,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,200000:4:::4+100000:2:::2,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,100:4:::4+100:2:::2,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,-5:4:::4,\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,,-7\n", "line 4 holds no price"),
        (HEAD + "openai,gpt,1,,,2,,0\n", "line 4 holds no price"),
        (HEAD + ",gpt,1,,,2,,\n", "line 4 names no provider"),
        (HEAD + "openai,,1,,,2,,\n", "line 4 names no model"),
        (HEAD + "openai,gpt,1,,,2,,\nopenai,GPT,3,,,4,,\n", "line 5 is a second price of openai GPT"),
        ("provider,model\xff", "not ASCII"),
    ],
)
def test_a_broken_book_is_refused_by_line(tmp_path: Path, text: str, said: str) -> None:
    """A book that cannot be read never prices anything: the message names the file, the line and how to write one."""
    file = tmp_path / "prices.csv"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(SettingsInvalid) as refused:
        pricebook.read(file)
    assert said in refused.value.message
    assert str(file) in refused.value.message
    assert refused.value.next_step == f"write one: stackctl prices update {tmp_path / 'prices2.csv'}"


def test_no_file_is_named_to_be_written_over(tmp_path: Path) -> None:
    """Whoever takes another file for a price book is never told to write one over it."""
    settings = tmp_path / "stackctl.toml"
    settings.write_text('runtime = "embedded"\n')
    with pytest.raises(SettingsInvalid) as refused:
        pricebook.read(settings)
    assert refused.value.next_step == f"write one: stackctl prices update {tmp_path / 'prices.csv'}"
    with pytest.raises(SettingsInvalid) as refused:
        pricebook.read(tmp_path / "none.csv")
    assert refused.value.next_step == f"write one: stackctl prices update {tmp_path / 'none.csv'}"


def test_a_missing_book_is_refused(tmp_path: Path) -> None:
    """A path that leads nowhere is a setting that cannot be used."""
    with pytest.raises(SettingsInvalid, match="cannot be read: No such file"):
        pricebook.read(tmp_path / "none.csv")


@pytest.mark.parametrize(("day", "old"), [("2026-10-01", False), ("2026-10-31", False), ("2026-11-01", True)])
def test_a_book_is_old_after_30_days(day: str, old: bool) -> None:
    """The warning comes after 30 days, not at them; a book that hides its date is old."""
    today = datetime.date.fromisoformat(day)
    assert pricebook.is_old(BOOK, today) is old
    undated = PriceBook(())
    assert (pricebook.age_days(undated, today), pricebook.is_old(undated, today)) == (None, True)


def test_a_book_of_a_day_to_come_has_no_age() -> None:
    """A day that cannot be true is no age, and is warned of; a clock that is a day ahead is not."""
    today = datetime.date(2026, 9, 1)
    assert (pricebook.age_days(BOOK, today), pricebook.is_old(BOOK, today)) == (None, True)
    assert pricebook.age_days(BOOK, datetime.date(2026, 9, 30)) == 0


def test_every_providers_row_is_found_and_aliases_stand_for_one() -> None:
    """A model's price at each provider, routers' names included; other names of the same model are aliases."""
    assert [(p.provider, p.model) for p in pricebook.rows_of(BOOK, "gpt-4o")] == [
        ("azure", "gpt-4o"),
        ("openai", "gpt-4o"),
        ("openrouter", "openai/gpt-4o"),
    ]
    (haiku,) = pricebook.rows_of(BOOK, "claude-3-5-haiku-20241022")
    assert pricebook.aliases(BOOK, haiku) == ("claude-3.5-haiku",)
    assert pricebook.rows_of(BOOK, "nothing-like-it") == []


def test_the_nearest_name_is_a_name_like_it() -> None:
    """A mistyped or newer name finds the known one, at the provider that was asked first; nonsense finds nothing."""
    assert pricebook.nearest(BOOK, "gemini-2.5-por", "google")[0].model == "gemini-2.5-pro"
    assert pricebook.nearest(BOOK, "gpt-4oo", "azure")[0].provider == "azure"
    assert pricebook.nearest(BOOK, "gpt-4oo", "no-such-provider")[0].model == "gpt-4o"
    assert pricebook.nearest(BOOK, "zzzzzzzz") == ()


def test_the_difference_names_rows_and_cells() -> None:
    """Added, removed and changed rows; a change tells the cell, before and after, tiers and window too."""
    new = PriceBook.parse(
        HEAD
        + "openai,gpt-4o,2,1.25,,10,,128000\nopenai,gpt-4o-2024-05-13,5.0,,,15,,128000\nopenai,gpt-9,1,,,1,,\n"
        + "azure,gpt-4o,2.5,1.25,,10,,256000\ngoogle,gemini-2.5-pro,1.25,0.3,,10,200000:3:0.6::15,1000000\n"
        + "anthropic,claude-3-5-haiku,0.8,0.08,1,4,,200000\nanthropic,claude-3.5-haiku,0.8,0.08,1,4,,200000\n"
    )
    found = pricebook.difference(BOOK, new)
    assert [price.model for price in found.added] == ["gpt-9"]
    assert [price.model for price in found.removed] == ["openai/gpt-4o"]
    assert {(change.provider, change.model): change.cells for change in found.changed} == {
        ("azure", "gpt-4o"): {"context_window": ("128000", "256000")},
        ("google", "gemini-2.5-pro"): {"tiers": ("200000:2.5:0.6::15", "200000:3:0.6::15")},
        ("openai", "gpt-4o"): {"input": ("2.5", "2")},
    }


def test_suggested_lines_are_settings_that_price(tmp_path: Path) -> None:
    """The lines for an unpriced model, pasted as they are, give it the price of the known row they were taken from."""
    like = BOOK.find("anthropic", "claude-3-5-haiku")
    lines = (*pricebook.host_lines([("llm:8000", "ours")]), *pricebook.toml_lines("ours", "haiku-x", like))
    (tmp_path / "stackctl.toml").write_text("\n".join(lines))
    settings = load(environ={}, directory=tmp_path).settings
    assert settings.price_hosts == {"llm:8000": "ours"}
    price = BOOK.with_own(settings.price_rows).find("ours", "haiku-x")
    assert like is not None
    assert price is not None
    assert (price.rates, price.context_window) == (like.rates, like.context_window)


def test_lines_without_known_numbers_cannot_be_used_unfilled(tmp_path: Path) -> None:
    """Where no known model is near, the numbers are left to fill in: pasted as they are they are refused, not free."""
    (tmp_path / "stackctl.toml").write_text("\n".join(pricebook.toml_lines("ours", "zzz", None)))
    with pytest.raises(SettingsInvalid, match="input must be USD per million tokens"):
        load(environ={}, directory=tmp_path)


def test_what_never_ends_is_no_book() -> None:
    """A device in place of a book is refused instead of being read until memory is full."""
    with pytest.raises(SettingsInvalid, match="is no price book"):
        pricebook.read(Path("/dev/zero"))
    assert not pricebook.is_book(Path("/dev/null"))


def test_a_cell_is_a_number_for_the_collector_too() -> None:
    """Python reads underscores in numbers, which the Collector would not."""
    with pytest.raises(ValueError, match="line 4 holds no price"):
        PriceBook.parse(HEAD + "openai,m,1_0,,,2,,\n")
