"""The compose project of a data directory: the shipped files with the settings in them, written below `docker/`.

The files stand there as in the shipped folders, `compose/` beside `provisioning/`, so that plain compose runs them too.
"""

import hashlib
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackctl.collector.render import CollectorSettings, files
from stackctl.errors import StoreUnusable
from stackctl.files import shipped
from stackctl.genai.content import CONTENT_CAP
from stackctl.runtime.console import GRAFANA
from stackctl.runtime.state import PROJECT_DIRECTORY
from stackctl.settings import Settings
from stackctl.stack import COMPONENT_BY_NAME, ENDPOINT_BY_NAME

PLAIN_NAME = "stackctl"  # of the project, and of its network, where the data directory is the usual one
PASSWORD = "GRAFANA_ADMIN_PASSWORD"
_OWNERS_FILE, _ANYONES_FILE, _ANYONES_FOLDER = (
    0o600,
    0o644,
    0o755,
)  # a container's user is another than the one that writes
# Which files below `docker/` each service mounts: a path, or a folder with all that is in it.
MOUNTED: Mapping[str, Sequence[str]] = {
    "otelcol": ("compose/otelcol",),
    "tempo": ("compose/tempo",),
    "prometheus": ("compose/prometheus", "provisioning/prometheus"),
    GRAFANA: ("provisioning/grafana",),
}


@dataclass(frozen=True)
class Project:
    """A compose project, rendered.

    Attributes:
        directory: where its files are written.
        files: path below it to content.
        environment: what `compose/.env` says.
    """

    name: str
    directory: Path
    files: Mapping[str, bytes]
    environment: Mapping[str, str]

    @property
    def compose_directory(self) -> Path:
        """Where `compose.yaml` and `.env` lie."""
        return self.directory / "compose"

    @property
    def env_file(self) -> Path:
        """The file with what may be set, Grafana's password among it."""
        return self.compose_directory / ".env"

    def changes(self) -> list[str]:
        """Return, in words, which images and which sampling differ from those that were written before."""
        before = _kept(self.env_file)
        named = [key for key in self.environment if key.startswith(("STACKCTL_IMAGE_", "STACKCTL_SAMPLE"))]
        return [
            f"{key.removeprefix('STACKCTL_').lower()}: {before[key] or '-'} -> {self.environment[key] or '-'}"
            for key in named
            if key in before and before[key] != self.environment[key]
        ]

    def write(self) -> None:
        """Write the files; one that says the same already is left alone.

        Raises:
            StoreUnusable: the disk refuses it.
        """
        try:
            for name, content in self.files.items():
                _write(self.directory / name, content, _ANYONES_FILE)
            lines = [f"{key}={value}" for key, value in self.environment.items()]
            _write(self.env_file, "\n".join([*lines, ""]).encode(), _OWNERS_FILE)
        except OSError as error:
            raise StoreUnusable(
                f"{self.directory} cannot be written: {error.strerror}",
                next_step="free space or name another directory: stackctl --data-dir DIR up",
            ) from error


def render(settings: Settings, name: str, ports: Mapping[str, int], with_grafana: bool) -> Project:
    """Return the project that some settings ask for.

    Args:
        name: of the project and its network.
        ports: endpoint to port on loopback.

    Raises:
        SettingsInvalid: the price book of the settings is none.
    """
    directory = settings.data_dir / PROJECT_DIRECTORY
    found = dict(_shipped_files())
    for file, text in files(CollectorSettings.of(settings, settings.sample_percent)).items():
        found[f"compose/otelcol/{file}"] = text.encode()
    found["compose/tempo/tempo.yaml"] = _tempo(found["compose/tempo/tempo.yaml"].decode(), settings).encode()
    environment = {
        "COMPOSE_PROJECT_NAME": name,
        "COMPOSE_PROFILES": GRAFANA if with_grafana else "",
        "STACKCTL_NETWORK": name,
        "STACKCTL_RETENTION": duration(settings.retention_seconds),
        "STACKCTL_RETENTION_SIZE": f"{settings.retention_bytes}B",
        "STACKCTL_SAMPLE": "" if settings.sample_percent is None else f"{settings.sample_percent:g}",
        **{f"STACKCTL_IMAGE_{component.upper()}": image for component, image in settings.images.items()},
        **{f"STACKCTL_PORT_{endpoint.upper()}": str(port) for endpoint, port in _all_ports(ports).items()},
        **{f"STACKCTL_FILES_{service.upper()}": _digests(found, service) for service in MOUNTED},
        PASSWORD: password(directory / "compose" / ".env"),
    }
    return Project(name, directory, found, environment)


