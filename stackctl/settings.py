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

from stackctl import setting_values as values
from stackctl.errors import SettingsInvalid
from stackctl.stack import COMPONENT_BY_NAME, COMPONENTS, ENDPOINT_BY_NAME, OwnPrice, hosts_of

FILE_NAME = "stackctl.toml"
DEFAULT = "default"  # the origin of a setting about which nothing was said

_LONGEST_SHOWN = 120  # characters of a refused value in a message
_SURROGATE = re.compile("[\ud800-\udfff]")  # Python's stand-in for a byte that is no UTF-8


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


def _default_data_dir() -> Path:
    import platformdirs

    return Path(platformdirs.user_data_dir("stackctl", appauthor=False))


_PORTS_ALLOWED = f"auto, or ENDPOINT=PORT,... of {', '.join(ENDPOINT_BY_NAME)}"

ROWS: tuple[Row, ...] = (
    Row("data_dir", "data_dir", values.directory, None, "a directory", "Where the stack keeps its data."),
    Row(
        "runtime",
        "runtime",
        values.one_of("auto", "docker", "embedded"),
        "auto",
        "auto, docker, embedded",
        "What the stack runs on.",
    ),
    Row(
        "console",
        "console",
        values.one_of("auto", "builtin", "grafana", "none"),
        "auto",
        "auto, builtin, grafana, none",
        "What is shown in a browser.",
    ),
    Row(
        "host",
        "host",
        values.address,
        "127.0.0.1",
        "a name or IPv4 address of this machine",
        "Address the endpoints listen on.",
    ),
    Row(
        "ports", "ports", values.ports, {}, _PORTS_ALLOWED, "Ports other than the default ones, or auto for free ones."
    ),
    Row(
        "retention",
        "retention_seconds",
        values.seconds,
        "7d",
        "a number with s, m, h, d or w",
        "Telemetry that arrived longer ago is deleted, a third of it later at most.",
    ),
    Row(
        "retention_size",
        "retention_bytes",
        values.size,
        "10GiB",
        "64MiB or more, with MiB, GiB or TiB",
        "Beyond this size the oldest telemetry is deleted.",
    ),
    Row(
        "capture_content",
        "capture_content",
        values.boolean,
        False,
        "true, false",
        "Keep prompts, completions and documents in the span store.",
    ),
    Row(
        "content.allow_keys",
        "allow_keys",
        values.patterns,
        (),
        "a list of regular expressions without look-around",
        "Your own span attribute keys that redaction keeps.",
    ),
    Row(
        "models.extra",
        "extra_models",
        values.texts,
        (),
        "a list of model names",
        "Models without a price that stand on metrics by name.",
    ),
    Row(
        "prices.hosts",
        "price_hosts",
        lambda raw: hosts_of(values.pairs(raw)),
        {},
        "a table of server address and provider",
        "Whose prices a server address bills.",
    ),
    Row(
        "prices.book",
        "price_book",
        values.file,
        None,
        "a file that stackctl prices update wrote",
        "Price book used instead of the shipped one.",
    ),
    Row(
        "prices.rows",
        "price_rows",
        values.price_rows,
        (),
        "[[prices.rows]] tables of provider, model, input and, where known, output, cache_read, cache_write, window",
        "Your own prices in USD per million tokens; they win over the book. One of a service tier: model:tier.",
    ),
    Row(
        "accounting.exclude_scopes",
        "exclude_scopes",
        values.texts,
        (),
        "a list of instrumentation scopes",
        "Scopes whose spans are never counted as calls.",
    ),
    Row(
        "sample",
        "sample_percent",
        values.percent,
        None,
        "a share in percent, above 0 and below 100",
        "Share of ordinary traces that the docker runtime stores; errors and slow or dear calls always.",
    ),
    *(
        Row(
            f"image.{one.name}",
            f"images.{one.name}",
            values.image,
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
    if path.exists() and not path.is_file():  # to read a pipe, or a device, might never end
        raise SettingsInvalid(f"{path} cannot be read: it is no file", next_step="mend or remove it")
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
