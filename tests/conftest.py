"""What every test may use: the installed command in a hostile shell, and a real stack on free ports."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from stackctl.stack import COMPONENT_BY_NAME
from tests import absent

COMMAND = Path(sys.executable).with_name("stackctl")
# The pinned images as they are loaded here: of the same tag, without the digest.
IMAGES = {name: f"{COMPONENT_BY_NAME[name].image}:{COMPONENT_BY_NAME[name].tag}" for name in ("otelcol", "prometheus")}
_DEAD = "http://127.0.0.1:9"  # the discard port, where nobody listens

# What a user's shell may hold and stackctl must not follow: proxies, another collector, another model server.
POISON = {
    "HTTP_PROXY": _DEAD,
    "HTTPS_PROXY": _DEAD,
    "ALL_PROXY": _DEAD,
    "http_proxy": _DEAD,
    "https_proxy": _DEAD,
    "all_proxy": _DEAD,
    "grpc_proxy": _DEAD,
    "OTEL_EXPORTER_OTLP_ENDPOINT": _DEAD,
    "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json",
    "OTEL_TRACES_EXPORTER": "none",
    "OTEL_METRICS_EXPORTER": "none",
    "OTEL_LOGS_EXPORTER": "none",
    "OTEL_SDK_DISABLED": "true",
    "OTEL_SERVICE_NAME": "poison",
    "OTEL_RESOURCE_ATTRIBUTES": "service.name=poison,deployment.environment.name=poison",
    "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT": "span_and_event",
    "OPENAI_API_KEY": "sk-poison",
    "OPENAI_BASE_URL": _DEAD,
}


@dataclass(frozen=True)
class Finished:
    """A command that ended."""

    code: int
    stdout: str
    stderr: str

    def json(self) -> dict:
        """Return its product."""
        return json.loads(self.stdout)


@dataclass(frozen=True)
class LiveStack:
    """A stack that runs for the tests.

    Attributes:
        endpoints: endpoint name to URL (host:port for gRPC).
    """

    data_dir: Path
    endpoints: Mapping[str, str]


def hostile_environment(home: Path) -> dict[str, str]:
    """Return the environment of commands under test: poisoned, no settings of ours, its own data directory."""
    # Nor that the interpreter writes at once: what only fails when it ends was seen by users alone.
    ours = ("STACKCTL_", "OTEL_", "OPENAI_", "COLUMNS", "LINES", "PYTHONUNBUFFERED")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return kept | POISON | {"XDG_DATA_HOME": str(home)}


def run_stackctl(
    *arguments: str | Path,
    home: Path,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout: float = 90,
) -> Finished:
    """Run the installed command to its end."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        cwd=cwd or home,
        env=hostile_environment(home) | dict(env or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def pytest_configure() -> None:
    """Undo what a shell does to jobs in the background: an ignored SIGINT is inherited by every program under test."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out, by name, what needs the real servers or a Docker engine where they are not: the skips of this suite.

    Files with slow tests go first, so that no worker waits for them at the end.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        absent.leave_out(item)


@pytest.fixture(scope="session")
def realstack() -> Path:
    """The directory with the real servers' programs (prometheus, promtool)."""
    return Path(os.environ[absent.REALSTACK])


@pytest.fixture(scope="session")
def docker_runtime() -> Sequence[str]:
    """The flags of `up` for the docker runtime: images by their tags, and a stand-in for Tempo, which cannot be had."""
    import docker

    from tests.docker.standin.image import build

    with contextlib.closing(docker.from_env()) as client:
        images = {**IMAGES, "tempo": build(client)}
    return ("--runtime", "docker", *(word for name, image in images.items() for word in ("--image", f"{name}={image}")))


@pytest.fixture
def stackctl_cli(tmp_path: Path) -> Callable[..., Finished]:
    """The installed command, run in an empty directory: `stackctl_cli("status", "--json")`."""

    def run(*arguments: str | Path, **options) -> Finished:
        return run_stackctl(*arguments, home=tmp_path, **options)

    return run


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveStack]:
    """One real embedded stack on free ports, started and stopped by the command; tests share it and its data."""
    home = tmp_path_factory.mktemp("stack")
    data_dir = home / "data"
    started = run_stackctl(
        "up", "--runtime", "embedded", "--ports", "auto", "--data-dir", data_dir, "--json", home=home
    )
    assert started.code == 0, started.stderr
    try:
        yield LiveStack(data_dir, started.json()["endpoints"])
    finally:
        run_stackctl("down", "--delete-data", "--data-dir", data_dir, home=home)