def name_of(data_dir: Path) -> str:
    """Return the name of a data directory's project: plain for the usual directory, others get a digest behind it."""
    import platformdirs

    if data_dir == Path(platformdirs.user_data_dir("stackctl", appauthor=False)):
        return PLAIN_NAME
    return f"{PLAIN_NAME}-{hashlib.sha256(str(data_dir).encode()).hexdigest()[:8]}"


def password(env_file: Path) -> str:
    """Return the password of Grafana's admin: the one of an earlier `up`, which Grafana keeps, else a new one."""
    return _kept(env_file).get(PASSWORD) or secrets.token_urlsafe(24)


def duration(seconds: int) -> str:
    """Return a duration as Tempo (Go) and Prometheus both read it: hours where that is exact."""
    return f"{seconds // 3600}h" if seconds % 3600 == 0 else f"{seconds}s"


def _kept(env_file: Path) -> dict[str, str]:
    """Return what was written before; empty where nothing was."""
    try:
        lines = env_file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    return {key: value for key, separator, value in (line.partition("=") for line in lines) if separator}


def _all_ports(ports: Mapping[str, int]) -> dict[str, int]:
    """Return the ports with the default one of an endpoint that is not served: nothing is published at it."""
    return {endpoint.name: endpoint.port for endpoint in ENDPOINT_BY_NAME.values()} | dict(ports)


def _tempo(text: str, settings: Settings) -> str:
    """Put the settings into Tempo's file, where the shipped one has the defaults."""
    replaced, times = re.subn(r"(?m)^( *block_retention:) \S+$", rf"\g<1> {duration(settings.retention_seconds)}", text)
    assert times == 3, "Tempo's file has the retention at its three places"
    if settings.capture_content:
        replaced, times = re.subn(
            r"(?m)^( *max_attribute_bytes:) \d+.*$", rf"\g<1> {_MOST_BYTES_OF_A_CHARACTER * CONTENT_CAP}", replaced
        )
        assert times == 1, "Tempo's file has the length of attributes"
    return replaced


_MOST_BYTES_OF_A_CHARACTER = 4  # in UTF-8; the cap counts characters


def _shipped_files() -> Iterator[tuple[str, bytes]]:
    for folder in ("compose", "provisioning"):
        root = shipped(folder)
        for path in sorted(root.rglob("*")):
            if path.is_file() and not path.name.startswith("."):
                yield f"{folder}/{path.relative_to(root)}", path.read_bytes()


def _digests(found: Mapping[str, bytes], service: str) -> str:
    """Return name and digest of each file that a service mounts, as one label holds them."""
    roots = tuple(f"{root}/" for root in MOUNTED[service])
    rows = ((Path(name).name, content) for name, content in sorted(found.items()) if name.startswith(roots))
    return ",".join(f"{name}:{hashlib.sha256(content).hexdigest()[:12]}" for name, content in rows)


def _write(path: Path, content: bytes, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.parent.chmod(_ANYONES_FOLDER)  # whatever the umask; above them all is the data directory, the owner's alone
    if path.exists() and path.read_bytes() == content:
        return
    draft = path.with_name(f"{path.name}.draft")
    draft.touch(mode=mode)
    draft.write_bytes(content)
    draft.chmod(mode)
    draft.replace(path)


assert MOUNTED.keys() == COMPONENT_BY_NAME.keys(), "each component has its files"
