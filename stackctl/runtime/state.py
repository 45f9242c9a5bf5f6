"""The state file: what runs where. Every command finds the stack by it.

A process id alone proves nothing, since the system gives it out again; so each stands beside the moment the process was
born, and both must agree.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from stackctl.errors import StackNotRunning, StoreUnusable

STATE_FILE = "stack.json"
FORMAT = 1
PROJECT_DIRECTORY = "docker"  # the files of the docker runtime's compose project
# Everything the stack puts into its data directory; `down --delete-data` removes these and nothing else.
OWNED = (STATE_FILE, "run", "logs", "spans", "series", "rules", "lock", PROJECT_DIRECTORY)

STARTING, HEALTHY, UNHEALTHY, STOPPED = "starting", "healthy", "unhealthy", "stopped"
EMBEDDED, DOCKER = "embedded", "docker"


@dataclass(frozen=True)
class Process:
    """A process of ours, so that it is told from a later one with the same id.

    Attributes:
        born: the boot, and the clock tick since it at which the process started; no stepped clock moves them.
    """

    pid: int
    born: str

    @classmethod
    def of(cls, pid: int) -> Self:
        """Return the identity of a running process.

        Raises:
            ProcessLookupError: there is none.
        """
        found = _birth(pid)
        if found is None:
            raise ProcessLookupError(pid)
        return cls(pid, found)

    def running(self) -> bool:
        """True while this very process lives; a zombie does not."""
        return _birth(self.pid) == self.born

    def signal(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        if self.running():
            with contextlib.suppress(ProcessLookupError):  # it died between the two lines
                os.kill(self.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait until the process is gone; False when it still runs after that many seconds."""
        deadline = time.monotonic() + seconds
        while self.running():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


def _birth(pid: int) -> str | None:
    """Return when a living process started. proc(5): field 3 of `stat` is its state, field 22 its start in ticks."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat[stat.rindex(")") + 2 :].split()  # the name before it may hold spaces and brackets
    return None if fields[0] in "ZX" else f"{boot}:{fields[19]}"


@dataclass(frozen=True)
class ComponentState:
    """What the supervisor knows about one component.

    Attributes:
        state: `starting`, `healthy`, `unhealthy` or `stopped`.
        endpoint: name of the endpoint that stands for it, e.g. `otlp_grpc`.
        since: seconds since the epoch of its last start.
        restarts: how often it died and was started again.
        last_exit: exit code of its last death; negative is a signal; None when it never died.
    """

    name: str
    endpoint: str
    state: str = STARTING
    process: Process | None = None
    since: float | None = None
    restarts: int = 0
    last_exit: int | None = None


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs.

    Attributes:
        endpoints: endpoint name to URL (host:port for gRPC); None where there is none.
        supervisor: the process that keeps the stack's own processes running; None where there are only containers.
        config: digest of the engine configuration that the processes were started with.
        components: the processes; containers are asked of the engine.
        token_file: bearer token of the endpoints; None on loopback.
        project: the compose project of the docker runtime; None in the embedded one.
        services: its services.
    """

    runtime: str
    version: str
    data_dir: Path
    endpoints: Mapping[str, str | None]
    supervisor: Process | None
    config: str
    components: tuple[ComponentState, ...] = field(default=())
    token_file: Path | None = None
    project: str | None = None
    services: tuple[str, ...] = ()

    def alive(self) -> bool:
        """True while it runs: containers until `down`, whatever becomes of them; processes with their supervisor."""
        return self.project is not None or self.supervised()

    def supervised(self) -> bool:
        """True while its supervisor lives."""
        return self.supervisor is not None and self.supervisor.running()

    def healthy(self) -> bool:
        """True when every process is."""
        return all(component.state == HEALTHY for component in self.components)

    def token(self) -> str | None:
        """Return the bearer token the endpoints ask for; None on loopback."""
        return self.token_file.read_text(encoding="utf-8").strip() if self.token_file else None

    @property
    def compose_directory(self) -> Path:
        """Where the files of its compose project lie."""
        return compose_directory(self.data_dir)

    def url(self, endpoint: str) -> str:
        """Return the address of an endpoint.

        Raises:
            StackNotRunning: this runtime does not serve it.
        """
        address = self.endpoints.get(endpoint)
        if address is None:
            raise StackNotRunning(
                f"the {self.runtime} runtime has no endpoint {endpoint}", next_step="see what it has: stackctl status"
            )
        return address

    def write(self) -> None:
        """Write the state file in one step, so that a reader sees the old one or the new one."""
        record = {"format": FORMAT, **asdict(self), "data_dir": str(self.data_dir)}
        record["token_file"] = str(self.token_file) if self.token_file else None
        path = self.data_dir / STATE_FILE
        draft = path.with_suffix(f".{os.getpid()}.tmp")
        draft.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2))
        draft.chmod(0o600)
        draft.replace(path)


def compose_directory(data_dir: Path) -> Path:
    """Return where `compose.yaml` and `.env` of a data directory's compose project lie."""
    return data_dir / PROJECT_DIRECTORY / "compose"


def read(data_dir: Path) -> RunningStack | None:
    """Return what the state file says, whether or not it still runs; None when there is no file.

    Raises:
        StoreUnusable: a newer stackctl wrote it, or it cannot be read.
    """
    path = data_dir / STATE_FILE
    try:
        record: dict[str, Any] = orjson.loads(path.read_bytes())
        if record.pop("format") != FORMAT:
            raise StoreUnusable(
                f"{path} was written by another version of stackctl", next_step="use the version that started the stack"
            )
        return _stack(record)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise StoreUnusable(f"{path} cannot be read: {error}", next_step=f"remove {path} and start again") from error


def find(data_dir: Path) -> RunningStack:
    """Return the stack that runs from a data directory.

    Raises:
        StackNotRunning: none does; also when the file is left over from one that died.
    """
    stack = read(data_dir)
    if stack is None:
        raise StackNotRunning(f"no stack runs from {data_dir}", next_step="start it: stackctl up")
    if not stack.alive():
        raise StackNotRunning(
            f"the stack of {data_dir} is gone: its supervisor no longer runs",
            next_step="start it again: stackctl up",
        )
    return stack


def running(data_dir: Path) -> RunningStack | None:
    """Return the stack that runs from a data directory, or None."""
    stack = read(data_dir)
    return stack if stack is not None and stack.alive() else None


def forget(data_dir: Path) -> None:
    """Remove the state file: nothing runs from here any more."""
    (data_dir / STATE_FILE).unlink(missing_ok=True)


def delete_data(data_dir: Path) -> None:
    """Remove all that the stack keeps in its data directory, and the directory when nothing else is in it."""
    for name in OWNED:
        path = data_dir / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    if data_dir.is_dir() and not any(data_dir.iterdir()):
        data_dir.rmdir()


def _stack(record: dict[str, Any]) -> RunningStack:
    components = tuple(
        ComponentState(**{**item, "process": Process(**item["process"]) if item["process"] else None})
        for item in record.pop("components")
    )
    token_file, supervisor = record.pop("token_file"), record.pop("supervisor")
    record["services"] = tuple(record.get("services", ()))
    return RunningStack(
        data_dir=Path(record.pop("data_dir")),
        supervisor=Process(**supervisor) if supervisor else None,
        token_file=Path(token_file) if token_file else None,
        components=components,
        **record,
    )
