"""Makes the image of Tempo's stand-in out of this machine's Python: nothing is pulled, the same content is made once.

Two layers: Python with the engine's packages, which seldom changes, and this checkout's stackctl on top.
"""

import hashlib
import io
import json
import os
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import Distribution, distribution
from pathlib import Path

import docker
from packaging.requirements import Requirement

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[2]
REPOSITORY = "stackctl-test/tempo-standin"
BASE = f"{REPOSITORY}-base"
_PYTHON = Path(sys.executable).resolve()
_LEFT_OUT = {"test", "tests", "idlelib", "tkinter", "turtledemo", "ensurepip", "site-packages", "web"}
_FOLDERS = ("stackctl", "provisioning")  # of the checkout: the engine reads its rules there
_OWNER = 10001  # the user that Tempo's own image runs as
_RECIPE = """\
FROM {base}
COPY site /site
COPY tempo /tempo
ENV PYTHONPATH=/site PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
# Tempo stores spans as they come; the engine prices them anew, so it must know whose prices the captures' server bills.
ENV STACKCTL_PRICES_HOSTS=127.0.0.1=openai,localhost=openai
USER 10001:10001
ENTRYPOINT ["/tempo"]
"""
File = tuple[str, Path]  # path in the image, without the first slash, and where its content is


def build(client: docker.DockerClient) -> str:
    """Return the reference of the stand-in's image, made when it is not there yet."""
    base = _base(client)
    below = (path for folder in _FOLDERS for path in _below(CHECKOUT / folder))
    files = [(f"site/{path.relative_to(CHECKOUT)}", path) for path in below]
    start = f"#!{_PYTHON}\n{(HERE / 'tempo.py').read_text()}"
    content = hashlib.sha256(f"{base}{_RECIPE}{start}".encode())
    for name, path in files:
        if path.suffix != ".pyc":
            content.update(name.encode() + path.read_bytes())
    reference = f"{REPOSITORY}:{content.hexdigest()[:12]}"
    if not client.images.list(name=reference):
        texts = {"tempo": (start, 0o755), "Dockerfile": (_RECIPE.format(base=base), 0o644)}
        with _archive(files, texts, ()) as context:
            client.images.build(fileobj=context, custom_context=True, tag=reference, rm=True)
    return reference


def _base(client: docker.DockerClient) -> str:
    """Return the reference of the layer with Python and the packages."""
    packages = sorted(_closure(_wanted()).values(), key=lambda one: one.name)
    versions = json.dumps([sys.version, *(f"{one.name} {one.version}" for one in packages)])
    tag = hashlib.sha256(versions.encode() + Path(__file__).read_bytes()).hexdigest()[:12]
    if not client.images.list(name=f"{BASE}:{tag}"):
        files = [*_python(), *_site(packages)]
        files += _libraries([_PYTHON, *(path for _, path in files if ".so" in path.name)])
        users = {"etc/passwd": (f"tempo:x:{_OWNER}:{_OWNER}::/tmp:/nologin\n", 0o644)}
        with _archive(dict(files).items(), users, ("tmp", "var/tempo")) as content:
            client.api.import_image_from_file(content.name, repository=BASE, tag=tag)
    return f"{BASE}:{tag}"


def _wanted() -> list[Requirement]:
    """Return what the checkout says it needs: what pip wrote at its installation may be older."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    return [Requirement(line) for line in (*project["dependencies"], *project["optional-dependencies"]["embedded"])]


def _closure(wanted: Sequence[Requirement]) -> dict[str, Distribution]:
    """Return the installed distributions of some requirements, with what those need."""
    found: dict[str, Distribution] = {}
    waiting = [(one, {""}) for one in wanted]
    while waiting:
        needed, extras = waiting.pop()
        marked = not needed.marker or any(needed.marker.evaluate({"extra": extra}) for extra in extras)
        if marked and needed.name.lower() not in found:
            found[needed.name.lower()] = distribution(needed.name)
            lines = found[needed.name.lower()].requires or ()
            waiting += [(Requirement(line), set(needed.extras) or {""}) for line in lines]
    return found


def _python() -> Iterator[File]:
    yield str(_PYTHON)[1:], _PYTHON
    for path in _below(Path(sysconfig.get_path("stdlib"))):
        yield str(path)[1:], path


def _site(packages: Iterable[Distribution]) -> Iterator[File]:
    for package in packages:
        for file in package.files or ():
            path = Path(str(file.locate()))
            if ".." not in file.parts and not _LEFT_OUT.intersection(file.parts[:1]) and path.is_file():
                yield f"site/{file}", path


def _libraries(programs: Sequence[Path]) -> list[File]:
    """Return the shared libraries that some programs load from outside the packages."""
    told = subprocess.run(["ldd", *map(str, programs)], capture_output=True, text=True, check=False).stdout
    words = [word for line in told.splitlines() if not line.endswith(":") for word in line.split()]
    paths = {Path(os.path.normpath(word)) for word in words if word.startswith("/")}
    return [(str(path)[1:], path) for path in sorted(paths) if "site-packages" not in path.parts]


def _below(directory: Path) -> Iterator[Path]:
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not _LEFT_OUT.intersection(path.relative_to(directory).parts[:-1]):
            yield path


def _archive(files: Iterable[File], texts: dict[str, tuple[str, int]], owned: Iterable[str]) -> io.IOBase:
    """Return a tar file, readable by every user, with directories that belong to the stand-in's."""
    file = tempfile.NamedTemporaryFile(suffix=".tar")  # noqa: SIM115 - the caller closes it
    with tarfile.open(fileobj=file, mode="w") as archive:
        for directory in owned:
            row = tarfile.TarInfo(directory)
            row.type, row.mode, row.uid, row.gid = tarfile.DIRTYPE, 0o755, _OWNER, _OWNER
            archive.addfile(row)
        for name, (text, mode) in texts.items():
            row = tarfile.TarInfo(name)
            row.mode, row.size = mode, len(text.encode())
            archive.addfile(row, io.BytesIO(text.encode()))
        for name, path in files:
            row = tarfile.TarInfo(name)
            found = path.stat()
            row.mode, row.size = found.st_mode & 0o111 | 0o444, found.st_size
            row.mtime = int(found.st_mtime)  # by which the compiled modules know their sources
            with path.open("rb") as content:
                archive.addfile(row, content)
    file.seek(0)
    return file
