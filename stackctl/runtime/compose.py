"""The compose command line: the plugin `docker compose` (v2, v5) or a `docker-compose` of its own (v1.29 too)."""

import os
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from stackctl.errors import EnvironmentLacks, StackctlError
from stackctl.runtime.begun import interrupt_deferred, stop
from stackctl.runtime.engine import said

_CANDIDATES = (("docker", "compose"), ("docker-compose",))
_VERSION_SECONDS = 20.0
_STOP_SECONDS = 20.0
_SHOWN_LINES = 5
# `up -d --remove-orphans` of the same project: what a step says while it works.
_EVENT = re.compile(r"^\s*(?:Container|Network|Volume)\s+\S+\s+\S+|^(?:Creating|Recreating|Starting|Pulling) \S+")


@dataclass(frozen=True)
class Compose:
    """A compose command that was found.

    Attributes:
        command: the words it begins with.
        version: as it prints it.
    """

    command: tuple[str, ...]
    version: str

    def up(self, directory: Path, services: Sequence[str], profiles: Sequence[str], at: Callable[[str], None]) -> None:
        """Create or recreate what differs from the files in a directory, and start it.

        Args:
            services: which of them.
            at: called with what it says it does.

        Raises:
            StackctlError: it failed; the message is its last words.
        """
        flags = [word for name in profiles for word in ("--profile", name)]
        files = ["--project-directory", str(directory), "-f", str(directory / "compose.yaml")]
        command = [*self.command, *files, *flags, "up", "-d", "--no-build", *services]
        lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        process: subprocess.Popen[str] | None = None
        try:
            with interrupt_deferred():
                process = subprocess.Popen(
                    command,
                    cwd=directory,  # the `.env` that it reads
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    errors="replace",
                    start_new_session=True,  # a Ctrl-C is for us, who end it
                )
            assert process.stdout is not None, "stdout is a pipe"
            for line in process.stdout:
                if line.strip():
                    lines.append(line.strip())
                if _EVENT.match(line):
                    at(" ".join(line.split()))
            code = process.wait()
        except BaseException:  # Ctrl-C: it must not go on behind our back
            if process is not None:
                stop(process, _STOP_SECONDS)
            raise
        if code:
            raise _failure(list(lines))


def find() -> Compose:
    """Return the compose command of this machine.

    Raises:
        EnvironmentLacks: there is none.
    """
    for command in _CANDIDATES:
        if (version := _version(command)) is not None:
            return Compose(command, version)
    raise EnvironmentLacks(
        "a Docker engine answers, but neither `docker compose` nor `docker-compose` is installed",
        next_step="install the compose plugin (Debian: apt install docker-compose), "
        "or run without: stackctl up --runtime embedded",
    )


def environment(environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment for compose: what the `.env` beside the file says must not be overruled by the shell."""
    ours = ("STACKCTL_", "COMPOSE_", "GRAFANA_ADMIN_PASSWORD")
    return {key: value for key, value in (environ or os.environ).items() if not key.startswith(ours)}


def _version(command: Sequence[str]) -> str | None:
    """Return what a command says its version is; None where it is not installed or does not work."""
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(
            [*command, "version", "--short"],
            capture_output=True,
            text=True,
            timeout=_VERSION_SECONDS,
            env=environment(),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r"\d+\.\d+[\w.+-]*", done.stdout)
    return found[0] if done.returncode == 0 and found else None


def _failure(lines: Sequence[str]) -> StackctlError:
    told = [line for line in lines if re.search(r"error|cannot|failed|denied|no space", line, re.I)] or list(lines)
    return said(told[-1] if told else "compose failed without a word")
