"""The real programs that ours are compared with: where they are, and a real Prometheus over given samples.

The environment variable STACKCTL_REALSTACK names a directory with the unpacked programs; without it these tests skip.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from stackctl.bench.ports import free_port
from stackctl.bench.promql_server import RealPrometheus, running
from tests import absent

__all__ = ["EXPERIMENTAL", "FEATURES", "RealPrometheus", "free_port", "program", "prometheus"]

FEATURES = ("exemplar-storage", "created-timestamp-zero-ingestion", "promql-extended-range-selectors")
"""What the docker runtime switches on in Prometheus."""
EXPERIMENTAL = "promql-experimental-functions"


def program(name: str) -> Path:
    """Return the path of a real program, or skip the test that asks for it."""
    path = Path(os.environ.get(absent.REALSTACK, ""), name)
    if not path.is_file():
        absent.skip("realstack")
    return path


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
    data, text = directory / "data", directory / "samples.txt"
    data.mkdir(parents=True)
    text.write_text(open_metrics)
    if open_metrics != "# EOF\n":
        subprocess.run(
            [tool, "tsdb", "create-blocks-from", "openmetrics", "-q", text, data], check=True, capture_output=True
        )
    try:
        with running(server, directory, features, flags, settings) as real:
            yield real
    finally:
        shutil.rmtree(data, ignore_errors=True)
