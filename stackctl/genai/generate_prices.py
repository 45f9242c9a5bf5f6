"""Write `prices.csv` from the installed genai-prices: `python -m stackctl.genai.generate_prices [--date YYYY-MM-DD]`.

A development command (extra `prices`): the shipped CSV is all that the product reads. genai-prices matches names by
clauses (starts with, contains, regex); where a name that is known somewhere would be matched so, it is spelled out
as a row, since both executors look up exact names only.
"""

import argparse
import csv
import datetime
import io
import sys
from collections.abc import Iterable, Iterator
from decimal import Decimal
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from stackctl.genai.prices import CELL, COLUMNS, CSV_NAME, spellings

_PRICE_KEYS: Final = ("input_mtok", "cache_read_mtok", "cache_write_mtok", "output_mtok")
# A Collector reads a row by a fixed length behind its key: the last row needs text behind it.
_PADDING: Final = "# " + "-" * 254
# What may stand before a name: Bedrock's regions, OpenAI's mark of a fine-tuned model.
_PREFIXES: Final = {"aws": ("us.", "eu.", "apac.", "global."), "openai": ("ft:",)}

Cells = tuple[str, ...]


def render(day: datetime.date) -> tuple[str, dict[str, int]]:
    """Return the CSV text of the prices valid on a day, and how many rows were refused by reason."""
    from genai_prices.data_snapshot import get_snapshot

    providers = {provider.id: provider for provider in get_snapshot().providers}
    refused: dict[str, int] = {}
    rows: dict[tuple[str, str], Cells] = {}
    for provider in providers.values():
        for name in sorted(_names(provider, providers), key=lambda name: (len(name), name)):
            model = provider.find_model(name, all_providers=list(providers.values()))
            reason, cells = _cells(model, name, day)
            if reason:
                refused[reason] = refused.get(reason, 0) + 1
            elif not _spelled(rows, provider.id, name, cells):
                rows[provider.id, name.lower()] = cells
    return _text(rows, day, refused), refused


def _names(provider: Any, providers: dict[str, Any]) -> set[str]:
    """Names under which a provider's models may be asked for."""
    own = {name for model in provider.models for name in (model.id, *_literals(model.match))}
    for other in provider.fallback_model_providers or ():
        own |= {name for model in providers[other].models for name in (model.id, *_literals(model.match))}
    routed = (model.id for model in providers["openrouter"].models if ":" not in model.id)
    own |= {name.split("/", 1)[1] for name in routed if name.startswith(f"{provider.id}/")}
    own |= {prefix + name for prefix in _PREFIXES.get(provider.id, ()) for name in own}
    return {name for name in own if provider.find_model(name, all_providers=list(providers.values()))}


def _literals(clause: Any) -> Iterator[str]:
    """The literal texts of a match clause, in any depth."""
    for field in ("equals", "starts_with", "contains", "ends_with"):
        if text := getattr(clause, field, None):
            yield text.strip("-@:/.")
    for part in (*getattr(clause, "or_", ()), *getattr(clause, "and_", ())):
        yield from _literals(part)


def _spelled(rows: dict[tuple[str, str], Cells], provider: str, name: str, cells: Cells) -> bool:
    """Whether a rewritten spelling already leads to the same price, so that no row is needed."""
    for spelling in spellings(name)[1:]:
        if (provider, spelling) in rows:
            return rows[provider, spelling] == cells
    return False


def _cells(model: Any, name: str, day: datetime.date) -> tuple[str, Cells]:
    """Return why a row is refused, or empty and its cells behind the name."""
    moment = datetime.datetime.combine(day, datetime.time(12), datetime.UTC)
    price = model.get_prices(moment)
    if not CELL.fullmatch(name):
        return "a character that a cell must not hold", ()
    if price.requests_kcount is not None:
        return "a fee per request", ()
    if price.input_mtok is None:
        return "no price of input tokens", ()
    values = [getattr(price, key) for key in _PRICE_KEYS]
    starts = sorted({tier.start for value in values for tier in getattr(value, "tiers", ())})
    tiers = "+".join(":".join((str(start), *(_number(_rate(value, start)) for value in values))) for start in starts)
    window = str(model.context_window or "")
    return "", (*(_number(_rate(value, None)) for value in values), tiers, window)


def _rate(value: Any, start: int | None) -> Decimal | None:
    if not hasattr(value, "tiers"):
        return value  # type: ignore[no-any-return]
    reached = [tier.price for tier in value.tiers if start is not None and tier.start <= start]
    return reached[-1] if reached else value.base  # type: ignore[no-any-return]


def _number(value: Decimal | None) -> str:
    return "" if value is None else format(value.normalize(), "f")


def _text(rows: dict[tuple[str, str], Cells], day: datetime.date, refused: dict[str, int]) -> str:
    out = io.StringIO()
    out.write("# Generated by python -m stackctl.genai.generate_prices; USD per million tokens\n")
    out.write(f"# source: genai-prices {metadata.version('genai-prices')}, https://github.com/pydantic/genai-prices\n")
    out.write(f"# date: {day.isoformat()}\n")
    out.write(f"# refused: {', '.join(f'{count} {reason}' for reason, count in sorted(refused.items()))}\n")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(_checked((*key, *cells)) for key, cells in sorted(rows.items()))
    out.write(_PADDING + "\n")
    return out.getvalue()


def _checked(row: Iterable[str]) -> list[str]:
    cells = list(row)
    for cell in cells:
        if not CELL.fullmatch(cell):
            raise ValueError(f"cell {cell!r} of row {cells[:2]} would not survive the Collector's configuration")
    return cells


def main() -> int:
    """Write the CSV beside this module and tell on stderr what was refused."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--date", type=datetime.date.fromisoformat, default=datetime.datetime.now(datetime.UTC).date())
    text, refused = render(parser.parse_args().date)
    Path(__file__).with_name(CSV_NAME).write_text(text, encoding="ascii")
    sys.stderr.write("".join(f"refused {count} rows: {reason}\n" for reason, count in refused.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
