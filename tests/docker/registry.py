"""A registry with one small image: what an engine asks when it pulls (distribution's HTTP API, read only)."""

import gzip
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from os import urandom

_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_SIZE = 3_000_000  # bytes of its one file; random, so that it is of that size on the wire too


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _image() -> tuple[bytes, dict[str, bytes]]:
    """Return the manifest of an image and its blobs by digest."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as file:
        row = tarfile.TarInfo("content")
        row.size = _SIZE
        file.addfile(row, io.BytesIO(urandom(_SIZE)))
    layer = gzip.compress(archive.getvalue())
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [_digest(archive.getvalue())]},
        }
    ).encode()
    rows = [
        {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}
        for kind, blob in ((_CONFIG, config), (_LAYER, layer))
    ]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": _MANIFEST, "config": rows[0], "layers": rows[1:]}).encode()
    return manifest, {_digest(config): config, _digest(layer): layer}


@contextmanager
def registry() -> Iterator[str]:
    """Serve an image on loopback, where engines ask without TLS; yield its reference, pinned by digest."""
    manifest, blobs = _image()

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            last = self.path.rpartition("/")[2]
            if "/manifests/" in self.path and last in ("1.0", _digest(manifest)):
                self._answer(manifest, _MANIFEST)
            elif last in blobs:
                self._answer(blobs[last], "application/octet-stream")
            elif self.path == "/v2/":
                self._answer(b"{}", "application/json")
            else:
                self.send_error(404)

        do_HEAD = do_GET

        def _answer(self, content: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Docker-Content-Digest", _digest(content))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}/some/image:1.0@{_digest(manifest)}"
    finally:
        server.shutdown()
        server.server_close()
