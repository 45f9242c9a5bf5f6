"""Canaries in every string field of every capture, into a stack of containers: none is in a volume or a log of it."""

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import docker
import pytest

from stackctl import semconv
from stackctl.clients import PrometheusClient, TempoClient
from stackctl.errors import NotFound, StackctlError
from tests.collector.test_collector_canaries import ALSO_KEPT, OUT_OF_REACH
from tests.conftest import LiveStack, run_stackctl
from tests.docker.engine import containers
from tests.docker.volumes import copied, wal_records
from tests.stored import plain, texts
from tests.test_canaries import (
    KEPT,
    SENTENCE,
    VARIANTS,
    WORD,
    Canaries,
    _canaries_in,
    _field,
    _requests,
    _send_all,
    _send_nonsense,
)
from tests.test_captures import NAMES, _trace_ids

pytestmark = [pytest.mark.docker, pytest.mark.slow]
VOLUMES = {
    "queue": ("otelcol", "/var/lib/otelcol"),
    "traces": ("tempo", "/var/tempo"),
    "metrics": ("prometheus", "/prometheus"),
}
WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Poisoned:
    """What was found of the canaries: form, the place it was put to, and in which volume or log it is.

    Attributes:
        waiting: in the Collector's queue while Tempo was away.
        stored: in the volumes of the stopped stack.
        told: in the containers' logs and the stack's own directory.
    """

    waiting: frozenset[tuple[str, str, str]]
    stored: frozenset[tuple[str, str, str]]
    told: frozenset[tuple[str, str, str]]

    def in_volumes(self, form: str) -> set[str]:
        """Return the places whose canary is in any volume, but for the one of which README tells."""
        found = {place for kind, place, _ in self.waiting | self.stored if kind == form}
        return {place for place in found if OUT_OF_REACH not in place}


@pytest.fixture(scope="module")
def poisoned(docker_runtime: Sequence[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Poisoned]:
    """Send everything while Tempo is away; look at the queue; let Tempo have it; stop; look at all that is left."""
    home = tmp_path_factory.mktemp("docker-canaries")
    data = home / "data"
    up = ("up", *docker_runtime, "--console", "none", "--ports", "auto", "--data-dir", data, "--json")
    forms = {form: Canaries(form) for form in (SENTENCE, WORD)}
    with contextlib.closing(docker.from_env()) as client:
        try:
            started = run_stackctl(*up, home=home, timeout=400)
            assert started.code == 0, started.stderr
            stack, project = LiveStack(data, started.json()["endpoints"]), started.json()["network"]
            client.containers.get(containers(project)["tempo"]).kill()
            for canaries in forms.values():
                _send_all(stack, (one for variant in VARIANTS for one in _requests(variant, canaries.put)))
            _until(lambda: _evaluated(stack), "the evaluations at Prometheus")
            queue = copied(client, containers(project)["otelcol"], "/var/lib/otelcol", home / "waiting")
            waiting = _placed(texts(queue), forms)
            mended = run_stackctl(*up, home=home, timeout=400)
            assert mended.code == 0, mended.stderr
            _until(lambda: _arrived(stack), "the traces at Tempo")
            for canaries in forms.values():
                _send_nonsense(stack, canaries.put)
            yield _looked_at(client, home, project, waiting, forms)
        finally:
            run_stackctl("down", "--delete-data", "--data-dir", data, home=home)


def _looked_at(
    client: docker.DockerClient,
    home: Path,
    project: str,
    waiting: frozenset[tuple[str, str, str]],
    forms: dict[str, Canaries],
) -> Poisoned:
    """Stop the containers as `docker stop` does, and read what they kept and wrote."""
    stored: set[tuple[str, str, str]] = set()
    logs = []
    for volume, (service, path) in VOLUMES.items():
        container = client.containers.get(containers(project)[service])
        container.stop(timeout=60)
        logs.append((f"log of {service}", plain(container.logs().decode("utf-8", "replace"))))
        directory = copied(client, container.id, path, home / volume)
        stored |= _placed(((volume, text) for _, text in texts(directory)), forms)
        if service == "prometheus":
            records = " ".join(record.decode("latin-1") for record in wal_records(directory / "wal"))
            stored |= _placed([(volume, plain(records))], forms)
    return Poisoned(waiting, frozenset(stored), _placed([*logs, *texts(home / "data")], forms))


def _placed(found: Iterator[tuple[str, str]] | list, forms: dict[str, Canaries]) -> frozenset[tuple[str, str, str]]:
    """Form, place and file of each canary in some texts."""
    return frozenset(
        (form, forms[form].places.get(number, "bytes"), name)
        for name, text in found
        for form, number in _canaries_in(text)
    )


def _until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(1)


def _evaluated(stack: LiveStack) -> bool:
    with PrometheusClient(stack.endpoints["prometheus"]) as prometheus:
        return bool(prometheus.instant(semconv.LLM_EVALUATIONS)) and bool(prometheus.instant(semconv.LLM_REQUESTS))


def _arrived(stack: LiveStack) -> bool:
    """True once a trace of each capture is there: they wait in the order in which they came."""
    with TempoClient(stack.endpoints["tempo"]) as tempo:
        try:
            return all(tempo.trace(next(iter(_trace_ids(name)))).spans for name in NAMES)
        except (NotFound, StackctlError):  # not yet there, or not yet up
            return False


def test_no_sentence_is_in_any_volume(poisoned: Poisoned) -> None:
    """What people write is in no queue file, no trace store and no TSDB, whichever field it came in."""
    assert poisoned.in_volumes(SENTENCE) == set()


def test_ids_are_found_in_every_volume_and_only_where_they_belong(poisoned: Poisoned) -> None:
    """The search finds what is kept in each volume, the full queue too; nothing else of that form is there."""
    left = {_field(place) for place in poisoned.in_volumes(WORD)}
    assert left - {place for places in KEPT.values() for place in places} - ALSO_KEPT == set()
    kept = {name: {_field(p) for form, p, n in poisoned.stored if form == WORD and n == name} for name in VOLUMES}
    kept["waiting"] = {_field(place) for form, place, _ in poisoned.waiting if form == WORD}
    assert "service.name" in kept["metrics"]
    for where in ("traces", "waiting"):
        assert {"service.name", "gen_ai.request.model", "gen_ai.response.id", "user.id"} <= kept[where]


def test_no_log_repeats_what_was_sent(poisoned: Poisoned) -> None:
    """Neither form is in a container's log, nor in the stack's own files."""
    assert poisoned.told == set()
