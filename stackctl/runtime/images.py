"""The images of the docker runtime: whether they are here or can be pulled, and pulling them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from stackctl.errors import EnvironmentLacks
from stackctl.runtime.engine import said, spoken

if TYPE_CHECKING:
    from docker import DockerClient

_MIB = 2**20


def missing(client: "DockerClient", images: Mapping[str, str]) -> dict[str, str]:
    """Return those of some images (component to reference) that the engine does not have."""
    return {component: image for component, image in images.items() if not _is_here(client, image)}


def check_registry(client: "DockerClient", component: str, image: str) -> None:
    """Make sure that an image could be pulled: the engine asks its registry.

    Raises:
        EnvironmentLacks: it cannot be had; the message has the registry's reason, the next step a way out.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    try:
        client.images.get_registry_data(image)
    except (DockerException, RequestException) as error:
        raise _unobtainable(client, component, image, str(getattr(error, "explanation", None) or error)) from error


def pull(client: "DockerClient", component: str, image: str, at: Callable[[str], None]) -> None:
    """Pull an image.

    Args:
        at: called with how far it is.

    Raises:
        EnvironmentLacks: it cannot be had.
    """
    from docker.errors import DockerException
    from requests.exceptions import RequestException

    repository, tag = _parts(image)
    layers: dict[str, tuple[int, int]] = {}
    try:
        for event in client.api.pull(repository, tag=tag, stream=True, decode=True):
            if "error" in event:
                raise _unobtainable(client, component, image, str(event["error"]))
            _note(layers, event)
            done, whole = (
                (sum(column) / _MIB for column in zip(*layers.values(), strict=True)) if layers else (0.0, 0.0)
            )
            at(f"pulling {component}: {done:.0f} of {whole:.0f} MiB")
    except (DockerException, RequestException) as error:
        raise _unobtainable(client, component, image, str(getattr(error, "explanation", None) or error)) from error


def _is_here(client: "DockerClient", image: str) -> bool:
    from docker.errors import ImageNotFound

    with spoken():
        try:
            client.images.get(image)
        except ImageNotFound:
            return False
    return True


def _unobtainable(client: "DockerClient", component: str, image: str, reason: str) -> Exception:
    if "no space left on device" in reason:
        return said(reason)
    tagged, _, digest = image.partition("@")
    if digest and not missing(client, {component: tagged}):  # loaded from a file: it came without the digest
        remedy = f"take the image of that tag that is here without the digest: --image {component}={tagged}"
    else:
        remedy = f"name a mirror's: stackctl up --image {component}=REF, or load it: docker load"
    return EnvironmentLacks(
        f"the image of {component}, {image}, is not here and cannot be pulled: {' '.join(reason.split())[:300]}",
        next_step=f"{remedy}, or run without Docker: stackctl up --runtime embedded",
    )


def _parts(image: str) -> tuple[str, str]:
    """Split a reference for the engine's pull: where it has a digest, that decides."""
    tagged, _, digest = image.partition("@")
    head, _, last = tagged.rpartition("/")
    name, _, tag = last.partition(":")
    return (f"{head}/{name}" if head else name), digest or tag


def _note(layers: dict[str, tuple[int, int]], event: Mapping[str, Any]) -> None:
    """Note how many bytes of how many a layer has, from one line of the engine's progress."""
    detail: Mapping[str, int] = event.get("progressDetail") or {}
    if event.get("status") == "Downloading" and detail.get("total"):
        layers[str(event.get("id"))] = (detail.get("current", 0), detail["total"])
    elif event.get("status") in ("Download complete", "Pull complete") and event.get("id") in layers:
        whole = layers[str(event["id"])][1]
        layers[str(event["id"])] = (whole, whole)
