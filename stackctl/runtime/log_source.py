"""Where a stack's logs are read: files of its own processes, and what the Docker engine keeps of its containers."""

import heapq
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from stackctl.errors import NotFound
from stackctl.runtime import containers, engine, logs, state
from stackctl.runtime.logs import Entry

if TYPE_CHECKING:
    from docker import DockerClient

_FOLLOW_SECONDS = 0.5
_TIME_LENGTH = len("2026-11-25T12:00:00.000")


class LogSource(Protocol):
    """What `stackctl logs` reads from."""

    def components(self, name: str | None) -> list[str]:
        """Return the components that have a log, or only the named one. Raises NotFound: none of that name has."""

    def tail(self, components: Sequence[str], count: int, since: str | None) -> list[Entry]:
        """Return the newest entries, oldest first, not older than `since` (as `logs.timestamp` writes it)."""

    def follow(self, components: Sequence[str]) -> Iterator[Entry]:
        """Yield entries as they are written, from now on and without end."""


def log_source(data_dir: Path) -> LogSource:
    """Return where the logs of a data directory's stack are."""
    stack = state.read(data_dir)
    if stack is None or stack.project is None:
        return FileLogs(data_dir)
    return ContainerLogs(engine.connect(), stack.project, FileLogs(data_dir))


class FileLogs:
    """The log files of processes of ours."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir

    def components(self, name: str | None) -> list[str]:
        """See `LogSource`."""
        return logs.components(self._data_dir, name)

    def tail(self, components: Sequence[str], count: int, since: str | None) -> list[Entry]:
        """See `LogSource`."""
        return logs.tail(self._data_dir, components, count, since)

    def follow(self, components: Sequence[str]) -> Iterator[Entry]:
        """See `LogSource`."""
        return logs.follow(self._data_dir, components)


class ContainerLogs:
    """The logs of containers, with those of the processes beside them.

    Args:
        files: the logs of the processes.
    """

    def __init__(self, client: "DockerClient", project: str, files: FileLogs) -> None:
        self._client = client
        self._files = files
        self._containers = containers.of_project(client, project)

    def components(self, name: str | None) -> list[str]:
        """See `LogSource`."""
        known = sorted({*self._containers, *self._files.components(None)})
        if name is None:
            return known
        if name not in known:
            raise NotFound(f"no component {name!r} has a log", next_step=f"name one of: {', '.join(known)}")
        return [name]

    def tail(self, components: Sequence[str], count: int, since: str | None) -> list[Entry]:
        """See `LogSource`."""
        found = [self._written(name, count, since) for name in components if name in self._containers]
        found.append(self._files.tail([name for name in components if name not in self._containers], count, since))
        return list(deque(heapq.merge(*found), maxlen=count))

    def follow(self, components: Sequence[str]) -> Iterator[Entry]:
        """See `LogSource`."""
        reached = {name: logs.timestamp(time.time()) for name in components}
        while True:
            fresh: list[Entry] = []
            for name in components:
                entries = self._since(name, reached[name])
                reached[name] = entries[-1].time if entries else reached[name]
                fresh += entries
            yield from sorted(fresh)
            time.sleep(_FOLLOW_SECONDS)

    def _since(self, name: str, moment: str) -> list[Entry]:
        """Return what a component wrote after a time, to the millisecond."""
        if name in self._containers:
            entries = self._written(name, None, moment)
        else:
            entries = self._files.tail([name], 10_000, moment)
        return [entry for entry in entries if entry.time > moment]

    def _written(self, name: str, count: int | None, since: str | None) -> list[Entry]:
        with engine.spoken():
            written = self._client.api.logs(
                self._containers[name].id,
                timestamps=True,
                tail="all" if count is None else count,
                since=None if since is None else logs.seconds(since),
            )
        lines = written.decode("utf-8", errors="replace").splitlines()
        return [_entry(name, line) for line in lines if line]


def _entry(component: str, line: str) -> Entry:
    """Read a line of the engine: RFC 3339 with nanoseconds, a space, the text."""
    moment, _, text = line.partition(" ")
    return Entry(f"{moment[:_TIME_LENGTH]:0<{_TIME_LENGTH}}Z", component, text)
