"""The settings table: what wins, what is refused, and that every row means something."""

import ast
import os
from dataclasses import fields
from pathlib import Path

import pytest

from stackctl import setting_values, settings
from stackctl.errors import SettingsInvalid
from stackctl.settings import ROW_BY_KEY, ROWS, Settings, load
from stackctl.stack import COMPONENT_BY_NAME

SOURCE = Path(settings.__file__).parent


def in_file(directory: Path, text: str) -> Path:
    (directory / settings.FILE_NAME).write_text(text, encoding="utf-8")
    return directory


def test_rows_and_settings_are_the_same_list():
    """Each row fills one field, and there is no field that nothing can set."""
    filled = dict.fromkeys(row.field.partition(".")[0] for row in ROWS)
    assert list(filled) == [field.name for field in fields(Settings)]


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(tmp_path):
    """The order of precedence is the documented one, and each value says where it came from."""
    in_file(tmp_path, 'retention = "3d"\nhost = "127.0.0.3"\nruntime = "docker"\n')
    environ = {"STACKCTL_RETENTION": "2d", "STACKCTL_HOST": "127.0.0.2"}
    loaded = load({"retention": "1d", "host": None}, environ, tmp_path)
    assert loaded.settings.retention_seconds == 86_400
    assert loaded.settings.host == "127.0.0.2"
    assert loaded.settings.runtime == "docker"
    assert {key: loaded.origins[key] for key in ("retention", "host", "runtime", "ports")} == {
        "retention": "--retention",
        "host": "STACKCTL_HOST",
        "runtime": "stackctl.toml",
        "ports": "default",
    }


def test_every_row_is_set_by_its_variable_and_by_the_file(tmp_path):
    """No row is reachable from only one of the two."""
    as_text = {
        "data_dir": ("/somewhere", "'/somewhere'"),
        "runtime": ("embedded", "'embedded'"),
        "console": ("none", "'none'"),
        "host": ("localhost", "'localhost'"),
        "ports": ("tempo=13200", "{tempo = 13200}"),
        "retention": ("15m", "'15m'"),
        "retention_size": ("1GiB", "'1GiB'"),
        "capture_content": ("yes", "true"),
        "content.allow_keys": ("app\\..*,shop\\.id", "['app\\..*', 'shop\\.id']"),
        "models.extra": ("mine,yours", "['mine', 'yours']"),
        "prices.hosts": ("llm.example=openai", "{'llm.example' = 'openai'}"),
        "prices.book": ("/somewhere/prices.csv", "'/somewhere/prices.csv'"),
        "prices.rows": (
            '[{"provider": "mine", "model": "m", "input": 0.15}]',
            "[{provider = 'mine', model = 'm', input = 0.15}]",
        ),
        "accounting.exclude_scopes": ("a.scope", "['a.scope']"),
        "sample": ("10", "10"),
        **{f"image.{name}": (f"mirror.example/{name}:1", f"'mirror.example/{name}:1'") for name in COMPONENT_BY_NAME},
    }
    assert as_text.keys() == ROW_BY_KEY.keys()
    by_variable = load(environ={row.env: as_text[row.key][0] for row in ROWS}, directory=tmp_path)
    in_file(tmp_path, "\n".join(f"{key} = {toml}" for key, (_, toml) in as_text.items()))
    by_file = load(environ={}, directory=tmp_path)
    assert by_variable.settings == by_file.settings
    assert set(by_file.origins.values()) == {"stackctl.toml"}
    assert by_file.settings != load(environ={}, directory=tmp_path.parent).settings


def test_every_setting_is_read():
    """A setting that no code looks at is a promise nobody keeps."""
    read = {
        node.attr
        for path in SOURCE.rglob("*.py")
        if path != Path(settings.__file__)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name | ast.Attribute)
        and getattr(node.value, "id", getattr(node.value, "attr", "")) == "settings"
    }
    assert {row.field.partition(".")[0] for row in ROWS} - read == set()


