"""The process that keeps our own processes running: `python -m stackctl.runtime.supervisor DATA_DIR [--echo]`.

It starts the engine's two programs, notes their state in the state file, starts again what died, and stops both when
told to. The programs die with it; until `up` has proven the stack it dies with `up`: its standard input is a leash.
With `--console` it has only the console to look after: the rest of the stack are containers, which the engine minds.
"""

import contextlib
import hashlib
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from stackctl import __version__
from stackctl.runtime import console, state
from stackctl.runtime.child import Child
from stackctl.runtime.logs import SUPERVISOR, LogFile, log_path
from stackctl.runtime.ready import endpoints, ready_urls
from stackctl.stack import EngineConfig

CONSOLE_ONLY = "--console"
KEEP = b"k"  # what `up` writes into the leash when the stack is to outlive it
STOP_SECONDS = 10.0
_STARTING_PAUSE_SECONDS = 0.03
_STEADY_PAUSE_SECONDS = 0.5


@dataclass(frozen=True)
class Program:
    """One process of the engine.

    Attributes:
        arguments: what the interpreter is given before the configuration file.
        endpoint: the endpoint that stands for it in reports.
        ready: endpoint and path of each GET that must be answered with 200.
    """

    name: str
    arguments: tuple[str, ...]
    endpoint: str
    ready: tuple[tuple[str, str], ...]


MODULE = ("-P", "-m")  # without -P the working directory could stand in for one of our packages
PROGRAMS = (
    Program("ingest", (*MODULE, "stackctl.embedded.ingest"), "otlp_grpc", (("otlp_http", "/-/ready"),)),
    Program(
        "query", (*MODULE, "stackctl.embedded.query"), "prometheus", (("prometheus", "/-/ready"), ("tempo", "/ready"))
    ),
    Program("console", (*MODULE, console.MODULE), "console", (("console", "/-/ready"),)),
)


def config_path(data_dir: Path) -> Path:
    """Return where the engine's configuration lies."""
    return data_dir / "run" / "engine.json"


def digest(data_dir: Path) -> str:
    """Return the digest of the engine's configuration, by which `up` knows what the processes were started with."""
    return hashlib.sha256(config_path(data_dir).read_bytes()).hexdigest()[:16]


