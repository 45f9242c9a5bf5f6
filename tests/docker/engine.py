"""What the tests ask the Docker engine of themselves: what a stack has there, by the labels that compose sets."""

import shutil
import subprocess
from collections.abc import Sequence

from tests import absent

PLUGIN, LEGACY = ("docker", "compose"), ("docker-compose",)


def docker(*arguments: str) -> str:
    """Run the docker command and return what it prints."""
    return subprocess.run(["docker", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def containers(project: str) -> dict[str, str]:
    """Return the id of each container of a project, by service."""
    label = f"label=com.docker.compose.project={project}"
    shown = docker("ps", "-a", "--filter", label, "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}')
    return dict(line.split() for line in shown.splitlines())


def left_overs(project: str) -> Sequence[str]:
    """Return containers, networks and volumes that bear a project's name."""
    label = f"label=com.docker.compose.project={project}"
    kinds = (("ps", "-aq"), ("network", "ls", "-q"), ("volume", "ls", "-q"))
    return [line for kind in kinds for line in docker(*kind, "--filter", label).splitlines()]


def needs(compose: Sequence[str]) -> None:
    """Leave a test out where this machine has no such compose."""
    there = shutil.which(compose[0]) and subprocess.run([*compose, "version"], capture_output=True, check=False)
    if not there or there.returncode:
        absent.skip(" ".join(compose))