@pytest.mark.parametrize(
    ("text", "named", "next_step"),
    [
        ('retention = "soon"', "retention cannot be 'soon'", "retention takes: a number with s, m, h, d or w"),
        ("retention = 0", "retention cannot be 0", "a number with"),
        ('retention_size = "3 cats"', "retention_size cannot be '3 cats'", "64MiB or more"),
        ('retention_size = "1MiB"', "retention_size cannot be '1MiB'", "64MiB or more"),
        ("ports = {tempo = 70000}", "ports cannot be {'tempo': 70000}", "auto, or ENDPOINT=PORT"),
        ("ports = {nonsense = 1}", "ports cannot be", "otlp_grpc"),
        ("ports = {tempo = 1, prometheus = 1}", "ports cannot be", "otlp_grpc"),
        ('host = "no host"', "host cannot be 'no host'", "address"),
        ('capture_content = "maybe"', "capture_content cannot be 'maybe'", "true, false"),
        ('[content]\nallow_keys = ["("]', "content.allow_keys cannot be ['(']", "regular expressions"),
        ('[content]\nallow_keys = ["(?=x)"]', "content.allow_keys cannot be", "without look-around"),
        ("[prices]\nhosts = {a = 1}", "prices.hosts cannot be {'a': 1}", "a table of"),
        ("prices = {rows = 'x'}", "prices.rows cannot be 'x'", "[[prices.rows]] tables"),
        ("[[prices.rows]]\nmodel = 'm'", "(row 1: provider is missing)", "[[prices.rows]] tables"),
        ("[[prices.rows]]\nprovider = 'p'\nmodel = 'm'\ninptu = 1", "(row 1: there is no key 'inptu'", "input"),
        ("[[prices.rows]]\nprovider = 'p'\nmodel = 'm m'\ninput = 1", "model must be a name", "input"),
        ("[[prices.rows]]\nprovider = 'p'\nmodel = 'm'\ninput = -1", "input must be USD per million", "input"),
        ("[[prices.rows]]\nprovider = 'p'\nmodel = 'm'\ninput = '1e99999'", "input must be USD per million", "input"),
        ("[[prices.rows]]\nprovider = 'p'\nmodel = 'm'\ninput = 1\nwindow = 'big'", "window must be", "input"),
        ("prices.rows = [" + "{provider = 'p', model = 'm', input = 1}," * 2 + "]", "row 2: a second price", "input"),
        ("sample = 0", "sample cannot be 0", "above 0 and below 100"),
        ("sample = 'some'", "sample cannot be 'some'", "above 0 and below 100"),
        ("image.tempo = 'a b'", "image.tempo cannot be 'a b'", "an image reference"),
        ("image.tempo = 'grafana/tempo'", "image.tempo cannot be 'grafana/tempo'", "a tag"),
        ("image.tempo = 'grafana/tempo:latest'", "image.tempo cannot be", "other than latest"),
        ('retentoin = "1d"', "no setting 'retentoin'", "did you mean retention?"),
        ("[content]\nallow = []", "no setting 'content.allow'", "content.allow_keys"),
        ("[wholly]\nother = 1", "no setting 'wholly'", "known keys: data_dir"),
        ("retention = ", "is not TOML", "mend the file"),
        ("retention = " + "9" * 5000, "is not TOML", "mend the file"),
        ("retention = " + "[" * 3000, "is not TOML", "mend the file"),
        ("[prices.hosts]\nA = 'x'\na = 'y'", "two providers of a", "a table of"),
    ],
)
def test_a_bad_file_is_refused_by_name(tmp_path, text, named, next_step):
    """The message names the file and the key, the next step says what is allowed; it is exit code 2."""
    with pytest.raises(SettingsInvalid) as refused:
        load(environ={}, directory=in_file(tmp_path, text))
    assert named in refused.value.message
    assert settings.FILE_NAME in refused.value.message
    assert next_step in refused.value.next_step
    assert refused.value.exit_code == 2


def test_a_bad_variable_is_refused_by_its_name(tmp_path):
    """A person who set a variable months ago learns which one it is."""
    with pytest.raises(SettingsInvalid, match="STACKCTL_CAPTURE_CONTENT: capture_content cannot be 'perhaps'"):
        load(environ={"STACKCTL_CAPTURE_CONTENT": "perhaps"}, directory=tmp_path)


def test_rows_too_deep_to_read_are_refused(tmp_path):
    """A variable that no parser can follow is a wrong value like any other."""
    with pytest.raises(SettingsInvalid, match=r"STACKCTL_PRICES_ROWS: prices\.rows cannot be"):
        load(environ={"STACKCTL_PRICES_ROWS": "[" * 100_000}, directory=tmp_path)


HUGE = f"0x{'f' * 5000}"
PRICED = '[[prices.rows]]\nprovider = "a"\nmodel = "m"\ninput = '


