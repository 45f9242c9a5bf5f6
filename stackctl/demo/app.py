"""The demo's application, a process of its own: `python -m stackctl.demo.app`, a job on stdin, what happened on stdout.

It runs as any application does under `stackctl run`: OpenTelemetry is started by the bootstrap of `stackctl.launch`,
from the environment. On stdout stands one JSON object a line: `{"answered": n}` after each answer, at last the
outcome.
"""

import sys
import threading
from dataclasses import asdict
from typing import Any

import orjson
from opentelemetry import _logs, metrics, trace

from stackctl.demo import endpoint, telemetry
from stackctl.demo.job import Job, Outcome
from stackctl.demo.metered import Ledger, Models
from stackctl.demo.rag import EMBEDDING_MODEL, Answer, Application
from stackctl.demo.scenarios import scenario
from stackctl.demo.traffic import limited, run, visits

_FLUSH_MILLISECONDS = 30_000


def perform(job: Job) -> Outcome:
    """Do a job, telling of each answer on stdout."""
    telemetry.install()
    ledger = Ledger()
    if job.port is not None:
        client = endpoint.simulated(job.port)
    else:
        client = endpoint.real(job.base_url or "", job.api_key or "")
    chosen = scenario(job.scenario)
    application = Application(
        Models(client, ledger), passages=chosen.passages, embedding_model=job.embedding_model or EMBEDDING_MODEL
    )
    lock = threading.Lock()
    answered = 0

    def tell(_: Answer) -> None:
        nonlocal answered
        with lock:
            answered += 1
            _write({"answered": answered})

    source = limited(visits(job.seed, chosen, job.model), job.load.requests)
    answers = run(application, source, job.load, tell)
    return Outcome(
        trace_ids=tuple(answer.trace_id for answer in answers),
        calls=tuple(ledger.calls),
        results=tuple(result for answer in answers for result in answer.evaluations),
        degraded=sum(answer.degraded for answer in answers),
        flushed=_flush(),
    )


def _flush() -> bool:
    """Hand everything to the stack; False when a provider could not within its time."""
    providers: tuple[Any, ...] = (
        trace.get_tracer_provider(),
        _logs.get_logger_provider(),
        metrics.get_meter_provider(),
    )
    flushed = [p.force_flush(_FLUSH_MILLISECONDS) for p in providers if hasattr(p, "force_flush")]
    return all(flushed)


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(orjson.dumps(line).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _write({"outcome": asdict(perform(Job.read(sys.stdin.buffer.read())))})
