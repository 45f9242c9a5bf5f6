"""The containers of a compose project as the engine knows them: how they fare, what they wrote, and their end."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stackctl.errors import EnvironmentLacks
from stackctl.runtime import state
from stackctl.runtime.engine import spoken
from stackctl.runtime.ready import LOOPBACK, answers
from stackctl.stack import COMPONENT_BY_NAME

if TYPE_CHECKING:
    from docker import DockerClient

PROJECT = "com.docker.compose.project"  # labels that every compose sets
SERVICE = "com.docker.compose.service"
DIRECTORY = "com.docker.compose.project.working_dir"
FILES = "dev.stackctl.files"  # ours: digests of the mounted files
_STOP_SECONDS = 30
_READY_SECONDS = 2.0


@dataclass(frozen=True)
class Container:
    """One container.

    Attributes:
        status: of the engine: `created`, `running`, `paused`, `restarting`, `exited`, `dead`.
        health: of the image's or file's health check; None where there is none.
        since: RFC 3339, UTC, milliseconds; None when it never ran.
        restarts: how often the engine started it again.
        exit_code: of its last end; 0 too when it never ended.
        image: the reference it was made from.
        digest: what the registry calls the image; the image's own id where it came from no registry.
        published: port in the container to port on this machine.
        directory: of the compose file it was made from.
    """

    id: str
    service: str
    status: str
    health: str | None
    since: str | None
    restarts: int
    exit_code: int
    out_of_memory: bool
    image: str
    version: str
    digest: str
    published: Mapping[int, int]
    directory: str

    @property
    def running(self) -> bool:
        """True while its program runs."""
        return self.status == "running"

    def state(self) -> str:
        """Return how it fares, asked at its own port where it is a component: that is sooner than a health check."""
        component = COMPONENT_BY_NAME.get(self.service)
        if self.status == "created":
            return state.STARTING
        if self.status in ("exited", "dead"):
            return state.STOPPED
        if component is None or not self.running:
            return state.UNHEALTHY
        port, path = component.health
        if port in self.published and answers(f"http://{LOOPBACK}:{self.published[port]}{path}", None, _READY_SECONDS):
            return state.HEALTHY
        return state.STARTING if self.health in (None, "starting") and not self.restarts else state.UNHEALTHY


def of_project(client: "DockerClient", project: str) -> dict[str, Container]:
    """Return the containers of a project by service."""
    with spoken():
        found = client.containers.list(all=True, filters={"label": f"{PROJECT}={project}"}, ignore_removed=True)
        return {
            one.labels.get(SERVICE, one.name or ""): _seen(one.attrs, _image(client, one.attrs["Image"]))
            for one in found
        }


def refuse_foreign(client: "DockerClient", project: str, directory: Path) -> None:
    """Make sure that nobody else has the project's name.

    Args:
        directory: of our own compose file.

    Raises:
        EnvironmentLacks: containers, or a network of the name, are not ours.
    """
    other = next(
        (one.directory for one in of_project(client, project).values() if not _same(one.directory, directory)), None
    )
    with spoken():
        networks = client.networks.list(names=[project])
    for network in networks:
        labels = network.attrs.get("Labels") or {}
        if network.name == project and labels.get(PROJECT) != project:
            other = other or "something that is not compose"
    if other is not None:
        raise EnvironmentLacks(
            f"a compose project or network {project} is there already and is not this stack's: it comes from {other}",
            next_step="stop that one, or give this stack a directory, and so a project, of its own: "
            "stackctl --data-dir DIR up",
        )


def memory_bytes(client: "DockerClient", container: Container) -> int | None:
    """Return the memory of a container as `docker stats` counts it, without page cache; None where it does not run."""
    if not container.running:
        return None
    with spoken():
        found = client.api.stats(container.id, stream=False, one_shot=True).get("memory_stats", {})
    if "usage" not in found:
        return None
    detail = found.get("stats", {})
    return int(found["usage"]) - int(detail.get("inactive_file", detail.get("total_inactive_file", 0)))


def disk_bytes(client: "DockerClient", project: str) -> int:
    """Return what the project's volumes hold."""
    with spoken():
        volumes = client.api.df()["Volumes"] or []
    mine = [one for one in volumes if (one.get("Labels") or {}).get(PROJECT) == project]
    return sum(max(0, (one.get("UsageData") or {}).get("Size", 0)) for one in mine)