@pytest.mark.parametrize("key", ROW_BY_KEY)
@pytest.mark.parametrize("value", [HUGE, "9" * 5000, '"a\\u0000"', '["a\\u0000"]', "nan", "[[[[1]]]]"])
def test_no_setting_takes_what_nothing_can_hold(tmp_path, key, value):
    """Integers that Python does not write out, NUL and nonsense are refused by name, whatever the setting is."""
    with pytest.raises(SettingsInvalid, match=r"stackctl\.toml"):
        load({}, {}, in_file(tmp_path, f"{key} = {value}\n"))


@pytest.mark.parametrize(
    "rest",
    [
        *(HUGE, "inf", "nan", "-0.0", "1e400", "1e-30", '"1_0"', '"\u0661"', '"Infinity"', '"1\\u0000"'),
        *(f"1\nwindow = {window}" for window in (HUGE, 2**63, 10**12, "inf")),
    ],
)
def test_no_price_is_what_the_collector_cannot_read(tmp_path, rest):
    """A price is digits of ASCII, a window a likely number."""
    with pytest.raises(SettingsInvalid, match=r"prices\.rows"):
        load({}, {}, in_file(tmp_path, f"{PRICED}{rest}\n"))


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        *(("STACKCTL_MODELS_EXTRA", text) for text in ("\udcff", "\0")),
        *(("STACKCTL_DATA_DIR", text) for text in ("\udcff", "~no-such-user-here/x", "a\0b")),
        *(("STACKCTL_RETENTION_SIZE", text) for text in ("999999999999999TiB", "\u0667GiB")),
        ("STACKCTL_RETENTION", "\u0663d"),
        *(
            ("STACKCTL_CONTENT_ALLOW_KEYS", pattern)
            for pattern in (r"(?P<a>x)(?P=a)", "x*+", "(?>a)", r"a\Z", "(a{1000}){1000}", "(" * 5000)
        ),
    ],
)
def test_no_engine_is_started_with_what_it_cannot_read(tmp_path, variable, value):
    """What fits into no JSON, no path and no RE2 pattern is refused here, not by an engine that does not come up."""
    with pytest.raises(SettingsInvalid, match=variable):
        load({}, {variable: value}, tmp_path)


def test_a_mark_of_the_encoding_may_stand_before_the_file(tmp_path):
    """Some editors write one."""
    (tmp_path / settings.FILE_NAME).write_bytes(b'\xef\xbb\xbfretention = "3d"\n')
    assert load({}, {}, tmp_path).settings.retention_seconds == 3 * 86_400


@pytest.mark.parametrize(
    "make",
    [
        Path.mkdir,
        lambda file: file.symlink_to(file),
        lambda file: file.write_bytes(b"\xff"),
        os.mkfifo,
        lambda file: file.symlink_to("/dev/zero"),
    ],
)
def test_a_file_that_is_no_text_is_refused(tmp_path, make):
    """A directory in its place, a link to itself, another encoding; a pipe and a device, of which no end would come."""
    make(tmp_path / settings.FILE_NAME)
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        load({}, {}, tmp_path)


def test_a_size_and_a_duration_are_counted_in_bytes_and_seconds():
    """Units mean what they say: KiB is 1024, kB is 1000."""
    assert [setting_values.size(text) for text in ("64MiB", "1GB", "2 TiB", "100000000")] == [
        64 * 2**20,
        10**9,
        2 * 2**40,
        100_000_000,
    ]
    assert [setting_values.seconds(text) for text in ("90s", "15m", "24h", "7d", "2w")] == [
        90,
        900,
        86_400,
        604_800,
        1_209_600,
    ]


def test_prices_stay_exact(tmp_path):
    """A price written as a number or as text is the decimal number that stands there, not the nearest double."""
    in_file(tmp_path, "[[prices.rows]]\nprovider = 'p'\nmodel = 'm'\ninput = 0.1\noutput = '0.30'\nwindow = 8192")
    (row,) = load(environ={}, directory=tmp_path).settings.price_rows
    assert (row.input, row.output, row.cache_read, row.window) == ("0.1", "0.30", None, 8192)


def test_config_shows_each_value_and_its_origin(stackctl_cli, tmp_path):
    """`stackctl config` answers where a value comes from, for people and for programs."""
    in_file(tmp_path, 'retention = "3d"')
    shown = {row["key"]: row for row in stackctl_cli("config", "--json").json()["settings"]}
    assert shown.keys() == ROW_BY_KEY.keys()
    assert (shown["retention"]["value"], shown["retention"]["origin"]) == ("3d", "stackctl.toml")
    text = stackctl_cli("config", env={"STACKCTL_HOST": "localhost"}).stdout
    assert "localhost" in text
    assert "STACKCTL_HOST" in text
