"""One supervised process: started, watched, started again after a pause that grows while it keeps dying."""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from stackctl.runtime import state
from stackctl.runtime.logs import LogFile
from stackctl.runtime.ready import answers

FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 30.0
STABLE_SECONDS = 60.0  # a process that lived this long starts again with the shortest pause
_CHECK_SECONDS = 2.0
_CHECK_TIMEOUT_SECONDS = 1.0
_START_TIMEOUT_SECONDS = 0.2  # while starting: a program that listens but is busy must not keep the others waiting
_FAILED_CHECKS = 3  # one slow answer under load is not an outage
_PR_SET_PDEATHSIG = 1  # prctl(2)


class Child:
    """A program and what is known about it.

    Args:
        command: the argument vector.
        ready: URLs that must all be answered with 200.
        token_file: bearer token for them.
        log: where its output goes.
        directory: its working directory.
        tell: called with each event, in words.
        selector: the loop its output is read by.
    """

    def __init__(
        self,
        *,
        name: str,
        endpoint: str,
        command: Sequence[str],
        ready: Sequence[str],
        token_file: Path | None,
        log: LogFile,
        directory: Path,
        tell: Callable[[str], None],
        selector: selectors.BaseSelector,
    ) -> None:
        self.state = state.ComponentState(name, endpoint)
        self._command = command
        self._ready = ready
        self._token_file = token_file
        self._log = log
        self._directory = directory
        self._tell = tell
        self._selector = selector
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._restart_at: float | None = None
        self._next_check = 0.0
        self._failed_checks = 0

    def start(self, now: float) -> None:
        """Start the process; `now` is monotonic seconds, as everywhere here."""
        self._restart_at = None
        self._started = self._next_check = now
        self._failed_checks = 0
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd=self._directory,
            env=child_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is for the supervisor, who stops its programs in order
            preexec_fn=_die_with(os.getpid()),
        )
        assert self._process.stdout is not None, "stdout is a pipe"
        self._selector.register(self._process.stdout, selectors.EVENT_READ, self._read_output)
        self.state = replace(
            self.state, state=state.STARTING, process=_identity(self._process.pid), since=round(time.time(), 3)
        )
        self._tell(f"{self.state.name} started (pid {self._process.pid})")

    def step(self, now: float) -> None:
        """Notice a death, start again when it is time, or check that it answers."""
        if self._process is not None and self._process.poll() is not None:
            self._bury(now, self._process.returncode)
        elif self._restart_at is not None and now >= self._restart_at:
            self.state = replace(self.state, restarts=self.state.restarts + 1)
            self.start(now)
        elif self._process is not None and now >= self._next_check:
            self._check(now)

    def alive(self) -> bool:
        """True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        """Ask the process to end, and do not start it again."""
        self._restart_at = None
        if self.alive() and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """End the process without asking."""
        if self._process is None:
            return
        if self.alive():
            self._tell(f"{self.state.name} did not end when asked and was killed")
            self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """Read what the dead process left in its pipe and close its log."""
        self._close_output()
        self._log.close()
        self.state = replace(self.state, state=state.STOPPED, process=None)

    def _bury(self, now: float, code: int) -> None:
        self._close_output()
        self._process = None
        if now - self._started >= STABLE_SECONDS:
            self._pause = FIRST_PAUSE_SECONDS
        self._restart_at = now + self._pause
        self._tell(f"{self.state.name} ended with {_meaning(code)}; starting again in {self._pause:g} s")
        self._pause = min(self._pause * 2, LONGEST_PAUSE_SECONDS)
        self.state = replace(self.state, state=state.UNHEALTHY, process=None, last_exit=code)

    def _check(self, now: float) -> None:
        timeout = _START_TIMEOUT_SECONDS if self.state.state == state.STARTING else _CHECK_TIMEOUT_SECONDS
        if all(answers(url, self._token_file, timeout) for url in self._ready):
            if self.state.state != state.HEALTHY:
                self._tell(f"{self.state.name} is ready after {time.monotonic() - self._started:.2f} s")
            self._failed_checks = 0
            self._become(state.HEALTHY)
            self._next_check = now + _CHECK_SECONDS
        elif self.state.state != state.STARTING:
            self._failed_checks += 1
            self._next_check = now + _CHECK_SECONDS
            if self._failed_checks == _FAILED_CHECKS:
                self._tell(f"{self.state.name} runs but does not answer")
                self._become(state.UNHEALTHY)

    def _become(self, name: str) -> None:
        self.state = replace(self.state, state=name)

    def _read_output(self) -> None:
        assert self._process is not None, "registered while it runs"
        assert self._process.stdout is not None, "stdout is a pipe"
        chunk = os.read(self._process.stdout.fileno(), 65_536)
        if chunk:
            self._log.feed(chunk)
        else:
            self._selector.unregister(self._process.stdout)

    def _close_output(self) -> None:
        """Read the rest of a dead process's output; a grandchild that holds the pipe open is not waited for."""
        if self._process is None or self._process.stdout is None or self._process.stdout.closed:
            return
        with contextlib.suppress(KeyError):  # its end was read already
            self._selector.unregister(self._process.stdout)
        os.set_blocking(self._process.stdout.fileno(), False)
        self._log.feed(self._process.stdout.read() or b"")
        self._process.stdout.close()


def child_environment() -> dict[str, str]:
    """Return the environment of our own processes: the user's, less what would change whom they call."""
    foreign = ("OTEL_", "OPENAI_", "GRPC_", "PYTHONPROFILE")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(foreign)}
    return {key: value for key, value in kept.items() if not key.lower().endswith("_proxy")} | {"PYTHONUNBUFFERED": "1"}


def _identity(pid: int) -> state.Process | None:
    """Return the identity of a process just started; None when it is dead already."""
    try:
        return state.Process.of(pid)
    except ProcessLookupError:
        return None


def _meaning(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _die_with(parent: int) -> Callable[[], None]:
    """Return what a child runs before exec so that it gets SIGTERM when its parent dies, however that happens."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:  # it died between fork and prctl
            sys.exit(1)

    return ask