class Supervisor:
    """Watches the engine's programs.

    Args:
        leash: file descriptor whose end means stop, until KEEP was read from it.
        echo: also told each event (foreground).
        stop_seconds: what a program gets between SIGTERM and SIGKILL.
        around: the stack of containers that the programs belong to; None where they are the stack.
    """

    def __init__(
        self,
        data_dir: Path,
        leash: int,
        echo: Callable[[str], None] | None = None,
        programs: Sequence[Program] = PROGRAMS,
        stop_seconds: float = STOP_SECONDS,
        around: state.RunningStack | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._programs = programs
        self._stop_seconds = stop_seconds
        self._around = around
        self._leash = leash
        self._echo = echo
        self._own_log = LogFile(log_path(data_dir, SUPERVISOR))
        self._selector = selectors.DefaultSelector()
        self._stopping = False
        self._reloading = False
        self._published: state.RunningStack | None = None
        self._children: list[Child] = []

    def run(self) -> None:
        """Start the programs and keep them running until told to stop."""
        self._listen_to_signals()
        self._selector.register(self._leash, selectors.EVENT_READ, self._read_leash)
        self._start_all()
        try:
            while not self._stopping:
                if self._reloading:
                    self._reload()
                self._turn()
        finally:
            self._stop_all()
            if self._around is None:
                state.forget(self._data_dir)
            self._tell("stopped")
            self._own_log.close()

    def _turn(self) -> None:
        self._wait_for_events()
        now = time.monotonic()
        for child in self._children:
            child.step(now)
        self._publish()

    def _wait_for_events(self) -> None:
        steady = all(child.state.state == state.HEALTHY for child in self._children)
        for key, _ in self._selector.select(_STEADY_PAUSE_SECONDS if steady else _STARTING_PAUSE_SECONDS):
            key.data()

    def _listen_to_signals(self) -> None:
        """Signals set a flag and wake the loop through a socket; SIGHUP is a closed terminal, which is none of ours."""
        wake, sink = socket.socketpair()
        for end in (wake, sink):
            end.setblocking(False)
        signal.set_wakeup_fd(sink.fileno(), warn_on_full_buffer=False)
        self._wake = (wake, sink)
        self._selector.register(wake, selectors.EVENT_READ, lambda: wake.recv(4096))
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        signal.signal(signal.SIGUSR1, self._on_reload)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the loop

    def _on_stop(self, *_: object) -> None:
        self._stopping = True

    def _on_reload(self, *_: object) -> None:
        self._reloading = True

    def _read_leash(self) -> None:
        word = os.read(self._leash, 16)
        self._selector.unregister(self._leash)
        if word != KEEP:
            self._tell("the command that started the stack is gone: stopping")
            self._stopping = True

    def _start_all(self) -> None:
        config = EngineConfig.read(config_path(self._data_dir))
        self._config = config
        self._digest = digest(self._data_dir)
        self._children = [
            Child(
                name=program.name,
                endpoint=program.endpoint,
                command=[sys.executable, *program.arguments, str(config_path(self._data_dir))],
                ready=ready_urls(config, program.ready),
                token_file=Path(config.token_file) if config.token_file else None,
                log=LogFile(log_path(self._data_dir, program.name)),
                directory=self._data_dir,
                tell=self._tell,
                selector=self._selector,
            )
            for program in self._programs
            if program.endpoint in config.ports  # the console may not be wanted
        ]
        for child in self._children:
            child.start(time.monotonic())
        self._publish()

    def _reload(self) -> None:
        self._reloading = False
        self._tell("settings changed: restarting")
        self._stop_all()
        self._start_all()

    def _stop_all(self) -> None:
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + self._stop_seconds
        while any(child.alive() for child in self._children) and time.monotonic() < deadline:
            self._drain(0.05)
        for child in self._children:
            child.kill()
        self._drain(0)
        for child in self._children:
            child.close()

    def _drain(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fileobj != self._leash:
                key.data()

    def _publish(self) -> None:
        current = replace(
            self._around or self._embedded(),
            supervisor=state.Process.of(os.getpid()),
            config=self._digest,
            components=tuple(child.state for child in self._children),
        )
        if current != self._published:
            current.write()
            self._published = current

    def _embedded(self) -> state.RunningStack:
        return state.RunningStack(
            runtime=state.EMBEDDED,
            version=__version__,
            data_dir=self._data_dir,
            endpoints=endpoints(self._config),
            supervisor=None,
            config=self._digest,
            token_file=Path(self._config.token_file) if self._config.token_file else None,
        )

    def _tell(self, text: str) -> None:
        self._own_log.feed(text.encode() + b"\n")
        if self._echo:
            self._echo(text)


def main(arguments: list[str]) -> None:
    """Run the supervisor of a data directory with standard input as the leash."""
    os.umask(0o077)  # the engine inherits it: what it writes is for its owner's eyes
    data_dir = Path(arguments[0])
    echo = _to_stderr if "--echo" in arguments else None
    programs: Sequence[Program] = PROGRAMS
    around: state.RunningStack | None = None
    if CONSOLE_ONLY in arguments:
        programs = tuple(program for program in PROGRAMS if program.endpoint == console.ENDPOINT)
        around = state.read(data_dir)
    with contextlib.suppress(KeyboardInterrupt):  # a Ctrl-C before the handlers stand
        Supervisor(data_dir, leash=0, echo=echo, programs=programs, around=around).run()


def _to_stderr(text: str) -> None:
    sys.stderr.write(f"stackctl: {text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
