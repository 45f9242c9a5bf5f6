"""Images that are here, that can be pulled, and that cannot: asked of a real engine and a small registry."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import docker
import pytest

from stackctl.errors import EnvironmentLacks
from stackctl.runtime import images, up
from stackctl.settings import load
from tests.conftest import IMAGES
from tests.docker.registry import registry

pytestmark = pytest.mark.docker


@pytest.fixture
def client() -> Iterator[docker.DockerClient]:
    with contextlib.closing(docker.from_env()) as found:
        yield found


def test_an_image_is_pulled_by_its_digest(client: docker.DockerClient) -> None:
    """Not here, but at its registry: it is pulled, how far it is is told, and then it is here under its digest."""
    told: list[str] = []
    with registry() as reference:
        assert images.missing(client, {"tempo": reference}) == {"tempo": reference}
        images.check_registry(client, "tempo", reference)
        try:
            images.pull(client, "tempo", reference, told.append)
            assert images.missing(client, {"tempo": reference}) == {}
        finally:
            with contextlib.suppress(docker.errors.ImageNotFound):
                client.images.remove(reference)
    assert told[-1] == "pulling tempo: 3 of 3 MiB"


def test_a_digest_that_the_registry_does_not_have_is_refused(client: docker.DockerClient) -> None:
    """A tag that was moved does not come in under the pin."""
    with registry() as reference:
        other = f"{reference.partition('@')[0]}@sha256:{'0' * 64}"
        with pytest.raises(EnvironmentLacks, match="cannot be pulled"):
            images.check_registry(client, "tempo", other)
        with pytest.raises(EnvironmentLacks, match="cannot be pulled"):
            images.pull(client, "tempo", other, lambda _: None)


def test_auto_takes_docker_where_the_images_are_or_can_be_had(tmp_path: Path, docker_runtime: Sequence[str]) -> None:
    """Without a word about the runtime docker is chosen, also when an image must be pulled first."""
    chosen = dict(word.split("=", 1) for word in docker_runtime if "=" in word)
    with registry() as reference:
        for own in (chosen, {**IMAGES, "tempo": reference}):
            flags = {f"image.{name}": image for name, image in own.items()}
            loaded = load({"data_dir": tmp_path, "console": "none", **flags}, {}, tmp_path)
            told: list[str] = []
            start = up.Start(loaded, False, told.append, lambda _: None)
            assert up.choose_docker(start) is not None, told
            assert told == []
