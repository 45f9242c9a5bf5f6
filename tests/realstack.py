"""The real programs that ours are compared with: where they are, and a real Prometheus over given samples.

The environment variable STACKCTL_REALSTACK names a directory with the unpacked programs; without it these tests skip.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest

FEATURES = ("exemplar-storage", "created-timestamp-zero-ingestion", "promql-extended-range-selectors")
"""What the docker runtime switches on in Prometheus."""
EXPERIMENTAL = "promql-experimental-functions"
_START_SECONDS = 20.0


def program(name: str) -> Path:
    """Return the path of a real program, or skip the test that asks for it."""
    directory = os.environ.get("STACKCTL_REALSTACK")
    if not directory:
        pytest.skip("STACKCTL_REALSTACK is not set: no real servers here")
    path = Path(directory, name)
    if not path.is_file():
        pytest.skip(f"{name} is not in STACKCTL_REALSTACK")
    return path


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Answer:
    """What the query API said: HTTP status and the JSON document."""

    status: int
    document: dict[str, Any]

    @property
    def error(self) -> str | None:
        """The message of a failed query."""
        message = self.document.get("error")
        return None if message is None else str(message)

    @property
    def kind(self) -> str:
        """The type of the result."""
        return str(self.document["data"]["resultType"])

    @property
    def result(self) -> Any:
        """The result as JSON."""
        return self.document["data"]["result"]


@dataclass(frozen=True)
class RealPrometheus:
    """A running Prometheus."""

    url: str
    http: httpx2.Client

    def instant(self, query: str, at_ms: int) -> Answer:
        """Evaluate a query at one moment, milliseconds since the epoch."""
        return self._ask("/api/v1/query", {"query": query, "time": f"{at_ms / 1000:.3f}"})

    def range(self, query: str, start_ms: int, end_ms: int, step_ms: int) -> Answer:
        """Evaluate a query over steps, milliseconds."""
        times = {"start": start_ms, "end": end_ms, "step": step_ms}
        return self._ask("/api/v1/query_range", {"query": query, **{k: f"{v / 1000:.3f}" for k, v in times.items()}})

    def _ask(self, path: str, form: dict[str, str]) -> Answer:
        response = self.http.post(self.url + path, data=form)
        return Answer(response.status_code, response.json())


@contextmanager
def prometheus(
    directory: Path,
    open_metrics: str = "# EOF\n",
    features: Sequence[str] = FEATURES,
    flags: Sequence[str] = (),
    settings: str = "global: {}\n",
) -> Iterator[RealPrometheus]:
    """Run a real Prometheus over blocks made of a text in OpenMetrics format (samples with time stamps).

    Args:
        directory: an empty directory for its data.
        features: names for --enable-feature.
        flags: further command line flags.
        settings: its configuration file.
    """
    server, tool = program("prometheus"), program("promtool")
    data, text, config = directory / "data", directory / "samples.txt", directory / "prometheus.yml"
    data.mkdir(parents=True)
    config.write_text(settings)
    text.write_text(open_metrics)
    if open_metrics != "# EOF\n":
        subprocess.run(
            [tool, "tsdb", "create-blocks-from", "openmetrics", "-q", text, data], check=True, capture_output=True
        )
    port = free_port()
    command = [
        server,
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--enable-feature={','.join(features)}",
        "--log.level=error",
        *flags,
    ]
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        with httpx2.Client(trust_env=False, timeout=30) as http:
            running = RealPrometheus(f"http://127.0.0.1:{port}", http)
            _wait(running, process, directory / "log")
            yield running
    finally:
        process.terminate()
        process.wait(20)
        shutil.rmtree(data, ignore_errors=True)


def _wait(running: RealPrometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"prometheus ended: {log.read_text()}")
        try:
            if running.http.get(running.url + "/-/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise RuntimeError(f"prometheus was not ready in time: {log.read_text()}")
