"""A real Prometheus with generated series in it, to compare the embedded evaluator with."""

import struct
import subprocess
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import pyarrow as pa

from stackctl.bench.ports import free_port
from stackctl.bench.promql_series import PORTION_MS, START_MS
from stackctl.errors import ComponentUnhealthy
from stackctl.promql import Series

FEATURES: Final = (
    "exemplar-storage",
    "promql-binop-fill-modifiers",
    "promql-experimental-functions",
    "promql-extended-range-selectors",
)
"""Everything of PromQL that Prometheus 3.15 has behind switches and this engine has too."""
_START_SECONDS: Final = 20.0
_STOP_SECONDS: Final = 20.0
_BETWEEN_EXEMPLARS: Final = 20


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

    def fault(self, query: str) -> str | None:
        """Return what is wrong with a query's text, None where it parses."""
        error = self._ask("/api/v1/format_query", {"query": query}).error
        return None if error is None else error.removeprefix('invalid parameter "query": ')

    def write(self, series: Sequence[Series]) -> None:
        """Send series by remote write, in portions of time; counters get exemplars too. Needs `RECEIVER`.

        Raises:
            ComponentUnhealthy: the server refused them.
        """
        last = max(int(one.t_ms[-1]) for one in series)
        # Scrape times may fall a little before the start.
        starts = (START_MS - PORTION_MS, *range(START_MS, last + 1, PORTION_MS))
        for start in starts:
            self._send(b"".join(_portion(one, start, start + PORTION_MS) for one in series))

    def _send(self, request: bytes) -> None:
        headers = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
        body = pa.compress(request, codec="snappy", asbytes=True)
        answer = self.http.post(self.url + "/api/v1/write", content=body, headers=headers)
        if answer.status_code >= 300:
            raise ComponentUnhealthy(
                f"the real Prometheus refused samples: {answer.text.strip()}", next_step="Look at its version: 3.15."
            )

    def _ask(self, path: str, form: dict[str, str]) -> Answer:
        response = self.http.post(self.url + path, data=form)
        return Answer(response.status_code, response.json())


RECEIVER: Final = "--web.enable-remote-write-receiver"


def _portion(series: Series, start_ms: int, stop_ms: int) -> bytes:
    """Return a TimeSeries of prompb/types.proto, empty where there is no sample in that time."""
    first, stop = series.t_ms.searchsorted([start_ms, stop_ms])
    if first == stop:
        return b""
    parts = [_field(1, _label(name, value)) for name, value in sorted(series.labels.items())]
    # As 64 bits, because a marker is a NaN whose bits count.
    bits = series.v.view("<u8")[first:stop].tolist()
    times = series.t_ms[first:stop].tolist()
    parts += [_field(2, _sample(value, t)) for value, t in zip(bits, times, strict=True)]
    if series.labels["__name__"].endswith(("_total", "_bucket")):
        parts += [_field(3, _exemplar(t)) for t in times[::_BETWEEN_EXEMPLARS]]
    return _field(1, b"".join(parts))


def _exemplar(t_ms: int) -> bytes:
    label = _field(1, _label("trace_id", f"{t_ms:032x}"))
    return label + b"\x11" + struct.pack("<d", 0.5) + b"\x18" + _varint(t_ms)


def _sample(bits: int, t_ms: int) -> bytes:
    return b"\x09" + struct.pack("<Q", bits) + b"\x10" + _varint(t_ms)


def _label(name: str, value: str) -> bytes:
    return _field(1, name.encode()) + _field(2, value.encode())


def _field(number: int, content: bytes) -> bytes:
    """Return a length-delimited protobuf field."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    found.append(value)
    return bytes(found)


@contextmanager
def running(
    program: Path,
    directory: Path,
    features: Iterable[str] = FEATURES,
    flags: Sequence[str] = (RECEIVER,),
    settings: str = "global: {}\n",
) -> Iterator[RealPrometheus]:
    """Run a real Prometheus on a free port.

    Args:
        directory: where it keeps its data, in `data`; made where it is not there.
        features: names for --enable-feature.
        flags: further command line flags.
        settings: its configuration file.

    Raises:
        ComponentUnhealthy: it does not start.
    """
    data, config, log_file = directory / "data", directory / "prometheus.yml", directory / "log"
    data.mkdir(parents=True, exist_ok=True)
    config.write_text(settings)
    port = free_port()
    command = [
        str(program),
        f"--config.file={config}",
        f"--storage.tsdb.path={data}",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        f"--enable-feature={','.join(features)}",
        "--log.level=error",
        *flags,
    ]
    with log_file.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=directory)
    try:
        with httpx2.Client(trust_env=False, timeout=30) as http:
            server = RealPrometheus(f"http://127.0.0.1:{port}", http)
            _wait(server, process, log_file)
            yield server
    finally:
        process.terminate()
        process.wait(_STOP_SECONDS)


def _wait(server: RealPrometheus, process: "subprocess.Popen[bytes]", log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if server.http.get(server.url + "/-/ready").status_code == 200:
                return
        except httpx2.TransportError:
            pass  # it does not listen yet
        time.sleep(0.05)
    raise ComponentUnhealthy(
        f"the real Prometheus does not start: {log.read_text(errors='replace').strip()}",
        next_step="Name a Prometheus 3.15 program with --prometheus-program or STACKCTL_REALSTACK.",
    )