def last_lines(client: "DockerClient", container: Container, count: int) -> list[str]:
    """Return the last lines that a container wrote."""
    with spoken():
        written = client.api.logs(container.id, tail=count)
    return [line for line in written.decode("utf-8", errors="replace").splitlines() if line.strip()]


@dataclass(frozen=True)
class Belongings:
    """Ids of what a project has in the engine."""

    containers: frozenset[str]
    networks: frozenset[str]
    volumes: frozenset[str]


def belongings(client: "DockerClient", project: str) -> Belongings:
    """Return what a project has in the engine now."""
    chosen = {"label": f"{PROJECT}={project}"}
    with spoken():
        return Belongings(
            frozenset(one["Id"] for one in client.api.containers(all=True, filters=chosen)),
            frozenset(str(one.id) for one in client.networks.list(filters=chosen)),
            frozenset(str(one.id) for one in client.volumes.list(filters=chosen)),
        )


def remove(client: "DockerClient", found: Belongings, tell: Callable[[str], None]) -> None:
    """Stop and remove containers, side by side, then networks and volumes.

    Args:
        tell: called with what cannot be removed because others use it.
    """
    from docker.errors import APIError, NotFound

    def end(container: str) -> None:
        try:
            client.api.stop(container, timeout=_STOP_SECONDS)
            client.api.remove_container(container, v=True, force=True)
        except NotFound:  # somebody else was quicker
            return

    with spoken():
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(end, sorted(found.containers)))
        for network in found.networks:
            try:
                client.api.remove_network(network)
            except NotFound:
                continue
            except APIError as error:
                tell(f"the network stays: {error.explanation}")
        for volume in found.volumes:
            client.api.remove_volume(volume)


def ports_held(containers: Iterable[Container]) -> set[int]:
    """Return the ports of this machine that running containers publish."""
    return {port for one in containers if one.running for port in one.published.values()}


def publisher(client: "DockerClient", port: int) -> str | None:
    """Return the name of the container that publishes a port of this machine; None where none does."""
    with spoken():
        for one in client.api.containers():
            if any(row.get("PublicPort") == port for row in one.get("Ports") or ()):
                return str(one["Names"][0]).removeprefix("/")
    return None


def _seen(attributes: Mapping[str, Any], image: Mapping[str, Any]) -> Container:
    """Read the engine's description of a container (Docker Engine API, ContainerInspect)."""
    config, now, labels = attributes["Config"], attributes["State"], attributes["Config"].get("Labels") or {}
    reference = str(config["Image"])
    return Container(
        id=attributes["Id"],
        service=labels.get(SERVICE, ""),
        status=now["Status"],
        health=(now.get("Health") or {}).get("Status"),
        since=_moment(now["StartedAt"]),
        restarts=attributes.get("RestartCount", 0),
        exit_code=now.get("ExitCode", 0),
        out_of_memory=now.get("OOMKilled", False),
        image=reference,
        version=(image["Config"].get("Labels") or {}).get("org.opencontainers.image.version") or _tag(reference),
        digest=_digest(image),
        published=_published(attributes["NetworkSettings"].get("Ports") or {}),
        directory=labels.get(DIRECTORY, "an unknown directory"),
    )


def _image(client: "DockerClient", image_id: str) -> Mapping[str, Any]:
    from docker.errors import NotFound

    try:
        found: Mapping[str, Any] = client.images.get(image_id).attrs
    except NotFound:  # removed by force while its container lives
        found = {"Id": image_id}
    return {**found, "Config": found.get("Config") or {}}


def _digest(image: Mapping[str, Any]) -> str:
    names: Sequence[str] = image.get("RepoDigests") or ()
    return names[0].rpartition("@")[2] if names else str(image["Id"])


def _tag(reference: str) -> str:
    """Return the version that a reference names."""
    found = re.search(r":v?([\w][\w.-]*)$", reference.partition("@")[0].rpartition("/")[2])
    return found[1] if found else "unknown"


def _published(ports: Mapping[str, Any]) -> dict[int, int]:
    return {int(inside.partition("/")[0]): int(rows[0]["HostPort"]) for inside, rows in ports.items() if rows}


def _moment(text: str) -> str | None:
    """Return the engine's time with milliseconds; its zero (year 1) is no time."""
    found = re.match(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?Z", text)
    if found is None or found[1].startswith("0001"):
        return None
    return f"{found[1]}{(found[2] or '.000')[:4]:0<4}Z"


def _same(one: str, other: Path) -> bool:
    return Path(one).resolve() == other.resolve()
