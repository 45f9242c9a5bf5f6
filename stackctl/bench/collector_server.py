"""A real Collector on free ports, with the configuration that stackctl renders and the environment of compose.yaml."""

import os
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import httpx2
import psutil
import yaml

from stackctl.bench.ports import free_port
from stackctl.collector.render import CONFIG, CollectorSettings, files
from stackctl.errors import ComponentUnhealthy
from stackctl.files import shipped

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 30.0
_PATHS: Final = {"traces": "/v1/traces", "metrics": "/v1/metrics", "logs": "/v1/logs"}
HEADERS: Final = {"Content-Type": "application/x-protobuf"}


@dataclass(frozen=True)
class RealCollector:
    """A running Collector.

    Attributes:
        otlp_grpc: host:port.
        otlp_http: base URL.
        derived: URL of the catalogue's series.
        own: URL of the Collector's own metrics.
        log: file of what it wrote.
    """

    process: "subprocess.Popen[bytes]"
    http: httpx2.Client
    otlp_grpc: str
    otlp_http: str
    derived: str
    own: str
    log: Path

    def send(self, signal: str, body: bytes) -> int:
        """Send an OTLP request of `traces`, `metrics` or `logs`; return the HTTP status."""
        return self.http.post(self.otlp_http + _PATHS[signal], content=body, headers=HEADERS).status_code

    def cpu_seconds(self) -> float:
        """Return the processor time it used so far."""
        times = psutil.Process(self.process.pid).cpu_times()
        return float(times.user + times.system)

    def kill(self) -> None:
        """End it at once, as a machine that loses power does."""
        self.process.kill()
        self.process.wait(_STOP_SECONDS)


@contextmanager
def running(
    program: Path, directory: Path, settings: CollectorSettings | None = None, overrides: Sequence[str] = ()
) -> Iterator[RealCollector]:
    """Run a real Collector on free ports of loopback until the end of the block.

    Args:
        directory: gets its configuration, its log and its queue; made where it is not there.
        settings: what is rendered; paths and addresses in it are replaced.
        overrides: further configurations in YAML, merged over the rendered one: maps by key, lists as a whole.

    Raises:
        ComponentUnhealthy: it does not start.
    """
    directory.mkdir(parents=True, exist_ok=True)
    here = replace(
        settings or CollectorSettings(),
        directory=str(directory),
        state_directory=str(directory / "state"),
        listen="127.0.0.1",
    )
    for name, text in files(here).items():
        (directory / name).write_text(text, encoding="utf-8")
    ports = {name: free_port() for name in ("grpc", "http", "health", "own", "derived")}
    arguments = [f"--config={directory / CONFIG}"]
    for at, text in enumerate((_addresses(ports), *overrides)):
        (directory / f"override{at}.yaml").write_text(text, encoding="utf-8")
        arguments.append(f"--config={directory / f'override{at}.yaml'}")
    log = directory / "collector.log"
    (directory / "state").mkdir(exist_ok=True)
    with log.open("ab") as output:
        process = subprocess.Popen(
            [str(program), *arguments], stdout=output, stderr=output, cwd=directory, env=os.environ | _environment()
        )
    try:
        with httpx2.Client(trust_env=False, timeout=30) as http:
            _wait(http, f"http://127.0.0.1:{ports['health']}/", process, log)
            base = "http://127.0.0.1"
            yield RealCollector(
                process,
                http,
                f"127.0.0.1:{ports['grpc']}",
                f"{base}:{ports['http']}",
                f"{base}:{ports['derived']}/metrics",
                f"{base}:{ports['own']}/metrics",
                log,
            )
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _environment() -> dict[str, str]:
    """Return what the container's environment says."""
    services = yaml.safe_load((shipped("compose") / "compose.yaml").read_text(encoding="utf-8"))["services"]
    return dict(services["otelcol"]["environment"])


def _addresses(ports: dict[str, int]) -> str:
    return f"""\
receivers:
  otlp:
    protocols:
      grpc: {{endpoint: "127.0.0.1:{ports["grpc"]}"}}
      http: {{endpoint: "127.0.0.1:{ports["http"]}"}}
extensions:
  health_check: {{endpoint: "127.0.0.1:{ports["health"]}"}}
exporters:
  prometheus/derived: {{endpoint: "127.0.0.1:{ports["derived"]}"}}
service:
  telemetry:
    metrics:
      readers:
        - pull: {{exporter: {{prometheus: {{host: 127.0.0.1, port: {ports["own"]}}}}}}}
"""


def _wait(http: httpx2.Client, health: str, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if http.get(health).status_code == 200:
                return
        except httpx2.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise ComponentUnhealthy(
        f"the real Collector does not start: {log.read_text(errors='replace')[-2000:].strip()}",
        next_step="Name the contrib Collector 0.161 in STACKCTL_REALSTACK.",
    )
