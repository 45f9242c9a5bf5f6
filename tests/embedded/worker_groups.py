"""What tests give workers to prepare, and a process that makes workers."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from otlp_messages import call_request, log_request

from stackctl.embedded.columns import Pipeline
from stackctl.embedded.nursery import Nursery
from stackctl.embedded.otlp.receive import Request
from stackctl.embedded.otlp.signals import Signal
from stackctl.embedded.prepare import Line, Prepared, Preparer
from stackctl.embedded.series.derive import Derivation
from stackctl.embedded.store.layout import Layout
from stackctl.embedded.workwire import Setup
from stackctl.stack import EngineConfig
from tests import absent

CONFIG = EngineConfig("")
SETUP = Setup.of(CONFIG)
_TEND = """
import os, socket, sys
from stackctl.embedded import bursts, nursery
from stackctl.embedded.workwire import Setup
from stackctl.stack import EngineConfig
exec(sys.argv[2])
nursery._tend(socket.socket(fileno=int(sys.argv[1])), os.getppid(), Setup.of(EngineConfig("")))
os._exit(0)
"""


@contextmanager
def founded(first: str = "") -> Iterator[Nursery]:
    """A nursery of a process that holds nothing, as ingest founds its own: this one has threads and open files.

    Args:
        first: Python that the process runs before.
    """
    if sys.platform != "linux":
        absent.skip("copies of processes")
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-c", _TEND, str(theirs.fileno()), first]
        here = {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}  # for `stalling`
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=os.environ | here)
    yield Nursery(ours, process.pid)
    ours.close()
    process.wait(10)


def group() -> Prepared:
    """Spans with content that redaction drops, an evaluation, metrics, and bytes that are no request."""
    evaluation = log_request({"gen_ai.evaluation.name": "grounded", "gen_ai.evaluation.score.value": 0.25})
    bodies = {
        1: (Signal.TRACES, call_request(3, first_id=1)),
        2: (Signal.TRACES, b"\xff not a message"),
        4: (Signal.LOGS, evaluation),
        5: (Signal.METRICS, b""),
    }
    fresh = {n: Request(kind, body, b"%016d" % n, 1_000 + n) for n, (kind, body) in bodies.items()}
    return Prepared((), (), fresh)


def line() -> tuple[Pipeline, Preparer]:
    pipeline = Pipeline(CONFIG, book=SETUP.book)
    return pipeline, Preparer(Line(pipeline, Derivation((), book=SETUP.book)))


def stalling(layout: Layout, number: int) -> None:
    """Stand for a seal: note how gentle it is; where it is, other log files pile up, and it does not end."""
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    with (layout.root / "tries").open("a") as tries:
        tries.write(f"{number} {nice}\n")
    if nice == 19 and number == 1:
        for more in range(5):
            layout.log_file(100 + more).touch()
        time.sleep(600)


def named(layout: Layout, number: int) -> None:
    """Stand for a seal: note as what it is done."""
    (layout.root / f"as-{number}").write_text(Path("/proc/self/comm").read_text().strip())


def wait_until(happened: Callable[[], bool], seconds: float = 40) -> None:
    """Look again and again; fail when it did not happen in time."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "it does not happen"
        time.sleep(0.05)
