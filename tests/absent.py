"""What a machine may lack that a test needs: every skip of this suite is a row here, and nothing else skips."""

import os
from typing import Final, NoReturn

import pytest

from stackctl.bench.realstack import REALSTACK

DOCKER: Final = "STACKCTL_TEST_DOCKER"

ABSENT: Final = {
    "realstack": f"{REALSTACK} names no directory with the real servers",
    "docker": f"{DOCKER} is not set: no Docker engine with the images of the Collector and Prometheus",
    "chromium": "no Chromium is installed: the console is not looked at in a browser",
    "npm": "npm is not installed: the boards are not compared with Grafana's types",
    "npm registry": "npm's registry cannot be reached: the boards are not compared with Grafana's types",
    "package index": "no package index can be reached: the extra openai-v2 is not installed anew",
    "docker-compose": "the legacy docker-compose is not installed",
    "docker compose": "the compose plugin is not installed",
    "second core": "ingest has no workers on a single core",
    "copies of processes": "ingest copies its processes on Linux only",
    "mapped pages": "which pages of a file a process holds is told on Linux only",
    "shared room": "memory that two processes share by a descriptor is there on Linux only",
    "ports held": "a port is held for a server that is to come on Linux only",
    "root": "only root can mount a small disk or become a user without rights",
}
"""What is not there, and what is said then."""

# Markers of tests that need it: the environment variable that says it is there.
MARKED: Final = {"realstack": REALSTACK, "docker": DOCKER}


def skip(what: str) -> NoReturn:
    """Leave the running test out, because of one row of `ABSENT`."""
    pytest.skip(ABSENT[what])


def leave_out(item: pytest.Item) -> None:
    """Mark a test as skipped whose marker names what is not here."""
    for marker, variable in MARKED.items():
        if item.get_closest_marker(marker) and not os.environ.get(variable):
            item.add_marker(pytest.mark.skip(reason=ABSENT[marker]))
