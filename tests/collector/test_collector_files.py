"""The Collector's rendered files: what is committed is what the rows say, and a person can read it."""

import re
from pathlib import Path

import pytest
import yaml

from stackctl.collector import pricebook
from stackctl.collector.render import CONFIG, PRICES, CollectorSettings, files
from stackctl.genai.dialects import DIALECTS
from stackctl.genai.metrics import BY_NAME
from stackctl.genai.prices import HOSTS, PriceBook, shipped
from stackctl.stack import OwnPrice

COMMITTED = Path(__file__).parents[2] / "compose" / "otelcol"
RENDERED = files(CollectorSettings())


@pytest.mark.parametrize("name", [CONFIG, PRICES])
def test_committed_files_are_those_of_the_rows(name: str) -> None:
    """`compose/otelcol` holds what the rows render to; after a change of one: python -m stackctl.collector."""
    assert (COMMITTED / name).read_text(encoding="utf-8") == RENDERED[name]


def test_file_says_where_each_block_comes_from() -> None:
    """Every dialect, every metric and every provider's host stands in the file under its own name."""
    text = RENDERED[CONFIG]
    assert [dialect.name for dialect in DIALECTS if dialect.rows and f"# {dialect.name} (" not in text] == []
    assert [name for name in BY_NAME if not re.search(rf"# {name}\b", text)] == []
    assert [row.provider for row in HOSTS if f'"{row.provider}"' not in text] == []


@pytest.mark.parametrize(
    "settings",
    [
        CollectorSettings(capture_content=True),
        CollectorSettings(sample_percent=10),
        CollectorSettings(allow_keys=(r"app\..*",)),
        CollectorSettings(extra_models=("llama3:8b",), price_hosts={"llm.example:8080": "openai"}),
        CollectorSettings(exclude_scopes=("pydantic-ai",)),
        CollectorSettings(book=shipped().with_own([OwnPrice("openai", "mine", "1.5", "2")])),
    ],
)
def test_each_setting_renders_another_file(settings: CollectorSettings) -> None:
    """What a user sets changes the file, and the file stays YAML."""
    text = files(settings)[CONFIG]
    assert files(settings) != RENDERED
    assert yaml.safe_load(text)["service"]["pipelines"]


def test_a_row_is_found_by_the_index_of_the_book() -> None:
    """The first lines of prices.csv say where the section of a model's name lies, and the section holds its rows."""
    book = shipped()
    text = pricebook.csv(book)
    for price in list(book.by_key.values())[::97]:
        model = price.model.lower()
        line = pricebook.section(model) * pricebook.INDEX_WIDTH
        offset, length = (
            int(text[line + start :][: pricebook.DIGITS]) for start in (pricebook.OFFSET_AT, pricebook.LENGTH_AT)
        )
        assert f"\n{model},{price.provider}," in text[offset : offset + length]


def test_an_empty_book_is_a_file_with_an_index() -> None:
    """A book without a row renders too: every section is there and empty."""
    lines = pricebook.csv(PriceBook([])).splitlines()
    assert len([line for line in lines if re.fullmatch(r"# [0-9a-f]{2} \d{8} 00000001", line)]) == pricebook.SECTIONS


def test_extra_models_are_rows_of_a_name_alone() -> None:
    """`models.extra` stands in the book under names that no model has; what is no name of a model is left out."""
    plain, extra = pricebook.csv(shipped()), pricebook.csv(shipped(), ("llama3:8b", "no, name"))
    assert set(extra.splitlines()) - set(plain.splitlines()) >= {"=llama3:8b,,,,,,,"}
    assert "no, name" not in extra
