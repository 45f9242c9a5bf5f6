"""Canaries in every string field of every capture, through the real Collector: none is in anything that it writes."""

import re
from dataclasses import dataclass

import pytest

from tests.collector.real import METRICS, SPANS, to_files, until
from tests.stored import texts
from tests.test_canaries import KEPT, SENTENCE, VARIANTS, WORD, Canaries, _canaries_in, _field, _requests

pytestmark = pytest.mark.realstack

# A resource's entity references are in development, no SDK that instruments LLM calls sends them, and nothing in the
# Collector 0.161 reaches them. Tempo has no column for them; until it took the span, they lie in the queue.
OUT_OF_REACH = ".entity_refs."
# A model asked for, one that answered, and an id that the provider gave: of the kinds that `KEPT` names.
ALSO_KEPT = {"embedding.invocation_parameters/model", "embedding.model_name", "gen_ai.tool.call.id"}


@dataclass(frozen=True)
class Poisoned:
    """What survived: form of a canary to the places whose canary is in some file, with the file; keys with bytes."""

    survivors: dict[str, set[tuple[str, str]]]
    keys_of_bytes: set[str]


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Poisoned:
    """Every capture in every variant; then all files: stored spans and metrics, series, own metrics, log, queue."""
    directory = tmp_path_factory.mktemp("canaries")
    forms = {SENTENCE: Canaries(SENTENCE), WORD: Canaries(WORD)}
    with to_files(directory) as collector:
        for canaries in forms.values():
            for variant in VARIANTS:
                for signal, request in _requests(variant, canaries.put):
                    answer = collector.send(signal.name.lower(), request.SerializeToString())
                    assert answer == 200
        until(lambda: "llm_evaluations_total" in collector.http.get(collector.derived).text, "the evaluations")
        for name, url in (("derived", collector.derived), ("own", collector.own)):
            (directory / f"{name}.txt").write_text(collector.http.get(url).text)
    for configuration in (*directory.glob("*.yaml"), directory / "prices.csv"):
        configuration.unlink()
    found = {(*one, path) for path, text in texts(directory) for one in _canaries_in(text)}
    return Poisoned(
        {
            form: {(canaries.places.get(number, "bytes"), file) for kind, number, file in found if kind == form}
            for form, canaries in forms.items()
        },
        {
            key
            for path in (directory / SPANS, directory / METRICS)
            for key in re.findall(r'"key":"([^"]+)","value":\{"bytesValue"', path.read_text())
        },
    )


def test_no_sentence_passes_the_collector(poisoned: Poisoned) -> None:
    """What people write is in no output, no log and no metric of the Collector, whichever field it came in."""
    left = {place for place, _ in poisoned.survivors[SENTENCE] if OUT_OF_REACH not in place}
    assert left == set()
    assert poisoned.keys_of_bytes == set()


def test_ids_pass_where_they_belong_only(poisoned: Poisoned) -> None:
    """A word that looks like an id passes in the fields in which the embedded engine keeps one, and nowhere else."""
    left = {_field(place) for place, _ in poisoned.survivors[WORD] if OUT_OF_REACH not in place}
    assert left - {place for places in KEPT.values() for place in places} - ALSO_KEPT == set()
    assert {"service.name", "gen_ai.request.model", "gen_ai.response.id", "user.id"} <= left
