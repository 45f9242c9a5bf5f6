"""The settings: one table of rows, from which flags, environment, `stackctl.toml` and `stackctl config` come.

What wins: a command's flag, then `STACKCTL_*` in the environment, then `stackctl.toml` in the working directory, then
the row's default. Each value remembers where it came from.
"""

import difflib
import os
import re
import textwrap
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from stackctl.errors import SettingsInvalid
from stackctl.stack import COMPONENT_BY_NAME, COMPONENTS, ENDPOINT_BY_NAME, OwnPrice, hosts_of

FILE_NAME = "stackctl.toml"
AUTO = "auto"
DEFAULT = "default"  # the origin of a setting about which nothing was said

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_BYTES = {"": 1, "B": 1, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "TIB": 2**40, "KB": 10**3, "MB": 10**6, "GB": 10**9}
_LONGEST_SHOWN = 120  # characters of a refused value in a message
_SURROGATE = re.compile("[\ud800-\udfff]")  # Python's stand-in for a byte that is no UTF-8
_SMALLEST_RETENTION_BYTES = 64 * 2**20  # below it one sealed segment would already be too much


@dataclass(frozen=True)
class Settings:
    """The values in force.

    Attributes:
        runtime: `auto`, `docker` or `embedded`.
        console: `auto`, `builtin`, `grafana` or `none`.
        host: address the endpoints listen on.
        ports: endpoint name to TCP port, only those that were set; None means free ports are chosen.
        retention_seconds: telemetry older than this is deleted.
        retention_bytes: the oldest telemetry goes first beyond it.
        price_hosts: server address to provider.
        price_book: file of the price book used instead of the shipped one; None for the shipped one.
        price_rows: prices of the user's own.
        sample_percent: share of ordinary traces that the docker runtime stores; None stores every trace.
        images: component to the image reference of the docker runtime.
    """

    data_dir: Path
    runtime: str
    console: str
    host: str
    ports: Mapping[str, int] | None
    retention_seconds: int
    retention_bytes: int
    capture_content: bool
    allow_keys: tuple[str, ...]
    extra_models: tuple[str, ...]
    price_hosts: Mapping[str, str]
    price_book: Path | None
    price_rows: tuple[OwnPrice, ...]
    exclude_scopes: tuple[str, ...]
    sample_percent: float | None
    images: Mapping[str, str]


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        key: dotted name in `stackctl.toml`.
        field: its attribute of `Settings`; with a dot the entry of one that is a mapping.
        parse: what was said (text of a flag or variable, or a TOML value) to the typed value; ValueError refuses it.
        default: raw value when nothing is said.
        allowed: what a value may be, as a person reads it.
    """

    key: str
    field: str
    parse: Callable[[Any], Any]
    default: Any
    allowed: str
    help: str

    @property
    def env(self) -> str:
        """The environment variable of the setting."""
        return "STACKCTL_" + re.sub(r"\W", "_", self.key).upper()


@dataclass(frozen=True)
class Loaded:
    """The settings and where each came from.

    Attributes:
        said: key to the value as it was written there.
        origins: key to the flag, variable or file; `default` where nothing was said.
    """

    settings: Settings
    said: Mapping[str, Any]
    origins: Mapping[str, str]


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


def component_images(references: Iterable[str]) -> dict[str, str]:
    """Return the settings that `--image NAME=REF` flags ask for.

    Raises:
        SettingsInvalid: one names no component of the docker runtime.
    """
    chosen: dict[str, str] = {}
    for text in references:
        name, separator, reference = text.partition("=")
        if not separator or name not in COMPONENT_BY_NAME:
            raise SettingsInvalid(
                f"--image cannot be {text!r}", next_step=f"write NAME=REF with one of: {', '.join(COMPONENT_BY_NAME)}"
            )
        chosen[f"image.{name}"] = reference
    return chosen


def _address(raw: Any) -> str:
    if not isinstance(raw, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", raw):
        raise ValueError
    return raw


def _directory(raw: Any) -> Path:
    if not isinstance(raw, Path) and (not isinstance(raw, str) or not raw.strip()):
        raise ValueError
    try:
        return Path(raw).expanduser().absolute()
    except RuntimeError as error:  # the home of a user that there is not
        raise ValueError(str(error)) from error


def _file(raw: Any) -> Path | None:
    return None if raw is None else _directory(raw)


def _default_data_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("stackctl", appauthor=False))


_PORTS_ALLOWED = f"auto, or ENDPOINT=PORT,... of {', '.join(ENDPOINT_BY_NAME)}"

ROWS: tuple[Row, ...] = (
    Row("data_dir", "data_dir", _directory, None, "a directory", "Where the stack keeps its data."),
    Row(
        "runtime",
        "runtime",
        one_of("auto", "docker", "embedded"),
        "auto",
        "auto, docker, embedded",
        "What the stack runs on.",
    ),
    Row(
        "console",
        "console",
        one_of("auto", "builtin", "grafana", "none"),
        "auto",
        "auto, builtin, grafana, none",
        "What is shown in a browser.",
    ),
    Row(
        "host",
        "host",
        _address,
        "127.0.0.1",
        "a name or IPv4 address of this machine",
        "Address the endpoints listen on.",
    ),
    Row("ports", "ports", ports, {}, _PORTS_ALLOWED, "Ports other than the default ones, or auto for free ones."),
    Row(
        "retention",
        "retention_seconds",
        seconds,
        "7d",
        "a number with s, m, h, d or w",
        "Telemetry that arrived longer ago is deleted, a third of it later at most.",
    ),
    Row(
        "retention_size",
        "retention_bytes",
        size,
        "10GiB",
        "64MiB or more, with MiB, GiB or TiB",
        "Beyond this size the oldest telemetry is deleted.",
    ),
    Row(
        "capture_content",
        "capture_content",
        boolean,
        False,
        "true, false",
        "Keep prompts, completions and documents in the span store.",
    ),
    Row(
        "content.allow_keys",
        "allow_keys",
        patterns,
        (),
        "a list of regular expressions without look-around",
        "Your own span attribute keys that redaction keeps.",
    ),
    Row(
        "models.extra",
        "extra_models",
        texts,
        (),
        "a list of model names",
        "Models without a price that stand on metrics by name.",
    ),
    Row(
        "prices.hosts",
        "price_hosts",
        lambda raw: hosts_of(pairs(raw)),
        {},
        "a table of server address and provider",
        "Whose prices a server address bills.",
    ),
    Row(
        "prices.book",
        "price_book",
        _file,
        None,
        "a file that stackctl prices update wrote",
        "Price book used instead of the shipped one.",
    ),
    Row(
        "prices.rows",
        "price_rows",
        price_rows,
        (),
        "[[prices.rows]] tables of provider, model, input and, where known, output, cache_read, cache_write, window",
        "Your own prices in USD per million tokens; they win over the book. One of a service tier: model:tier.",
    ),
    Row(
        "accounting.exclude_scopes",
        "exclude_scopes",
        texts,
        (),
        "a list of instrumentation scopes",
        "Scopes whose spans are never counted as calls.",
    ),
    Row(
        "sample",
        "sample_percent",
        percent,
        None,
        "a share in percent, above 0 and below 100",
        "Share of ordinary traces that the docker runtime stores; errors and slow or dear calls always.",
    ),
    *(
        Row(
            f"image.{one.name}",
            f"images.{one.name}",
            image,
            one.reference,
            "an image reference with a tag other than latest, or a digest",
            f"Image of {one.name} in the docker runtime.",
        )
        for one in COMPONENTS
    ),
)
ROW_BY_KEY: Mapping[str, Row] = {row.key: row for row in ROWS}


def load(
    flags: Mapping[str, Any] | None = None,
    environ: Mapping[str, str] | None = None,
    directory: Path | None = None,
) -> Loaded:
    """Return the settings in force.

    Args:
        flags: setting key to the value a command's flag gave; None values are flags that were not given.
        environ: the environment; the process's own when not given.
        directory: where `stackctl.toml` is looked for; the working directory when not given.

    Raises:
        SettingsInvalid: a value, a key or the file cannot be used; the message says where and what is allowed.
    """
    environ = os.environ if environ is None else environ
    in_file = dict(_file_values((directory or Path.cwd()) / FILE_NAME))
    values: dict[str, Any] = {}
    said: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for row in ROWS:
        raw, origin = _choose(row, flags or {}, environ, in_file)
        name, _, entry = row.field.partition(".")
        if entry:
            values.setdefault(name, {})[entry] = _parsed(row, raw, origin)
        else:
            values[name] = _parsed(row, raw, origin)
        said[row.key], origins[row.key] = raw, origin
    return Loaded(Settings(**values), said, origins)


def _choose(
    row: Row, flags: Mapping[str, Any], environ: Mapping[str, str], in_file: Mapping[str, Any]
) -> tuple[Any, str]:
    if flags.get(row.key) is not None:
        return flags[row.key], "--" + row.key.replace("_", "-").replace("image.", "image ")
    if row.env in environ:
        return environ[row.env], row.env
    if row.key in in_file:
        return in_file[row.key], FILE_NAME
    return (_default_data_dir() if row.key == "data_dir" else row.default), DEFAULT


def _parsed(row: Row, raw: Any, origin: str) -> Any:
    try:
        _check_storable(raw)
        return row.parse(raw)
    except ValueError as error:
        detail = f" ({error})" if str(error) else ""
        raise SettingsInvalid(
            f"{origin}: {row.key} cannot be {_shown(raw)}{detail}", next_step=f"{row.key} takes: {row.allowed}"
        ) from error


def _check_storable(raw: Any) -> None:
    """Refuse texts and numbers that no file's name, no configuration and no process can hold."""
    match raw:
        case str():
            if "\0" in raw or _SURROGATE.search(raw):
                raise ValueError("it holds what is no UTF-8 text")
        case int() if raw.bit_length() > 63:
            raise ValueError("no setting takes so large a number")
        case Mapping():
            _check_storable([*raw, *raw.values()])
        case list() | tuple():
            for one in raw:
                _check_storable(one)
        case Path():
            _check_storable(str(raw))


def _shown(raw: Any) -> str:
    try:
        return textwrap.shorten(repr(raw), _LONGEST_SHOWN, placeholder=" ...")
    except ValueError:  # Python writes out no integer of more than 4300 digits
        return "a number of thousands of digits"


def _file_values(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield key and raw value of each setting in the file; nothing when there is no file."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark of its encoding
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}", next_step="mend or remove the file") from error
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # numbers too long and tables too deep are no TOMLDecodeError
        detail = "a number has too many digits" if "set_int_max_str_digits" in str(error) else error
        raise SettingsInvalid(f"{path} is not TOML: {detail}", next_step="mend the file where it says") from error
    yield from _flat(path, tables, "")


def _flat(path: Path, table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        key = prefix + name
        if key in ROW_BY_KEY:
            yield key, value
        elif isinstance(value, Mapping) and any(known.startswith(key + ".") for known in ROW_BY_KEY):
            yield from _flat(path, value, key + ".")
        else:
            close = difflib.get_close_matches(key, ROW_BY_KEY, n=1)
            hint = f"did you mean {close[0]}?" if close else f"known keys: {', '.join(ROW_BY_KEY)}"
            raise SettingsInvalid(f"{path}: there is no setting {key!r}", next_step=hint)
