"""The console's files: its page, what esbuild made of it at wheel build, and the rendered boards."""

import mimetypes
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from stackctl.files import console_pages, shipped

_FOREVER: Final = "public, max-age=31536000, immutable"  # names hold a hash of the content
_FRESH: Final = "no-cache"


@dataclass(frozen=True)
class Asset:
    """One file, with its gzip form where that is smaller."""

    content: bytes
    packed: bytes | None
    media_type: str

    def response(self, request: Request, cache: str) -> Response:
        """Return the answer, packed where the browser unpacks."""
        headers = {"cache-control": cache, "vary": "accept-encoding"}
        if self.packed is not None and "gzip" in request.headers.get("accept-encoding", ""):
            return Response(self.packed, headers=headers | {"content-encoding": "gzip"}, media_type=self.media_type)
        return Response(self.content, headers=headers, media_type=self.media_type)


class Pages:
    """All files, read once: the console has a megabyte of them.

    Raises:
        PackageMissing: the installation was made without building the console.
    """

    def __init__(self) -> None:
        static = console_pages()
        self._assets = {
            path.name: _asset(path) for path in static.iterdir() if path.suffix != ".gz" and path.name != "index.html"
        }
        self._index = (static / "index.html").read_text(encoding="utf-8")

    async def page(self, _: Request) -> Response:
        """The one page; its script draws what the address names."""
        return HTMLResponse(self._index, headers={"cache-control": _FRESH})

    async def asset(self, request: Request) -> Response:
        """A script, style, font or licence."""
        found = self._assets.get(request.path_params["name"])
        if found is None:
            return PlainTextResponse("no such file", 404)
        return found.response(request, _FOREVER)


class Boards:
    """The rendered boards, as they lie in `provisioning/`; read at each request, so that a new rendering shows."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or shipped("provisioning") / "grafana" / "dashboards"

    async def index(self, _: Request) -> Response:
        """What boards there are, Home first."""
        found = [_summary(orjson.loads(path.read_bytes())) for path in sorted(self._folder.glob("*.json"))]
        found.sort(key=lambda board: (board["uid"] != "home", board["title"]))
        return _json({"boards": found})

    async def board(self, request: Request) -> Response:
        """One board as Grafana's JSON."""
        uid = request.path_params["uid"]
        for path in self._folder.glob("*.json"):
            content = path.read_bytes()
            if path.stem == uid or orjson.loads(content).get("uid") == uid:
                return Response(content, media_type="application/json", headers={"cache-control": _FRESH})
        return PlainTextResponse(f"there is no board {uid}", 404)


def _asset(path: Path) -> Asset:
    packed = path.with_name(path.name + ".gz")
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    return Asset(path.read_bytes(), packed.read_bytes() if packed.is_file() else None, media_type)


def _summary(board: dict[str, Any]) -> dict[str, Any]:
    return {key: board.get(key) for key in ("uid", "title", "description", "tags")}


def _json(content: Any) -> Response:
    return Response(orjson.dumps(content), media_type="application/json", headers={"cache-control": "no-store"})
