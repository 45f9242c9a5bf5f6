"""How the values of settings are spelled, in TOML, on a command line and in the environment.

Each reading takes a value as it came, text or what TOML made of it, and raises ValueError where it is none.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from stackctl.stack import ENDPOINT_BY_NAME, OwnPrice

AUTO = "auto"

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_BYTES = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_SMALLEST_RETENTION_BYTES = 64 * 2**20  # below it one sealed segment would already be too much


def one_of(*choices: str) -> Callable[[Any], str]:
    """Return a parser that takes one of the given words."""

    def parse(raw: Any) -> str:
        if raw not in choices:
            raise ValueError
        return str(raw)

    return parse


def seconds(raw: Any) -> int:
    """Parse a duration such as `30s`, `15m`, `24h`, `7d`, `2w` into seconds, at least one."""
    found = re.fullmatch(r"([0-9]{1,9})([smhdw])", str(raw).strip())
    if found is None or int(found[1]) == 0:
        raise ValueError
    return int(found[1]) * _SECONDS[found[2]]


def size(raw: Any) -> int:
    """Parse a size such as `10GiB` or a number of bytes, at least 64 MiB."""
    found = re.fullmatch(r"([0-9]{1,15})\s*([A-Za-z]*)", str(raw).strip())
    if found is None or found[2].upper() not in _BYTES:
        raise ValueError
    value = int(found[1]) * _BYTES[found[2].upper()]
    if not _SMALLEST_RETENTION_BYTES <= value < 2**63:
        raise ValueError
    return value


def boolean(raw: Any) -> bool:
    """Parse true or false, also as the words people put into an environment variable."""
    words = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}
    if isinstance(raw, bool):
        return raw
    if not isinstance(raw, str) or raw.strip().lower() not in words:
        raise ValueError
    return words[raw.strip().lower()]


def texts(raw: Any) -> tuple[str, ...]:
    """Parse a TOML array of strings, or text with commas between the items."""
    items = raw.split(",") if isinstance(raw, str) else raw
    if not isinstance(items, list | tuple) or not all(isinstance(item, str) for item in items):
        raise ValueError
    return tuple(item.strip() for item in items if item.strip())


def pairs(raw: Any) -> dict[str, str]:
    """Parse a TOML table of strings, or text such as `a=b,c=d`."""
    if isinstance(raw, str):
        split = [item.partition("=") for item in texts(raw)]
        if not all(separator and value.strip() for _, separator, value in split):
            raise ValueError
        return {key.strip(): value.strip() for key, _, value in split}
    if not isinstance(raw, Mapping) or not all(isinstance(value, str) for value in raw.values()):
        raise ValueError
    return dict(raw)


def ports(raw: Any) -> dict[str, int] | None:
    """Parse `auto` (None), a TOML table of endpoint and port, or text such as `otlp_grpc=14317,tempo=13200`."""
    if raw == AUTO:
        return None
    table = pairs(raw) if isinstance(raw, str) else raw
    if not isinstance(table, Mapping):
        raise ValueError
    chosen: dict[str, int] = {}
    for name, port in table.items():
        if name not in ENDPOINT_BY_NAME or isinstance(port, bool) or not re.fullmatch(r"[0-9]{1,5}", str(port)):
            raise ValueError
        if not 1 <= int(port) <= 65_535 or int(port) in chosen.values():
            raise ValueError
        chosen[name] = int(port)
    return chosen


def patterns(raw: Any) -> tuple[str, ...]:
    """Parse a list of regular expressions; only what RE2 reads too, so no look-around or back reference."""
    found = texts(raw)
    for pattern in found:
        try:
            _compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise ValueError(str(error)) from error
    return found


def _compile(pattern: str) -> None:
    """Compile a pattern with RE2, whose syntax counts; the base install has no RE2, only Python's, which has more."""
    try:
        import re2
    except ModuleNotFoundError:
        re.compile(pattern)
        if re.search(r"\(\?([=!>]|<[=!]|P=)|\\[0-9ZN]|[*+?}]\+", pattern):
            raise ValueError from None
        return
    options = re2.Options()
    options.log_errors = False  # else it writes the pattern to stderr
    try:
        re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0] if error.args else ""
        raise ValueError(reason.decode(errors="replace") if isinstance(reason, bytes) else str(reason)) from error


def price_rows(raw: Any) -> tuple[OwnPrice, ...]:
    """Parse an array of tables, or the same as JSON text. Two rows for one model are refused: which holds?"""
    tables = orjson.loads(raw) if isinstance(raw, str) else raw
    if not isinstance(tables, list | tuple):
        raise ValueError
    rows: dict[tuple[str, str], OwnPrice] = {}
    for number, table in enumerate(tables, 1):
        try:
            row = OwnPrice.parse(table)
        except ValueError as error:
            raise ValueError(f"row {number}: {error}") from error
        if rows.setdefault((row.provider, row.model.lower()), row) is not row:
            raise ValueError(f"row {number}: a second price of {row.provider} {row.model}")
    return tuple(rows.values())


def percent(raw: Any) -> float | None:
    """Parse a share in percent, above 0 and below 100; None stays None."""
    if raw is None:
        return None
    if isinstance(raw, bool) or not isinstance(raw, int | float | str) or len(str(raw)) > 20:
        raise ValueError
    value = float(str(raw).removesuffix("%"))
    if not 0 < value < 100:
        raise ValueError
    return value


def image(raw: Any) -> str:
    """Parse an image reference: repository and tag or digest (distribution's grammar, without its lengths)."""
    host_and_path = r"[A-Za-z0-9][A-Za-z0-9._:-]*(/[a-z0-9][a-z0-9._-]*)*"
    found = (
        re.fullmatch(rf"{host_and_path}(:\w[\w.-]*)?(@sha256:[0-9a-f]{{64}})?", raw) if isinstance(raw, str) else None
    )
    if found is None or raw.endswith(":latest") or not (":" in raw.rpartition("/")[2] or "@" in raw):
        raise ValueError
    return str(raw)


def address(raw: Any) -> str:
    """Parse a host name or an IPv4 address."""
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", raw):
        raise ValueError
    return raw


def directory(raw: Any) -> Path:
    """Parse a path into an absolute one; `~` is the home directory."""
    if not isinstance(raw, Path) and (not isinstance(raw, str) or not raw.strip()):
        raise ValueError
    try:
        return Path(raw).expanduser().absolute()
    except RuntimeError as error:  # the home of a user that there is not
        raise ValueError(str(error)) from error


def file(raw: Any) -> Path | None:
    """Parse the path of a file; None stays None."""
    return None if raw is None else directory(raw)
